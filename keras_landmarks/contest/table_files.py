"""Reads and writes the contest's tables as text: the header, cells, rows in blocks, quoting."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from keras_landmarks.contest.image_names import can_be_listed
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

_BLOCK_BYTES = 1 << 23  # tables are read in pieces of this size, so memory stays bounded
_LONGEST_LINE_BYTES = 1 << 20
_NAME_COLUMN = "file_name"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_TOLD = 40  # characters of a cell in a message
_QUOTED_CELL = re.compile(rb' *"[^"]*(?:""[^"]*)*"(?!")')


def printable(text: str) -> str:
    """Returns the text with what does not print, or is no UTF-8, as \\t, \\x00, \\udcff."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class Header:
    """A table's first line.

    Attributes:
        separator: of the cells.
        titles: of all columns.
        name: the column of file names, from 0.
    """

    separator: bytes
    titles: list[str]
    name: int


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
    for line, name, _ in iterate_pairs(path, None):
        lines.setdefault(name, line)
    return {name: line for name, line in lines.items() if can_be_listed(name)}


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a table under its header, tab separated."""
    write_atomically(path, "".join(as_line(row) + "\n" for row in [header, *rows]))


def as_line(cells: Sequence[str]) -> str:
    """Returns a table's row, tab separated, without the newline."""
    return "\t".join(quote(cell, "\t") for cell in cells)


def iterate_pairs(path: Path, column: str | None) -> Iterator[tuple[int, str, str]]:
    """Yields line number, file name and the cell of a column of every row under the header.

    Where there are but two columns the second may be called anything. The last column takes all
    that is left of a row, for a list of indices that was not quoted. Without a column the cell is
    empty.
    """
    with open_table(path) as file:
        header = read_header(path, file)
        wanted = header.name if column is None else _find_column(path, header, column)
        rows = itertools.chain.from_iterable(iterate_blocks(path, file))
        for line, row in enumerate(rows, start=2):
            if row.strip():
                cells = _first_cells(row.rstrip(b"\r"), header, max(header.name, wanted) + 1)
                cell = "" if column is None else unquote(cells[wanted])
                yield line, unquote(cells[header.name]), cell


def _find_column(path: Path, header: Header, column: str) -> int:
    if len(header.titles) == 2:
        return 1 - header.name
    if column in header.titles:
        return header.titles.index(column)
    told = ", ".join(title[:_LONGEST_TOLD] for title in header.titles[:8])
    raise InputError(f"{path}: no column is called {column}; the header has {told}")


def _first_cells(row: bytes, header: Header, count: int) -> list[bytes]:
    """Returns the first cells of a row; the last of all takes what is left."""
    cells = []
    for _ in range(min(count, len(header.titles) - 1)):
        cell, row = split_first_cell(row, header.separator)
        cells.append(cell)
    return [*cells, row]


def open_table(path: Path) -> BinaryIO:
    """Opens a table for reading; InputError if there is no such file."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def iterate_blocks(path: Path, file: BinaryIO) -> Iterator[list[bytes]]:
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


def read_header(path: Path, file: BinaryIO) -> Header:
    """Reads the first line of a table; InputError if it is not a header with file names."""
    line = _read_line(path, file)
    if not line:
        raise InputError(f"{path}: the file is empty")
    if line.startswith(_UTF16_MARKS):
        raise InputError(
            f"{path}: UTF-16, which Excel calls Unicode text; save it as CSV UTF-8 instead"
        )
    line = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    separator = b"\t" if b"\t" in line else max(b",", b";", key=line.count)
    titles = [unquote(cell) for cell in line.split(separator)]
    if _NAME_COLUMN not in titles:
        told = unquote(line)[:_LONGEST_TOLD]
        raise InputError(
            f"{path}: no column is called {_NAME_COLUMN}; the first line must be a header such as"
            f" {_NAME_COLUMN},x0,y0,x1,y1, not {told!r}"
        )
    if titles.count(_NAME_COLUMN) > 1:
        raise InputError(f"{path}: two columns are called {_NAME_COLUMN}")
    return Header(separator, titles, titles.index(_NAME_COLUMN))


def split_cells(row: bytes, separator: bytes) -> list[bytes]:
    """Returns the cells of a row, any of which may have separators within quotes."""
    cells, rest = [], row
    while True:
        quoted = _QUOTED_CELL.match(rest)
        end = rest.find(separator, quoted.end() if quoted else 0)
        if end < 0:
            return [*cells, rest]
        cells.append(rest[:end])
        rest = rest[end + 1 :]


def split_first_cell(row: bytes, separator: bytes) -> tuple[bytes, bytes]:
    """Returns the first cell, which may have separators within quotes, and the rest."""
    quoted = _QUOTED_CELL.match(row)
    end = row.find(separator, quoted.end() if quoted else 0)
    return (row, b"") if end < 0 else (row[:end], row[end + 1 :])


def unquote(cell: bytes) -> str:
    """Returns the text of a cell, without quotes, in Unicode's normal form C."""
    # As Python decodes the names in a folder: bytes that are not UTF-8 are kept, and told apart.
    text = cell.decode(errors="surrogateescape").strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def quote(cell: str, separator: str) -> str:
    """Returns the cell as it is written: within quotes if it would not be read back alike."""
    # Spaces around a cell are not part of it, unless they are within quotes.
    if separator in cell or '"' in cell or cell != cell.strip():
        return '"' + cell.replace('"', '""') + '"'
    return cell
