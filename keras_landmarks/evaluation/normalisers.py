"""What NME divides by: the size of each true face, photo px, in one of the ways papers use.

    box          sqrt(width x height) of the box around the true points that are there
    diagonal     the diagonal of that box
    points:A,B   the distance of two points, or of the middles of two ranges of points (36-41,42-47)
    size:COLUMN  a column of the table of true points

`flags/README.md` says which paper uses which.
"""

import math

import numpy as np
from absl import logging

from keras_landmarks.contest import landmark_tables, table_files
from keras_landmarks.evaluation import metrics
from keras_landmarks.evaluation.matching import Truth
from keras_landmarks.settings import parse_normaliser
from keras_landmarks.utils.errors import InputError

_MIN_LANDMARKS_WITH_BOX = 3
_MAX_NAMED = 20  # images without a size that are named in the log


def describe(normaliser: str) -> str:
    """Returns what a normaliser is, to follow "NME is the mean distance / "."""
    kind, argument = parse_normaliser(normaliser)
    if kind == "points":
        middles = "" if all(first == last for first, last in argument) else "middles of the "
        return f"the distance between the {middles}true points " + " and ".join(
            str(first) if first == last else f"{first} to {last}" for first, last in argument
        )
    return {
        "box": "sqrt(width x height) of the box around all true points of the face",
        "diagonal": "the diagonal of the box around all true points of the face",
        "size": f"the truth's column {table_files.printable(str(argument))}",
    }[kind]


def face_sizes(normaliser: str, true: Truth) -> np.ndarray | None:
    """Returns the size of each true face, (n,) float64, photo px; NaN for faces without one.

    A face has no size if it would be 0, or if what it is made of is missing: a cell of the column,
    one of the points. Such faces are listed in the log. The result is None if the size is that of
    a box and faces have only one or two points.

    Raises:
        InputError: the points or the column are not in the truth; a cell is not a size; or most
            faces have no size.
    """
    kind, argument = parse_normaliser(normaliser)
    if kind == "size":
        sizes_px = _read_sizes(true, argument)
    elif kind == "points":
        sizes_px = _distances_between(true, argument)
    elif true.num_landmarks < _MIN_LANDMARKS_WITH_BOX:
        return None
    elif kind == "diagonal":
        sizes_px = np.hypot(*metrics.box_sides(true.landmarks_px).T)
    else:
        sizes_px = metrics.face_sizes(true.landmarks_px)
    sizes_px = np.where(sizes_px > 0, sizes_px, np.nan)
    _report_faces_without_size(true, sizes_px, normaliser)
    return sizes_px


def _distances_between(true: Truth, ranges: tuple[tuple[int, int], ...]) -> np.ndarray:
    if (last := max(end for _, end in ranges)) >= true.num_landmarks:
        raise InputError(
            f"{true.path}: --normaliser needs point {last}; the points are 0 to"
            f" {true.num_landmarks - 1}"
        )
    one, other = (
        true.landmarks_px[:, start : end + 1].astype(np.float64).mean(axis=1)
        for start, end in ranges
    )
    return np.linalg.norm(one - other, axis=-1)


def _read_sizes(true: Truth, column: str) -> np.ndarray:
    sizes_px, needed = {}, set(true.file_names)
    for line, name, cell in table_files.iterate_column(true.path, column):
        if name in needed:  # of rows of one image the first counts, as for its points
            sizes_px.setdefault(name, _parse_size(cell, f"{true.path}, line {line} ({name})"))
    return np.array([sizes_px[name] for name in true.file_names])


def _parse_size(cell: str, where: str) -> float:
    try:
        is_empty = cell in landmark_tables.EMPTY_CELLS
        size_px = math.nan if is_empty else float(cell.replace(",", "."))  # decimal commas
    except ValueError:
        size_px = -1.0
    if size_px < 0 or math.isinf(size_px):
        raise InputError(f"{where}: {cell[:40]!r} is not the size of a face in px")
    return size_px


def _report_faces_without_size(true: Truth, sizes_px: np.ndarray, normaliser: str) -> None:
    """Lists faces without a size in the log; raises InputError if most have none."""
    names = [true.file_names[row] for row in np.flatnonzero(np.isnan(sizes_px))]
    if not names:
        return
    count = f"{len(names):,} of {len(sizes_px):,} faces have no size to divide by"
    if 2 * len(names) > len(sizes_px):
        raise InputError(
            f"{true.path}: {count}, the first is {names[0]}: {describe(normaliser)} is 0 or missing"
        )
    listed = ", ".join(names[:_MAX_NAMED]) + ", ..." * (len(names) > _MAX_NAMED)
    logging.warning("%s: %s and no NME: %s", true.path, count, listed)
