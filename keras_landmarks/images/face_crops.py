"""Crops faces out of photos in the same way as the photos that a model was trained on.

A region around the face is cut out, black beyond the photo's edge, and then treated like a training
photo: the same CropSpec makes the model's input of it. The extent of the region is four numbers,
which are measured on the training photos rather than kept in model.json, so that training needs no
detector.

Crops by the detector are as good as the contest's. On 204 held-out photos of 24 people, with the
network of flags/light.cfg at 128 x 160 px and 240 epochs: MSE in photo px² over all points, and the
difference from the line before, with 95 % intervals by person:

    as given                         1.84 (1.36 to 2.43)
    by the detector's box            1.64 (1.22 to 2.13)    -0.19 (-0.34 to -0.08)
    by the points found there        1.63 (1.23 to 2.08)    -0.01 (-0.10 to 0.07)
    the mean of the last two         1.56

The second crop (--two_pass) helps where the first is inaccurate: with boxes shifted at random by up
to 20 % of their side the MSE falls from 1.81 to 1.69, by up to 30 % from 1.97 to 1.69; with a
network trained for a third of the image passes it fell from 3.35 to 2.99. It also steadies videos:
in 30 frames of a still photo with noise and JPEG artefacts the jitter was 0.10 % of the face's size
with one crop and 0.06 % with two.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from keras_landmarks.images.face_detector import FaceDetector
from keras_landmarks.images.geometry import (
    CropSpec,
    CropTransform,
    Region,
    bounding_boxes,
    cut_region,
)
from keras_landmarks.utils.errors import InputError

_MIN_FACES = 10  # for a stable median


class CropExtent(NamedTuple):
    """How far a crop extends from the centre of a box, in widths and heights of the box."""

    left: float
    up: float
    right: float
    down: float


class Cropping(NamedTuple):
    """How photos are cut around a face.

    Attributes:
        box: extent around the box that `FaceDetector` finds.
        points: extent around the bounding box of the landmarks.
    """

    box: CropExtent
    points: CropExtent


# The contest's cropping: `median_cropping` of 667 of its photos. The values vary by 0.09 to 0.13
# between photos. The centre of the detector's box is within 4 % of the centre of the points. The
# bounding box of the 971 points takes 59 % of a photo's width and 55 % of its height.
CONTEST_CROPPING = Cropping(CropExtent(0.77, 1.02, 0.77, 0.94), CropExtent(0.84, 0.92, 0.84, 0.91))


def face_region(box_photo_px: np.ndarray, extent: CropExtent) -> Region:
    """Returns the region to cut out around a box (4,); it may reach beyond the photo."""
    corner, far_corner = np.float64(box_photo_px).reshape(2, 2)
    centre, sides = (corner + far_corner) / 2 + 0.5, far_corner - corner
    corner = np.rint(centre - np.array(extent[:2]) * sides).astype(int)
    far_corner = np.rint(centre + np.array(extent[2:]) * sides).astype(int)
    return Region(*corner.tolist(), *np.maximum(far_corner, corner + 1).tolist())


def region_of_points(
    landmarks_photo_px: np.ndarray, limits_px: Sequence[float], extent: CropExtent
) -> Region:
    """Returns the region to cut out around the points (k, 2) of a face.

    Points count as at most at the `limits_px`, left, top, right and bottom: an outlier must not
    enlarge the region without limit.
    """
    inside_px = landmarks_photo_px.clip(limits_px[:2], limits_px[2:])
    return face_region(bounding_boxes(inside_px), extent)


def crop_face(
    photo: np.ndarray, region: Region, crop_spec: CropSpec
) -> tuple[np.ndarray, CropTransform]:
    """Crops a region as if it were a photo of its own.

    Args:
        photo: (H, W, 3) uint8.
        region: the region of the photo; black where it reaches beyond the edge.
        crop_spec: how the region becomes the crop.

    Returns:
        The crop, (height, width, 3) uint8, and the transform from pixels of the whole photo to
        pixels of the crop.
    """
    crop, (scale, offset) = crop_spec.apply(cut_region(photo, region))
    return crop, CropTransform(scale, offset - np.array(region[:2]) * scale)


def crop_faces(
    photos: Iterable[np.ndarray], regions: Iterable[Region], crop_spec: CropSpec
) -> tuple[np.ndarray, CropTransform]:
    """Crops a region of each photo with `crop_face`.

    Returns:
        The crops, (N, height, width, 3) uint8, and their transforms, each array with N rows.
    """
    pairs = zip(photos, regions, strict=True)
    crops, transforms = zip(*(crop_face(*pair, crop_spec) for pair in pairs), strict=True)
    return np.stack(crops), CropTransform(*map(np.stack, zip(*transforms, strict=True)))


def median_cropping(
    photos: Iterable[tuple[np.ndarray, np.ndarray]], detector: FaceDetector, where: str
) -> Cropping:
    """Measures how photos are cut around their faces.

    Args:
        photos: pairs of a photo (H, W, 3) uint8 and the points (k, 2) of its one face, photo px.
        detector: the detector whose boxes will be cropped in the same way.
        where: the photos come from, for the error.

    Returns:
        The median over the photos.

    Raises:
        InputError: a face was found in too few photos.
    """
    by_box, by_points, num_photos = [], [], 0
    for photo, landmarks_photo_px in photos:
        num_photos += 1
        face_box = bounding_boxes(landmarks_photo_px)
        by_points.append(_extent(photo, face_box))
        boxes = detector(photo).boxes
        by_box += [_extent(photo, box) for box in boxes if _is_box_of_face(box, face_box)]
    if len(by_box) < _MIN_FACES:
        raise InputError(
            f"{where}: faces were found in {len(by_box)} of {num_photos} photos only;"
            f" {_MIN_FACES} are needed to see how they are cropped"
        )
    medians = [CropExtent(*np.median(each, axis=0).tolist()) for each in (by_box, by_points)]
    return Cropping(*medians)


def _extent(photo: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Returns how far the whole photo extends from the centre of a box: (4,), as `CropExtent`."""
    centre, sides = (box[:2] + box[2:]) / 2 + 0.5, box[2:] - box[:2]
    return np.concatenate([centre, photo.shape[1::-1] - centre]) / np.tile(sides, 2)


def _is_box_of_face(box: np.ndarray, face_box: np.ndarray) -> bool:
    """Whether a detected box is the face's: its centre in the inner half, at least half as wide."""
    offset = (box[:2] + box[2:] - face_box[:2] - face_box[2:]) / 2
    sides = face_box[2:] - face_box[:2]
    return bool(np.all(np.abs(offset) < sides / 4) and box[2] - box[0] > sides[0] / 2)
