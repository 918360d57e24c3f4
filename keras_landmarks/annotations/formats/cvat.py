"""Reads CVAT's own XML, "CVAT for images 1.1" (https://docs.cvat.ai/docs/manual/advanced/xml_format).

A face is a skeleton, whose points have labels; or, if there is no skeleton, a shape of several
points, which have no names; or else single points with labels, joined by their group_id or the box
around them. A point of a skeleton that is outside is missing, one that is occluded is an ordinary
point.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from keras_landmarks.annotations.face import (
    NO_POINTS,
    SUPPORTED_FORMATS,
    AnnotatedFace,
    Annotations,
    Box,
    as_box,
    as_size,
    face_from_cells,
)
from keras_landmarks.annotations.photo_names import find_photos
from keras_landmarks.annotations.shapes import (
    PhotoShapes,
    Point,
    join_shapes,
    sort_by_name,
)
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError


def read_cvat(source: Path, photos: Path) -> Annotations:
    """Reads a file of CVAT.

    Args:
        source: the file.
        photos: the folder of the photos.

    Raises:
        InputError: it is not CVAT's XML of images, or two photos have one name.
    """
    root = _read_root(source)
    images = root.findall("image")
    names = [f"{image.get('subset', '')}/{image.get('name', '')}" for image in images]
    found = find_photos(source, photos, names)
    named = [(found[name], image) for name, image in zip(names, images, strict=True)]
    if skeletons := root.findall("image/skeleton"):
        kind = _most_frequent_label(skeletons)
        points = _skeleton_points(root, kind)
        return Annotations(_read_faces(named, "skeleton", kind, points), points, unit="pixel")
    shapes = root.findall("image/points")
    if any(";" in shape.get("points", "") for shape in shapes):
        kind = _most_frequent_label(shapes)
        return Annotations(_read_faces(named, "points", kind, None), unit="pixel")
    return join_shapes(
        [_read_shapes(photo, row, image) for row, (photo, image) in enumerate(named, start=1)]
    )


def _read_root(source: Path) -> Element:
    try:
        root = ElementTree.parse(source).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{source}: not XML: {error}") from None
    if root.tag != "annotations":
        raise InputError(f"{source}: not CVAT's XML but <{root.tag}>; {SUPPORTED_FORMATS}")
    if root.find("track") is not None:
        raise InputError(f'{source}: tracks of a video; export "CVAT for images 1.1"')
    return root


def _most_frequent_label(shapes: Sequence[Element]) -> str:
    [(label, _)] = Counter(shape.get("label", "") for shape in shapes).most_common(1)
    return label


def _skeleton_points(root: Element, kind: str) -> list[str]:
    """Returns the labels of a skeleton's points, in the project's order if the file has it."""
    skeletons = (each for each in root.iterfind("image/skeleton") if each.get("label", "") == kind)
    used = {point.get("label", "") for each in skeletons for point in each.findall("points")}
    stated = [
        label.findtext("name", "")
        for label in root.iterfind("meta//label")
        if label.findtext("parent") == kind
    ]
    ordered = list(dict.fromkeys(stated))
    return ordered if used <= set(ordered) else sort_by_name(used)


def _read_faces(
    images: Sequence[tuple[str, Element]], tag: str, kind: str, names: Sequence[str] | None
) -> Iterator[AnnotatedFace | InvalidSample]:
    """Yields the shapes with a tag of each image as faces if their label is `kind`."""
    rows = ((*each, shape) for each in images for shape in each[1].findall(tag) or [None])
    for row, (photo, image, shape) in enumerate(rows, start=1):
        label = kind if shape is None else shape.get("label", "")
        if shape is None:
            yield InvalidSample(photo, row, NO_POINTS)
        elif label != kind:
            yield InvalidSample(photo, row, f"another label: {label[:40]}")
        else:
            face = _as_face(photo, row, shape, names)
            if isinstance(face, AnnotatedFace):
                face = face._replace(photo_size_px=_size_of(image))
            yield face


def _as_face(
    photo: str, row: int, shape: Element, names: Sequence[str] | None
) -> AnnotatedFace | InvalidSample:
    """Returns the face of a skeleton, or without `names` of a shape of several points."""
    try:
        cells = _place_cells(shape) if names is None else _skeleton_cells(shape, names)
    except ValueError as error:
        return InvalidSample(photo, row, str(error))
    return face_from_cells(photo, cells, row, names)


def _skeleton_cells(skeleton: Element, names: Sequence[str]) -> list[str]:
    """Returns x and y of each named point; raises ValueError with the reason if it cannot."""
    cells: dict[str, list[str]] = {}
    for point in skeleton.findall("points"):
        name = point.get("label", "")
        if name in cells:
            raise ValueError(f"two points {name[:40]!r} in one skeleton")
        cells[name] = ["", ""] if point.get("outside") == "1" else _place_cells(point)
        if len(cells[name]) != 2:
            raise ValueError(f"not one place: point {name[:40]}")
    return [cell for name in names for cell in cells.get(name, ["", ""])]


def _place_cells(points: Element) -> list[str]:
    """Returns x and y of each place in "x,y;x,y"."""
    return [cell for place in points.get("points", "").split(";") for cell in place.split(",")]


def _read_shapes(photo: str, row: int, image: Element) -> PhotoShapes:
    points = []
    for shape in image.findall("points"):
        cells = [cell if (n := _as_float(cell)) is None else n for cell in _place_cells(shape)]
        x, y = cells if len(cells) == 2 else (None, None)
        points.append(Point(shape.get("label", ""), x, y, _group(shape)))
    others = [shape.tag for shape in image if shape.tag not in ("points", "box", "tag")]
    return PhotoShapes(
        photo, row, points, dict(_boxes(image)), _size_of(image), other_shapes=others
    )


def _boxes(image: Element) -> Iterator[tuple[str, Box]]:
    for index, shape in enumerate(image.findall("box")):
        sides = [_as_float(shape.get(side)) for side in ("xtl", "ytl", "xbr", "ybr")]
        if None not in sides:
            left, top, right, bottom = sides
            if box := as_box(left, top, right - left, bottom - top):
                yield _group(shape) or f"box {index}", box


def _group(shape: Element) -> str | None:
    group = shape.get("group_id")
    return None if group == "0" else group


def _size_of(image: Element) -> tuple[int, int] | None:
    return as_size(_as_float(image.get("width")), _as_float(image.get("height")))


def _as_float(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
