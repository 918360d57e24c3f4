"""Reads Label Studio's exports "JSON" and "JSON-MIN" of keypoints, which are percent of the photo.

A task has a photo and one annotation of it, a list of results. Keypoints are a face if they have
the same parentID, or relations to the same rectangle; without either, a photo is one face, or each
of its rectangles holds one. (https://labelstud.io/guide/task_format and /tags/keypointlabels.)

The photo is named by an address. Uploaded files have eight digits and a hyphen before their name,
with and without which the photo is looked for.
"""

import re
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from keras_landmarks.annotations.face import Annotations, Box, as_box, as_size
from keras_landmarks.annotations.photo_names import find_photo, find_photos, is_photo_name
from keras_landmarks.annotations.shapes import PhotoShapes, Point, join_shapes
from keras_landmarks.annotations.text import read_json
from keras_landmarks.utils.errors import InputError

_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


def read_label_studio(source: Path, photos: Path) -> Annotations:
    """Reads an export of Label Studio.

    Args:
        source: the file.
        photos: the folder of the photos.

    Raises:
        InputError: it is not Label Studio's, or two tasks have the same photo.
    """
    tasks = read_json(source)
    if not is_label_studio(tasks) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(
            f"{source}: not Label Studio's JSON: it has no list of tasks with annotations"
        )
    names = [_stored_name(photos, _photo_name(task)) for task in tasks]
    found = find_photos(source, photos, filter(None, names))
    shapes = [
        _read_task(found.get(name, ""), row, task)
        for row, (name, task) in enumerate(zip(names, tasks, strict=True), start=1)
    ]
    return join_shapes(shapes, unit="percent")


def is_label_studio(value: Any) -> bool:
    """Whether a JSON value is an export of Label Studio."""
    lists = {"annotations", "completions", "predictions"}
    return isinstance(value, list) and any(
        isinstance(task, dict) and (not lists.isdisjoint(task) or any(_keypoints(task)))
        for task in value
    )


# ── photos ──


def _photo_name(task: dict) -> str:
    """Returns the path in the address of a task's photo; "" if it has none."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    values = [value for value in data.values() if isinstance(value, str)]
    paths = [_path_of(value) for value in values if not value.startswith("data:")]
    return next(filter(is_photo_name, paths), "")


def _path_of(address: str) -> str:
    if "://" not in address and not address.startswith("/data/"):
        return address
    try:
        parts = urllib.parse.urlsplit(address)
        local = urllib.parse.parse_qs(parts.query).get("d")  # /data/local-files/?d=folder/a.jpg
    except ValueError:
        return ""
    return local[0] if local else urllib.parse.unquote(parts.path)


def _stored_name(photos: Path, name: str) -> str:
    """Returns the name without the digits of an upload if only such a photo exists."""
    path = PurePosixPath(name)
    if not _UPLOAD.match(path.name) or find_photo(photos, name):
        return name
    original = str(path.with_name(_UPLOAD.sub("", path.name, count=1)))
    return original if find_photo(photos, original) else name


# ── annotations ──


def _read_task(photo: str, row: int, task: dict) -> PhotoShapes:
    if not photo:
        reason = "no photo: a task needs an address of its photo, such as /data/upload/1/a.jpg"
        return PhotoShapes("", row, problem=reason)
    annotations = _annotations(task)
    if len(annotations) > 1:
        reason = f"several annotations of one photo: {len(annotations)}; keep one, or mark it as"
        return PhotoShapes(photo, row, problem=f"{reason} ground truth")
    if not any(annotations) and task.get("predictions"):
        reason = "predictions only: accept them in Label Studio, then export annotations"
        return PhotoShapes(photo, row, problem=reason)
    results = [each for annotation in annotations for each in annotation if isinstance(each, dict)]
    if any(each.get("image_rotation") for each in results):
        return PhotoShapes(photo, row, problem="a photo that was turned in Label Studio")
    boxes = dict(_boxes(results))
    points = list(_points(results, _relations(results, boxes)))
    sizes = {as_size(each.get("original_width"), each.get("original_height")) for each in results}
    if len(sizes - {None}) > 1:
        return PhotoShapes(photo, row, problem="the points state photos of different sizes")
    return PhotoShapes(photo, row, points, boxes, next(iter(sizes - {None}), None))


def _annotations(task: dict) -> list[list]:
    """Returns the results of each annotation that counts; of JSON-MIN, the task's keypoints."""
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):
        return [[{"type": "keypointlabels", "value": each} | each for each in _keypoints(task)]]
    usable = [each for each in annotations if isinstance(each, dict) and _has_results(each)]
    return [each["result"] for each in usable if each.get("ground_truth")] or [
        each["result"] for each in usable
    ]


def _has_results(annotation: dict) -> bool:
    return isinstance(annotation.get("result"), list) and not annotation.get("was_cancelled")


def _keypoints(task: dict) -> Iterator[dict]:
    """Yields the keypoints of a task of JSON-MIN, which has a list of them for each tag."""
    for values in task.values():
        for value in values if isinstance(values, list) else []:
            if isinstance(value, dict) and "keypointlabels" in value:
                yield value


def _points(results: Sequence[dict], relations: dict[str, str]) -> Iterator[Point]:
    for result in results:
        value, labels = _value(result), _value(result).get("keypointlabels")
        if result.get("type") == "keypointlabels" and isinstance(labels, list):
            parent = result.get("parentID") or relations.get(str(result.get("id")))
            name = " and ".join(map(str, labels))
            yield Point(name, value.get("x"), value.get("y"), parent and str(parent))


def _boxes(results: Sequence[dict]) -> Iterator[tuple[str, Box]]:
    for result in results:
        if result.get("type") in ("rectanglelabels", "rectangle"):
            value = _value(result)
            box = as_box(*map(value.get, ("x", "y", "width", "height")))
            if box and not value.get("rotation"):
                yield str(result.get("id")), box


def _value(result: dict) -> dict:
    return result["value"] if isinstance(result.get("value"), dict) else {}


def _relations(results: Sequence[dict], boxes: dict[str, Box]) -> dict[str, str]:
    """Returns the rectangle of each point that is related to one, by the point's id."""
    ends = [
        (str(each.get("from_id")), str(each.get("to_id")))
        for each in results
        if each.get("type") == "relation"
    ]
    return {a: b for pair in ends for a, b in (pair, pair[::-1]) if b in boxes}
