"""Reads COCO's JSON: the `keypoints` of each annotation, or COCO-WholeBody's `face_kpts`.

The format (Lin et al., "Microsoft COCO", 2014) has x, y and v of each point: x and y in pixels,
which are taken as they stand although some programs count them from the corner of the upper left
pixel; v is 0 for a point that is not labelled, 1 for one that is hidden, and 2 for one that is
visible. A point that is not labelled is missing. CVAT writes the place of such points all the same.
Other programs write 0 for visible and 1 for hidden, so a point with v = 0 and a place is only taken
to be missing if the file also has points with v = 2.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_landmarks.annotations.face import (
    NO_POINTS,
    SUPPORTED_FORMATS,
    AnnotatedFace,
    Annotations,
    as_box,
    as_size,
    describe_point,
    face_from_cells,
)
from keras_landmarks.annotations.photo_names import find_photos
from keras_landmarks.annotations.text import read_json
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_NO_CATEGORY = "None"


class _Photo(NamedTuple):
    name: str
    size_px: tuple[int, int] | None


def read_coco(source: Path, photos: Path) -> Annotations:
    """Reads the faces of a COCO file.

    Of several categories, the one with the most faces is read, and those with the same keypoints.

    Args:
        source: the file.
        photos: the folder of the photos.

    Raises:
        InputError: the file is not COCO, no annotation has keypoints, a photo has two ids, or two
            photos have one name.
    """
    images, annotations, categories = _read_lists(source)
    photo_of = _index_photos(source, photos, images)
    field = "face_kpts" if any("face_kpts" in each for each in annotations) else "keypoints"
    if annotations and not any(field in each for each in annotations):
        raise InputError(
            f"{source}: no annotation has keypoints; points that are annotations by themselves, as"
            " RectLabel writes them, are not read: export one annotation per face, with keypoints"
        )
    names_of = _names_by_category(categories) if field == "keypoints" else {}
    chosen = _most_frequent_category(annotations, field, names_of)
    names = names_of.get(chosen)
    usable = {category for category, points in names_of.items() if points == names} | {chosen}
    has_visible = any(2 in _visibilities(each.get(field)) for each in annotations)
    faces = _iterate_faces(photo_of, annotations, field, names, usable, has_visible)
    return Annotations(faces, names)


def _read_lists(source: Path) -> tuple[list[dict], list[dict], list[dict]]:
    """Returns the images, annotations and categories of a COCO file."""
    content = read_json(source)
    content = content if isinstance(content, dict) else {}
    images, annotations = content.get("images"), content.get("annotations")
    categories = content.get("categories") or []
    if not all(isinstance(each, list) for each in (images, annotations, categories)):
        raise InputError(
            f"{source}: not COCO: it has no lists of images and annotations; {SUPPORTED_FORMATS}"
        )
    if not all(isinstance(item, dict) for item in [*images, *annotations, *categories]):
        raise InputError(
            f"{source}: not COCO: an image, an annotation or a category is not an object"
        )
    return images, annotations, categories


def _index_photos(source: Path, folder: Path, images: Sequence[dict]) -> dict[str, _Photo]:
    """Returns the photos, which are named relative to `folder`, by id."""
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
        photos[key] = _Photo(name, as_size(image.get("width"), image.get("height")))
    found = find_photos(source, folder, ids)
    return {key: photo._replace(name=found[photo.name]) for key, photo in photos.items()}


def _names_by_category(categories: Sequence[dict]) -> dict[str, list[str]]:
    return {
        str(category.get("id")): list(map(str, category["keypoints"]))
        for category in categories
        if isinstance(category.get("keypoints"), list)
    }


def _most_frequent_category(
    annotations: Sequence[dict], field: str, names_of: dict[str, list[str]]
) -> str:
    """Returns the category that most annotations with keypoints have.

    If most have none and only one category has keypoints, it is that one.
    """
    counts = Counter(_category(each) for each in annotations if each.get(field))
    chosen = max(counts, key=counts.get, default=_NO_CATEGORY)
    return next(iter(names_of)) if chosen == _NO_CATEGORY and len(names_of) == 1 else chosen


def _category(annotation: dict) -> str:
    return str(annotation.get("category_id"))


def _iterate_faces(
    photos: dict[str, _Photo],
    annotations: Sequence[dict],
    field: str,
    names: Sequence[str] | None,
    categories: set[str],
    has_visible: bool,
) -> Iterator[AnnotatedFace | InvalidSample]:
    for row, annotation in enumerate(annotations, start=1):
        photo = photos.get(str(annotation.get("image_id")))
        category = _category(annotation)
        if photo is None:
            image = str(annotation.get("image_id"))[:40]
            yield InvalidSample("", row, f"no image has the annotation's image_id: {image}")
        elif field == "keypoints" and category not in categories | {_NO_CATEGORY}:
            yield InvalidSample(photo.name, row, f"another category: {category[:40]}")
        else:
            yield _as_face(photo, annotation, field, row, names, has_visible)


def _visibilities(numbers: Any) -> list:
    return numbers[2::3] if isinstance(numbers, list) else []


def _as_face(
    photo: _Photo,
    annotation: dict,
    field: str,
    row: int,
    names: Sequence[str] | None,
    has_visible: bool,
) -> AnnotatedFace | InvalidSample:
    """Returns a face; `has_visible` says whether any point of the file has v = 2."""
    numbers = annotation.get(field)
    visibilities = _visibilities(numbers)
    if not any(visibilities) or len(numbers) % 3:
        return InvalidSample(photo.name, row, NO_POINTS)
    points = list(zip(numbers[::3], numbers[1::3], visibilities, strict=True))
    if names and len(names) != len(points):
        count = f"{len(points)}, not {len(names)}"
        return InvalidSample(photo.name, row, f"not as many points as its category has: {count}")
    doubtful = [index for index, (x, y, v) in enumerate(points) if not v and (x or y)]
    if doubtful and not has_visible:
        count = f"{len(doubtful)} of {len(points)}, {describe_point(doubtful[0], names)}"
        reason = f"points that are not labelled (v = 0) but have coordinates: {count}"
        return InvalidSample(photo.name, row, reason)
    cells = [cell for x, y, v in points for cell in ((x, y) if v else ("", ""))]
    face = face_from_cells(photo.name, cells, row, names)
    if isinstance(face, InvalidSample):
        return face
    sides = annotation.get("face_box" if field == "face_kpts" else "bbox")
    box = as_box(*sides) if isinstance(sides, list) and len(sides) == 4 else None
    identity = str(annotation["id"]) if "id" in annotation else None
    return face._replace(id=identity, photo_size_px=photo.size_px, box=box)
