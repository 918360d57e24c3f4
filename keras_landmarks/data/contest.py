"""The contest's folder: its tables, read, checked and written, and where they and the images lie.

    train/images/*.jpg       train/landmarks.csv     file_name, Point_M0_X, Point_M0_Y, ...
    test/images/*.jpg        test/test_points.csv    file_name, point_index_list

Tables have one header line and are separated by tabs or commas; CRLF, a byte-order mark and cells
quoted as RFC 4180 says are read too. Any number of points is right as long as every row has as many
as the header. Points are photo pixels: (0, 0) is the middle of the upper left pixel; some lie
outside the image.

Tables come from strangers: nothing in them is evaluated, and memory is bounded by a block of them.

What is wrong with a row or an image is told as a reason, "what: the particulars", so that reasons
can be counted by what stands before the colon.
"""

import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from keras_landmarks.errors import InputError
from keras_landmarks.files import whole_file, write_whole

_BLOCK_BYTES = 1 << 23  # tables are read in pieces of this size, so memory stays bounded
_LONGEST_LINE_BYTES = 1 << 20
_LARGEST_COORDINATE = 32767  # what int16 holds
_READ_LAXLY = (b" ", b"\t", b"\v", b"\f", b"\r", b"+")
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
    """Which points are asked of each test image: one int64 array of indices a row."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    file_names: list[str]
    point_indices: list[np.ndarray]


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
    """

    file_names: list[str]
    points: np.ndarray
    lines: list[int]
    rejects: list[Reject]


# ── tables ──


def iterate_landmarks(path: Path, limit: int | None = None) -> Iterator[Rows]:
    """Reads a landmark table or a submission piece by piece; broken rows are among `rejects`.

    With a `limit` only so many rows are read, broken ones included.

    Raises:
        InputError: the file is missing, its header is not that of such a table, or a line has no
            end.
    """
    with _open_table(path) as file:
        separator, numbers = _read_landmark_header(path, file)
        line, stop = 2, 2 + limit if limit else sys.maxsize
        for lines in _iterate_blocks(path, file):
            if block := lines[: stop - line]:
                yield _parse_rows(block, line, separator, numbers)
            line += len(block)
            if line == stop:
                break


def count_points(path: Path) -> int:
    """Returns how many points a landmark table's header has; InputError as `iterate_landmarks`."""
    with _open_table(path) as file:
        return _read_landmark_header(path, file)[1] // 2


def read_columns(path: Path) -> list[str]:
    """Returns the header's cells; InputError if the file has no header of ours."""
    with _open_table(path) as file:
        return _read_header(path, file)[1]


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
    for line, name, indices in _iterate_pairs(path):
        try:
            yield Asked(checked_name(name), line, _parse_indices(indices))
        except ValueError as error:
            yield Reject(name, line, str(error))


def read_test_points(path: Path) -> TestPoints:
    """Reads `test_points.csv`: a name and a list of point indices a row.

    Raises:
        InputError: the file is missing or a row (named) is not a name and a list of indices.
    """
    file_names, point_indices = [], []
    for row in iterate_test_points(path):
        if isinstance(row, Reject):
            raise InputError(f"{path}, line {row.line}: {row.reason}")
        file_names.append(row.file_name)
        point_indices.append(row.point_indices)
    if not file_names:
        raise InputError(f"{path}: there is no row under the header")
    return TestPoints(file_names, point_indices)


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
    """Reads the first column of a table, whatever the others are: file names, each once.

    What cannot be the name of a file in the images folder is left out.

    Raises:
        InputError: the file is missing or has no header that begins with file_name.
    """
    names = dict.fromkeys(name for _, name, _ in _iterate_pairs(path, fewest_columns=1))
    return list(filter(can_be_listed, names))


def read_groups(path: Path) -> dict[str, str]:
    """Reads a table of file name and group (a person, say): name -> group.

    Raises:
        InputError: the file is missing, a row has no group, or two rows give a name two groups.
    """
    groups = {}
    for line, name, group in _iterate_pairs(path):
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


def point_columns(points: int) -> list[str]:
    """Returns what the columns of so many points are called: x and y of the first, and so on."""
    return [f"Point_M{i}_{axis}" for i in range(points) for axis in "XY"]


def _iterate_pairs(path: Path, fewest_columns: int = 2) -> Iterator[tuple[int, str, str]]:
    """Yields line number, first cell and the rest of every row under the header."""
    with _open_table(path) as file:
        separator, _ = _read_header(path, file, fewest_columns)
        rows = itertools.chain.from_iterable(_iterate_blocks(path, file))
        for line, row in enumerate(rows, start=2):
            name, rest = _split_name(row, separator)
            if row.strip():
                yield line, _unquote(name), _unquote(rest)


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


def _read_landmark_header(path: Path, file: BinaryIO) -> tuple[bytes, int]:
    """Returns the separator and how many numbers a row has."""
    separator, columns = _read_header(path, file)
    if len(columns) < 3 or len(columns) % 2 == 0:
        raise InputError(
            f"{path}: the header has {len(columns)} columns; a landmark table has file_name and"
            " then an x and a y for each point"
        )
    return separator, len(columns) - 1


def _read_header(path: Path, file: BinaryIO, fewest_columns: int = 2) -> tuple[bytes, list[str]]:
    """Returns the separator and the columns' names."""
    header = _read_line(path, file)
    if not header:
        raise InputError(f"{path}: the file is empty")
    separator = b"\t" if b"\t" in header else b","
    cells = header.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").split(separator)
    if len(cells) < fewest_columns:
        raise InputError(
            f"{path}: the first line has neither tab nor comma; is another separator in use?"
        )
    columns = [_unquote(cell) for cell in cells]
    if columns[0] != "file_name":
        raise InputError(
            f"{path}: the first line must be a header that begins with file_name,"
            f" not {columns[0][:40]!r}"
        )
    return separator, columns


def _parse_rows(block: list[bytes], first_line: int, separator: bytes, numbers: int) -> Rows:
    pairs = [_split_name(row.rstrip(b"\r"), separator) for row in block]
    names, cells = zip(*pairs, strict=True)
    points = _parse_numbers_fast(cells, separator, numbers)
    if points is None:
        return _parse_rows_one_by_one(block, first_line, separator, numbers)
    try:
        file_names = [checked_name(_unquote(name)) for name in names]
    except ValueError:
        return _parse_rows_one_by_one(block, first_line, separator, numbers)
    lines = list(range(first_line, first_line + len(block)))
    return Rows(file_names, points.reshape(len(block), -1, 2), lines, [])


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
    block: list[bytes], first_line: int, separator: bytes, numbers: int
) -> Rows:
    rows = Rows([], [], [], [])
    for line, row in enumerate(block, start=first_line):
        if not row.strip():
            continue
        name, cells = _split_name(row.rstrip(b"\r"), separator)
        name = _unquote(name)
        try:
            checked_name(name)
            points = _parse_numbers(cells, separator, numbers)
        except ValueError as error:
            rows.rejects.append(Reject(name, line, str(error)))
            continue
        rows.file_names.append(name)
        rows.points.append(points)
        rows.lines.append(line)
    points = np.array(rows.points, np.float32).reshape(-1, numbers // 2, 2)
    return rows._replace(points=points)


def _parse_numbers(row: bytes, separator: bytes, numbers: int) -> np.ndarray:
    cells = [cell.strip(b' "') for cell in row.split(separator)] if row else []
    if len(cells) != numbers:
        few = "fewer" if len(cells) < numbers else "more"
        raise ValueError(f"{few} numbers than the header has: {len(cells)}, not {numbers}")
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
        raise ValueError(f"not a list of point indices: {text[:40]!r}")
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
            # %g drops the .0 of whole numbers, so both kinds of table look as they should.
            numbers = [f"{value:.7g}" for value in np.asarray(row).reshape(-1).tolist()]
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
    """Returns the files below the folder by their paths from it, sorted."""
    paths = []
    for parent, _, names in os.walk(folder):
        inner = os.path.relpath(parent, folder)
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
