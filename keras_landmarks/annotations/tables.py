"""Tables under a header line: a row a face, or a row a point.

The x and y of each point are in columns known by their titles (`data.columns`). A table with one x
and one y, a column with the points' names (`landmark`, `label`, ...) and several rows a photo has a
row a point: its rows are put together to faces. Cells are separated by commas, semicolons or tabs;
decimal commas are read where other separators stand between cells.
"""

import csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_landmarks.annotations.face import Annotations, Face, face_of, is_number
from keras_landmarks.annotations.text import open_text
from keras_landmarks.contest.columns import PointColumns, find_points, words
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_NAME_COLUMNS = ("file_name", "filename", "file", "image", "image_name", "image_path", "path")
_NAME_COLUMNS += ("image_id", "img", "img_name", "img_path", "photo")
_LABEL_WORDS = {"landmark", "keypoint", "bodypart", "point", "part", "joint", "marker", "label"}
_LABEL_COLUMNS = ("name", "index", "idx", "id")
_FACE_COLUMNS = ("face", "face_id", "person", "person_id", "instance", "instance_id", "track_id")
_PHOTO_WORDS = {"image", "img", "photo", "picture", "original"}
_SEPARATORS = "\t,;"
_ROWS_LOOKED_AT = 100  # to see which column names photos
_LONGEST_NAME = 1024


class _Table(NamedTuple):
    """A table whose columns are known."""

    source: Path
    separator: str
    titles: list[str]
    name: int
    points: PointColumns


def read_table(source: Path, photos: Path) -> Annotations:
    """Reads a table; `photos` is the folder that the names in it are relative to.

    Raises:
        InputError: it has no header, no columns of points or of file names, or a row a point
            without the points' names.
    """
    with open_text(source) as file:
        header = file.readline().rstrip("\r\n")
    separator = max(_SEPARATORS, key=header.count)
    titles = [cell.strip() for cell in next(csv.reader([header], delimiter=separator), [])]
    _check_header(source, titles)
    try:
        points = find_points(titles)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from None
    table = _Table(
        source, separator, titles, _name_column(source, separator, titles, photos), points
    )
    if len(points.names) == 1 and (labelled := _read_long(table)):
        return labelled
    return Annotations(_faces(table), points.names, points.ignored)


def _check_header(source: Path, titles: Sequence[str]) -> None:
    if titles and titles[0].lower() == "scorer":
        raise InputError(
            f"{source}: DeepLabCut's three header lines are not read; make one of them, such as"
            " file_name,nose_x,nose_y,chin_x,chin_y"
        )
    if len(titles) > 2 and 2 * sum(map(is_number, titles)) > len(titles):
        raise InputError(
            f"{source}: there is no header: the first line has numbers; put a line above it such as"
            " file_name,x0,y0,x1,y1, or give --source_format=list"
        )


def _rows(source: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and cells of the rows under the header, without empty ones."""
    with open_text(source) as file:
        rows = csv.reader(file, delimiter=separator)
        try:
            next(rows, None)
            for row in filter(None, rows):
                yield rows.line_num, row
        except csv.Error as error:
            raise InputError(f"{source}, line {rows.line_num}: {error}") from None


# ── file names ──


def _name_column(source: Path, separator: str, titles: Sequence[str], photos: Path) -> int:
    """Returns the column of file names: of several the one whose files are there."""
    lowered = [title.lower() for title in titles]
    columns = [lowered.index(name) for name in _NAME_COLUMNS if name in lowered]
    rows = [row for _, row in itertools.islice(_rows(source, separator), _ROWS_LOOKED_AT)]
    cells = {column: [row[column] for row in rows if column < len(row)] for column in columns}
    columns = [column for column in columns if not any(map(_is_pixels, cells[column]))]
    if not columns:
        pixels = " (the pixels of a column are none)" if cells else ""
        raise InputError(f"{source}: no column of file names{pixels}; call it {_NAME_COLUMNS[0]}")
    return max(columns, key=lambda column: sum(_exists(photos, name) for name in cells[column]))


def _is_pixels(cell: str) -> bool:
    numbers = cell.split()
    return len(cell) > _LONGEST_NAME or (len(numbers) > 10 and all(map(is_number, numbers)))


def _exists(photos: Path, name: str) -> bool:
    return bool(name.strip()) and "\0" not in name and (photos / name.strip()).is_file()


# ── a row a face ──


def _faces(table: _Table) -> Iterator[Face | InvalidSample]:
    names, count = table.points.names, 0
    columns = [c for pair in zip(table.points.x, table.points.y, strict=True) for c in pair]
    size = _size_columns(table.titles)
    for line, row in _rows(table.source, table.separator):
        count += 1
        photo = row[table.name].strip() if table.name < len(row) else ""
        if len(row) <= max(columns):
            reason = f"fewer cells than the header: {len(row)} of {len(table.titles)}"
            yield InvalidSample(photo, line, reason)
            continue
        cells = [_as_number(row[column], table.separator) for column in columns]
        face = face_of(photo, cells, line, names)
        if isinstance(face, Face):
            face = face._replace(photo_size=_size(row, size), box_photo_px=_box(row, table))
        yield face
    if not count:
        raise InputError(f"{table.source}: there is no row under the header")


def _as_number(cell: str, separator: str) -> str:
    cell = cell.strip()
    return cell.replace(",", ".") if separator != "," else cell


def _size_columns(titles: Sequence[str]) -> list[int] | None:
    """Returns the columns of the photo's width and height, such as image_width and image_height."""
    found = {}
    for column, title in enumerate(titles):
        in_title = set(words(title))
        for side, letters in (("width", "w"), ("height", "h")):
            if in_title & _PHOTO_WORDS and in_title & {side, letters}:
                found.setdefault(side, column)
    return [found["width"], found["height"]] if len(found) == 2 else None


def _size(row: Sequence[str], columns: list[int] | None) -> tuple[int, int] | None:
    if columns is None or max(columns) >= len(row):
        return None
    if not all(is_number(row[column]) and float(row[column]) >= 1 for column in columns):
        return None
    width, height = (round(float(row[column])) for column in columns)
    return width, height


def _box(row: Sequence[str], table: _Table) -> tuple[float, float, float, float] | None:
    box = table.points.box
    if box is None or max(box.columns) >= len(row):
        return None
    cells = [_as_number(row[column], table.separator) for column in box.columns]
    if not all(map(is_number, cells)):
        return None
    left, top, right, bottom = map(float, cells)
    return (left, top, left + right, top + bottom) if box.has_size else (left, top, right, bottom)


# ── a row a point ──


def _read_long(table: _Table) -> Annotations | None:
    """Returns the faces of a table with a row a point; None if a row is a face of one point.

    Raises:
        InputError: most photos have several rows and no column tells the points apart.
    """
    rows = list(_rows(table.source, table.separator))
    photos = Counter(row[table.name].strip() for _, row in rows if table.name < len(row))
    repeated = [photo for photo, count in photos.items() if count > 1]
    label = _label_column(table)
    if repeated and label is not None:
        labels = list(dict.fromkeys(row[label].strip() for _, row in rows if label < len(row)))
        if len(labels) > 1:
            return Annotations(_join(table, rows, label, labels), labels)
    if 2 * len(repeated) > len(photos):
        raise InputError(
            f"{table.source}: {repeated[0][:80]} has {photos[repeated[0]]} rows of one point each;"
            " a table with a row a point needs a column called landmark that says which"
        )
    return None


def _label_column(table: _Table) -> int | None:
    """Returns the column that says which point a row is of."""
    lowered = [title.lower() for title in table.titles]
    used = {table.name, *table.points.x, *table.points.y}
    named = [
        column
        for column, title in enumerate(lowered)
        if column not in used and (set(words(title)) & _LABEL_WORDS or title in _LABEL_COLUMNS)
    ]
    return named[0] if named else None


def _join(
    table: _Table, rows: Sequence[tuple[int, list[str]]], label: int, labels: Sequence[str]
) -> Iterator[Face | InvalidSample]:
    """Yields the faces that rows of one point each make; a point without a row has no place."""
    lowered = [title.lower() for title in table.titles]
    keys = [table.name, *(lowered.index(name) for name in _FACE_COLUMNS if name in lowered)]
    (x,), (y,) = table.points.x, table.points.y
    faces: dict[tuple[str, ...], dict[str, tuple[str, str]]] = {}
    lines, twice = {}, {}
    for line, row in rows:
        row = [*row, *[""] * (len(table.titles) - len(row))]
        key, name = tuple(row[column].strip() for column in keys), row[label].strip()
        lines.setdefault(key, line)
        if name in faces.setdefault(key, {}):
            twice.setdefault(key, f"a point is there twice: {name[:40]}, line {line}")
        faces[key][name] = _as_number(row[x], table.separator), _as_number(row[y], table.separator)
    for key, points in faces.items():
        cells = [cell for name in labels for cell in points.get(name, ("", ""))]
        if key in twice:
            yield InvalidSample(key[0], lines[key], twice[key])
        else:
            yield face_of(key[0], cells, lines[key], labels)
