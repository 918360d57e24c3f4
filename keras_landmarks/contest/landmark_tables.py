"""`landmarks.csv` and submissions: one row per image, a file name and x and y of each landmark.

The coordinates are photo pixels: (0, 0) is the centre of the upper left pixel, and landmarks may
lie outside the image. A landmark without a place has two empty cells, and is NaN in arrays; every
row has at least one landmark with a place. `columns` says how their columns are recognised,
`table_files` which dialects of text tables are accepted. Every row must have as many cells as the
header.
"""

import functools
import itertools
import math
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from keras_landmarks.contest.columns import PointColumns, find_point_columns
from keras_landmarks.contest.image_names import validate_name
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.table_files import (
    Header,
    iterate_blocks,
    open_table,
    quote,
    read_header,
    split_cells,
    split_first_cell,
    unquote,
    with_decimal_points,
)
from keras_landmarks.layouts import gaps
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_write

NO_PLACE = "points without a place"
_MAX_COORDINATE = 32767  # the largest int16
_MAX_NAME_CHARACTERS = 200  # in an error
EMPTY_CELLS = ("", "nan", "NaN", "NA")  # what other programs write for no number
_EMPTY_CELL_BYTES = tuple(map(str.encode, EMPTY_CELLS))
_IGNORED_BY_NUMPY = (b" ", b"\t", b"\v", b"\f", b"\r", b"+")


@dataclass(frozen=True)
class LandmarkTable:
    """Landmarks of n images.

    Attributes:
        file_names: n names.
        landmarks_photo_px: (n, k, 2), int16 if all are whole numbers, else float32, with NaN for
            landmarks without a place.
        sigmas_px: (n, k) float32, photo pixels: the standard deviation of each predicted x and y.
            Only predictions have them.
        point_names: k names; None if they are not known. Only predictions have them here.
        imputed: names of images that could not be read, whose predictions are the mean shape.
    """

    file_names: list[str]
    landmarks_photo_px: np.ndarray
    sigmas_px: np.ndarray | None = None
    point_names: list[str] | None = None
    imputed: frozenset[str] = frozenset()


class LandmarkRows(NamedTuple):
    """A block of n valid rows of a landmark table, and what else the block holds.

    Attributes:
        file_names: n names.
        landmarks_photo_px: (n, k, 2), int16 if a quick check shows that all are whole numbers,
            else float32, with NaN for landmarks without a place.
        lines: the n line numbers; the header is line 1.
        invalid_samples: the block's broken rows.
        other_names: names in rows that were not requested.
    """

    file_names: list[str]
    landmarks_photo_px: np.ndarray
    lines: list[int]
    invalid_samples: list[InvalidSample]
    other_names: Sequence[str] = ()


def iterate_landmarks(
    path: Path, limit: int | None = None, names: Collection[str] | None = None
) -> Iterator[LandmarkRows]:
    """Reads a landmark table or a submission block by block.

    Args:
        path: the table.
        limit: read only this many rows, including broken ones.
        names: normalised paths (`os.path.normpath`) of the requested files; None for all. Of other
            rows only the names are read, which takes a fifth of the time.

    Yields:
        Blocks of rows; broken rows are among the block's `invalid_samples`.

    Raises:
        InputError: the file is missing, its header is not that of a landmark table, or a line does
            not end.
    """
    with open_table(path) as file:
        header = _read_landmark_header(path, file)
        line, stop = 2, 2 + limit if limit else sys.maxsize
        for lines in iterate_blocks(path, file):
            if block := lines[: stop - line]:
                numbers = range(line, line + len(block))
                if names is None:
                    yield _parse_rows(block, numbers, header)
                else:
                    yield _parse_requested_rows(block, numbers, header, names)
            line += len(block)
            if line == stop:
                break


def read_landmarks(path: Path) -> LandmarkTable:
    """Reads a whole table of predictions or submission into memory.

    Raises:
        InputError: as `iterate_landmarks`, or a row is broken or incomplete, or there is none.
    """
    file_names, pieces = [], []
    for rows in map(without_gaps, iterate_landmarks(path)):
        if rows.invalid_samples:
            raise InputError(rows.invalid_samples[0].describe(path))
        file_names += rows.file_names
        pieces.append(rows.landmarks_photo_px)
    if not file_names:
        raise InputError(f"{path}: there is no row under the header")
    return LandmarkTable(file_names, as_smallest_dtype(np.concatenate(pieces)))


def without_gaps(rows: LandmarkRows) -> LandmarkRows:
    """Returns a block in which rows that lack a landmark are invalid, as in predictions."""
    if rows.landmarks_photo_px.dtype == np.int16:
        return rows
    missing = gaps.count_missing(rows.landmarks_photo_px)
    kept, incomplete = np.flatnonzero(missing == 0), np.flatnonzero(missing)
    return LandmarkRows(
        [rows.file_names[row] for row in kept],
        rows.landmarks_photo_px[kept],
        [rows.lines[row] for row in kept],
        rows.invalid_samples
        + [
            InvalidSample(rows.file_names[row], rows.lines[row], f"{NO_PLACE}: {missing[row]}")
            for row in incomplete
        ],
        rows.other_names,
    )


def never_placed(table: Path, points: Sequence[str]) -> InputError:
    """Returns the error that these points have a place in no row that is trained on."""
    names = ", ".join(points)[:_MAX_NAME_CHARACTERS]
    return InputError(
        f"{table}: these points have a place in none of the training photos: {names}; place them in"
        " some, or remove their columns"
    )


def count_points(path: Path) -> int:
    """Returns the number of landmarks in a table's header.

    Raises:
        InputError: as `iterate_landmarks`.
    """
    return len(read_point_names(path))


def read_point_names(path: Path) -> list[str]:
    """Returns the names of the landmarks in a table's header, in the order they are read.

    Raises:
        InputError: as `iterate_landmarks`.
    """
    with open_table(path) as file:
        return _read_landmark_header(path, file).points.names


def as_smallest_dtype(points: np.ndarray) -> np.ndarray:
    """Returns points as int16 if all coordinates are whole numbers (and none NaN), else float32."""
    whole = points.dtype == np.int16 or np.array_equal(points, np.rint(points))
    return points.astype(np.int16 if whole else np.float32, copy=False)


def write_landmarks(path: Path, file_names: Sequence[str], points: Iterable[np.ndarray]) -> None:
    """Writes a tab-separated landmark table.

    `points` yields a (k, 2) array for each file name; landmarks that are NaN become empty cells.
    """
    _write_points(path, file_names, points, separator="\t")


def write_submission(path: Path, file_names: Sequence[str], points: Iterable[np.ndarray]) -> None:
    """Writes the contest's CSV; `points` yields the requested (p, 2) integers of each image."""
    _write_points(path, file_names, points, separator=",")


def point_names(num_landmarks: int) -> list[str]:
    """Returns the names of the landmarks in the contest's tables."""
    return [f"Point_M{i}" for i in range(num_landmarks)]


def point_columns(num_landmarks: int) -> list[str]:
    """Returns the titles of the landmarks' columns in the contest's tables, x and y in turn."""
    return [f"{name}_{axis}" for name in point_names(num_landmarks) for axis in "XY"]


# ── reading ──


@dataclass(frozen=True)
class _LandmarkHeader(Header):
    """The first line of a landmark table, with the columns of the landmarks."""

    points: PointColumns

    @property
    def num_coordinates(self) -> int:
        """The number of coordinates in a row."""
        return 2 * len(self.points.names)

    @functools.cached_property
    def is_plain(self) -> bool:
        """Whether a row is a name, then x and y of each landmark in turn, as in the contest."""
        x, y, last = self.points.x, self.points.y, self.num_coordinates
        in_turn = x == list(range(1, last, 2)) and y == list(range(2, last + 1, 2))
        return self.name_column == 0 and in_turn and len(self.titles) == last + 1

    @functools.cached_property
    def columns(self) -> list[int]:
        """The columns of x and y of each landmark in turn."""
        return list(itertools.chain(*zip(self.points.x, self.points.y, strict=True)))


def _read_landmark_header(path: Path, file: BinaryIO) -> _LandmarkHeader:
    header = read_header(path, file)
    try:
        return _LandmarkHeader(**vars(header), points=find_point_columns(header.titles))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _parse_requested_rows(
    block: list[bytes], lines: Sequence[int], header: _LandmarkHeader, names: Collection[str]
) -> LandmarkRows:
    """Parses the rows of the files in `names`; of other rows only the name."""
    kept, other_names = [], []
    for index, row in enumerate(block):
        name = _parse_name(row.rstrip(b"\r"), header)
        if os.path.normpath(name) in names:
            kept.append(index)
        elif row.strip():
            other_names.append(name)
    if not kept:
        no_points = np.zeros((0, header.num_coordinates // 2, 2), np.int16)
        return LandmarkRows([], no_points, [], [], other_names)
    rows = _parse_rows([block[index] for index in kept], [lines[index] for index in kept], header)
    return rows._replace(other_names=other_names)


def _parse_name(row: bytes, header: _LandmarkHeader) -> str:
    for _ in range(header.name_column):
        _, row = split_first_cell(row, header.separator)
    return unquote(split_first_cell(row, header.separator)[0])


def _parse_rows(block: list[bytes], lines: Sequence[int], header: _LandmarkHeader) -> LandmarkRows:
    rows = _parse_plain_rows(block, lines, header) if header.is_plain else None
    return rows or _parse_rows_one_by_one(block, lines, header)


def _parse_plain_rows(
    block: list[bytes], lines: Sequence[int], header: _LandmarkHeader
) -> LandmarkRows | None:
    """Parses the rows of a plain table together; returns None if any row is not plain integers."""
    pairs = [split_first_cell(row.rstrip(b"\r"), header.separator) for row in block]
    names, cells = zip(*pairs, strict=True)
    points = _parse_integers(cells, header.separator, header.num_coordinates)
    if points is None:
        return None
    try:
        file_names = [validate_name(unquote(name)) for name in names]
    except ValueError:
        return None
    return LandmarkRows(file_names, points.reshape(len(block), -1, 2), list(lines), [])


def _parse_integers(cells: Sequence[bytes], separator: bytes, per_row: int) -> np.ndarray | None:
    """Parses many rows in one call; returns None if any row is not `per_row` plain integers."""
    if any(row.count(separator) != per_row - 1 for row in cells):
        return None
    text = separator.join(cells)
    # NumPy skips white space and reads a sign without digits as 0.
    if any(character in text for character in _IGNORED_BY_NUMPY if character != separator):
        return None
    if b"-" + separator in text or text.endswith(b"-"):
        return None
    try:
        # Whole numbers parse twice as fast as floats. int64: a narrower type would wrap around.
        values = np.fromstring(text, np.int64, sep=separator.decode())
    except ValueError:
        return None
    if values.size != per_row * len(cells):
        return None
    if values.min() < -_MAX_COORDINATE or values.max() > _MAX_COORDINATE:
        return None
    return values.astype(np.int16)


def _parse_rows_one_by_one(
    block: list[bytes], lines: Sequence[int], header: _LandmarkHeader
) -> LandmarkRows:
    rows = LandmarkRows([], [], [], [])
    for line, row in zip(lines, block, strict=True):
        if not row.strip():
            continue
        name, cells, num_cells = _split_row(row.rstrip(b"\r"), header)
        try:
            validate_name(name)
            if num_cells != len(header.titles):
                few = "fewer" if num_cells < len(header.titles) else "more"
                raise ValueError(
                    f"{few} cells than the header has: {num_cells}, not {len(header.titles)}"
                )
            points = _parse_coordinates(cells, header.separator)
        except ValueError as error:
            rows.invalid_samples.append(InvalidSample(name, line, str(error)))
            continue
        rows.file_names.append(name)
        rows.landmarks_photo_px.append(points)
        rows.lines.append(line)
    shape = (len(rows.lines), header.num_coordinates // 2, 2)
    landmarks = np.array(rows.landmarks_photo_px, np.float32).reshape(shape)
    return rows._replace(landmarks_photo_px=landmarks)


def _split_row(row: bytes, header: _LandmarkHeader) -> tuple[str, list[bytes], int]:
    """Returns a row's file name, the cells of its coordinates, and its number of cells."""
    if header.is_plain:
        name, rest = split_first_cell(row, header.separator)
        cells = rest.split(header.separator) if len(row) > len(name) else []
        return unquote(name), cells, len(cells) + 1
    cells = split_cells(row, header.separator)
    name, *coordinates = (
        cells[column] if column < len(cells) else b""
        for column in [header.name_column, *header.columns]
    )
    return unquote(name), coordinates, len(cells)


def _parse_coordinates(cells: list[bytes], separator: bytes) -> np.ndarray:
    """Returns x and y of each landmark in turn; both are NaN if both cells are empty."""
    cells = [cell.strip(b' "') for cell in cells]
    if separator != b"," and any(b"," in cell for cell in cells):
        texts = [cell.decode(errors="replace") for cell in cells]
        cells = list(map(str.encode, with_decimal_points(texts)))
    is_empty = np.array([cell in _EMPTY_CELL_BYTES for cell in cells])
    filled = [b"0" if empty else cell for cell, empty in zip(cells, is_empty, strict=True)]
    try:
        if b"".join(filled).translate(None, b"+-.0123456789Ee"):  # float() accepts nan and 1_000
            raise ValueError
        values = np.array([float(cell) for cell in filled])
    except ValueError:
        raise ValueError("a cell is not a number") from None
    if np.abs(values).max() > _MAX_COORDINATE:
        raise ValueError(f"a coordinate is beyond {_MAX_COORDINATE} px")
    if is_empty.all():
        raise ValueError("no point has a place")
    halves = np.flatnonzero(is_empty[::2] != is_empty[1::2])
    if halves.size:
        raise ValueError(f"a point has only one of x and y: {len(halves)}, first point {halves[0]}")
    values[is_empty] = np.nan
    return values


# ── writing ──


def _write_points(path: Path, file_names, points, separator: str) -> None:
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for index, (name, row) in enumerate(zip(file_names, points, strict=True)):
            if index == 0:
                file.write(separator.join(["file_name", *point_columns(len(row))]) + "\n")
            # %g writes whole numbers without .0. Adding 0 turns the -0 that rounding -0.4 gives
            # into 0.
            values = (np.asarray(row).reshape(-1) + 0).tolist()
            cells = ["" if math.isnan(value) else f"{value:.7g}" for value in values]
            file.write(separator.join([quote(name, separator), *cells]) + "\n")
