"""The unit of annotated landmarks: pixels of the photo, or shares or percent of its sides."""

from collections.abc import Sequence

import numpy as np

from keras_landmarks.contest.checking import MAX_SHARE

_MIN_PHOTOS, _MAX_PERCENT = 3, 100
_MIN_LARGE_PHOTO_PX = 200
_OUTSIDE_PERCENT = 5  # how far points may lie beyond the photo's edge


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
    """Whether landmarks are probably percentages: all are about 0 to 100, also in larger photos.

    Args:
        landmarks: (k, 2) of each face; NaN where missing.
        sizes_px: width and height of each face's photo.
    """
    low, high = -_OUTSIDE_PERCENT, _MAX_PERCENT + _OUTSIDE_PERCENT
    in_range = all(np.nanmin(points) >= low and np.nanmax(points) <= high for points in landmarks)
    num_large = sum(min(size) >= _MIN_LARGE_PHOTO_PX for size in sizes_px)
    return in_range and num_large >= _MIN_PHOTOS
