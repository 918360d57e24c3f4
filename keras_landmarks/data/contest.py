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

import dataclasses
import functools
import itertools
import os
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from keras_landmarks.data.columns import PointColumns, find_points
from keras_landmarks.errors import InputError
from keras_landmarks.files import whole_file, write_whole

_BLOCK_BYTES = 1 << 23  # tables are read in pieces of this size, so memory stays bounded
_LONGEST_LINE_BYTES = 1 << 20
_LARGEST_COORDINATE = 32767  # what int16 holds
_READ_LAXLY = (b" ", b"\t", b"\v", b"\f", b"\r", b"+")
_NAME_COLUMN = "file_name"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_TOLD = 40  # characters of a cell in a message
_QUOTED_CELL = re.compile(rb' *"[^"]*(?:""[^"]*)*"(?!")')
_INDEX_LIST = re.compile(r"\[ *(?:0|[1-9][0-9]{0,4})(?: *, *(?:0|[1-9][0-9]{0,4}))* *\]")
# Control characters, and what `_unquote` makes of bytes that are not UTF-8.
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class LandmarkTable:
    """Names and points in photo pixels: (n, k, 2), int16 where all are whole, else float32.

    `sigmas` (n, k) float32, which predictions may have: the standard deviation of a point's x and
    of its y, in photo pixels.
    """

    file_names: list[str]
    points: np.ndarray
    sigmas: np.ndarray | None = None


@dataclass(frozen=True)
class TestPoints:
    """Which points are asked of each test image: one int64 array of indices a row.

    `lines` has the line of each row in the file; the header is 1.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    file_names: list[str]
    point_indices: list[np.ndarray]
    lines: list[int]


class Reject(NamedTuple):
    """A sample that cannot be used. `line` counts from 1 and includes the header."""

    file_name: str
    line: int
    reason: str

    @property
    def kind(self) -> str:
        """The reason without the particulars."""
        return self.reason.partition(":")[0]


class Asked(NamedTuple):
    """A row of `test_points.csv`: which points are asked of an image, int64."""

    file_name: str
    line: int
    point_indices: np.ndarray


class Rows(NamedTuple):
    """A piece of a landmark table: names, points (n, k, 2), line numbers, broken rows.

    The points are int16 where a quick look could tell that all are whole numbers, else float32.
    `others` are the names of rows that were not asked for.
    """

    file_names: list[str]
    points: np.ndarray
    lines: list[int]
    rejects: list[Reject]
    others: Sequence[str] = ()


# ── tables ──


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
    with _open_table(path) as file:
        header = _read_landmark_header(path, file)
        line, stop = 2, 2 + limit if limit else sys.maxsize
        for lines in _iterate_blocks(path, file):
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
    with _open_table(path) as file:
        return len(_read_landmark_header(path, file).points.names)


def read_point_names(path: Path) -> list[str]:
    """Returns what a landmark table's header calls the points, in the order they are read.

    InputError as `iterate_landmarks`.
    """
    with _open_table(path) as file:
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


def iterate_test_points(path: Path) -> Iterator[Asked | Reject]:
    """Yields every row of `test_points.csv`, as what is asked or as a reject.

    Raises:
        InputError: the file is missing, has no such header, or a line has no end.
    """
    for line, name, indices in _iterate_pairs(path, "point_index_list"):
        try:
            yield Asked(checked_name(name), line, _parse_indices(indices))
        except ValueError as error:
            yield Reject(name, line, str(error))


def read_test_points(path: Path) -> TestPoints:
    """Reads `test_points.csv`: a name and a list of point indices a row.

    Raises:
        InputError: the file is missing or a row (named) is not a name and a list of indices.
    """
    file_names, point_indices, lines = [], [], []
    for row in iterate_test_points(path):
        if isinstance(row, Reject):
            raise InputError(f"{path}, line {row.line}: {row.reason}")
        file_names.append(row.file_name)
        point_indices.append(row.point_indices)
        lines.append(row.line)
    if not file_names:
        raise InputError(f"{path}: there is no row under the header")
    return TestPoints(file_names, point_indices, lines)


def write_landmarks(path: Path, file_names: Sequence[str], points: Iterable[np.ndarray]) -> None:
    """Writes a landmark table (tab separated); `points` yields one (k, 2) array a row."""
    _write_points(path, file_names, points, separator="\t")


def write_submission(path: Path, file_names: Sequence[str], points: Iterable[np.ndarray]) -> None:
    """Writes the contest's CSV; `points` yields the (p, 2) whole numbers asked of each image."""
    _write_points(path, file_names, points, separator=",")


def write_test_points(
    path: Path, file_names: Sequence[str], point_indices: Iterable[np.ndarray]
) -> None:
    """Writes `test_points.csv`."""
    rows = zip(file_names, point_indices, strict=True)
    cells = ((name, str(np.asarray(indices).tolist())) for name, indices in rows)
    write_rows(path, ("file_name", "point_index_list"), cells)


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Writes samples that cannot be used as a table: file name, row, reason.

    The row is the line in its table. Tabs and the like in a name are written as \\t.
    """
    rows = ([printable(str(cell)) for cell in reject] for reject in rejects)
    write_rows(path, ("file_name", "row", "reason"), rows)


def printable(text: str) -> str:
    """Returns the text with what does not print, or is no UTF-8, as \\t, \\x00, \\udcff."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def read_names(path: Path) -> list[str]:
    """Reads the column file_name of a table, whatever the others are: each name once.

    What cannot be the name of a file in the images folder is left out.

    Raises:
        InputError: the file is missing or has no column file_name.
    """
    return list(read_lines(path))


def read_lines(path: Path) -> dict[str, int]:
    """Returns the line of each name's first row: what `read_names` reads, by name.

    Raises:
        InputError: as `read_names`.
    """
    lines = {}
    for line, name, _ in _iterate_pairs(path, None):
        lines.setdefault(name, line)
    return {name: line for name, line in lines.items() if can_be_listed(name)}


def read_groups(path: Path) -> dict[str, str]:
    """Reads a table of file name and group (a person, say): name -> group.

    The group is the column beside file_name or, where there are more, the one called group.

    Raises:
        InputError: the file is missing, it is not clear which column is the group, a row has no
            group, or two rows give a name two groups.
    """
    groups = {}
    for line, name, group in _iterate_pairs(path, "group"):
        if not group:
            raise InputError(f"{path}, line {line}: a row is a file name and a group")
        if groups.setdefault(name, group) != group:
            raise InputError(f"{path}, line {line}: an earlier row has {name} in another group")
    return groups


def write_groups(path: Path, column: str, file_names: Iterable[str], groups: Iterable[str]) -> None:
    """Writes a table of file name and group; `column` is the header of the second."""
    write_rows(path, ("file_name", column), zip(file_names, groups, strict=True))


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a table under its header, tab separated."""
    write_whole(path, "".join(as_line(row) + "\n" for row in [header, *rows]))


def as_line(cells: Sequence[str]) -> str:
    """Returns a table's row, tab separated, without the newline."""
    return "\t".join(_quote(cell, "\t") for cell in cells)


def point_names(points: int) -> list[str]:
    """Returns what so many points are called in the contest's tables."""
    return [f"Point_M{i}" for i in range(points)]


def point_columns(points: int) -> list[str]:
    """Returns what the columns of so many points are called: x and y of the first, and so on."""
    return [f"{name}_{axis}" for name in point_names(points) for axis in "XY"]


def _iterate_pairs(path: Path, column: str | None) -> Iterator[tuple[int, str, str]]:
    """Yields line number, file name and the cell of a column of every row under the header.

    Where there are but two columns the second may be called anything. The last column takes all
    that is left of a row, for a list of indices that was not quoted. Without a column the cell is
    empty.
    """
    with _open_table(path) as file:
        header = _read_header(path, file)
        wanted = header.name if column is None else _find_column(path, header, column)
        rows = itertools.chain.from_iterable(_iterate_blocks(path, file))
        for line, row in enumerate(rows, start=2):
            if row.strip():
                cells = _first_cells(row.rstrip(b"\r"), header, max(header.name, wanted) + 1)
                cell = "" if column is None else _unquote(cells[wanted])
                yield line, _unquote(cells[header.name]), cell


def _find_column(path: Path, header: "_Header", column: str) -> int:
    if len(header.titles) == 2:
        return 1 - header.name
    if column in header.titles:
        return header.titles.index(column)
    told = ", ".join(title[:_LONGEST_TOLD] for title in header.titles[:8])
    raise InputError(f"{path}: no column is called {column}; the header has {told}")


def _first_cells(row: bytes, header: "_Header", count: int) -> list[bytes]:
    """Returns the first cells of a row; the last of all takes what is left."""
    cells = []
    for _ in range(min(count, len(header.titles) - 1)):
        cell, row = _split_name(row, header.separator)
        cells.append(cell)
    return [*cells, row]


def _open_table(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def _iterate_blocks(path: Path, file: BinaryIO) -> Iterator[list[bytes]]:
    """Yields the lines that follow, without their newlines, some megabytes at a time."""
    while block := file.read(_BLOCK_BYTES):
        lines = (block + _read_line(path, file)).split(b"\n")
        if not lines[-1]:  # what comes after the last newline
            lines.pop()
        yield lines


def _read_line(path: Path, file: BinaryIO) -> bytes:
    line = file.readline(_LONGEST_LINE_BYTES)
    if len(line) == _LONGEST_LINE_BYTES and not line.endswith(b"\n"):
        raise InputError(f"{path}: a line is over {_LONGEST_LINE_BYTES:,} bytes long; is it text?")
    return line


@dataclass(frozen=True)
class _Header:
    """A table's first line.

    Attributes:
        separator: of the cells.
        titles: of all columns.
        name: the column of file names, from 0.
        points: the columns of points, of a table that has such.
    """

    separator: bytes
    titles: list[str]
    name: int
    points: PointColumns | None = None

    @property
    def numbers(self) -> int:
        """How many cells of a row are numbers of points."""
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


def _read_landmark_header(path: Path, file: BinaryIO) -> _Header:
    header = _read_header(path, file)
    try:
        return dataclasses.replace(header, points=find_points(header.titles))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _read_header(path: Path, file: BinaryIO) -> _Header:
    line = _read_line(path, file)
    if not line:
        raise InputError(f"{path}: the file is empty")
    if line.startswith(_UTF16_MARKS):
        raise InputError(
            f"{path}: UTF-16, which Excel calls Unicode text; save it as CSV UTF-8 instead"
        )
    line = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    separator = b"\t" if b"\t" in line else max(b",", b";", key=line.count)
    titles = [_unquote(cell) for cell in line.split(separator)]
    if _NAME_COLUMN not in titles:
        told = _unquote(line)[:_LONGEST_TOLD]
        raise InputError(
            f"{path}: no column is called {_NAME_COLUMN}; the first line must be a header such as"
            f" {_NAME_COLUMN},x0,y0,x1,y1, not {told!r}"
        )
    if titles.count(_NAME_COLUMN) > 1:
        raise InputError(f"{path}: two columns are called {_NAME_COLUMN}")
    return _Header(separator, titles, titles.index(_NAME_COLUMN))


# ── rows of points ──


def _parse_named_rows(
    block: list[bytes], lines: Sequence[int], header: _Header, wanted: Collection[str]
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


def _name_of(row: bytes, header: _Header) -> str:
    for _ in range(header.name):
        _, row = _split_name(row, header.separator)
    return _unquote(_split_name(row, header.separator)[0])


def _parse_rows(block: list[bytes], lines: Sequence[int], header: _Header) -> Rows:
    rows = _parse_plain_rows(block, lines, header) if header.is_plain else None
    return rows or _parse_rows_one_by_one(block, lines, header)


def _parse_plain_rows(block: list[bytes], lines: Sequence[int], header: _Header) -> Rows | None:
    """Parses the rows of a plain table together; None if any of them needs a closer look."""
    pairs = [_split_name(row.rstrip(b"\r"), header.separator) for row in block]
    names, cells = zip(*pairs, strict=True)
    points = _parse_numbers_fast(cells, header.separator, header.numbers)
    if points is None:
        return None
    try:
        file_names = [checked_name(_unquote(name)) for name in names]
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


def _parse_rows_one_by_one(block: list[bytes], lines: Sequence[int], header: _Header) -> Rows:
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
            rows.rejects.append(Reject(name, line, str(error)))
            continue
        rows.file_names.append(name)
        rows.points.append(points)
        rows.lines.append(line)
    points = np.array(rows.points, np.float32).reshape(-1, header.numbers // 2, 2)
    return rows._replace(points=points)


def _split_row(row: bytes, header: _Header) -> tuple[str, list[bytes], int]:
    """Returns a row's file name, the cells of x and y of each point, and how many cells it has."""
    if header.is_plain:
        name, rest = _split_name(row, header.separator)
        cells = rest.split(header.separator) if len(row) > len(name) else []
        return _unquote(name), cells, len(cells) + 1
    cells = _split_quoted(row, header.separator)
    name, *numbers = (
        cells[column] if column < len(cells) else b"" for column in [header.name, *header.columns]
    )
    return _unquote(name), numbers, len(cells)


def _split_quoted(row: bytes, separator: bytes) -> list[bytes]:
    """Returns the cells of a row, any of which may have separators within quotes."""
    cells, rest = [], row
    while True:
        quoted = _QUOTED_CELL.match(rest)
        end = rest.find(separator, quoted.end() if quoted else 0)
        if end < 0:
            return [*cells, rest]
        cells.append(rest[:end])
        rest = rest[end + 1 :]


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


def _parse_indices(text: str) -> np.ndarray:
    text = text.strip(" ")
    if not _INDEX_LIST.fullmatch(text):
        raise ValueError(f"not a list of point indices such as [0, 1, 2]: {text[:40]!r}")
    indices = np.array([int(index) for index in text[1:-1].split(",")])
    if indices.max() > _LARGEST_COORDINATE:
        raise ValueError(f"a point index is too large: {indices.max()}")
    return indices


def _split_name(row: bytes, separator: bytes) -> tuple[bytes, bytes]:
    """Returns the first cell, which may have separators within quotes, and the rest."""
    quoted = _QUOTED_CELL.match(row)
    end = row.find(separator, quoted.end() if quoted else 0)
    return (row, b"") if end < 0 else (row[:end], row[end + 1 :])


def _unquote(cell: bytes) -> str:
    # As Python decodes the names in a folder: bytes that are not UTF-8 are kept, and told apart.
    text = cell.decode(errors="surrogateescape").strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def _quote(cell: str, separator: str) -> str:
    # Spaces around a cell are not part of it, unless they are within quotes.
    if separator in cell or '"' in cell or cell != cell.strip():
        return '"' + cell.replace('"', '""') + '"'
    return cell


def checked_name(name: str) -> str:
    """Returns the name; ValueError, with the reason, if no table can name such a file."""
    if not can_be_listed(name):
        raise ValueError(f"not the name of a file in the images folder: {name!r}")
    return name


def can_be_listed(name: str) -> bool:
    """Whether a table can name this file of the images folder."""
    climbs = name.startswith("/") or ".." in name.split("/")
    return bool(name) and not climbs and not _NOT_IN_NAMES.search(name)


def _write_points(path: Path, file_names, points, separator: str) -> None:
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for index, (name, row) in enumerate(zip(file_names, points, strict=True)):
            if index == 0:
                file.write(separator.join(["file_name", *point_columns(len(row))]) + "\n")
            # %g drops the .0 of whole numbers, so both kinds of table look as they should. Adding 0
            # makes 0 of the -0 that rounding -0.4 gives.
            numbers = [f"{value:.7g}" for value in (np.asarray(row).reshape(-1) + 0).tolist()]
            file.write(separator.join([_quote(name, separator), *numbers]) + "\n")


# ── the folder ──


def find_image_folder(data: Path, split: str) -> Path:
    """Returns the folder of the split's images; InputError if there is none."""
    folder = data / split / "images"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --data must be a folder in the contest's form")
    return folder


def find_photos(truth: Path | None, data: Path | None, split: str | None) -> Path | None:
    """Returns the folder of the photos that a table of true points is of; None if it is not known.

    The split's, where one is named; else `images` beside the table; else the test split's.

    Raises:
        InputError: `data` has no such folder.
    """
    beside = truth.parent / "images" if truth else None
    if beside and beside.is_dir() and split is None:
        return beside
    return find_image_folder(data, split or "test") if data else None


def list_files(folder: Path) -> list[str]:
    """Returns the files below the folder by their paths from it, sorted.

    What macOS adds to archives and folders is left out: __MACOSX, ._photo.jpg, .DS_Store.
    """
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__MACOSX"]
        inner = os.path.relpath(parent, folder)
        names = [name for name in names if not name.startswith(("._", ".DS_Store"))]
        paths += [os.path.normpath(os.path.join(inner, name)) for name in names]
    return sorted(paths)


def find_landmarks(data: Path, split: str) -> Path:
    """Returns the split's own table of points; InputError if there is none."""
    return _first_file(data / split / "landmarks.csv", data / split / "test_landmarks.csv")


def find_test_points(data: Path, split: str) -> Path:
    """Returns `test_points.csv` in the split's folder or, for the test split, beside it.

    Raises:
        InputError: there is none.
    """
    return _first_file(*_test_points(data, split))


def find_test_points_or_landmarks(data: Path, split: str) -> Path:
    """Returns what `find_test_points` does or, where that is missing, the split's landmarks.csv.

    Raises:
        InputError: there is neither.
    """
    return _first_file(*_test_points(data, split), data / split / "landmarks.csv")


def _test_points(data: Path, split: str) -> list[Path]:
    folders = [data / split, data] if split == "test" else [data / split]
    return [folder / "test_points.csv" for folder in folders]


def _first_file(*candidates: Path) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(f"none of these files exists: {', '.join(map(str, candidates))}")
