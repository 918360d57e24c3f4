"""`test_points.csv`: the points that the contest requests for each test image."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest.image_names import validate_name
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.table_files import iterate_column, write_rows
from keras_landmarks.utils.errors import InputError

_INDEX_LIST = re.compile(r"\[ *(?:0|[1-9][0-9]{0,4})(?: *, *(?:0|[1-9][0-9]{0,4}))* *\]")
_MAX_INDEX = 32767


class RequestedPoints(NamedTuple):
    """A row of `test_points.csv`.

    Attributes:
        file_name: the image.
        line: the row's line in the file; the header is line 1.
        point_indices: the points requested for the image, int64.
    """

    file_name: str
    line: int
    point_indices: np.ndarray


@dataclass(frozen=True)
class RequestedPointsTable:
    """All rows of `test_points.csv`.

    Attributes:
        file_names: the images.
        point_indices: the points requested for each image, one int64 array per row.
        lines: the line of each row in the file; the header is line 1.
    """

    file_names: list[str]
    point_indices: list[np.ndarray]
    lines: list[int]


def iterate_test_points(path: Path) -> Iterator[RequestedPoints | InvalidSample]:
    """Yields every row of `test_points.csv`, broken ones as invalid samples.

    Raises:
        InputError: the file is missing, has no such header, or a line does not end.
    """
    for line, name, indices in iterate_column(path, "point_index_list"):
        try:
            yield RequestedPoints(validate_name(name), line, _parse_indices(indices))
        except ValueError as error:
            yield InvalidSample(name, line, str(error))


def read_test_points(path: Path) -> RequestedPointsTable:
    """Reads the whole of `test_points.csv`.

    Raises:
        InputError: as `iterate_test_points`, or a row is broken, or there is none.
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
    return RequestedPointsTable(file_names, point_indices, lines)


def write_test_points(
    path: Path, file_names: Sequence[str], point_indices: Iterable[np.ndarray]
) -> None:
    """Writes `test_points.csv` with one array of point indices per file name."""
    rows = zip(file_names, point_indices, strict=True)
    cells = ((name, str(np.asarray(indices).tolist())) for name, indices in rows)
    write_rows(path, ("file_name", "point_index_list"), cells)


def _parse_indices(text: str) -> np.ndarray:
    text = text.strip(" ")
    if not _INDEX_LIST.fullmatch(text):
        raise ValueError(f"not a list of point indices such as [0, 1, 2]: {text[:40]!r}")
    indices = np.array([int(index) for index in text[1:-1].split(",")])
    if indices.max() > _MAX_INDEX:
        raise ValueError(f"a point index is too large: {indices.max()}")
    return indices
