"""Finds the columns of a table that hold the x and y of each landmark, by the columns' titles.

The titles of a landmark's two columns differ only in the words x and y: `nose_x nose_y`, `x0 y0`,
`Point_M0_X Point_M0_Y`, `LeftEyeX LeftEyeY`. A word is a run of letters of any script or a run of
digits; a capital letter begins a new word. The columns may stand in any order. Landmarks whose
names differ only in a number are ordered by that number, others as they first appear.

Columns that are not the x or y of a landmark in pixels are ignored: titles without the word x or y,
boxes (`bbox_x1`, or `x y width height`, or `x1 y1 x2 y2` beside landmarks that have names), a third
axis `z`, and other units (`nose_x_mm`). A header that contradicts itself is an error.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_AXES = {"x": "x", "y": "y", "z": "z", "w": "w", "h": "h", "width": "w", "height": "h"}
_BOX_WORDS = {"box", "bbox", "bb", "rect", "rectangle", "roi", "min", "max"}
_OTHER_UNITS = {"mm", "cm", "world", "norm", "normalized", "normalised", "rel", "relative"}
_OTHER_UNITS |= {"percent", "pct", "std", "sd", "sigma", "var", "err", "error", "conf", "gaze"}
_OTHER_UNITS |= {"scale", "offset"}
# Pairs of names that are the corners of a box if the other landmarks have names of their own.
_CORNERS = [("0", "1"), ("1", "2"), ("tl", "br"), ("lt", "rb"), ("ul", "lr")]
_CORNERS += [("topleft", "bottomright"), ("lefttop", "rightbottom")]
_CENTRES = ("center", "centre")  # of a box, if there are a width and a height
_BOX_PREFIXES = ("", "face", "head", "person", "crop", "detection")  # before such a corner
_NO_LANDMARKS = (
    "no columns of landmarks: the titles of a landmark's x and y must be the same except for the"
    " words x and y, such as x0, y0 or nose_x, nose_y"
)


class BoxColumns(NamedTuple):
    """The columns of a face's bounding box.

    Attributes:
        columns: indices of left and top, then of right and bottom or of width and height.
        has_size: whether the last two are width and height.
    """

    columns: tuple[int, int, int, int]
    has_size: bool


class PointColumns(NamedTuple):
    """The columns of the landmarks.

    Attributes:
        names: the names of the landmarks, in their order.
        x: the index of each landmark's x column.
        y: the index of each landmark's y column.
        box: the columns of a box around the face, if the table has one.
        ignored: titles with an axis whose columns are not used: boxes, z, other units.
    """

    names: list[str]
    x: list[int]
    y: list[int]
    box: BoxColumns | None
    ignored: list[str]


class _Title(NamedTuple):
    """A title with an axis.

    Attributes:
        column: its index.
        text: the whole title.
        axis: x, y, z, w or h.
        name: the text without the word for the axis.
    """

    column: int
    text: str
    axis: str
    name: str


_Pairs = dict[str, tuple[_Title, _Title]]  # the titles of x and y, by name
_Axes = dict[str, _Title]  # titles of the same name, by axis


def find_point_columns(titles: Sequence[str]) -> PointColumns:
    """Returns the columns that hold landmarks.

    Raises:
        ValueError: there are none, two columns are the same axis of one landmark, or a column has
            no partner. The message names the first such column.
    """
    usable, boxed = _parse_titles(titles)
    if openface := _find_openface_points(titles, usable):
        return openface
    pairs = _pair([title for title in usable if title.axis in ("x", "y")])
    sizes = _find_sizes(usable)
    box_names = [n for n in pairs if n in sizes and _follows(sizes[n], pairs[n])]
    box_names = box_names or [n for n in pairs if sizes and n.casefold() in _CENTRES]
    box_names = box_names or _find_corners(pairs)
    points = {name: pair for name, pair in pairs.items() if name not in box_names}
    if not points:
        raise ValueError(_NO_LANDMARKS + ("; there is only a box" if box_names else ""))
    _check_third_axes(points, {title.name for title in usable if title.axis == "z"})
    box = _as_box(box_names, pairs, sizes) if box_names else _find_titled_box(boxed)
    return _as_point_columns(points, _sort_by_number(list(points)), titles, box)


def title_words(text: str) -> list[str]:
    """Returns the words of a title in lower case."""
    return [text[start:end].lower() for start, end in _word_spans(text)]


def _as_point_columns(
    points: _Pairs, names: list[str], titles: Sequence[str], box: BoxColumns | None
) -> PointColumns:
    pairs = [points[name] for name in names]
    used = {title.column for pair in pairs for title in pair}
    ignored = [text for column, text in enumerate(titles) if column not in used and _has_axis(text)]
    x, y = ([title.column for title in axis] for axis in zip(*pairs, strict=True))
    return PointColumns(names, x, y, box, ignored)


def _has_axis(title: str) -> bool:
    return not {"x", "y"}.isdisjoint(title_words(title))


# ── titles ──


def _parse_titles(titles: Sequence[str]) -> tuple[list[_Title], list[_Title]]:
    """Returns the titles that name an axis in pixels: those of landmarks, and those of boxes.

    The word for a box is removed from the names of the latter: `bbox_x1` is the x of "1".
    """
    usable, boxed = [], []
    for column, text in enumerate(titles):
        text = unicodedata.normalize("NFC", text).strip()
        spans = list(_word_spans(text))
        words = [text[start:end].lower() for start, end in spans]
        axes = [index for index, word in enumerate(words) if word in ("x", "y", "z")]
        axes = axes or [index for index, word in enumerate(words) if word in _AXES]
        if not axes or not _OTHER_UNITS.isdisjoint(words):
            continue
        removed = {axes[-1]} | {index for index, word in enumerate(words) if word in _BOX_WORDS}
        name = _remove_spans(text, [spans[index] for index in removed])
        title = _Title(column, text, _AXES[words[axes[-1]]], name)
        (usable if len(removed) == 1 else boxed).append(title)
    return usable, boxed


def _remove_spans(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Returns the text without the given words, and with _ in place of other characters."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    text = "".join(character if _kind(character) else "_" for character in text)
    return re.sub("_+", "_", text).strip("_")


def _word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields the start and end of each word of a title."""
    start = 0
    for index in range(1, len(text) + 1):
        if index == len(text) or _begins_word(text, index):
            if _kind(text[start]):
                yield start, index
            start = index


def _begins_word(text: str, index: int) -> bool:
    before, here, after = text[index - 1], text[index], text[index + 1 : index + 2]
    if _kind(before) != _kind(here):
        return True
    return here.isupper() and (before.islower() or (before.isupper() and after.islower()))


def _kind(character: str) -> str:
    """Returns "digit", "letter", "other letter" (a script without capitals), or ""."""
    category = unicodedata.category(character)
    if category[0] == "N":
        return "digit"
    if category[0] == "M":  # an accent belongs to its letter
        return "letter"
    # In scripts without capitals, the x of 鼻x is a word by itself.
    return {"Lo": "other letter"}.get(category, "letter") if category[0] == "L" else ""


# ── pairs of x and y ──


def _pair(titles: Sequence[_Title]) -> _Pairs:
    """Pairs x and y of the same name, and of names that differ in case if none is the same."""
    exact = _group(titles, [title.name for title in titles])
    alone = [title for name in exact for title in exact[name].values() if len(exact[name]) == 1]
    loose = _group(alone, [title.name.casefold() for title in alone])
    for group in loose.values():
        if len(group) == 1:
            (title,) = group.values()
            raise ValueError(f"column {title.text!r} has no partner of the other axis")
    groups = [group for group in exact.values() if len(group) == 2] + list(loose.values())
    groups.sort(key=lambda group: min(title.column for title in group.values()))
    return {group["x"].name: (group["x"], group["y"]) for group in groups}


def _group(titles: Sequence[_Title], keys: Sequence[str]) -> dict[str, _Axes]:
    """Returns titles by key and axis; raises ValueError if two have the same key and axis."""
    groups: dict[str, _Axes] = {}
    for title, key in zip(titles, keys, strict=True):
        first = groups.setdefault(key, {}).setdefault(title.axis, title)
        if first is not title:
            point = f"point {title.name!r}" if title.name else "one point"
            raise ValueError(
                f"columns {first.text!r} and {title.text!r} are both the {title.axis} of {point}"
            )
    return groups


def _check_third_axes(points: _Pairs, names_with_z: set[str]) -> None:
    """Raises ValueError if only some points have a z: then they are not all photo landmarks."""
    flat = [name for name in points if name not in names_with_z]
    solid = [name for name in points if name in names_with_z]
    if flat and solid:
        x, other = points[solid[0]][0].text, points[flat[0]][0].text
        raise ValueError(
            f"column {x!r} belongs to a point with a z, {other!r} to one without; leave out the"
            " columns that are not pixels of the photo"
        )


def _sort_by_number(names: list[str]) -> list[str]:
    """Sorts names that differ only in their numbers by these; leaves others as they are.

    Raises:
        ValueError: two names have the same numbers.
    """
    if len({re.sub("[0-9]+", "0", name) for name in names}) > 1:
        return names
    by_number: dict[tuple[int, ...], str] = {}
    for name in names:
        number = tuple(map(int, re.findall("[0-9]+", name)))
        if (first := by_number.setdefault(number, name)) != name:
            raise ValueError(f"the points {first!r} and {name!r} have the same number")
    return [by_number[number] for number in sorted(by_number)]


# ── boxes ──


def _by_name(titles: Sequence[_Title]) -> dict[str, _Axes]:
    """Returns the first title of each name and axis."""
    groups: dict[str, _Axes] = {}
    for title in titles:
        groups.setdefault(title.name, {}).setdefault(title.axis, title)
    return groups


def _find_sizes(titles: Sequence[_Title]) -> dict[str, _Axes]:
    """Returns the titles of names that have both a width and a height."""
    return {name: group for name, group in _by_name(titles).items() if {"w", "h"} <= group.keys()}


def _follows(size: _Axes, corner: tuple[_Title, _Title]) -> bool:
    """Whether width and height follow x and y, as a box's do; before them, they are the photo's."""
    first = min(size["w"].column, size["h"].column)
    return first > max(title.column for title in corner)


def _find_corners(pairs: _Pairs) -> list[str]:
    """Returns the names of a box's two corners, if the other points have names of their own."""
    for prefix in _BOX_PREFIXES:
        for corners in _CORNERS:
            candidates = [f"{prefix}{corner}" for corner in corners]
            found = {name.casefold().replace("_", ""): name for name in pairs}
            names = [found[name] for name in candidates if name in found]
            others = [name for name in pairs if name not in names]
            if len(names) == 2 and others and all(map(_has_letters, others)):
                return names
    return []


def _has_letters(name: str) -> bool:
    return bool(re.sub(r"[\d_]+", "", name))


def _find_titled_box(boxed: Sequence[_Title]) -> BoxColumns | None:
    """Returns the box of columns such as bbox_x1 or box_width, if none of the four is missing."""
    groups = _by_name(boxed)
    pairs = {name: (g["x"], g["y"]) for name, g in groups.items() if {"x", "y"} <= g.keys()}
    sizes = _find_sizes(boxed)
    sized = [name for name in pairs if name in sizes]
    corners = [[name for name in each if name in pairs] for each in _CORNERS]
    return _as_box(sized or next((each for each in corners if len(each) == 2), []), pairs, sizes)


def _as_box(names: list[str], pairs: _Pairs, sizes: dict[str, _Axes]) -> BoxColumns | None:
    if not names or names[0].casefold() in _CENTRES:
        return None
    x, y = pairs[names[0]]
    if names[0] in sizes:
        size = sizes[names[0]]
        return BoxColumns((x.column, y.column, size["w"].column, size["h"].column), has_size=True)
    right, bottom = pairs[names[1]]
    return BoxColumns((x.column, y.column, right.column, bottom.column), has_size=False)


# ── known programs ──


def _find_openface_points(titles: Sequence[str], usable: Sequence[_Title]) -> PointColumns | None:
    """Returns the 68 landmarks in pixels of an OpenFace table; None if it is not such a table.

    Such a table also has X_0, Y_0, Z_0 ... in millimetres, gaze, pose and the eyes' contours
    (Baltrusaitis et al., "OpenFace 2.0", 2018).
    """
    stripped = [title.strip() for title in titles]
    if not {"gaze_0_x", "pose_Tx", "AU01_r"}.intersection(stripped):
        return None
    by_text = {title.text: title for title in usable}
    numbers = [text[2:] for text in stripped if re.fullmatch("x_[0-9]+", text)]
    if not numbers or not all(f"y_{number}" in by_text for number in numbers):
        return None
    points = {number: (by_text[f"x_{number}"], by_text[f"y_{number}"]) for number in numbers}
    return _as_point_columns(points, _sort_by_number(numbers), titles, box=None)
