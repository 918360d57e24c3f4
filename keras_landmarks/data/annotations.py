"""Faces and their points as other programs' files have them: tables, COCO, lists, .pts files.

    table  one header line; x and y of each point in columns that differ in that letter alone
           (`x0,y0`, `left_eye_x,left_eye_y`, `NoseX,NoseY`), and one of file names; other columns
           do not count; decimal commas are read where other separators stand between cells
    coco   the `keypoints` of each annotation, or COCO-WholeBody's `face_kpts` where it has them
    list   a line a face, numbers and a path, as WFLW's and CelebA's: either may come first
    pts    a file a face, beside the photo of the same name, as 300-W's

Points are photo pixels, (0, 0) the middle of the upper left one. Only .pts files count from 1, as
300-W's do (Sagonas et al., "300 faces in-the-wild challenge", 2013); that is taken off.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.data.contest import Reject
from keras_landmarks.errors import InputError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")

_NAME_COLUMNS = ("file_name", "filename", "file", "image", "image_name", "image_path", "path")
_SEPARATORS = "\t,;"
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")  # LeftEyeX: left, eye, x
_BOXES = {"box", "bbox", "rect", "min", "max"}  # columns of these hold no points
_LARGEST_JSON_BYTES = 1 << 30
_WFLW_NUMBERS, _WFLW_POINTS = 206, 98  # a box and six attributes come after the points


class Face(NamedTuple):
    """One face: its photo's path below the photos' folder, its points, and where it stands.

    landmarks_photo_px: (k, 2) float64; NaN where a point has no place.
    row: a line or a number in the file of annotations, counted from 1.
    id: what the annotation is called there, if it is.
    """

    photo: str
    landmarks_photo_px: np.ndarray
    row: int
    id: str | None = None


class Annotations(NamedTuple):
    """What a file or folder says: its faces, what is wrong besides, and the points' names."""

    faces: Iterator[Face | Reject]
    names: Sequence[str] | None = None


def read_annotations(source: Path, kind: str) -> Annotations:
    """Opens annotations of one of `KINDS`, or of the kind that `source` looks like for `auto`.

    Raises:
        InputError: there is no such file, or it is not of that kind.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    return KINDS[_kind_of(source) if kind == "auto" else kind](source)


def _kind_of(source: Path) -> str:
    suffix = source.suffix.lower()
    if source.is_dir() or suffix == ".pts":
        return "pts"
    return {".json": "coco", ".txt": "list"}.get(suffix, "table")


# ── tables ──


def _read_table(source: Path) -> Annotations:
    with _opened(source) as file:
        header = file.readline().rstrip("\r\n")
    separator = max(_SEPARATORS, key=header.count)
    header = [cell.strip() for cell in next(csv.reader([header], delimiter=separator), [])]
    pairs = _coordinate_columns(source, header)
    name = _name_column(source, header)
    return Annotations(_table_rows(source, separator, name, pairs), list(pairs))


def _coordinate_columns(source: Path, header: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Returns the columns of x and of y by the points' names, in the order of the header."""
    columns: dict[tuple[str, ...], dict[str, int]] = {}
    names: dict[tuple[str, ...], str] = {}
    for column, title in enumerate(header):
        words = list(_WORDS.finditer(title))
        lowered = [word[0].lower() for word in words]
        axes = [place for place, word in enumerate(lowered) if word in ("x", "y")]
        if axes and _BOXES.isdisjoint(lowered):
            axis, point = lowered.pop(axes[-1]), tuple(lowered)
            columns.setdefault(point, {})[axis] = column
            start, end = words[axes[-1]].span()
            rest = title[:start] + title[end:]
            names.setdefault(point, re.sub(r"[\W_]+", "_", rest).strip("_"))
    if not columns:
        raise InputError(
            f"{source}: no columns of points in its header: x and y in names that are otherwise"
            " the same, such as x0, y0 or nose_x, nose_y"
        )
    for axes in columns.values():
        if len(axes) == 1:
            alone = header[next(iter(axes.values()))]
            raise InputError(f"{source}: column {alone!r} has no partner of the other axis")
    return {names[point]: (axes["x"], axes["y"]) for point, axes in columns.items()}


def _name_column(source: Path, header: Sequence[str]) -> int:
    lowered = [title.lower() for title in header]
    for name in _NAME_COLUMNS:
        if name in lowered:
            return lowered.index(name)
    raise InputError(f"{source}: no column of file names: call it {_NAME_COLUMNS[0]}")


def _table_rows(
    source: Path, separator: str, name: int, pairs: dict[str, tuple[int, int]]
) -> Iterator[Face | Reject]:
    columns = [column for pair in pairs.values() for column in pair]
    with _opened(source) as file:
        rows = csv.reader(file, delimiter=separator)
        width, count = len(next(rows)), 0
        for row in filter(None, rows):
            count += 1
            photo = row[name].strip() if name < len(row) else ""
            if len(row) <= max(columns):
                reason = f"fewer cells than the header: {len(row)} of {width}"
                yield Reject(photo, rows.line_num, reason)
                continue
            cells = [row[column].strip() for column in columns]
            if separator != ",":
                cells = [cell.replace(",", ".") for cell in cells]
            yield _face(photo, cells, rows.line_num, list(pairs))
    if not count:
        raise InputError(f"{source}: there is no row under the header")


# ── COCO ──


def _read_coco(source: Path) -> Annotations:
    content = _read_json(source)
    try:
        photos = {str(image["id"]): str(image["file_name"]) for image in content["images"]}
        annotations = list(content["annotations"])
        categories = list(content.get("categories") or [{}])
    except (KeyError, TypeError):
        raise InputError(f"{source}: not COCO: it has no images and annotations") from None
    if not all(isinstance(item, dict) for item in [*annotations, *categories]):
        raise InputError(f"{source}: not COCO: an annotation or a category is no object")
    whole_body = any("face_kpts" in annotation for annotation in annotations)
    field = "face_kpts" if whole_body else "keypoints"
    names = None if whole_body or len(categories) > 1 else categories[0].get("keypoints")
    names = list(map(str, names)) if isinstance(names, list) else None
    return Annotations(_coco_faces(photos, annotations, field, names), names)


def _coco_faces(
    photos: dict, annotations: Sequence, field: str, names: Sequence[str] | None
) -> Iterator[Face | Reject]:
    for row, annotation in enumerate(annotations, start=1):
        photo = photos.get(str(annotation.get("image_id")), "")
        numbers = annotation.get(field)
        seen = numbers[2::3] if isinstance(numbers, list) else []
        if not any(seen) or len(numbers) % 3:
            yield Reject(photo, row, "no points")
            continue
        places = zip(numbers[::3], numbers[1::3], seen, strict=True)
        cells = [cell for x, y, seen in places for cell in ((x, y) if seen else ("", ""))]
        face = _face(photo, cells, row, names)
        known = isinstance(face, Face) and "id" in annotation
        yield face._replace(id=str(annotation["id"])) if known else face


def _read_json(source: Path) -> dict:
    if source.stat().st_size > _LARGEST_JSON_BYTES:
        raise InputError(f"{source}: over {_LARGEST_JSON_BYTES:,} bytes")
    try:
        return json.loads(source.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"{source}: no JSON") from None


# ── lists ──


def _read_list(source: Path) -> Annotations:
    return Annotations(_list_rows(source))


def _list_rows(source: Path) -> Iterator[Face | Reject]:
    with _opened(source) as file:
        for row, line in enumerate(file, start=1):
            words = line.split()
            if len(words) < 3:  # an empty line, or CelebA's count of faces
                continue
            last = not _is_number(words[-1])
            if not last and _is_number(words[0]):
                yield Reject("", row, "no file name: neither the first word nor the last")
                continue
            photo, cells = (words[-1], words[:-1]) if last else (words[0], words[1:])
            if len(cells) == _WFLW_NUMBERS:
                cells = cells[: 2 * _WFLW_POINTS]
            if any(map(_is_number, cells)):  # not CelebA's header
                yield _face(photo, cells, row)


# ── .pts files ──


def _read_pts(source: Path) -> Annotations:
    paths = sorted(source.rglob("*.pts")) if source.is_dir() else [source]
    if not paths:
        raise InputError(f"{source}: no .pts file in it")
    folder = source if source.is_dir() else source.parent
    return Annotations(_read_one_pts(path, folder, row) for row, path in enumerate(paths, start=1))


def _read_one_pts(path: Path, folder: Path, row: int) -> Face | Reject:
    text = path.read_text(encoding="utf-8", errors="replace")
    numbers = re.fullmatch(r"[^{]*\{([^{}]*)\}\s*", text)
    said = re.search(r"n_points:\s*(\d+)", text)
    photos = [path.with_suffix(s) for suffix in PHOTO_SUFFIXES for s in (suffix, suffix.upper())]
    photo = next((str(photo.relative_to(folder)) for photo in photos if photo.exists()), None)
    if photo is None:
        return Reject(str(path.relative_to(folder)), row, "no photo of that name beside it")
    if not numbers:
        return Reject(photo, row, "a .pts file has its points in braces")
    face = _face(photo, numbers[1].split(), row)
    if isinstance(face, Reject):
        return face
    if said and int(said[1]) != len(face.landmarks_photo_px):
        return Reject(photo, row, f"n_points: {said[1]}, but {len(face.landmarks_photo_px)} points")
    return face._replace(landmarks_photo_px=face.landmarks_photo_px - 1)


# ── all of them ──


def _opened(source: Path):
    return source.open(encoding="utf-8-sig", errors="replace", newline="")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _face(
    photo: str, cells: Sequence[str | float], row: int, names: Sequence[str] | None = None
) -> Face | Reject:
    """Returns the face with these x and y of each point in turn; empty cells have no place."""
    numbers = []
    for place, cell in enumerate(cells):
        try:
            numbers.append(math.nan if cell == "" else float(cell))
        except (TypeError, ValueError):
            where = f"{'xy'[place % 2]} of {point_name(place // 2, names)}"
            return Reject(photo, row, f"not a number: {cell!r}, {where}")
    if not numbers or len(numbers) % 2:
        return Reject(photo, row, f"not x and y of each point: {len(numbers)} numbers")
    if np.isinf(numbers).any():
        return Reject(photo, row, "not a finite number")
    return Face(photo, np.array(numbers).reshape(-1, 2), row)


def point_name(point: int, names: Sequence[str] | None) -> str:
    """Returns what a point is called: its name, if there is one, or its number."""
    return f"point {names[point] if names and point < len(names) else point}"


KINDS: dict[str, Callable[[Path], Annotations]] = {
    "table": _read_table,
    "coco": _read_coco,
    "list": _read_list,
    "pts": _read_pts,
}
