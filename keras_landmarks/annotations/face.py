"""A face as an annotation file describes it, before its photo is read."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.landmark_tables import EMPTY_CELLS

# The end of messages about files in other formats.
SUPPORTED_FORMATS = (
    "tables (CSV), DeepLabCut's CSV, JSON of COCO, Label Studio, labelme and VIA 2, CVAT's XML,"
    " SLEAP's analysis .h5, lists (.txt), .pts and .ljson files are read"
)
Box = tuple[float, float, float, float]  # left, top, right, bottom
NO_POINTS = "no points"  # the reason for an annotation without any


class AnnotatedFace(NamedTuple):
    """One annotated face.

    Attributes:
        photo: the photo's path, relative to the folder of photos.
        landmarks: (k, 2) float64 in the file's unit; x and y of a missing landmark are NaN, and at
            least one landmark is there.
        row: the annotation's line or number in its file, from 1.
        id: the annotation's id in its file, if it has one.
        photo_size_px: width and height of the photo as the file states them, if it does.
        box: left, top, right and bottom of the face's box in the file's unit, if it has one.
    """

    photo: str
    landmarks: np.ndarray
    row: int
    id: str | None = None
    photo_size_px: tuple[int, int] | None = None
    box: Box | None = None


class Annotations(NamedTuple):
    """The contents of an annotation file or folder.

    Attributes:
        faces: the faces, and the annotations that cannot be used.
        names: the names of the landmarks, if the file has them.
        ignored: what looks like coordinates and is not used, such as titles of columns.
        unit: the unit of the landmarks, one of `settings.POINT_UNITS`, if the format prescribes it.
        is_ordered: whether the file states the order of the landmarks, not only their names.
    """

    faces: Iterable[AnnotatedFace | InvalidSample]
    names: Sequence[str] | None = None
    ignored: Sequence[str] = ()
    unit: str | None = None
    is_ordered: bool = True


def face_from_cells(
    photo: str, cells: Sequence[str | float], row: int, names: Sequence[str] | None = None
) -> AnnotatedFace | InvalidSample:
    """Returns a face from its numbers, or the reason why they are not landmarks.

    Args:
        photo: the photo's path.
        cells: x and y of each landmark in turn; both are NaN or one of `EMPTY_CELLS` if the
            landmark is missing.
        row: the annotation's line or number in its file.
        names: the landmarks' names, for the message.
    """
    numbers = []
    for index, cell in enumerate(cells):
        try:
            numbers.append(math.nan if cell in EMPTY_CELLS else float(cell))
        except (TypeError, ValueError):
            where = f"{'xy'[index % 2]} of {describe_point(index // 2, names)}"
            return InvalidSample(photo, row, f"not a number: {cell!r:.40}, {where}")
    if not numbers or len(numbers) % 2:
        return InvalidSample(photo, row, f"not x and y of each point: {len(numbers)} numbers")
    if np.isinf(numbers).any():
        return InvalidSample(photo, row, "not a finite number")
    landmarks = np.array(numbers).reshape(-1, 2)
    is_missing = np.isnan(landmarks)
    for point in np.flatnonzero(is_missing[:, 0] != is_missing[:, 1]).tolist():
        axis = "xy"[int(is_missing[point, 1])]
        return InvalidSample(
            photo, row, f"half a point: {describe_point(point, names)} has no {axis}"
        )
    if is_missing.all():
        return InvalidSample(photo, row, NO_POINTS)
    return AnnotatedFace(photo, landmarks, row)


def describe_point(index: int, names: Sequence[str] | None) -> str:
    """Returns "point" and the landmark's name if there is one, else its index."""
    return f"point {names[index] if names and index < len(names) else index}"


def present_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Returns those of the landmarks (k, 2) that are not missing."""
    return landmarks[~np.isnan(landmarks).any(axis=1)]


def as_box(left: object, top: object, width: object, height: object) -> Box | None:
    """Returns a box as left, top, right and bottom; None if the values are not a box."""
    if not all(map(_is_finite, (left, top, width, height))) or min(width, height) <= 0:
        return None
    return float(left), float(top), float(left + width), float(top + height)


def as_size(width: object, height: object) -> tuple[int, int] | None:
    """Returns a photo's width and height; None if the values are not a size."""
    if not all(map(_is_finite, (width, height))) or min(width, height) < 1:
        return None
    return round(width), round(height)


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def is_number(word: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True
