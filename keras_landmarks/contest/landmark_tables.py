"""The contest's folder: its tables, read, checked and written, and where they and the images lie.

    train/images/*.jpg       train/landmarks.csv     file_name, Point_M0_X, Point_M0_Y, ...
    test/images/*.jpg        test/test_points.csv    file_name, point_index_list

Tables are UTF-8 text with one header line, separated by tabs, commas or semicolons; CRLF, a
byte-order mark and cells quoted as RFC 4180 says are read too. Columns are known by their titles
(`columns.find_points`) and may stand in any order; others are ignored. Every row has as many cells
as the header. Points are photo pixels: (0, 0) is the middle of the upper left pixel; some lie
outside the image. Names are read in Unicode's normal form C, so that é is the same in every table.

Tables come from strangers: nothing in them is evaluated, and memory is bounded by a block of them.

What is wrong with a row or an image is told as a reason, "what: the particulars", so that reasons
can be counted by what stands before the colon.
"""

import functools
import itertools
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from keras_landmarks.contest.columns import PointColumns, find_points
from keras_landmarks.contest.image_names import checked_name
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
)
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_write

_LARGEST_COORDINATE = 32767  # what int16 holds
_READ_LAXLY = (b" ", b"\t", b"\v", b"\f", b"\r", b"+")


@dataclass(frozen=True)
class LandmarkTable:
    """Names and points in photo pixels: (n, k, 2), int16 where all are whole, else float32.

    `sigmas` (n, k) float32, which predictions may have: the standard deviation of a point's x and
    of its y, in photo pixels.
    """

    file_names: list[str]
    points: np.ndarray
    sigmas: np.ndarray | None = None


class Rows(NamedTuple):
    """A piece of a landmark table: names, points (n, k, 2), line numbers, broken rows.

    The points are int16 where a quick look could tell that all are whole numbers, else float32.
    `others` are the names of rows that were not asked for.
    """

    file_names: list[str]
    points: np.ndarray
    lines: list[int]
    rejects: list[InvalidSample]
    others: Sequence[str] = ()


def iterate_landmarks(
    path: Path, limit: int | None = None, names: Collection[str] | None = None
) -> Iterator[Rows]:
    """Reads a landmark table or a submission piece by piece; broken rows are among `rejects`.

    Args:
        path: the table.
        limit: read only this many rows, broken ones included.
        names: normal paths (`os.path.normpath`) of the files whose rows are asked for, None for
            all. Of other rows only the names are read, which takes a fifth of the time.

    Raises:
        InputError: the file is missing, its header is not that of such a table, or a line has no
            end.
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
                    yield _parse_named_rows(block, numbers, header, names)
            line += len(block)
            if line == stop:
                break


def count_points(path: Path) -> int:
    """Returns how many points a landmark table's header has; InputError as `iterate_landmarks`."""
    with open_table(path) as file:
        return len(_read_landmark_header(path, file).points.names)


def read_point_names(path: Path) -> list[str]:
    """Returns what a landmark table's header calls the points, in the order they are read.

    InputError as `iterate_landmarks`.
    """
    with open_table(path) as file:
        return _read_landmark_header(path, file).points.names


def read_landmarks(path: Path) -> LandmarkTable:
    """Reads a whole landmark table or submission into memory.

    Raises:
        InputError: as `iterate_landmarks`, or a row is broken (named), or there is none.
    """
    file_names, pieces = [], []
    for rows in iterate_landmarks(path):
        if rows.rejects:
            broken = rows.rejects[0]
            raise InputError(f"{path}, line {broken.line} ({broken.file_name}): {broken.reason}")
        file_names += rows.file_names
        pieces.append(rows.points)
    if not file_names:
        raise InputError(f"{path}: there is no row under the header")
    points = np.concatenate(pieces)
    return LandmarkTable(file_names, points.astype(smallest_dtype(points)))


def smallest_dtype(points: np.ndarray) -> np.dtype:
    """Returns int16 for points that are all whole numbers, float32 for others."""
    whole = points.dtype == np.int16 or np.array_equal(points, np.rint(points))
    return np.dtype(np.int16 if whole else np.float32)


def write_landmarks(path: Path, file_names: Sequence[str], points: Iterable[np.ndarray]) -> None:
    """Writes a landmark table (tab separated); `points` yields one (k, 2) array a row."""
    _write_points(path, file_names, points, separator="\t")


def write_submission(path: Path, file_names: Sequence[str], points: Iterable[np.ndarray]) -> None:
    """Writes the contest's CSV; `points` yields the (p, 2) whole numbers asked of each image."""
    _write_points(path, file_names, points, separator=",")


def point_names(points: int) -> list[str]:
    """Returns what so many points are called in the contest's tables."""
    return [f"Point_M{i}" for i in range(points)]


def point_columns(points: int) -> list[str]:
    """Returns what the columns of so many points are called: x and y of the first, and so on."""
    return [f"{name}_{axis}" for name in point_names(points) for axis in "XY"]


@dataclass(frozen=True)
class _LandmarkHeader(Header):
    """The first line of a landmark table, with the columns of the points."""

    points: PointColumns

    @property
    def numbers(self) -> int:
        """How many cells of a row are coordinates of points."""
        return 2 * len(self.points.names)

    @functools.cached_property
    def is_plain(self) -> bool:
        """Whether a row is a name and then x and y of each point in turn, as the contest's is."""
        x, y, last = self.points.x, self.points.y, self.numbers
        in_turn = x == list(range(1, last, 2)) and y == list(range(2, last + 1, 2))
        return self.name == 0 and in_turn and len(self.titles) == last + 1

    @functools.cached_property
    def columns(self) -> list[int]:
        """The columns of x and y of each point in turn."""
        return list(itertools.chain(*zip(self.points.x, self.points.y, strict=True)))


def _read_landmark_header(path: Path, file: BinaryIO) -> _LandmarkHeader:
    header = read_header(path, file)
    try:
        return _LandmarkHeader(**vars(header), points=find_points(header.titles))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _parse_named_rows(
    block: list[bytes], lines: Sequence[int], header: _LandmarkHeader, wanted: Collection[str]
) -> Rows:
    """Parses the rows of the wanted files; of the others only the names."""
    kept, others = [], []
    for place, row in enumerate(block):
        name = _name_of(row.rstrip(b"\r"), header)
        if os.path.normpath(name) in wanted:
            kept.append(place)
        elif row.strip():
            others.append(name)
    if not kept:
        return Rows([], np.zeros((0, header.numbers // 2, 2), np.int16), [], [], others)
    rows = _parse_rows([block[place] for place in kept], [lines[place] for place in kept], header)
    return rows._replace(others=others)


def _name_of(row: bytes, header: _LandmarkHeader) -> str:
    for _ in range(header.name):
        _, row = split_first_cell(row, header.separator)
    return unquote(split_first_cell(row, header.separator)[0])


def _parse_rows(block: list[bytes], lines: Sequence[int], header: _LandmarkHeader) -> Rows:
    rows = _parse_plain_rows(block, lines, header) if header.is_plain else None
    return rows or _parse_rows_one_by_one(block, lines, header)


def _parse_plain_rows(
    block: list[bytes], lines: Sequence[int], header: _LandmarkHeader
) -> Rows | None:
    """Parses the rows of a plain table together; None if any of them needs a closer look."""
    pairs = [split_first_cell(row.rstrip(b"\r"), header.separator) for row in block]
    names, cells = zip(*pairs, strict=True)
    points = _parse_numbers_fast(cells, header.separator, header.numbers)
    if points is None:
        return None
    try:
        file_names = [checked_name(unquote(name)) for name in names]
    except ValueError:
        return None
    return Rows(file_names, points.reshape(len(block), -1, 2), list(lines), [])


def _parse_numbers_fast(cells: Sequence[bytes], separator: bytes, numbers: int):
    """Parses many rows in one call; None if any of them needs a closer look."""
    if any(row.count(separator) != numbers - 1 for row in cells):
        return None
    text = separator.join(cells)
    # NumPy passes over white space and takes a sign alone for 0.
    if any(mark in text for mark in _READ_LAXLY if mark != separator):
        return None
    if b"-" + separator in text or text.endswith(b"-"):
        return None
    try:
        # Whole numbers parse twice as fast as floats. int64: a narrower type would wrap around.
        values = np.fromstring(text, np.int64, sep=separator.decode())
    except ValueError:
        return None
    if values.size != numbers * len(cells):
        return None
    if values.min() < -_LARGEST_COORDINATE or values.max() > _LARGEST_COORDINATE:
        return None
    return values.astype(np.int16)


def _parse_rows_one_by_one(
    block: list[bytes], lines: Sequence[int], header: _LandmarkHeader
) -> Rows:
    rows = Rows([], [], [], [])
    for line, row in zip(lines, block, strict=True):
        if not row.strip():
            continue
        name, cells, count = _split_row(row.rstrip(b"\r"), header)
        try:
            checked_name(name)
            if count != len(header.titles):
                few = "fewer" if count < len(header.titles) else "more"
                raise ValueError(
                    f"{few} cells than the header has: {count}, not {len(header.titles)}"
                )
            points = _parse_numbers(cells, header.separator)
        except ValueError as error:
            rows.rejects.append(InvalidSample(name, line, str(error)))
            continue
        rows.file_names.append(name)
        rows.points.append(points)
        rows.lines.append(line)
    points = np.array(rows.points, np.float32).reshape(-1, header.numbers // 2, 2)
    return rows._replace(points=points)


def _split_row(row: bytes, header: _LandmarkHeader) -> tuple[str, list[bytes], int]:
    """Returns a row's file name, the cells of x and y of each point, and how many cells it has."""
    if header.is_plain:
        name, rest = split_first_cell(row, header.separator)
        cells = rest.split(header.separator) if len(row) > len(name) else []
        return unquote(name), cells, len(cells) + 1
    cells = split_cells(row, header.separator)
    name, *numbers = (
        cells[column] if column < len(cells) else b"" for column in [header.name, *header.columns]
    )
    return unquote(name), numbers, len(cells)


def _parse_numbers(cells: list[bytes], separator: bytes) -> np.ndarray:
    cells = [cell.strip(b' "') for cell in cells]
    if separator != b",":
        cells = [cell.replace(b",", b".") for cell in cells]  # decimal commas
    try:
        if b"".join(cells).translate(None, b"+-.0123456789Ee"):  # float takes nan and 1_000, too
            raise ValueError
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        raise ValueError("a cell is empty or not a number") from None
    if np.abs(values).max() > _LARGEST_COORDINATE:
        raise ValueError(f"a coordinate is beyond {_LARGEST_COORDINATE} px")
    return values


def _write_points(path: Path, file_names, points, separator: str) -> None:
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for index, (name, row) in enumerate(zip(file_names, points, strict=True)):
            if index == 0:
                file.write(separator.join(["file_name", *point_columns(len(row))]) + "\n")
            # %g drops the .0 of whole numbers, so both kinds of table look as they should. Adding 0
            # makes 0 of the -0 that rounding -0.4 gives.
            numbers = [f"{value:.7g}" for value in (np.asarray(row).reshape(-1) + 0).tolist()]
            file.write(separator.join([quote(name, separator), *numbers]) + "\n")
