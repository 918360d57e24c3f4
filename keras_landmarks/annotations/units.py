"""The unit of annotated points: pixels of the photo, or shares or percent of its sides."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from keras_landmarks.contest.checking import LARGEST_SHARE

UNITS = ("auto", "pixel", "share", "percent")
_FEWEST_PHOTOS, _LARGEST_PERCENT = 3, 100
_SMALLEST_LARGE_PHOTO_PX = 200


class Placed(Protocol):
    """Points (k, 2) in a photo, and the photo's width and height."""

    landmarks_photo_px: np.ndarray
    photo_size_px: tuple[int, int]


def pixels_per(unit: str, size_px: tuple[int, int]) -> np.ndarray:
    """Returns the pixels of one unit of x and of y in a photo of this width and height: (2,)."""
    if unit in ("share", "percent"):
        return np.array(size_px) / {"share": 1, "percent": _LARGEST_PERCENT}[unit]
    return np.ones(2)


def are_shares(landmarks: np.ndarray) -> bool:
    """Whether points (n, k, 2) are shares of their photos' sides: as pixels they would be one."""
    return bool(landmarks.size) and bool(np.abs(landmarks).max() <= LARGEST_SHARE)


def may_be_percent(faces: Sequence[Placed]) -> bool:
    """Whether points are likely percent: all are small and their photos large."""
    if len(faces) < _FEWEST_PHOTOS:
        return False
    smallest_px = min(min(face.photo_size_px) for face in faces)
    points = [face.landmarks_photo_px for face in faces]
    within = all(p.min() >= 0 and p.max() <= _LARGEST_PERCENT for p in points)
    return within and smallest_px >= _SMALLEST_LARGE_PHOTO_PX
