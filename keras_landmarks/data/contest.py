"""The contest's folder: its tables and images, read, checked and written.

    train/images/*.jpg       train/landmarks.csv     file_name, Point_M0_X, Point_M0_Y, ...
    test/images/*.jpg        test/test_points.csv    file_name, point_index_list

Tables have one header line and are separated by tabs or commas; CRLF, a byte-order mark and quoted
cells are read too. Any number of points is right as long as every row has as many as the header.
Points are photo pixels: (0, 0) is the middle of the upper left pixel; some lie outside the image.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from keras_landmarks.errors import InputError
from keras_landmarks.files import whole_file, write_whole

_BLOCK_BYTES = 1 << 23  # tables are read in pieces of this size, so memory stays bounded
_LARGEST_COORDINATE = 32767  # what int16 holds
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True)
class LandmarkTable:
    """Names and points in photo pixels: (n, k, 2), int16 where all are whole, else float32."""

    file_names: list[str]
    points: np.ndarray


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
        InputError: the file is missing, or its header is not that of such a table.
    """
    with _open_table(path) as file:
        separator, columns = _read_header(path, file.readline())
        if columns < 3 or columns % 2 == 0:
            raise InputError(
                f"{path}: the header has {columns} columns; a landmark table has file_name and then"
                " an x and a y for each point"
            )
        line, stop = 2, 2 + limit if limit else sys.maxsize
        while block := file.readlines(_BLOCK_BYTES)[: stop - line]:
            yield _parse_rows(block, line, separator, numbers=columns - 1)
            line += len(block)


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


def read_test_points(path: Path) -> TestPoints:
    """Reads `test_points.csv`: a name and a list of point indices a row.

    Raises:
        InputError: the file is missing or a row (named) is not a name and a list of indices.
    """
    file_names, point_indices = [], []
    for line, name, indices in _iterate_pairs(path):
        try:
            file_names.append(_checked_name(name))
            point_indices.append(_parse_indices(indices))
        except ValueError as error:
            raise InputError(f"{path}, line {line}: {error}") from None
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
    lines = [f"{name}\t{np.asarray(indices).tolist()}\n" for name, indices in rows]
    write_whole(path, "file_name\tpoint_index_list\n" + "".join(lines))


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Writes samples that cannot be used as a table: file name, line, reason."""
    lines = ["\t".join(map(str, reject)) + "\n" for reject in rejects]
    write_whole(path, "file_name\tline\treason\n" + "".join(lines))


def read_groups(path: Path) -> dict[str, str]:
    """Reads a table of file name and group (a person, say): name -> group.

    Raises:
        InputError: the file is missing or a row has no group.
    """
    groups = {}
    for line, name, group in _iterate_pairs(path):
        if not group:
            raise InputError(f"{path}, line {line}: a row is a file name and a group")
        groups[name] = group
    return groups


def write_groups(path: Path, column: str, file_names: Iterable[str], groups: Iterable[str]) -> None:
    """Writes a table of file name and group; `column` is the header of the second."""
    rows = [f"{name}\t{group}\n" for name, group in zip(file_names, groups, strict=True)]
    write_whole(path, f"file_name\t{column}\n" + "".join(rows))


def _iterate_pairs(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yields line number, first cell and the rest of every row under the header."""
    with _open_table(path) as file:
        separator, _ = _read_header(path, file.readline())
        for line, row in enumerate(file, start=2):
            name, _, rest = row.partition(separator)
            if row.strip():
                yield line, _unquote(name), _unquote(rest)


def _open_table(path: Path):
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def _read_header(path: Path, header: bytes) -> tuple[bytes, int]:
    """Returns the separator and the number of columns."""
    if not header:
        raise InputError(f"{path}: the file is empty")
    separator = b"\t" if b"\t" in header else b","
    cells = header.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").split(separator)
    if len(cells) < 2:
        raise InputError(
            f"{path}: the first line has neither tab nor comma; is another separator in use?"
        )
    if _unquote(cells[0]) != "file_name":
        raise InputError(
            f"{path}: the first line must be a header that begins with file_name,"
            f" not {_unquote(cells[0])[:40]!r}"
        )
    return separator, len(cells)


def _parse_rows(block: list[bytes], first_line: int, separator: bytes, numbers: int) -> Rows:
    pairs = [row.rstrip(b"\r\n").partition(separator)[::2] for row in block]
    names, cells = zip(*pairs, strict=True)
    points = _parse_numbers_fast(cells, separator, numbers)
    if points is None:
        return _parse_rows_one_by_one(names, cells, first_line, separator, numbers)
    try:
        file_names = [_checked_name(_unquote(name)) for name in names]
    except ValueError:
        return _parse_rows_one_by_one(names, cells, first_line, separator, numbers)
    lines = list(range(first_line, first_line + len(block)))
    return Rows(file_names, points.reshape(len(block), -1, 2), lines, [])


def _parse_numbers_fast(cells: Sequence[bytes], separator: bytes, numbers: int):
    """Parses many rows in one call; None if any of them needs a closer look."""
    if any(row.count(separator) != numbers - 1 or b" " in row for row in cells):
        return None
    try:
        # Whole numbers parse twice as fast as floats. int64: a narrower type would wrap around.
        values = np.fromstring(separator.join(cells), np.int64, sep=separator.decode())
    except ValueError:
        return None
    if values.size != numbers * len(cells):
        return None
    if values.min() < -_LARGEST_COORDINATE or values.max() > _LARGEST_COORDINATE:
        return None
    return values.astype(np.int16)


def _parse_rows_one_by_one(names, cells, first_line: int, separator: bytes, numbers: int) -> Rows:
    rows = Rows([], [], [], [])
    for line, (name, row) in enumerate(zip(names, cells, strict=True), start=first_line):
        if not name and not row:  # a blank line
            continue
        try:
            file_name = _checked_name(_unquote(name))
            points = _parse_numbers(row, separator, numbers)
        except ValueError as error:
            rows.rejects.append(Reject(_unquote(name), line, str(error)))
            continue
        rows.file_names.append(file_name)
        rows.points.append(points)
        rows.lines.append(line)
    points = np.array(rows.points, np.float32).reshape(-1, numbers // 2, 2)
    return rows._replace(points=points)


def _parse_numbers(row: bytes, separator: bytes, numbers: int) -> np.ndarray:
    cells = row.split(separator)
    if len(cells) != numbers:
        raise ValueError(f"{len(cells) if row else 0} numbers where the header has {numbers}")
    try:
        values = np.array([float(_unquote(cell)) for cell in cells])
    except ValueError:
        raise ValueError("a cell is empty or not a number") from None
    if not np.all(np.abs(values) <= _LARGEST_COORDINATE):  # False for nan, too
        raise ValueError(f"a coordinate is not a number or beyond {_LARGEST_COORDINATE} px")
    return values


def _parse_indices(text: str) -> np.ndarray:
    try:
        indices = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        indices = None
    if not isinstance(indices, list) or not indices or any(type(i) is not int for i in indices):
        raise ValueError(f"not a list of point indices: {text[:40]!r}")
    if min(indices) < 0 or max(indices) > _LARGEST_COORDINATE:
        raise ValueError(f"a point index is below 0 or too large: {text[:40]!r}")
    return np.array(indices)


def _unquote(cell: bytes) -> str:
    return cell.decode(errors="replace").strip().strip('"')


def _checked_name(name: str) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"not the name of a file in the images folder: {name!r}")
    return name


def _write_points(path: Path, file_names, points, separator: str) -> None:
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for index, (name, row) in enumerate(zip(file_names, points, strict=True)):
            if index == 0:
                header = [f"Point_M{i}_{axis}" for i in range(len(row)) for axis in "XY"]
                file.write(separator.join(["file_name", *header]) + "\n")
            # %g drops the .0 of whole numbers, so both kinds of table look as they should.
            numbers = [f"{value:.7g}" for value in np.asarray(row).reshape(-1).tolist()]
            file.write(separator.join([name, *numbers]) + "\n")


# ── predictions: all the points of every image ──


def write_predictions(path: Path, file_names: Sequence[str], landmarks: np.ndarray) -> None:
    """Writes names and landmarks ((n, k, 2) float32, photo pixels) as .npz without pickle."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, file_names=np.array(file_names), landmarks=landmarks.astype(np.float32))


def read_predictions(path: Path) -> LandmarkTable:
    """Reads what `write_predictions` wrote.

    Raises:
        InputError: the file is missing or is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            file_names, landmarks = arrays["file_names"], arrays["landmarks"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for a broken file
        raise InputError(f"{path}: not a predictions file ({error})") from None
    if file_names.ndim != 1 or landmarks.shape != (len(file_names), *landmarks.shape[1:2], 2):
        raise InputError(
            f"{path}: {file_names.shape} names and {landmarks.shape} landmarks do not match"
        )
    return LandmarkTable(file_names.tolist(), landmarks.astype(np.float32))


# ── images and the folder ──


def decode_image(content: bytes) -> np.ndarray:
    """Decodes an image file to (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Raises:
        ValueError: it does not decode, or it is a JPEG without its end.
    """
    # OpenCV fills what is missing of a JPEG with grey and says nothing.
    if content.startswith(_JPEG_START) and _JPEG_END not in content[-1024:]:
        raise ValueError("the JPEG is truncated")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError("the image does not decode" if content else "the file is empty")
    return image


def read_image(path: Path) -> np.ndarray:
    """Reads an image file as `decode_image` does.

    Raises:
        InputError: the file is missing or broken (named).
    """
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encodes an (H, W, 3) uint8 RGB image as JPEG of quality 95."""
    _, content = cv2.imencode(".jpg", image[..., ::-1])
    return content.tobytes()


def find_image_folder(data: Path, split: str) -> Path:
    """Returns the folder of the split's images; InputError if there is none."""
    folder = data / split / "images"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --data must be a folder in the contest's form")
    return folder


def find_landmarks(data: Path, split: str) -> Path:
    """Returns the split's own table of points; InputError if there is none."""
    return _first_file(data / split / "landmarks.csv", data / split / "test_landmarks.csv")


def find_test_points(data: Path, split: str) -> Path:
    """Returns `test_points.csv` in the split's folder or beside it; InputError if there is none."""
    return _first_file(data / split / "test_points.csv", data / "test_points.csv")


def _first_file(*candidates: Path) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(f"none of these files exists: {', '.join(map(str, candidates))}")
