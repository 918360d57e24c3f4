"""Detects numbers that are not landmarks: a box, attributes, scores, x and y in another order.

Nothing in a file without landmark names (and in some with names) says which of its numbers are
landmarks, but the faces of a file taken together do.
"""

from collections.abc import Sequence

import numpy as np

from keras_landmarks.annotations.face import describe_point
from keras_landmarks.images.geometry import bounding_boxes
from keras_landmarks.utils.chunks import evenly_spread

_MIN_FACES = 3
_MIN_OTHERS = 3  # points that two others must enclose to count as a box
_MIN_SHARE = 0.95  # of the faces that must agree
_MAX_ATTRIBUTE = 10
_MAX_SCORE = 2  # of a visibility, which is 0, 1 or 2
_SAMPLED_FACES = 100  # to look for points far away
_MAX_BLOCK_DEVIATION = 0.25  # relative to the deviation of the shapes as they are


def find_problem(landmarks: np.ndarray, names: Sequence[str] | None) -> str:
    """Returns the reason why not all points can be landmarks, or "" if they can.

    Args:
        landmarks: (n, k, 2), of n faces; NaN where missing.
        names: k names, if the points have names.
    """
    num_faces, num_landmarks = landmarks.shape[:2]
    if num_faces < _MIN_FACES or num_landmarks < 2 + _MIN_OTHERS:
        return ""
    landmarks = landmarks.astype(np.float64)
    for first in (0, num_landmarks - 2):
        if kind := _find_box(landmarks, first):
            pair = f"{describe_point(first, names)} and {describe_point(first + 1, names)}"
            return f"{pair} are not landmarks but a box around the others ({kind})"
    for point in range(num_landmarks):
        if _is_attribute(landmarks, point):
            name = describe_point(point, names)
            return (
                f"{name} is not a landmark: it has whole numbers of 0 to {_MAX_ATTRIBUTE} in all"
                " faces"
            )
    return "" if names else _find_problem_without_names(landmarks)


def _find_problem_without_names(landmarks: np.ndarray) -> str:
    if _are_triples(landmarks):
        return (
            f"every third number is 0 to {_MAX_SCORE} in all faces, so they are x, y and score or"
            " visibility of each point"
        )
    if _are_blocks(landmarks):
        return "the numbers are x of all points and then y of all, not x and y of each in turn"
    sample = landmarks[evenly_spread(len(landmarks), _SAMPLED_FACES)]
    for point in range(landmarks.shape[1]):
        if _is_far_away(sample, point):
            return f"point {point} is not a landmark: in most faces it lies far from all others"
    return ""


def _find_box(landmarks: np.ndarray, first: int) -> str:
    """Returns in which order two successive points are a box around all others, or ""."""
    (a, b), (c, d) = landmarks[:, first].T, landmarks[:, first + 1].T
    others = np.delete(landmarks, [first, first + 1], axis=1)
    low, high = np.split(bounding_boxes(others), 2, axis=1)
    kinds = {
        "left, top, right, bottom": (a, b, c, d),
        "left, top, width, height": (a, b, a + c, b + d),
        "left, right, top, bottom": (a, c, b, d),
    }
    for kind, (left, top, right, bottom) in kinds.items():
        encloses = (left <= low[:, 0]) & (top <= low[:, 1])
        encloses &= (right >= high[:, 0]) & (bottom >= high[:, 1])
        # A box that is far larger than the face is a coincidence of large numbers.
        width, height = (high - low).T
        is_near = (right - left <= 3 * width) & (bottom - top <= 3 * height)
        if (encloses & is_near).mean() >= _MIN_SHARE:
            return kind
    return ""


def _is_attribute(landmarks: np.ndarray, point: int) -> bool:
    """Whether a point is small whole numbers in all faces, away from all other points."""
    landmarks = landmarks[~np.isnan(landmarks[:, point]).any(axis=1)]
    numbers = landmarks[:, point]
    if len(numbers) < _MIN_FACES:
        return False
    if not np.array_equal(numbers, np.rint(numbers)) or np.abs(numbers).max() > _MAX_ATTRIBUTE:
        return False
    others = np.delete(landmarks, point, axis=1)
    is_away = (np.fmin.reduce(others, axis=1) > _MAX_ATTRIBUTE).all(axis=1)
    return bool(is_away.mean() >= _MIN_SHARE)


def _is_far_away(landmarks: np.ndarray, point: int) -> bool:
    """Whether in most faces a point is farther from the box of all others than that is long."""
    others = np.delete(landmarks, point, axis=1)
    low, high = np.split(bounding_boxes(others), 2, axis=1)
    beyond = np.fmax(low - landmarks[:, point], landmarks[:, point] - high).max(axis=1)
    beyond, sides = beyond[~np.isnan(beyond)], (high - low).max(axis=1)[~np.isnan(beyond)]
    return len(beyond) >= _MIN_FACES and bool((beyond > sides).mean() > 0.5)


def _are_triples(landmarks: np.ndarray) -> bool:
    numbers = landmarks.reshape(len(landmarks), -1)
    if numbers.shape[1] % 3 or np.isnan(numbers).any():
        return False
    scores = numbers[:, 2::3]
    return bool(scores.min() >= 0 and scores.max() <= _MAX_SCORE < np.median(numbers))


def _are_blocks(landmarks: np.ndarray) -> bool:
    """Whether faces are far more alike when their numbers are read as all x and then all y.

    Only faces without a missing point count.
    """
    landmarks = landmarks[~np.isnan(landmarks).any(axis=(1, 2))]
    if len(landmarks) < _MIN_FACES:
        return False
    blocks = landmarks.reshape(len(landmarks), 2, -1).swapaxes(1, 2)
    return _shape_deviation(blocks) < _MAX_BLOCK_DEVIATION * _shape_deviation(landmarks)


def _shape_deviation(landmarks: np.ndarray) -> float:
    """Returns the mean squared deviation of the shapes, normalised for position and size."""
    centred = landmarks - landmarks.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(centred).mean(axis=(1, 2), keepdims=True))
    shapes = centred / np.maximum(size, 1e-9)
    return float(np.square(shapes - np.median(shapes, axis=0)).mean())
