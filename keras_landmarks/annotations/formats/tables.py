"""Reads tables with a header line: a row per face, or a row per landmark.

The columns of the landmarks are known by their titles, as `contest.columns` describes. A table with
one x, one y, a column of landmark names (`landmark`, `label`, ...) and several rows per photo has a
row per landmark; its rows are joined into faces. Landmarks come in the order in which the table
first names them, numbered ones by their numbers. Cells are separated by commas, semicolons or tabs.
Decimal commas are read where the separator is not a comma.
"""

import csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_landmarks.annotations.face import (
    AnnotatedFace,
    Annotations,
    Box,
    as_box,
    as_size,
    face_from_cells,
    is_number,
)
from keras_landmarks.annotations.shapes import sort_by_name
from keras_landmarks.annotations.text import open_text
from keras_landmarks.contest.columns import PointColumns, find_point_columns, title_words
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.table_files import with_decimal_points
from keras_landmarks.utils.errors import InputError

_NAME_TITLES = ("file_name", "filename", "file", "image", "image_name", "image_path", "path")
_NAME_TITLES += ("image_id", "img", "img_name", "img_path", "photo")
_LABEL_WORDS = {"landmark", "keypoint", "bodypart", "point", "part", "joint", "marker", "label"}
_LABEL_TITLES = ("name", "index", "idx", "id")
_FACE_TITLES = ("face", "face_id", "person", "person_id", "instance", "instance_id", "track_id")
_PHOTO_WORDS = {"image", "img", "photo", "picture", "original"}
_SEPARATORS = "\t,;"
_SAMPLED_ROWS = 100  # to find the column of file names
_MAX_NAME_CHARACTERS = 1024

_Row = tuple[int, list[str]]  # line number and cells


class _Table(NamedTuple):
    """A table whose columns are known.

    Attributes:
        source: its path.
        separator: the character between cells.
        titles: the titles of its columns.
        name_column: the index of the column of file names.
        points: the columns of the landmarks.
    """

    source: Path
    separator: str
    titles: list[str]
    name_column: int
    points: PointColumns


def read_table(source: Path, photos: Path) -> Annotations:
    """Reads a table.

    Args:
        source: the table.
        photos: the folder that the file names are relative to.

    Raises:
        InputError: the table has no header, no columns of landmarks or of file names, or a row per
            landmark without a column that names the landmarks.
    """
    with open_text(source) as file:
        header = file.readline().rstrip("\r\n")
    separator = max(_SEPARATORS, key=header.count)
    titles = [cell.strip() for cell in next(csv.reader([header], delimiter=separator), [])]
    _check_header(source, titles)
    try:
        points = find_point_columns(titles)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from None
    name_column = _find_name_column(source, separator, titles, photos)
    table = _Table(source, separator, titles, name_column, points)
    if len(points.names) == 1 and (annotations := _read_row_per_landmark(table)):
        return annotations
    return Annotations(_read_row_per_face(table), points.names, points.ignored)


def _check_header(source: Path, titles: Sequence[str]) -> None:
    if titles and titles[0].lower() == "scorer":
        raise InputError(
            f"{source}: DeepLabCut's headers are not those of a table; give"
            " --source_format=deeplabcut"
        )
    if len(titles) > 2 and 2 * sum(map(is_number, titles)) > len(titles):
        raise InputError(
            f"{source}: there is no header: the first line has numbers; put a line above it such as"
            " file_name,x0,y0,x1,y1, or give --source_format=list"
        )


def _iterate_rows(source: Path, separator: str) -> Iterator[_Row]:
    """Yields line number and cells of the rows under the header, without empty ones."""
    with open_text(source) as file:
        rows = csv.reader(file, delimiter=separator)
        try:
            next(rows, None)
            for row in filter(None, rows):
                yield rows.line_num, row
        except csv.Error as error:
            raise InputError(f"{source}, line {rows.line_num}: {error}") from None


def _as_numbers(cells: Sequence[str], separator: str) -> list[str]:
    """Returns the cells with decimal points; ValueError as `with_decimal_points`."""
    cells = [cell.strip() for cell in cells]
    return cells if separator == "," else with_decimal_points(cells)


def _as_face(
    photo: str, cells: Sequence[str], line: int, separator: str, names: Sequence[str]
) -> AnnotatedFace | InvalidSample:
    try:
        return face_from_cells(photo, _as_numbers(cells, separator), line, names)
    except ValueError as error:
        return InvalidSample(photo, line, str(error))


# ── the column of file names ──


def _find_name_column(source: Path, separator: str, titles: Sequence[str], photos: Path) -> int:
    """Returns the column of file names; of several, the one of which most files exist."""
    lowered = [title.lower() for title in titles]
    columns = [lowered.index(title) for title in _NAME_TITLES if title in lowered]
    rows = [row for _, row in itertools.islice(_iterate_rows(source, separator), _SAMPLED_ROWS)]
    cells = {column: [row[column] for row in rows if column < len(row)] for column in columns}
    columns = [column for column in columns if not any(map(_holds_pixels, cells[column]))]
    if not columns:
        hint = " (a column holds pixels instead)" if cells else ""
        raise InputError(f"{source}: no column of file names{hint}; call it {_NAME_TITLES[0]}")
    return max(columns, key=lambda column: sum(_exists(photos, name) for name in cells[column]))


def _holds_pixels(cell: str) -> bool:
    numbers = cell.split()
    is_long = len(cell) > _MAX_NAME_CHARACTERS
    return is_long or (len(numbers) > 10 and all(map(is_number, numbers)))


def _exists(photos: Path, name: str) -> bool:
    return bool(name.strip()) and "\0" not in name and (photos / name.strip()).is_file()


# ── a row per face ──


def _read_row_per_face(table: _Table) -> Iterator[AnnotatedFace | InvalidSample]:
    names, count = table.points.names, 0
    columns = [c for pair in zip(table.points.x, table.points.y, strict=True) for c in pair]
    size_columns = _find_size_columns(table.titles)
    for line, row in _iterate_rows(table.source, table.separator):
        count += 1
        photo = row[table.name_column].strip() if table.name_column < len(row) else ""
        if len(row) <= max(columns):
            reason = f"fewer cells than the header has: {len(row)}, not {len(table.titles)}"
            yield InvalidSample(photo, line, reason)
            continue
        face = _as_face(photo, [row[column] for column in columns], line, table.separator, names)
        if isinstance(face, AnnotatedFace):
            size_px = as_size(*_numbers(row, size_columns, table) or (None, None))
            face = face._replace(photo_size_px=size_px, box=_parse_box(row, table))
        yield face
    if not count:
        raise InputError(f"{table.source}: there is no row under the header")


def _find_size_columns(titles: Sequence[str]) -> list[int] | None:
    """Returns the columns of the photo's width and height, such as image_width, image_height."""
    found = {}
    for column, title in enumerate(titles):
        words = set(title_words(title))
        for side, letter in (("width", "w"), ("height", "h")):
            if words & _PHOTO_WORDS and words & {side, letter}:
                found.setdefault(side, column)
    return [found["width"], found["height"]] if len(found) == 2 else None


def _parse_box(row: Sequence[str], table: _Table) -> Box | None:
    box = table.points.box
    numbers = _numbers(row, box and box.columns, table)
    if not numbers:
        return None
    left, top, right, bottom = numbers
    return as_box(*numbers) if box.has_size else as_box(left, top, right - left, bottom - top)


def _numbers(row: Sequence[str], columns: Sequence[int] | None, table: _Table) -> list[float]:
    """Returns the numbers in some columns of a row; [] if not all of them are there."""
    if columns is None or max(columns) >= len(row):
        return []
    try:
        cells = _as_numbers([row[column] for column in columns], table.separator)
    except ValueError:
        return []
    return list(map(float, cells)) if all(map(is_number, cells)) else []


# ── a row per landmark ──


def _read_row_per_landmark(table: _Table) -> Annotations | None:
    """Returns the faces of a table with a row per landmark; None if its faces have one landmark.

    Raises:
        InputError: most photos have several rows and no column tells the landmarks apart.
    """
    rows = list(_iterate_rows(table.source, table.separator))
    name_column = table.name_column
    photos = Counter(row[name_column].strip() for _, row in rows if name_column < len(row))
    repeated = [photo for photo, count in photos.items() if count > 1]
    label_column = _find_label_column(table)
    if repeated and label_column is not None:
        labels = (row[label_column].strip() for _, row in rows if label_column < len(row))
        names = list(dict.fromkeys(labels))
        if all(name.isdecimal() for name in names):
            names = sort_by_name(set(names))
        if len(names) > 1:
            faces = _join_rows(table, rows, label_column, names)
            return Annotations(faces, names, is_ordered=False)
    if 2 * len(repeated) > len(photos):
        raise InputError(
            f"{table.source}: {repeated[0][:80]} has {photos[repeated[0]]} rows of one point each;"
            " a table with a row per point needs a column called landmark that says which point"
        )
    return None


def _find_label_column(table: _Table) -> int | None:
    """Returns the column that says which landmark a row holds."""
    lowered = [title.lower() for title in table.titles]
    used = {table.name_column, *table.points.x, *table.points.y}
    for column, title in enumerate(lowered):
        is_label = set(title_words(title)) & _LABEL_WORDS or title in _LABEL_TITLES
        if is_label and column not in used:
            return column
    return None


def _join_rows(
    table: _Table, rows: Sequence[_Row], label_column: int, names: Sequence[str]
) -> Iterator[AnnotatedFace | InvalidSample]:
    """Yields the faces that rows of one landmark each make up; landmarks without a row are NaN."""
    lowered = [title.lower() for title in table.titles]
    face_columns = [lowered.index(title) for title in _FACE_TITLES if title in lowered]
    (x,), (y,) = table.points.x, table.points.y
    faces: dict[tuple[str, ...], dict[str, tuple[str, str]]] = {}
    lines, repeated = {}, {}
    for line, row in rows:
        row = [*row, *[""] * (len(table.titles) - len(row))]
        key = tuple(row[column].strip() for column in (table.name_column, *face_columns))
        name = row[label_column].strip()
        lines.setdefault(key, line)
        if name in faces.setdefault(key, {}):
            repeated.setdefault(key, f"two rows of the same point: {name[:40]}, line {line}")
        faces[key][name] = row[x], row[y]
    for key, points in faces.items():
        if key in repeated:
            yield InvalidSample(key[0], lines[key], repeated[key])
        else:
            cells = [cell for name in names for cell in points.get(name, ("", ""))]
            yield _as_face(key[0], cells, lines[key], table.separator, names)
