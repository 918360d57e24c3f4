"""Reads labelme's JSON files, one per photo: its shapes of type "point", named by their labels.

Points with the same group_id are a face; without group_ids, a photo is one face, or each of its
rectangles holds one. Other shapes are counted and ignored. imagePath is relative to the JSON file.
(The format is that of labelme 5, https://github.com/wkentaro/labelme.)
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_landmarks.annotations.face import (
    SUPPORTED_FORMATS,
    Annotations,
    Box,
    as_box,
    as_size,
)
from keras_landmarks.annotations.photo_names import find_photos
from keras_landmarks.annotations.shapes import PhotoShapes, Point, join_shapes
from keras_landmarks.annotations.text import list_files, read_json
from keras_landmarks.utils.errors import InputError


def read_labelme(source: Path, photos: Path) -> Annotations:
    """Reads one file of labelme, or all in a folder and its sub-folders.

    Args:
        source: the file or folder. Other JSON files in a folder are ignored.
        photos: the folder of the photos.

    Raises:
        InputError: there is none, or it is not labelme's.
    """
    paths = list_files(source, ".json")
    contents = {path: value for path in paths if is_labelme(value := _read_file(path))}
    if not contents:
        raise InputError(
            f"{source}: no labelme file: none has a list of shapes and an imagePath;"
            f" {SUPPORTED_FORMATS}"
        )
    names = {path: _image_path(path, value, photos) for path, value in contents.items()}
    found = find_photos(source, photos, names.values())
    return join_shapes(
        [
            _read_shapes(found[names[path]], row, value)
            for row, (path, value) in enumerate(contents.items(), start=1)
        ]
    )


def is_labelme(value: Any) -> bool:
    """Whether a JSON value is a file of labelme."""
    return isinstance(value, dict) and isinstance(value.get("shapes"), list)


def _read_file(path: Path) -> Any:
    """Returns a JSON file without the photo that labelme keeps in it."""
    value = read_json(path)
    if isinstance(value, dict):
        value.pop("imageData", None)
    return value


def _image_path(path: Path, value: dict, photos: Path) -> str:
    """Returns the photo's path relative to `photos` as the file states it."""
    stated = str(value.get("imagePath") or path.stem).replace("\\", "/")
    return os.path.relpath(path.parent / stated, photos)


def _read_shapes(photo: str, row: int, value: dict) -> PhotoShapes:
    shapes = [shape for shape in value["shapes"] if isinstance(shape, dict)]
    size_px = as_size(value.get("imageWidth"), value.get("imageHeight"))
    points = list(_points(shapes))
    kinds = [str(shape.get("shape_type")) for shape in shapes]
    others = [kind for kind in kinds if kind not in ("point", "rectangle")]
    return PhotoShapes(photo, row, points, dict(_boxes(shapes)), size_px, other_shapes=others)


def _points(shapes: Sequence[dict]) -> Iterator[Point]:
    for shape in shapes:
        places = shape.get("points")
        if shape.get("shape_type") == "point" and isinstance(places, list):
            place = places[0] if len(places) == 1 and isinstance(places[0], list) else []
            x, y = place if len(place) == 2 else (None, None)
            yield Point(str(shape.get("label")), x, y, _group(shape))


def _boxes(shapes: Sequence[dict]) -> Iterator[tuple[str, Box]]:
    for index, shape in enumerate(shapes):
        if shape.get("shape_type") == "rectangle" and (box := _corners(shape.get("points"))):
            yield _group(shape) or f"box {index}", box


def _corners(places: Any) -> Box | None:
    """Returns the box between two opposite corners, of which either may be the first."""
    try:
        (x0, y0), (x1, y1) = places
        return as_box(min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
    except (TypeError, ValueError):
        return None


def _group(shape: dict) -> str | None:
    group = shape.get("group_id")
    return None if group is None else str(group)
