"""Reads the JSON of the VGG Image Annotator (VIA) 2, exported annotations or a saved project.

Each photo has regions; those of shape "point" (cx, cy) are landmarks, and rectangles are boxes. An
attribute of the regions names the points, and one called face or person says which face they belong
to. Without it a photo is one face, or each of its rectangles holds one. Other shapes are counted
and ignored.
(Dutta and Zisserman, "The VIA annotation software", 2019.)

VIA states the size of a photo's file in bytes. A file of another size may be another photo of the
same name, or a scaled one, so the photo is rejected.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_landmarks.annotations.face import Annotations, Box, as_box
from keras_landmarks.annotations.photo_names import find_photos
from keras_landmarks.annotations.shapes import PhotoShapes, Point, join_shapes
from keras_landmarks.annotations.text import read_json
from keras_landmarks.utils.errors import InputError

_FACE_ATTRIBUTES = ("face", "face_id", "person", "person_id", "group", "instance")
_EXAMPLE = 'for example "region_attributes": {"landmark": "nose"}'


def read_via(source: Path, photos: Path) -> Annotations:
    """Reads a file of VIA 2.

    Args:
        source: the file.
        photos: the folder of the photos.

    Raises:
        InputError: it is not VIA 2's, no attribute names the points, or two photos have one name.
    """
    entries = _read_entries(source)
    names = [str(entry["filename"]) for entry in entries]
    found = find_photos(source, photos, names)
    attributes = [[each for _, each in _regions(entry, "point")] for entry in entries]
    label = _find_label(source, attributes)
    return join_shapes(
        [
            _read_shapes(photos, found[name], row, entry, label)
            for row, (name, entry) in enumerate(zip(names, entries, strict=True), start=1)
        ]
    )


def is_via(value: Any) -> bool:
    """Whether a JSON value is a file of VIA 2."""
    if not isinstance(value, dict):
        return False
    first = next(iter(value.values()), None)
    is_export = isinstance(first, dict) and "regions" in first and "filename" in first
    return "_via_img_metadata" in value or is_export


def _read_entries(source: Path) -> list[dict]:
    """Returns what the file says of each photo."""
    value = read_json(source)
    value = value.get("_via_img_metadata", value) if isinstance(value, dict) else None
    entries = list(value.values()) if isinstance(value, dict) else []
    if not all(isinstance(each, dict) and "filename" in each for each in entries) or not entries:
        raise InputError(f"{source}: not VIA 2: it has no object with a filename for each photo")
    return entries


def _read_shapes(photos: Path, photo: str, row: int, entry: dict, label: str) -> PhotoShapes:
    points, boxes = list(_points(entry, label)), dict(_boxes(entry))
    problem = ""
    size, stated = _file_size(photos / photo), entry.get("size")
    if size and isinstance(stated, int) and 0 < stated != size:
        problem = (
            f"another file than the annotated one: {size} bytes, not {stated}; if it is the same"
            " picture, set its size to -1 in the annotations"
        )
    return PhotoShapes(photo, row, points, boxes, None, problem, _other_shapes(entry))


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _regions(entry: dict, shape: str) -> Iterator[tuple[dict, dict]]:
    """Yields the shape_attributes and region_attributes of a photo's regions of one shape."""
    for place, attributes in _all_regions(entry):
        if place.get("name") == shape:
            yield place, attributes


def _other_shapes(entry: dict) -> list[str]:
    """Returns the shape of each region that is neither a point nor a box."""
    shapes = [str(place.get("name")) for place, _ in _all_regions(entry)]
    return [shape for shape in shapes if shape not in ("point", "rect")]


def _all_regions(entry: dict) -> Iterator[tuple[dict, dict]]:
    """Yields the shape_attributes and region_attributes of a photo's regions."""
    regions = entry.get("regions")
    regions = list(regions.values()) if isinstance(regions, dict) else regions  # VIA 1's numbers
    for region in regions if isinstance(regions, list) else []:
        place = region.get("shape_attributes") if isinstance(region, dict) else None
        if isinstance(place, dict):
            attributes = region.get("region_attributes")
            yield place, attributes if isinstance(attributes, dict) else {}


def _points(entry: dict, label: str) -> Iterator[Point]:
    for place, attributes in _regions(entry, "point"):
        name = str(attributes.get(label, "")).strip()
        yield Point(name, place.get("cx"), place.get("cy"), _face_of(attributes))


def _boxes(entry: dict) -> Iterator[tuple[str, Box]]:
    for index, (place, attributes) in enumerate(_regions(entry, "rect")):
        if box := as_box(*map(place.get, ("x", "y", "width", "height"))):
            yield _face_of(attributes) or f"box {index}", box


def _face_of(attributes: dict) -> str | None:
    faces = [attributes[key] for key in _FACE_ATTRIBUTES if attributes.get(key)]
    return str(faces[0]) if faces else None


def _find_label(source: Path, photos: Sequence[Sequence[dict]]) -> str:
    """Returns the attribute that names the points; "" if there are no points.

    Names differ within a photo, unlike the values of, say, "visible", and a comment is rare. So it
    is the attribute with most values within photos, all taken together; of several, the one with
    most values in the file.

    Args:
        source: the file, for messages.
        photos: the attributes of each point of each photo.
    """
    if not any(photos):
        return ""
    values: dict[str, list[set[str]]] = {}  # by attribute and photo
    for points in photos:
        of_photo: dict[str, set[str]] = {}
        for key, value in (item for attributes in points for item in attributes.items()):
            is_text = isinstance(value, (str, int)) and bool(str(value).strip())
            if is_text and key not in _FACE_ATTRIBUTES:
                of_photo.setdefault(key, set()).add(str(value))
        for key, found in of_photo.items():
            values.setdefault(key, []).append(found)
    if not values:
        raise InputError(f"{source}: no attribute of the regions names the points, {_EXAMPLE}")
    counts = {key: (sum(map(len, each)), len(set.union(*each))) for key, each in values.items()}
    best = [key for key, count in counts.items() if count == max(counts.values())]
    if len(best) > 1:
        raise InputError(
            f"{source}: several attributes of the regions might name the points:"
            f" {', '.join(best)[:80]}; keep one, {_EXAMPLE}"
        )
    return best[0]
