"""Which columns of a table hold the x and the y of each point, known by the columns' titles.

The two columns of a point have titles that are the same but for one word, x and y: `nose_x nose_y`,
`x0 y0`, `Point_M0_X Point_M0_Y`, `LeftEyeX LeftEyeY`. A word is a run of letters of any script or a
run of digits; a capital letter begins a new word. The columns may stand in any order. Points whose
names differ only in a number are ordered by that number; others as they first appear.

Columns that are not the x or y of a point in pixels are ignored: titles without the word x or y,
boxes (`bbox_x1`, or `x y width height`, or `x1 y1 x2 y2` beside points that have names), a third
axis `z`, and other units (`nose_x_mm`). A header that contradicts itself is an error.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_AXES = {"x": "x", "y": "y", "z": "z", "w": "w", "h": "h", "width": "w", "height": "h"}
_BOX_WORDS = {"box", "bbox", "bb", "rect", "rectangle", "roi", "min", "max"}
_OTHER_UNITS = {"mm", "cm", "world", "norm", "normalized", "normalised", "rel", "relative"}
_OTHER_UNITS |= {"percent", "pct"}
# Points of these names are the corners of a box where other points have names of their own.
_CORNERS = [("0", "1"), ("1", "2"), ("tl", "br"), ("lt", "rb"), ("ul", "lr")]
_CORNERS += [("topleft", "bottomright"), ("lefttop", "rightbottom")]
_MIDDLES = ("center", "centre")  # of a box that has a width and a height
# What such a box may be called before its corner or its side.
_BOXED = ("", "face", "head", "person", "crop", "detection")
_NO_POINTS = (
    "no columns of points: a point has an x and a y in columns whose names are otherwise the same,"
    " such as x0, y0 or nose_x, nose_y"
)


class Box(NamedTuple):
    """The columns of a face's box: left and top, then right and bottom or width and height."""

    columns: tuple[int, int, int, int]
    has_size: bool


class PointColumns(NamedTuple):
    """The columns of the points.

    Attributes:
        names: of the points, in their order.
        x: each point's column of x, counted from 0.
        y: each point's column of y.
        box: the columns of a box around the face, if the table has one.
        ignored: titles that have an axis and are not used: boxes, z, other units.
    """

    names: list[str]
    x: list[int]
    y: list[int]
    box: Box | None
    ignored: list[str]


class _Title(NamedTuple):
    column: int
    text: str
    axis: str  # x, y, z, w or h
    name: str  # what is left of the text without the word of the axis


_Pairs = dict[str, tuple[_Title, _Title]]


def find_points(titles: Sequence[str]) -> PointColumns:
    """Returns which columns hold points.

    Raises:
        ValueError: there are none, two columns are the same axis of one point, or a column has no
            partner; the message names the first such column.
    """
    usable, boxed = _parse(titles)
    if openface := _openface_points(titles, usable):
        return openface
    pairs = _pair([title for title in usable if title.axis in ("x", "y")])
    sizes = _sizes(usable)
    box_names = [n for n in pairs if n in sizes and _follow(sizes[n], pairs[n])]
    box_names = box_names or [n for n in pairs if sizes and n.casefold() in _MIDDLES]
    box_names = box_names or _corner_names(pairs)
    points = {name: pair for name, pair in pairs.items() if name not in box_names}
    if not points:
        raise ValueError(_NO_POINTS + ("; x and y of a box are none" if box_names else ""))
    _check_third_axes(points, {title.name for title in usable if title.axis == "z"})
    box = _box(box_names, pairs, sizes) if box_names else _titled_box(boxed)
    return _as_columns(points, _ordered(list(points)), titles, box)


def words(text: str) -> list[str]:
    """Returns the words of a title in small letters."""
    return [text[start:end].lower() for start, end in _word_spans(text)]


def is_axis(title: str) -> bool:
    """Whether a title has the word x or y."""
    return not {"x", "y"}.isdisjoint(words(title))


def _as_columns(
    points: _Pairs, names: list[str], titles: Sequence[str], box: Box | None
) -> PointColumns:
    pairs = [points[name] for name in names]
    used = {title.column for pair in pairs for title in pair}
    ignored = [text for column, text in enumerate(titles) if column not in used and is_axis(text)]
    x, y = ([title.column for title in axis] for axis in zip(*pairs, strict=True))
    return PointColumns(names, x, y, box, ignored)


# ── titles ──


def _parse(titles: Sequence[str]) -> tuple[list[_Title], list[_Title]]:
    """Returns the titles that name an axis in pixels: those of points, and those of boxes.

    The names of the latter lack the word for a box: `bbox_x1` is the x of "1".
    """
    usable, boxed = [], []
    for column, text in enumerate(titles):
        text = unicodedata.normalize("NFC", text).strip()
        spans = list(_word_spans(text))
        lowered = [text[start:end].lower() for start, end in spans]
        axes = [place for place, word in enumerate(lowered) if word in ("x", "y", "z")]
        axes = axes or [place for place, word in enumerate(lowered) if word in _AXES]
        if not axes or not _OTHER_UNITS.isdisjoint(lowered):
            continue
        left_out = {axes[-1]} | {p for p, word in enumerate(lowered) if word in _BOX_WORDS}
        name = _without(text, [spans[place] for place in left_out])
        title = _Title(column, text, _AXES[lowered[axes[-1]]], name)
        (usable if len(left_out) == 1 else boxed).append(title)
    return usable, boxed


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Returns the text without some of its words, the others joined as they are or by _."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    text = "".join(letter if _kind(letter) else "_" for letter in text)
    return re.sub("_+", "_", text).strip("_")


def _word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where the words of a title begin and end."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or _begins_word(text, place):
            if _kind(text[start]):
                yield start, place
            start = place


def _begins_word(text: str, place: int) -> bool:
    before, here, after = text[place - 1], text[place], text[place + 1 : place + 2]
    if _kind(before) != _kind(here):
        return True
    return here.isupper() and (before.islower() or (before.isupper() and after.islower()))


def _kind(letter: str) -> str:
    """Returns what a character is: a digit, a letter (with or without capitals), or nothing."""
    category = unicodedata.category(letter)
    if category[0] == "N":
        return "digit"
    if category[0] == "M":  # an accent belongs to its letter
        return "letter"
    # Scripts without capitals: the x of 鼻x is a word by itself.
    return {"Lo": "other letter"}.get(category, "letter") if category[0] == "L" else ""


# ── pairs ──


def _pair(titles: Sequence[_Title]) -> _Pairs:
    """Returns x and y by the points' names; names that differ in case alone meet if need be."""
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


def _group(titles: Sequence[_Title], keys: Sequence[str]) -> dict[str, dict[str, _Title]]:
    """Returns titles by key and axis."""
    groups: dict[str, dict[str, _Title]] = {}
    for title, key in zip(titles, keys, strict=True):
        first = groups.setdefault(key, {}).setdefault(title.axis, title)
        if first is not title:
            point = f"point {title.name!r}" if title.name else "one point"
            raise ValueError(
                f"columns {first.text!r} and {title.text!r} are both the {title.axis} of {point}"
            )
    return groups


def _check_third_axes(points: _Pairs, with_z: set[str]) -> None:
    """Raises ValueError if some points have a z and others none: they are of different things."""
    flat = [name for name in points if name not in with_z]
    solid = [name for name in points if name in with_z]
    if flat and solid:
        x, other = points[solid[0]][0].text, points[flat[0]][0].text
        raise ValueError(
            f"column {x!r} is of a point with a z, {other!r} of one without; leave out the columns"
            " that are no pixels of the photo"
        )


def _ordered(names: list[str]) -> list[str]:
    """Returns the names by their numbers if they differ in nothing else, else as they are.

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


def _by_name(titles: Sequence[_Title]) -> dict[str, dict[str, _Title]]:
    """Returns the first title of each name and axis."""
    groups: dict[str, dict[str, _Title]] = {}
    for title in titles:
        groups.setdefault(title.name, {}).setdefault(title.axis, title)
    return groups


def _sizes(titles: Sequence[_Title]) -> dict[str, dict[str, _Title]]:
    """Returns the columns of widths and heights by what they are the sizes of."""
    return {name: group for name, group in _by_name(titles).items() if {"w", "h"} <= group.keys()}


def _follow(size: dict[str, _Title], corner: tuple[_Title, _Title]) -> bool:
    """Whether width and height stand after x and y, as a box's do; before, they are the photo's."""
    first = min(size["w"].column, size["h"].column)
    return first > max(title.column for title in corner)


def _corner_names(pairs: _Pairs) -> list[str]:
    """Returns the names of a box's two corners if the other points have names of their own."""
    for boxed in _BOXED:
        for corners in _CORNERS:
            wanted = [f"{boxed}{corner}" for corner in corners]
            found = {name.casefold().replace("_", ""): name for name in pairs}
            names = [found[name] for name in wanted if name in found]
            others = [name for name in pairs if name not in names]
            if len(names) == 2 and others and all(map(_has_letters, others)):
                return names
    return []


def _has_letters(name: str) -> bool:
    return bool(re.sub(r"[\d_]+", "", name))


def _titled_box(boxed: Sequence[_Title]) -> Box | None:
    """Returns the box of columns that say so, such as bbox_x1 or box_width; None if one lacks."""
    groups = _by_name(boxed)
    pairs = {name: (g["x"], g["y"]) for name, g in groups.items() if {"x", "y"} <= g.keys()}
    sizes = _sizes(boxed)
    sized = [name for name in pairs if name in sizes]
    corners = [[name for name in each if name in pairs] for each in _CORNERS]
    return _box(sized or next((each for each in corners if len(each) == 2), []), pairs, sizes)


def _box(names: list[str], pairs: _Pairs, sizes: dict[str, dict[str, _Title]]) -> Box | None:
    if not names or names[0].casefold() in _MIDDLES:
        return None
    x, y = pairs[names[0]]
    if names[0] in sizes:
        size = sizes[names[0]]
        return Box((x.column, y.column, size["w"].column, size["h"].column), has_size=True)
    right, bottom = pairs[names[1]]
    return Box((x.column, y.column, right.column, bottom.column), has_size=False)


# ── known programs ──


def _openface_points(titles: Sequence[str], usable: Sequence[_Title]) -> PointColumns | None:
    """Returns the 68 points in pixels of an OpenFace table; None if it is none.

    Beside them it has X_0, Y_0, Z_0 ... in millimetres, gaze, pose and eye contours (Baltrusaitis
    et al., "OpenFace 2.0", 2018).
    """
    stripped = [title.strip() for title in titles]
    if not {"gaze_0_x", "pose_Tx", "AU01_r"}.intersection(stripped):
        return None
    by_text = {title.text: title for title in usable}
    numbers = [text[2:] for text in stripped if re.fullmatch("x_[0-9]+", text)]
    if not numbers or not all(f"y_{number}" in by_text for number in numbers):
        return None
    points = {number: (by_text[f"x_{number}"], by_text[f"y_{number}"]) for number in numbers}
    return _as_columns(points, _ordered(numbers), titles, box=None)
