"""`test_points.csv`: which points the contest asks for in each test image."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest.image_names import checked_name
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.landmark_tables import _LARGEST_COORDINATE
from keras_landmarks.contest.table_files import iterate_pairs, write_rows
from keras_landmarks.utils.errors import InputError

_INDEX_LIST = re.compile(r"\[ *(?:0|[1-9][0-9]{0,4})(?: *, *(?:0|[1-9][0-9]{0,4}))* *\]")


@dataclass(frozen=True)
class TestPoints:
    """Which points are asked of each test image: one int64 array of indices a row.

    `lines` has the line of each row in the file; the header is 1.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    file_names: list[str]
    point_indices: list[np.ndarray]
    lines: list[int]


class RequestedPoints(NamedTuple):
    """A row of `test_points.csv`: which points are asked of an image, int64."""

    file_name: str
    line: int
    point_indices: np.ndarray


def iterate_test_points(path: Path) -> Iterator[RequestedPoints | InvalidSample]:
    """Yields every row of `test_points.csv`, as what is asked or as a reject.

    Raises:
        InputError: the file is missing, has no such header, or a line has no end.
    """
    for line, name, indices in iterate_pairs(path, "point_index_list"):
        try:
            yield RequestedPoints(checked_name(name), line, _parse_indices(indices))
        except ValueError as error:
            yield InvalidSample(name, line, str(error))


def read_test_points(path: Path) -> TestPoints:
    """Reads `test_points.csv`: a name and a list of point indices a row.

    Raises:
        InputError: the file is missing or a row (named) is not a name and a list of indices.
    """
    file_names, point_indices, lines = [], [], []
    for row in iterate_test_points(path):
        if isinstance(row, InvalidSample):
            raise InputError(f"{path}, line {row.line}: {row.reason}")
        file_names.append(row.file_name)
        point_indices.append(row.point_indices)
        lines.append(row.line)
    if not file_names:
        raise InputError(f"{path}: there is no row under the header")
    return TestPoints(file_names, point_indices, lines)


def write_test_points(
    path: Path, file_names: Sequence[str], point_indices: Iterable[np.ndarray]
) -> None:
    """Writes `test_points.csv`."""
    rows = zip(file_names, point_indices, strict=True)
    cells = ((name, str(np.asarray(indices).tolist())) for name, indices in rows)
    write_rows(path, ("file_name", "point_index_list"), cells)


def _parse_indices(text: str) -> np.ndarray:
    text = text.strip(" ")
    if not _INDEX_LIST.fullmatch(text):
        raise ValueError(f"not a list of point indices such as [0, 1, 2]: {text[:40]!r}")
    indices = np.array([int(index) for index in text[1:-1].split(",")])
    if indices.max() > _LARGEST_COORDINATE:
        raise ValueError(f"a point index is too large: {indices.max()}")
    return indices
