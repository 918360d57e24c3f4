"""The unit of annotated landmarks: pixels of the photo, or shares or percent of its sides."""

from collections.abc import Sequence

import numpy as np

from keras_landmarks.contest.checking import MAX_SHARE

_MIN_PHOTOS, _MAX_PERCENT = 3, 100
_MIN_LARGE_PHOTO_PX = 200


def pixels_per(unit: str, size_px: tuple[int, int]) -> np.ndarray:
    """Returns the pixels per unit of x and of y, (2,), in a photo of this width and height."""
    if unit in ("share", "percent"):
        return np.array(size_px) / {"share": 1, "percent": _MAX_PERCENT}[unit]
    return np.ones(2)


def look_like_shares(landmarks: np.ndarray) -> bool:
    """Whether landmarks (n, k, 2) are shares of their photos' sides: as pixels all would be one.

    Missing landmarks, which are NaN, do not count.
    """
    return bool(landmarks.size) and bool(np.nanmax(np.abs(landmarks)) <= MAX_SHARE)


def look_like_percent(landmarks: Sequence[np.ndarray], sizes_px: Sequence[tuple[int, int]]) -> bool:
    """Whether landmarks are probably percentages: all are 0 to 100, in larger photos.

    Args:
        landmarks: (k, 2) of each face; NaN where missing.
        sizes_px: width and height of each face's photo.
    """
    if len(landmarks) < _MIN_PHOTOS:
        return False
    in_range = all(
        np.nanmin(points) >= 0 and np.nanmax(points) <= _MAX_PERCENT for points in landmarks
    )
    return in_range and min(map(min, sizes_px)) >= _MIN_LARGE_PHOTO_PX
