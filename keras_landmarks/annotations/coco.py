"""COCO's JSON: the `keypoints` of each annotation, or COCO-WholeBody's `face_kpts`.

Lin et al., "Microsoft COCO", 2014: x, y and v of each point, pixels from the photo's upper left; v
is 0 where a point was not labelled, 1 where it is hidden, 2 where it is seen.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_landmarks.annotations.face import Annotations, Face, face_of, point_name
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_LARGEST_BYTES = 1 << 30
_NO_OBJECT = "an image, an annotation or a category is no object"


class _Photo(NamedTuple):
    name: str
    size: tuple[int, int] | None


def read_coco(source: Path) -> Annotations:
    """Reads the faces of a COCO file.

    Of several categories that with the most faces counts, and those with the same points.

    Raises:
        InputError: it is not COCO, no annotation has keypoints, or one photo has two ids.
    """
    content = read_json(source)
    content = content if isinstance(content, dict) else {}
    images, annotations = content.get("images"), content.get("annotations")
    categories = content.get("categories") or []
    if not all(isinstance(each, list) for each in (images, annotations, categories)):
        raise InputError(f"{source}: not COCO: it has no lists of images and annotations")
    if not all(isinstance(item, dict) for item in [*images, *annotations, *categories]):
        raise InputError(f"{source}: not COCO: {_NO_OBJECT}")
    photos = _photos(source, images)
    field = "face_kpts" if any("face_kpts" in each for each in annotations) else "keypoints"
    if annotations and not any(field in each for each in annotations):
        raise InputError(
            f"{source}: no annotation has keypoints; points that are annotations by themselves, as"
            " RectLabel writes them, are not read: export one annotation a face, with keypoints"
        )
    names_of = _names_by_category(categories) if field == "keypoints" else {}
    chosen = _commonest_category(annotations, field, names_of)
    names = names_of.get(chosen)
    usable = {category for category, points in names_of.items() if points == names} | {chosen}
    return Annotations(_faces(photos, annotations, field, names, usable), names)


def read_json(source: Path) -> Any:
    """Returns the value of a JSON file; InputError if it is none, or larger than 1 GB."""
    if source.stat().st_size > _LARGEST_BYTES:
        raise InputError(f"{source}: over {_LARGEST_BYTES:,} bytes")
    try:
        return json.loads(source.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"{source}: no JSON") from None


def _photos(source: Path, images: Sequence[dict]) -> dict[str, _Photo]:
    """Returns name and size of each photo by its id."""
    photos: dict[str, _Photo] = {}
    ids: dict[str, str] = {}
    for image in images:
        if "id" not in image or "file_name" not in image:
            raise InputError(f"{source}: not COCO: an image has no id or no file_name")
        key, name = str(image["id"]), str(image["file_name"])
        if (other := photos.get(key)) and other.name != name:
            raise InputError(f"{source}: image id {key} is both {other.name} and {name}")
        if (first := ids.setdefault(name, key)) != key:
            raise InputError(
                f"{source}: {name} has two ids, {first} and {key}; photos of the same name need"
                " folders in file_name, and one photo needs one id"
            )
        photos[key] = _Photo(name, _size(image))
    return photos


def _size(image: dict) -> tuple[int, int] | None:
    sides = image.get("width"), image.get("height")
    is_size = all(isinstance(side, (int, float)) and side > 0 for side in sides)
    return (round(sides[0]), round(sides[1])) if is_size else None


def _names_by_category(categories: Sequence[dict]) -> dict[str, list[str]]:
    return {
        str(category.get("id")): list(map(str, category["keypoints"]))
        for category in categories
        if isinstance(category.get("keypoints"), list)
    }


def _commonest_category(
    annotations: Sequence[dict], field: str, names_of: dict[str, list[str]]
) -> str:
    """Returns the category that most annotations with points have.

    An annotation without a category, or a file without categories, has that of the only names.
    """
    count = Counter(_category(each) for each in annotations if each.get(field))
    chosen = max(count, key=count.get, default="None")
    return next(iter(names_of)) if chosen == "None" and len(names_of) == 1 else chosen


def _category(annotation: dict) -> str:
    return str(annotation.get("category_id"))


def _faces(
    photos: dict[str, _Photo],
    annotations: Sequence[dict],
    field: str,
    names: Sequence[str] | None,
    categories: set[str],
) -> Iterator[Face | InvalidSample]:
    for row, annotation in enumerate(annotations, start=1):
        photo = photos.get(str(annotation.get("image_id")))
        if photo is None:
            image = str(annotation.get("image_id"))[:40]
            yield InvalidSample("", row, f"no image has the annotation's image_id: {image}")
        elif field == "keypoints" and _category(annotation) not in categories | {"None"}:
            yield InvalidSample(photo.name, row, f"another category: {_category(annotation)[:40]}")
        else:
            yield _face(photo, annotation, field, row, names)


def _face(
    photo: _Photo, annotation: dict, field: str, row: int, names: Sequence[str] | None
) -> Face | InvalidSample:
    numbers = annotation.get(field)
    visibilities = numbers[2::3] if isinstance(numbers, list) else []
    if not any(visibilities) or len(numbers) % 3:
        return InvalidSample(photo.name, row, "no points")
    places = list(zip(numbers[::3], numbers[1::3], visibilities, strict=True))
    if names and len(names) != len(places):
        count = f"{len(places)}, not {len(names)}"
        return InvalidSample(photo.name, row, f"not as many points as its category has: {count}")
    if unsure := [point for point, (x, y, v) in enumerate(places) if not v and (x or y)]:
        count = f"{len(unsure)} of {len(places)}, {point_name(unsure[0], names)}"
        return InvalidSample(
            photo.name, row, f"points with v = 0, not labelled, that have a place: {count}"
        )
    cells = [cell for x, y, v in places for cell in ((x, y) if v else ("", ""))]
    face = face_of(photo.name, cells, row, names)
    if isinstance(face, InvalidSample):
        return face
    box = _box(annotation.get("face_box" if field == "face_kpts" else "bbox"))
    identity = str(annotation["id"]) if "id" in annotation else None
    return face._replace(id=identity, photo_size=photo.size, box_photo_px=box)


def _box(sides: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(sides, list) or len(sides) != 4:
        return None
    if not all(isinstance(side, (int, float)) for side in sides) or min(sides[2:]) <= 0:
        return None
    left, top, width, height = map(float, sides)
    return left, top, left + width, top + height
