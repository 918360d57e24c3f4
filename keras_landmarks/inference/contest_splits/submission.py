"""The landmarks that the contest requests of each image, as whole pixels for the submission."""

from collections.abc import Iterator

import numpy as np

from keras_landmarks.contest.requested_points import RequestedPointsTable
from keras_landmarks.utils.errors import InputError


def validate_requested_landmarks(requested: RequestedPointsTable, num_landmarks: int) -> None:
    """Raises InputError unless the model can predict what is requested.

    Every index must be below `num_landmarks`, and every image must have as many indices as the
    first one.
    """
    expected = len(requested.point_indices[0])
    for name, indices in zip(requested.file_names, requested.point_indices, strict=True):
        if indices.max() >= num_landmarks:
            raise InputError(
                f"{name}: point {indices.max()} is requested, but the model has {num_landmarks}"
            )
        if len(indices) != expected:
            raise InputError(
                f"{name}: {len(indices)} points are requested, but {expected} of other images"
            )


def requested_landmarks(
    landmarks: np.ndarray, requested: RequestedPointsTable, rounding: str
) -> Iterator[np.ndarray]:
    """Yields the requested landmarks (p, 2) of each image, rounded to whole pixels.

    Args:
        landmarks: (n, k, 2) photo pixels.
        requested: the indices requested of each of the n images.
        rounding: "round" or "truncate".
    """
    for image_landmarks, indices in zip(landmarks, requested.point_indices, strict=True):
        yield to_whole_px(image_landmarks[indices], rounding)


def to_whole_px(landmarks: np.ndarray, rounding: str) -> np.ndarray:
    """Returns coordinates as whole numbers, by `rounding`: "round" or "truncate"."""
    return np.rint(landmarks) if rounding == "round" else np.trunc(landmarks)
