"""What betrays numbers that are no points of a face: a box, attributes, x and y mixed up.

Files without names of their points, and some with, hold other numbers beside them. Nothing in the
file says so, but all faces together do.
"""

from collections.abc import Sequence

import numpy as np

from keras_landmarks.annotations.face import point_name

_FEWEST_FACES = 3
_FEWEST_OTHERS = 3  # points that two others must surround to count as a box
_SHARE = 0.95  # of the faces of which it must be so
_LARGEST_ATTRIBUTE = 10
_BLOCKS_ARE_BETTER = 0.25  # times the deviation of the shapes


def find_fault(landmarks: np.ndarray, names: Sequence[str] | None) -> str:
    """Returns why the points (n, k, 2) of n faces cannot all be points; nothing if they may be."""
    faces, points = landmarks.shape[:2]
    if faces < _FEWEST_FACES or points < 2 + _FEWEST_OTHERS:
        return ""
    landmarks = landmarks.astype(np.float64)
    for first in (0, points - 2):
        if kind := _box_kind(landmarks, first):
            pair = f"{point_name(first, names)} and {point_name(first + 1, names)}"
            return f"{pair} are no points but a box around the others ({kind})"
    for point in range(points):
        if _is_attribute(landmarks, point):
            name = point_name(point, names)
            return f"{name} is no place: whole numbers of 0 to {_LARGEST_ATTRIBUTE} in all faces"
    if not names and _are_blocks(landmarks):
        return "the numbers are x of all points and then y of all, not x and y of each in turn"
    return ""


def _box_kind(landmarks: np.ndarray, first: int) -> str:
    """Returns how two points in turn are a box around all others; nothing if they are none."""
    (a, b), (c, d) = landmarks[:, first].T, landmarks[:, first + 1].T
    others = np.delete(landmarks, [first, first + 1], axis=1)
    low, high = others.min(axis=1), others.max(axis=1)
    kinds = {
        "left, top, right, bottom": (a, b, c, d),
        "left, top, width, height": (a, b, a + c, b + d),
        "left, right, top, bottom": (a, c, b, d),
    }
    for kind, (left, top, right, bottom) in kinds.items():
        outside = (left <= low[:, 0]) & (top <= low[:, 1])
        outside &= (right >= high[:, 0]) & (bottom >= high[:, 1])
        # A box that is far larger than the face is a coincidence of large numbers.
        near = (right - left <= 3 * np.ptp(others[..., 0], axis=1)) & (
            bottom - top <= 3 * np.ptp(others[..., 1], axis=1)
        )
        if (outside & near).mean() >= _SHARE:
            return kind
    return ""


def _is_attribute(landmarks: np.ndarray, point: int) -> bool:
    """Whether a point is small whole numbers in all faces, away from all others."""
    numbers = landmarks[:, point]
    if not np.array_equal(numbers, np.rint(numbers)) or np.abs(numbers).max() > _LARGEST_ATTRIBUTE:
        return False
    others = np.delete(landmarks, point, axis=1)
    away = (others.min(axis=1) > _LARGEST_ATTRIBUTE).all(axis=1)
    return bool(away.mean() >= _SHARE)


def _are_blocks(landmarks: np.ndarray) -> bool:
    """Whether faces are far more alike if their numbers are all x and then all y."""
    blocks = landmarks.reshape(len(landmarks), 2, -1).swapaxes(1, 2)
    return _deviation(blocks) < _BLOCKS_ARE_BETTER * _deviation(landmarks)


def _deviation(landmarks: np.ndarray) -> float:
    """Returns how unlike the shapes are, where they are and how large they are left out."""
    centred = landmarks - landmarks.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(centred).mean(axis=(1, 2), keepdims=True))
    shapes = centred / np.maximum(size, 1e-9)
    return float(np.square(shapes - np.median(shapes, axis=0)).mean())
