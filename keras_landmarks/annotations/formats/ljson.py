"""Reads Menpo's LJSON, versions 1 to 3: `photo.ljson` beside `photo.jpg`, one face each.

A point is (y, x), in pixels from 0, and null if it is missing (https://www.menpo.org,
"Landmark formats"). Labels are regions of points. They name the points only if each has one point.
Files that name the same points may have them in different orders; that of the first file counts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_landmarks.annotations.face import (
    SUPPORTED_FORMATS,
    AnnotatedFace,
    Annotations,
    face_from_cells,
)
from keras_landmarks.annotations.photo_names import photo_beside
from keras_landmarks.annotations.text import list_files, read_json
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError


def read_ljson(source: Path) -> Annotations:
    """Reads one .ljson file, or all in a folder and its sub-folders.

    Raises:
        InputError: there is none, one is not JSON, or two do not name the same points.
    """
    paths = list_files(source, ".ljson")
    if not paths:
        raise InputError(f"{source}: no .ljson file in it; {SUPPORTED_FORMATS}")
    folder = source if source.is_dir() else source.parent
    values = list(map(read_json, paths))
    names = _common_names(paths, values)
    return Annotations(
        [
            _read_face(path, folder, row, value, names)
            for row, (path, value) in enumerate(zip(paths, values, strict=True), start=1)
        ],
        names,
        unit="pixel",
    )


def _read_face(
    path: Path, folder: Path, row: int, value: Any, names: Sequence[str] | None
) -> AnnotatedFace | InvalidSample:
    photo = photo_beside(path)
    if photo is None:
        name = str(path.relative_to(folder))
        return InvalidSample(name, row, "no photo of the same name beside it")
    name = str(photo.relative_to(folder))
    try:
        places, own_names = _parse(value)
    except ValueError as error:
        return InvalidSample(name, row, str(error))
    if names:
        places = [places[own_names.index(each)] for each in names]
    cells = ["" if n is None else n for y, x in places for n in (x, y)]
    return face_from_cells(name, cells, row, names)


def _common_names(paths: Sequence[Path], values: Sequence[Any]) -> list[str] | None:
    """Returns the names of the points in the order of the first file; None if no file has them.

    Raises:
        InputError: a file names other points than the first, or only one of them has names.
    """
    first_path, first = None, []
    for path, value in zip(paths, values, strict=True):
        try:
            _, names = _parse(value)
        except ValueError:
            continue  # an invalid sample, not one of other points
        if first_path is None:
            first_path, first = path, names
        if differing := sorted(set(names) ^ set(first)):
            raise InputError(
                f"{path}: it does not name the same points as {first_path}:"
                f" only one of them has {', '.join(differing)[:80]}"
            )
    return first or None


def _parse(value: Any) -> tuple[list[list], list[str]]:
    """Returns y and x of each point, and the points' names or [].

    Raises:
        ValueError: the value is not LJSON, or has several sets of points.
    """
    groups = value.get("groups") if isinstance(value, dict) else None
    try:
        if isinstance(groups, list):  # version 1
            places = [each["point"] for group in groups for each in group["landmarks"]]
            return _check(places), _names([(g["label"], len(g["landmarks"])) for g in groups])
        if isinstance(groups, dict):  # version 3
            if len(groups) != 1:
                raise ValueError(f"several sets of points: {', '.join(groups)[:80]}; keep one")
            [value] = groups.values()
        places, labels = value["landmarks"]["points"], value.get("labels") or []
        masks = sorted((label["mask"], label["label"]) for label in labels)
        covered = [point for mask, _ in masks for point in mask]
        names = _names([(label, len(mask)) for mask, label in masks])
        return _check(places), names if covered == list(range(len(places))) else []
    except (TypeError, KeyError, AttributeError):
        raise ValueError("not LJSON: it has no landmarks with points") from None


def _check(places: list) -> list[list]:
    if not all(isinstance(place, list) and len(place) == 2 for place in places):
        raise ValueError("a point is not y and x of a photo")
    return places


def _names(labels: Sequence[tuple[Any, int]]) -> list[str]:
    names = [str(label) for label, count in labels]
    is_name = all(count == 1 for _, count in labels) and len(set(names)) == len(names)
    return names if is_name else []
