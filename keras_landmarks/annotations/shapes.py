"""Joins shapes that people drew in a photo, single named points and boxes, into faces.

Label Studio, labelme, VIA and CVAT have no faces: each point is a shape of its own with a label,
and a group (or the box that it lies in) says which face it belongs to. A face lacks the points that
other faces of the file have and it has not. Nothing states the order of the points, so they are
sorted by their names, p2 before p10.
"""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from keras_landmarks.annotations.face import (
    NO_POINTS,
    AnnotatedFace,
    Annotations,
    Box,
    face_from_cells,
)
from keras_landmarks.contest.invalid_samples import InvalidSample


class Point(NamedTuple):
    """A point that somebody drew.

    Attributes:
        name: its label.
        x: in the file's unit, as any value that JSON can have.
        y: the same.
        group: the key of the face that it belongs to, if the file states it.
    """

    name: str
    x: object
    y: object
    group: Hashable = None


class PhotoShapes(NamedTuple):
    """The shapes of one photo.

    Attributes:
        photo: its path, relative to the folder of photos.
        row: the number of the photo in its file, from 1.
        points: its points.
        boxes: left, top, right and bottom of boxes around faces, by group, or by a key that no
            point has.
        size_px: width and height of the photo, if the file states them.
        problem: why the photo cannot be used, or "".
        other_shapes: the kind of each shape that is neither a point nor a box, such as "polygon".
    """

    photo: str
    row: int
    points: Sequence[Point] = ()
    boxes: Mapping[Hashable, Box] = MappingProxyType({})
    size_px: tuple[int, int] | None = None
    problem: str = ""
    other_shapes: Sequence[str] = ()


def join_shapes(photos: Sequence[PhotoShapes], unit: str = "pixel") -> Annotations:
    """Returns the faces of photos.

    Args:
        photos: the photos with their shapes.
        unit: the unit of the shapes.
    """
    names = sort_by_name({point.name for photo in photos for point in photo.points if point.name})
    faces = (face for photo in photos for face in _join(photo, names))
    others = [kind for photo in photos for kind in photo.other_shapes]
    ignored = [f"shapes that are not points: {len(others)} ({', '.join(sorted(set(others)))})"]
    return Annotations(faces, names, ignored if others else (), unit, is_ordered=False)


def sort_by_name(names: set[str]) -> list[str]:
    """Sorts names, with the numbers in them by value."""

    def key(name: str) -> tuple:
        parts = re.split("([0-9]+)", name)
        numbers = [digits.lstrip("0") for digits in parts[1::2]]
        parts[1::2] = [(len(digits), digits) for digits in numbers]
        return parts, name

    return sorted(names, key=key)


def _join(photo: PhotoShapes, names: Sequence[str]) -> Iterator[AnnotatedFace | InvalidSample]:
    if photo.problem or not photo.points:
        yield InvalidSample(photo.photo, photo.row, photo.problem or NO_POINTS)
        return
    if not all(point.name for point in photo.points):
        yield InvalidSample(photo.photo, photo.row, "a point without a name")
        return
    groups: dict[Hashable, list[Point]] = {}
    has_groups = any(point.group is not None for point in photo.points)
    for point in photo.points:
        group = point.group
        if group is None:
            group = _box_around(point, photo.boxes, must_hold=has_groups)
        groups.setdefault(group, []).append(point)
    for group, points in groups.items():
        if group is None and len(groups) > 1:
            reason = f"points in no group, in a photo with groups: {len(points)}"
            yield InvalidSample(photo.photo, photo.row, reason)
        else:
            yield _as_face(photo, group, points, names)


def _box_around(point: Point, boxes: Mapping[Hashable, Box], must_hold: bool) -> Hashable:
    """Returns the key of the only box that holds a point, or None.

    Unless it `must_hold` the point, the only box of a photo is taken even if the point is outside.
    """
    if len(boxes) == 1 and not must_hold:
        return next(iter(boxes))
    if not all(isinstance(value, (int, float)) for value in (point.x, point.y)):
        return None
    around = [
        key
        for key, (left, top, right, bottom) in boxes.items()
        if left <= point.x <= right and top <= point.y <= bottom
    ]
    return around[0] if len(around) == 1 else None


def _as_face(
    photo: PhotoShapes, group: Hashable, points: Sequence[Point], names: Sequence[str]
) -> AnnotatedFace | InvalidSample:
    by_name = {point.name: point for point in points}
    if len(by_name) < len(points):
        drawn = [point.name for point in points]
        twice = next(name for name in drawn if drawn.count(name) > 1)
        reason = f"two points {twice[:40]!r} in one face; group the points of each face"
        return InvalidSample(photo.photo, photo.row, reason)
    pairs = ((by_name[name].x, by_name[name].y) if name in by_name else ("", "") for name in names)
    face = face_from_cells(photo.photo, [cell for pair in pairs for cell in pair], photo.row, names)
    if isinstance(face, InvalidSample):
        return face
    identity = None if group is None else str(group)
    return face._replace(id=identity, photo_size_px=photo.size_px, box=photo.boxes.get(group))
