"""From a face in a photo to the crop that a model is shown, cut as the photos it was trained on."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from keras_landmarks.images.face_detector import FaceDetector
from keras_landmarks.images.geometry import CropSpec, CropTransform, Region, cut_region
from keras_landmarks.utils.errors import InputError

_FEWEST_FACES = 10  # to measure a cropping on


class Reach(NamedTuple):
    """How far a crop reaches from the middle of a box, in the box's widths and heights."""

    left: float
    up: float
    right: float
    down: float


class Cropping(NamedTuple):
    """How photos are cut around a face: seen from its box, and from the outline of its points."""

    box: Reach
    points: Reach


# As the contest's photos: `measure` on 667 of that kind. The outline of the 971 points takes 59 %
# of a photo's width and 55 % of its height.
CONTEST_CROPPING = Cropping(Reach(0.77, 1.02, 0.77, 0.94), Reach(0.84, 0.92, 0.84, 0.91))


def crop_region(box_photo_px: np.ndarray, reach: Reach) -> Region:
    """Returns what to cut out of a photo around a box; it may reach beyond the photo."""
    corner, far_corner = np.float64(box_photo_px).reshape(2, 2)
    middle, sides = (corner + far_corner) / 2 + 0.5, far_corner - corner
    corner = np.rint(middle - np.array(reach[:2]) * sides).astype(int)
    far_corner = np.rint(middle + np.array(reach[2:]) * sides).astype(int)
    return Region(*corner.tolist(), *np.maximum(far_corner, corner + 1).tolist())


def frame_region(
    photo: np.ndarray, region: Region, frame: CropSpec
) -> tuple[np.ndarray, CropTransform]:
    """Returns a region of a photo, framed as a photo of its own, and its framing.

    The framing maps the pixels of the whole photo.
    """
    crop, (scale, offset) = frame.apply(cut_region(photo, region))
    return crop, CropTransform(scale, offset - np.array(region[:2]) * scale)


def outline(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns the box around points (..., k, 2): (..., 4)."""
    return np.concatenate([landmarks_px.min(axis=-2), landmarks_px.max(axis=-2)], axis=-1)


def measure(
    photos: Iterable[tuple[np.ndarray, np.ndarray]], detector: FaceDetector, where: str
) -> Cropping:
    """Returns how photos are cut around their faces: the medians.

    Args:
        photos: each (H, W, 3) uint8 with the points (k, 2) of its one face.
        detector: what will find the faces to crop alike.
        where: the photos come from, for an error.

    Raises:
        InputError: a face was found in too few of them.
    """
    by_box, by_points, count = [], [], 0
    for photo, landmarks_photo_px in photos:
        count += 1
        face = outline(landmarks_photo_px)
        by_points.append(_reach_of(photo, face))
        by_box += [_reach_of(photo, box) for box in detector(photo).boxes if _is_of(face, box)]
    if len(by_box) < _FEWEST_FACES:
        raise InputError(
            f"{where}: faces were found in {len(by_box)} of {count} photos only;"
            f" {_FEWEST_FACES} are needed to see how they are cropped"
        )
    return Cropping(*(Reach(*np.median(each, axis=0).tolist()) for each in (by_box, by_points)))


def _reach_of(photo: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Returns how far the whole photo reaches from the middle of a box: (4,)."""
    middle, sides = (box[:2] + box[2:]) / 2 + 0.5, box[2:] - box[:2]
    return np.concatenate([middle, photo.shape[1::-1] - middle]) / np.tile(sides, 2)


def _is_of(face: np.ndarray, box: np.ndarray) -> bool:
    """Whether a box may be the face's: its middle in the inner half, at least half as wide."""
    offset = (box[:2] + box[2:] - face[:2] - face[2:]) / 2
    sides = face[2:] - face[:2]
    return bool(np.all(np.abs(offset) < sides / 4) and box[2] - box[0] > sides[0] / 2)
