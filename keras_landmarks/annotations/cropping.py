"""A face cut out of its photo, with its points in the crop's pixels."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.annotations.face import Face
from keras_landmarks.annotations.units import pixels_per
from keras_landmarks.contest import checking, listed_images
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.images import decoding, geometry
from keras_landmarks.images.geometry import Region

_FEWEST_POINTS_WITH_EXTENT = 3
_SMALLEST_FACE_PX = 4


class Cut(NamedTuple):
    """A face cut out.

    Attributes:
        jpeg: its crop.
        offset_px: where in the photo the crop begins, x and y.
        landmarks_photo_px: (k, 2) float64.
        photo_size_px: width and height of the photo.
    """

    jpeg: bytes
    offset_px: tuple[int, int]
    landmarks_photo_px: np.ndarray
    photo_size_px: tuple[int, int]


def can_be_cut_out(face: Face | InvalidSample) -> bool:
    """Whether a face has an extent: that of three points or more, or that of a box."""
    if not isinstance(face, Face):
        return False
    return len(face.landmarks_photo_px) >= _FEWEST_POINTS_WITH_EXTENT or _has_box(face)


def cut_face(
    photos: Path, face_share: float, unit: str, face: Face | InvalidSample
) -> Cut | InvalidSample:
    """Returns a face's crop, as JPEG, with its points; or why it has none.

    Args:
        photos: the folder of the photos.
        face_share: share of the crop's sides that the face takes; 0 for the whole photo.
        unit: of the points, one of `units.UNITS`.
        face: the face, or what is wrong with it already.
    """
    if isinstance(face, InvalidSample):
        return face
    try:
        image = listed_images.read_listed_image(photos, face.photo)
    except ValueError as error:
        return InvalidSample(face.photo, face.row, str(error))
    size_px = image.shape[1::-1]
    if face.photo_size and face.photo_size != size_px:
        return InvalidSample(face.photo, face.row, _other_size(face.photo_size, size_px))
    landmarks_px = face.landmarks_photo_px * pixels_per(unit, size_px)
    (outline,) = checking.boxes(landmarks_px[None])
    if checking.lies_far_outside(outline, size_px):
        return InvalidSample(face.photo, face.row, "points far outside the image")
    if not face_share:
        return Cut(decoding.encode_jpeg(image), (0, 0), landmarks_px, size_px)
    if len(landmarks_px) < _FEWEST_POINTS_WITH_EXTENT:
        if not _has_box(face):
            return InvalidSample(
                face.photo, face.row, "no box, and too few points to cut a face out by"
            )
        outline = (np.reshape(face.box_photo_px, (2, 2)) * pixels_per(unit, size_px)).ravel()
    if max(outline[2] - outline[0], outline[3] - outline[1]) < _SMALLEST_FACE_PX:
        sides = f"{outline[2] - outline[0]:.3g} x {outline[3] - outline[1]:.3g} px"
        return InvalidSample(
            face.photo, face.row, f"a face of a few pixels, are they pixels?: {sides}"
        )
    region = region_around(outline, face_share)
    crop = decoding.encode_jpeg(geometry.cut_region(image, region))
    return Cut(crop, region[:2], landmarks_px, size_px)


def region_around(box: list[float], share: float) -> Region:
    """Returns what to cut out so that a box (low x, low y, high x, high y) takes `share` of it.

    A box that is flat counts as half as wide as it is long.
    """
    low, high = np.array(box[:2]), np.array(box[2:])
    sides = high - low + 1
    sides = np.maximum(sides, sides.max() / 2) / share
    first = np.floor((low + high - sides) / 2).astype(int)
    return Region(*first.tolist(), *(first + np.ceil(sides).astype(int)).tolist())


def _has_box(face: Face) -> bool:
    """Whether the annotations have a box of the face, around all its points."""
    if face.box_photo_px is None:
        return False
    low, high = np.reshape(face.box_photo_px, (2, 2))
    return bool(((face.landmarks_photo_px >= low) & (face.landmarks_photo_px <= high)).all())


def _other_size(stated: tuple[int, int], size_px: tuple[int, int]) -> str:
    """Says how a photo's size is not the stated one; the particulars have both, and the factor."""
    sizes = f"{stated[0]} x {stated[1]}, not {size_px[0]} x {size_px[1]}"
    if stated == size_px[::-1]:
        return f"annotated on its side, without the photo's EXIF orientation: {sizes}"
    factors = np.divide(size_px, stated)
    if np.allclose(*factors, rtol=0.02):
        return f"annotated at another size: {sizes}, which is {factors.mean():.4g} times as large"
    return f"annotated on a photo of another shape: {sizes}"
