"""A face as a file of annotations describes it, before its photo is looked at."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest.invalid_samples import InvalidSample

KINDS_READ = "tables (CSV), COCO's JSON, lists (.txt) and .pts files are read"


class Face(NamedTuple):
    """One face.

    Attributes:
        photo: its photo's path below the photos' folder.
        landmarks_photo_px: (k, 2) float64, in the unit of the file; NaN where a point has no place.
        row: a line or a number in the file of annotations, counted from 1.
        id: what the annotation is called there, if it is.
        photo_size: width and height of the photo as the annotations state it, if they do.
        box_photo_px: left, top, right and bottom of the face's box, if the annotations have one.
    """

    photo: str
    landmarks_photo_px: np.ndarray
    row: int
    id: str | None = None
    photo_size: tuple[int, int] | None = None
    box_photo_px: tuple[float, float, float, float] | None = None


class Annotations(NamedTuple):
    """What a file or folder holds: faces and what cannot be used; the points' names if known."""

    faces: Iterable[Face | InvalidSample]
    names: Sequence[str] | None = None
    ignored: Sequence[str] = ()


def face_of(
    photo: str, cells: Sequence[str | float], row: int, names: Sequence[str] | None = None
) -> Face | InvalidSample:
    """Returns the face with these x and y of each point in turn; empty cells have no place."""
    numbers = []
    for place, cell in enumerate(cells):
        try:
            numbers.append(math.nan if cell == "" else float(cell))
        except (TypeError, ValueError):
            where = f"{'xy'[place % 2]} of {point_name(place // 2, names)}"
            return InvalidSample(photo, row, f"not a number: {cell!r:.40}, {where}")
    if not numbers or len(numbers) % 2:
        return InvalidSample(photo, row, f"not x and y of each point: {len(numbers)} numbers")
    if np.isinf(numbers).any():
        return InvalidSample(photo, row, "not a finite number")
    return Face(photo, np.array(numbers).reshape(-1, 2), row)


def point_name(point: int, names: Sequence[str] | None) -> str:
    """Returns what a point is called: its name, if there is one, or its number."""
    return f"point {names[point] if names and point < len(names) else point}"


def is_number(word: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True
