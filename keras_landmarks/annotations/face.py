"""A face as an annotation file describes it, before its photo is read."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest.invalid_samples import InvalidSample

# The end of messages about files in other formats.
SUPPORTED_FORMATS = "tables (CSV), COCO's JSON, lists (.txt) and .pts files are read"


class AnnotatedFace(NamedTuple):
    """One annotated face.

    Attributes:
        photo: the photo's path, relative to the folder of photos.
        landmarks: (k, 2) float64 in the file's unit; NaN where a landmark was not annotated.
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
    box: tuple[float, float, float, float] | None = None


class Annotations(NamedTuple):
    """The contents of an annotation file or folder.

    Attributes:
        faces: the faces, and the annotations that cannot be used.
        names: the names of the landmarks, if the file has them.
        ignored: titles of columns that look like coordinates and are not used.
    """

    faces: Iterable[AnnotatedFace | InvalidSample]
    names: Sequence[str] | None = None
    ignored: Sequence[str] = ()


def face_from_cells(
    photo: str, cells: Sequence[str | float], row: int, names: Sequence[str] | None = None
) -> AnnotatedFace | InvalidSample:
    """Returns a face from its numbers, or the reason why they are not landmarks.

    Args:
        photo: the photo's path.
        cells: x and y of each landmark in turn; an empty string becomes NaN.
        row: the annotation's line or number in its file.
        names: the landmarks' names, for the message.
    """
    numbers = []
    for index, cell in enumerate(cells):
        try:
            numbers.append(math.nan if cell == "" else float(cell))
        except (TypeError, ValueError):
            where = f"{'xy'[index % 2]} of {describe_point(index // 2, names)}"
            return InvalidSample(photo, row, f"not a number: {cell!r:.40}, {where}")
    if not numbers or len(numbers) % 2:
        return InvalidSample(photo, row, f"not x and y of each point: {len(numbers)} numbers")
    if np.isinf(numbers).any():
        return InvalidSample(photo, row, "not a finite number")
    return AnnotatedFace(photo, np.array(numbers).reshape(-1, 2), row)


def describe_point(index: int, names: Sequence[str] | None) -> str:
    """Returns "point" and the landmark's name if there is one, else its index."""
    return f"point {names[index] if names and index < len(names) else index}"


def is_number(word: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True
