"""Crops a face from its photo."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.annotations.face import AnnotatedFace, present_landmarks
from keras_landmarks.annotations.units import pixels_per
from keras_landmarks.contest import checking, listed_images
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.images import decoding, geometry
from keras_landmarks.images.geometry import Region

_MIN_LANDMARKS_WITH_EXTENT = 3
_MIN_FACE_PX = 4


class FaceCrop(NamedTuple):
    """A cropped face.

    Attributes:
        jpeg: the crop as a JPEG file.
        offset_px: x and y of the crop's upper left corner in the photo.
        landmarks_photo_px: (k, 2) float64; NaN where missing.
        photo_size_px: width and height of the photo.
    """

    jpeg: bytes
    offset_px: tuple[int, int]
    landmarks_photo_px: np.ndarray
    photo_size_px: tuple[int, int]


def has_extent(face: AnnotatedFace | InvalidSample) -> bool:
    """Whether a face can be cropped: by three landmarks or more, or by its box."""
    if not isinstance(face, AnnotatedFace):
        return False
    return len(present_landmarks(face.landmarks)) >= _MIN_LANDMARKS_WITH_EXTENT or _has_box(face)


def crop_face(
    photos: Path, face_share: float, unit: str, face: AnnotatedFace | InvalidSample
) -> FaceCrop | InvalidSample:
    """Crops a face from its photo, or returns the reason why that is impossible.

    Args:
        photos: the folder of the photos.
        face_share: the share of the crop's sides that the face takes; 0 for the whole photo.
        unit: the unit of the landmarks, one of `settings.POINT_UNITS`.
        face: the face; an invalid sample is returned as it is.
    """
    if isinstance(face, InvalidSample):
        return face
    try:
        image = listed_images.read_listed_image(photos, face.photo)
    except ValueError as error:
        return InvalidSample(face.photo, face.row, str(error))
    size_px = image.shape[1::-1]
    scale = pixels_per(unit, size_px)
    landmarks_px, outline_px = face.landmarks * scale, _find_outline(face, scale)
    if reason := _find_problem(face, landmarks_px, outline_px, size_px, bool(face_share)):
        return InvalidSample(face.photo, face.row, reason)
    if not face_share:
        return FaceCrop(decoding.encode_jpeg(image), (0, 0), landmarks_px, size_px)
    region = region_around(outline_px, face_share)
    jpeg = decoding.encode_jpeg(geometry.cut_region(image, region))
    return FaceCrop(jpeg, region[:2], landmarks_px, size_px)


def region_around(box_px: list[float], share: float) -> Region:
    """Returns the region of which a box takes `share` of each side.

    A flat box counts as half as wide as it is long.

    Args:
        box_px: min x, min y, max x and max y.
        share: more than 0, at most 1.
    """
    low, high = np.array(box_px[:2]), np.array(box_px[2:])
    sides = high - low + 1
    sides = np.maximum(sides, sides.max() / 2) / share
    first = np.floor((low + high - sides) / 2).astype(int)
    return Region(*first.tolist(), *(first + np.ceil(sides).astype(int)).tolist())


def _find_outline(face: AnnotatedFace, scale: np.ndarray) -> list[float] | None:
    """Returns the box to crop by, px: that of the landmarks or, for few of them, the annotated one.

    Missing landmarks do not count. `scale` (2,) is the number of pixels per unit of x and of y.
    """
    if len(present_landmarks(face.landmarks)) >= _MIN_LANDMARKS_WITH_EXTENT:
        box = geometry.bounding_boxes(face.landmarks)
    elif _has_box(face):
        box = np.array(face.box)
    else:
        return None
    return (box.reshape(2, 2) * scale).ravel().tolist()


def _has_box(face: AnnotatedFace) -> bool:
    """Whether a face has a box, around all landmarks that it has."""
    if face.box is None:
        return False
    low, high = np.reshape(face.box, (2, 2))
    present = present_landmarks(face.landmarks)
    return bool(((present >= low) & (present <= high)).all())


def _find_problem(
    face: AnnotatedFace,
    landmarks_px: np.ndarray,
    outline_px: list[float] | None,
    size_px: tuple[int, int],
    is_cropped: bool,
) -> str:
    """Returns why a face does not fit its photo, or "" if it does."""
    if face.photo_size_px and face.photo_size_px != size_px:
        return _describe_size_mismatch(face.photo_size_px, size_px)
    if checking.lies_far_outside(geometry.bounding_boxes(landmarks_px), size_px):
        return "a point lies far outside the image"
    if not is_cropped:
        return ""
    if outline_px is None:
        return "no box, and too few points to crop the face by"
    width, height = outline_px[2] - outline_px[0], outline_px[3] - outline_px[1]
    if max(width, height) < _MIN_FACE_PX:
        return f"a face of a few pixels, are they pixels?: {width:.3g} x {height:.3g} px"
    return ""


def _describe_size_mismatch(stated_px: tuple[int, int], size_px: tuple[int, int]) -> str:
    sizes = f"{stated_px[0]} x {stated_px[1]}, not {size_px[0]} x {size_px[1]}"
    if stated_px == size_px[::-1]:
        return f"annotated on its side, without the photo's EXIF orientation: {sizes}"
    factors = np.divide(size_px, stated_px)
    if np.allclose(*factors, rtol=0.02):
        return f"annotated at another size: {sizes}, which is {factors.mean():.4g} times as large"
    return f"annotated on a photo of another shape: {sizes}"
