"""Reads DeepLabCut's CollectedData_<scorer>.csv: one row per photo, under three or four headers.

    scorer,,,me,me,me,me                         or   scorer,me,me
    bodyparts,,,nose,nose,chin,chin                   bodyparts,nose,nose
    coords,,,x,y,x,y                                  coords,x,y
    labeled-data,video,img001.png,10,20,30,40         labeled-data/video/img001.png,10,20

Projects of several animals have `individuals` between the first two; each individual of a photo is
a face. Empty cells are missing points. Predictions have a likelihood beside x and y, which is not
used: every point counts, however unlikely.
(Nath et al., "Using DeepLabCut for 3D markerless pose estimation", 2019.)
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_landmarks.annotations.face import (
    NO_POINTS,
    AnnotatedFace,
    Annotations,
    face_from_cells,
)
from keras_landmarks.annotations.photo_names import find_photos, is_photo_name
from keras_landmarks.annotations.text import open_text
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_HEADERS = ("scorer", "individuals", "bodyparts", "coords")
_EXAMPLE = "scorer,me,me / bodyparts,nose,nose / coords,x,y / labeled-data/video/img1.png,10,20"

_Columns = dict[str, tuple[int, int]]  # of x and y, by the point's name
_Row = tuple[int, list[str]]  # line number and cells


class _Table(NamedTuple):
    """A table whose columns are known.

    Attributes:
        num_name_columns: how many columns, at the left, hold the path of the photo.
        individuals: the columns of each individual's points.
        names: the names of an individual's points.
        ignored: what is not used.
    """

    num_name_columns: int
    individuals: dict[str, _Columns]
    names: list[str]
    ignored: list[str]


def read_deeplabcut(source: Path, photos: Path) -> Annotations:
    """Reads a table of DeepLabCut.

    Args:
        source: the table.
        photos: the folder of the photos: DeepLabCut's project, or the folder of the video's images.

    Raises:
        InputError: the headers are not DeepLabCut's, the rows are frames of a video, or two photos
            have one name.
    """
    headers, rows = _read_rows(source)
    table = _parse_headers(source, headers)
    count = table.num_name_columns
    names = ["/".join(cell.strip() for cell in row[:count]) for _, row in rows]
    if names and not any(map(is_photo_name, names)):
        raise InputError(
            f"{source}: its rows are not photos but frames of a video, the first is"
            f" {names[0][:40]}; extract and label frames in DeepLabCut, which writes"
            " CollectedData_<scorer>.csv"
        )
    found = find_photos(source, photos, names)
    faces = (
        face
        for name, (line, row) in zip(names, rows, strict=True)
        for face in _read_photo(found[name], line, row, table)
    )
    return Annotations(faces, table.names, table.ignored, unit="pixel")


def is_deeplabcut(source: Path) -> bool:
    """Whether a table begins as DeepLabCut's do."""
    with open_text(source) as file:
        return file.read(len("scorer,")) == "scorer,"


def _read_rows(source: Path) -> tuple[dict[str, list[str]], list[_Row]]:
    """Returns the headers by their titles, and the rows under them."""
    headers: dict[str, list[str]] = {}
    rows: list[_Row] = []
    with open_text(source) as file:
        reader = csv.reader(file)
        try:
            for row in filter(None, reader):
                if not rows and row[0] in _HEADERS:
                    headers[row[0]] = [cell.strip() for cell in row]
                else:
                    rows.append((reader.line_num, row))
        except csv.Error as error:
            raise InputError(f"{source}, line {reader.line_num}: {error}") from None
    return headers, rows


def _parse_headers(source: Path, headers: dict[str, list[str]]) -> _Table:
    lengths = {len(row) for row in headers.values()}
    if not {"scorer", "bodyparts", "coords"} <= headers.keys() or len(lengths) > 1:
        raise InputError(f"{source}: not DeepLabCut's headers, such as {_EXAMPLE}")
    coords, parts = headers["coords"], headers["bodyparts"]
    animals = headers.get("individuals", [""] * len(parts))
    first = next((index for index in range(1, len(coords)) if coords[index]), len(coords))
    columns: dict[tuple[str, str, str], int] = {}
    for index in range(first, len(coords)):
        key = animals[index], parts[index], coords[index]
        if columns.setdefault(key, index) != index:
            raise InputError(f"{source}: two columns are {coords[index]} of {parts[index]}")
    individuals: dict[str, _Columns] = {}
    for animal, part, axis in columns:
        if axis == "x" and (animal, part, "y") in columns:
            pair = columns[animal, part, "x"], columns[animal, part, "y"]
            individuals.setdefault(animal, {})[part] = pair
    if not individuals:
        raise InputError(f"{source}: no columns of x and y, such as {_EXAMPLE}")
    names = list(next(iter(individuals.values())))
    # DeepLabCut calls points that no individual has an individual "single".
    others = [animal for animal, points in individuals.items() if set(points) != set(names)]
    ignored = [f"the points of {animal}" for animal in others]
    ignored += ["the likelihood of points"] if "likelihood" in coords else []
    usable = {animal: points for animal, points in individuals.items() if animal not in others}
    return _Table(first, usable, names, ignored)


def _read_photo(
    photo: str, line: int, row: Sequence[str], table: _Table
) -> Iterator[AnnotatedFace | InvalidSample]:
    """Yields the individuals that are in a photo."""
    is_empty = True
    for animal, columns in table.individuals.items():
        indices = [index for name in table.names for index in columns[name]]
        if max(indices) >= len(row):
            yield InvalidSample(photo, line, f"fewer cells than the headers have: {len(row)}")
            return
        face = face_from_cells(photo, [row[i].strip() for i in indices], line, table.names)
        if isinstance(face, AnnotatedFace):
            face = face._replace(id=animal or None)
        elif face.reason == NO_POINTS:
            continue
        is_empty = False
        yield face
    if is_empty:
        yield InvalidSample(photo, line, NO_POINTS)
