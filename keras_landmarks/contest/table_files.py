"""Text tables in the contest's dialects: header, rows, cells and quoting.

A table is UTF-8 text with one header line, separated by tabs, commas or semicolons. CRLF, a
byte-order mark and cells quoted as in RFC 4180 are accepted. Columns may stand in any order and are
found by their titles; columns that are not needed are ignored. Text is read in Unicode's normal
form C, so that é is the same in every table.

Tables may come from strangers: nothing in them is evaluated, and reading takes memory for one block
of a table rather than for all of it.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from keras_landmarks.contest.image_names import is_valid_name
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

_BLOCK_BYTES = 1 << 23
_MAX_LINE_BYTES = 1 << 20
_NAME_COLUMN = "file_name"
_MAX_QUOTED_CHARACTERS = 40  # of a cell, in a message
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+")
_QUOTED_CELL = re.compile(rb' *"[^"]*(?:""[^"]*)*"(?!")')


@dataclass(frozen=True)
class Header:
    """The first line of a table.

    Attributes:
        separator: the character between cells.
        titles: the titles of all columns.
        name_column: the index of the column of file names.
    """

    separator: bytes
    titles: list[str]
    name_column: int


# ── whole tables ──


def read_names(path: Path) -> list[str]:
    """Reads the distinct file names of a table with a column file_name, in order.

    Names that are not valid, as `image_names.is_valid_name` has it, are left out.

    Raises:
        InputError: the file is missing or has no column file_name.
    """
    return list(read_name_lines(path))


def read_name_lines(path: Path) -> dict[str, int]:
    """Returns the names that `read_names` reads, each with the line of its first row.

    Raises:
        InputError: as `read_names`.
    """
    lines = {}
    for line, name, _ in iterate_column(path, None):
        lines.setdefault(name, line)
    return {name: line for name, line in lines.items() if is_valid_name(name)}


def iterate_column(path: Path, column: str | None) -> Iterator[tuple[int, str, str]]:
    """Yields the line number, the file name and the cell of one column of every row.

    Args:
        path: the table.
        column: the column's title. The second column of a table with two may be called anything.
            The last column takes the rest of its row, so that a list of indices need not be quoted.
            With None the cell is empty.

    Raises:
        InputError: the file is missing, or lacks the column or file_name.
    """
    with open_table(path) as file:
        header = read_header(path, file)
        name_column = header.name_column
        index = name_column if column is None else _find_column(path, header, column)
        rows = itertools.chain.from_iterable(iterate_blocks(path, file))
        for line, row in enumerate(rows, start=2):
            if row.strip():
                cells = _first_cells(row.rstrip(b"\r"), header, max(name_column, index) + 1)
                cell = "" if column is None else unquote(cells[index])
                yield line, unquote(cells[name_column]), cell


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a tab-separated table."""
    write_atomically(path, "".join(format_row(row) + "\n" for row in [header, *rows]))


def format_row(cells: Sequence[str]) -> str:
    """Returns a row of a tab-separated table, without the newline."""
    return "\t".join(quote(cell, "\t") for cell in cells)


def printable(text: str) -> str:
    """Returns the text with characters that do not print escaped, as \\t, \\x00 or \\udcff."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _find_column(path: Path, header: Header, column: str) -> int:
    if len(header.titles) == 2:
        return 1 - header.name_column
    if column in header.titles:
        return header.titles.index(column)
    titles = ", ".join(title[:_MAX_QUOTED_CHARACTERS] for title in header.titles[:8])
    raise InputError(f"{path}: no column is called {column}; the header has {titles}")


def _first_cells(row: bytes, header: Header, count: int) -> list[bytes]:
    """Returns the first `count` cells and the rest of the row; the last column takes the rest."""
    cells = []
    for _ in range(min(count, len(header.titles) - 1)):
        cell, row = split_first_cell(row, header.separator)
        cells.append(cell)
    return [*cells, row]


# ── lines ──


def open_table(path: Path) -> BinaryIO:
    """Opens a table for reading; raises InputError if there is no such file."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def read_header(path: Path, file: BinaryIO) -> Header:
    """Reads the first line of a table.

    Raises:
        InputError: it is not a header with one column file_name.
    """
    line = _read_line(path, file)
    if not line:
        raise InputError(f"{path}: the file is empty")
    refuse_utf16(path, line)
    line = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    separator = b"\t" if b"\t" in line else max(b",", b";", key=line.count)
    titles = [unquote(cell) for cell in line.split(separator)]
    if _NAME_COLUMN not in titles:
        found = unquote(line)[:_MAX_QUOTED_CHARACTERS]
        raise InputError(
            f"{path}: no column is called {_NAME_COLUMN}; the first line must be a header such as"
            f" {_NAME_COLUMN},x0,y0,x1,y1, not {found!r}"
        )
    if titles.count(_NAME_COLUMN) > 1:
        raise InputError(f"{path}: two columns are called {_NAME_COLUMN}")
    return Header(separator, titles, titles.index(_NAME_COLUMN))


def refuse_utf16(path: Path, start: bytes) -> None:
    """Raises InputError if the file, which starts with these bytes, is UTF-16."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            f"{path}: UTF-16, which Excel calls Unicode text; save it as CSV UTF-8 instead"
        )


def iterate_blocks(path: Path, file: BinaryIO) -> Iterator[list[bytes]]:
    """Yields the remaining lines of a table, without newlines, in blocks of about 8 MB."""
    while block := file.read(_BLOCK_BYTES):
        lines = (block + _read_line(path, file)).split(b"\n")
        if not lines[-1]:  # what follows the last newline
            lines.pop()
        yield lines


def _read_line(path: Path, file: BinaryIO) -> bytes:
    line = file.readline(_MAX_LINE_BYTES)
    if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
        raise InputError(f"{path}: a line is over {_MAX_LINE_BYTES:,} bytes long; is it text?")
    return line


# ── cells ──


def split_cells(row: bytes, separator: bytes) -> list[bytes]:
    """Returns the cells of a row, any of which may be quoted and contain separators."""
    cells, rest = [], row
    while True:
        quoted = _QUOTED_CELL.match(rest)
        end = rest.find(separator, quoted.end() if quoted else 0)
        if end < 0:
            return [*cells, rest]
        cells.append(rest[:end])
        rest = rest[end + 1 :]


def split_first_cell(row: bytes, separator: bytes) -> tuple[bytes, bytes]:
    """Returns the first cell, which may be quoted and contain separators, and the rest."""
    quoted = _QUOTED_CELL.match(row)
    end = row.find(separator, quoted.end() if quoted else 0)
    return (row, b"") if end < 0 else (row[:end], row[end + 1 :])


def unquote(cell: bytes) -> str:
    """Returns the text of a cell, without its quotes, in Unicode's normal form C."""
    # As Python decodes file names: bytes that are not UTF-8 are kept as surrogates.
    text = cell.decode(errors="surrogateescape").strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def with_decimal_points(cells: Sequence[str]) -> list[str]:
    """Returns the numbers of a row with points in place of decimal commas.

    Raises:
        ValueError: the commas seem to stand between thousands, because only some of the numbers
            have one, each with three digits after it.
    """
    with_comma = [cell for cell in cells if "," in cell]
    without = [cell for cell in cells if cell and "," not in cell]
    if with_comma and without and all(map(_THOUSANDS.fullmatch, with_comma)):
        raise ValueError(
            f"{with_comma[0]} could be a thousand or a fraction; write numbers without commas"
            " between thousands"
        )
    return [cell.replace(",", ".") for cell in cells]


def quote(cell: str, separator: str) -> str:
    """Returns the cell as written to a file: quoted if it would otherwise be read differently."""
    # Spaces around a cell are not part of it, unless they are within quotes.
    if separator in cell or '"' in cell or cell != cell.strip():
        return '"' + cell.replace('"', '""') + '"'
    return cell
