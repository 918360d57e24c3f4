"""Reads lists: one line per face, with numbers and the photo's path, which stands first or last.

Well-known lists are recognised by how many numbers a line has:

    206  WFLW: 98 points, a box, six attributes (Wu et al., "Look at boundary", 2018)
    150  Menpo: a box, 5 points, then the 68 that count (Zafeiriou et al., "Menpo challenge", 2017)
     14  the CNN cascade's: a box as left, right, top, bottom, then 5 points (Sun et al., 2013); or
         MTFL: x of 5 points, y of 5 points, four attributes (Zhang et al., 2014)
     10  CelebA: 5 points (Liu et al., 2015), under a count of faces and a line of titles

The numbers of any other list are x and y of each point in turn. The points of MTFL and those under
a line of titles have names.
"""

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.annotations.face import (
    SUPPORTED_FORMATS,
    AnnotatedFace,
    Annotations,
    face_from_cells,
    is_number,
)
from keras_landmarks.annotations.text import open_text
from keras_landmarks.contest.columns import find_point_columns
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_MIN_AGREEING = 0.95  # of the lines; a detector's box may miss its face
_MAX_ATTRIBUTE = 10
_MAX_TITLE_LINE = 2  # CelebA's titles stand under the count of faces
_MTFL_ORDER = [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]  # x of 5 points, then y
_MTFL_NAMES = ["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"]
_SUFFIX = re.compile(r"\.[A-Za-z]\w*$")


class _Line(NamedTuple):
    row: int
    photo: str
    numbers: list[str]


def read_list(source: Path) -> Annotations:
    """Reads a list.

    Raises:
        InputError: no line has a path and numbers, or the lines hold a box or attributes in an
            unknown order.
    """
    lines = list(_read_lines(source))
    if not lines and source.stat().st_size:
        raise InputError(
            f"{source}: no line has a file name and numbers, as a list has for each face;"
            f" {SUPPORTED_FORMATS}"
        )
    parsed = [line for line in lines if isinstance(line, _Line)]
    counts = Counter(len(line.numbers) for line in parsed)
    usual_count = max(counts, key=counts.get, default=0)
    usual = [line.numbers for line in parsed if len(line.numbers) == usual_count]
    order = _find_coordinates(source, usual_count, usual)
    faces = (
        line if isinstance(line, InvalidSample) else _as_face(line, usual_count, order)
        for line in lines
    )
    names = _MTFL_NAMES if order == _MTFL_ORDER else _read_titles(source, usual_count)
    return Annotations(faces, names)


def _as_face(line: _Line, usual_count: int, order: Sequence[int]) -> AnnotatedFace | InvalidSample:
    numbers = line.numbers
    if len(numbers) == usual_count:
        numbers = [numbers[index] for index in order]
    return face_from_cells(line.photo, numbers, line.row)


# ── lines ──


def _read_lines(source: Path) -> Iterator[_Line | InvalidSample]:
    with open_text(source) as file:
        for row, text in enumerate(file, start=1):
            words = _split_words(text)
            if len(words) < 3:  # an empty line, or CelebA's count of faces
                continue
            numbers = [word for word in words if is_number(word)]
            if len(numbers) == len(words):
                yield InvalidSample("", row, "no file name: neither the first word nor the last")
            elif numbers:  # otherwise it is CelebA's line of titles
                yield _as_line(words, row)


def _read_titles(source: Path, count: int) -> list[str] | None:
    """Returns the points' names if a line above the faces has `count` titles, x and y in turn."""
    with open_text(source) as file:
        for text in itertools.islice(file, _MAX_TITLE_LINE):
            words = _split_words(text)
            if len(words) == count and not any(map(is_number, words)):
                with contextlib.suppress(ValueError):
                    points = find_point_columns(words)
                    if points.x == list(range(0, count, 2)) and len(points.names) * 2 == count:
                        return points.names
    return None


def _split_words(text: str) -> list[str]:
    """Splits at white space or, where there is none, at commas."""
    words = text.split()
    words = [word.strip(" ,") for word in (words if len(words) > 2 else text.split(","))]
    return list(filter(None, words))


def _as_line(words: Sequence[str], row: int) -> _Line:
    """Separates the path, which may contain spaces and stands first or last, from the numbers."""
    numbers = [index for index, word in enumerate(words) if is_number(word)]
    if is_number(words[0]):
        start = numbers[-1] + 1
        return _Line(row, " ".join(words[start:]), list(words[:start]))
    suffixes = [index + 1 for index, word in enumerate(words) if _SUFFIX.search(word)]
    end = min([*suffixes, *numbers])
    return _Line(row, " ".join(words[:end]), list(words[end:]))


# ── which numbers are landmarks ──


def _find_coordinates(source: Path, count: int, lines: Sequence[Sequence[str]]) -> list[int]:
    """Returns the indices of x and y of each landmark in turn among a line's numbers.

    Args:
        source: the file, for messages.
        count: the numbers in a line.
        lines: lines of so many numbers.

    Raises:
        InputError: so many numbers are known to include a box or attributes, and these numbers do
            not fit.
    """
    in_turn = list(range(count))
    if count == 206:
        return in_turn[:196]
    if count not in (14, 150):
        return in_turn
    numbers = _as_array(lines)
    if not len(numbers):  # each line has a word that is not a number, and will be invalid
        return in_turn
    if count == 150:
        if not _encloses(numbers[:, [0, 2, 1, 3]], numbers[:, 4:]):
            raise InputError(
                f"{source}: 150 numbers per line are read as Menpo's box, 5 points and 68 points,"
                " but the box does not hold the points; write a table whose header names the points"
            )
        return in_turn[14:]
    if _are_attributes(numbers[:, 10:]):
        return _MTFL_ORDER
    if _encloses(numbers[:, :4], numbers[:, 4:]):
        return in_turn[4:]
    raise InputError(
        f"{source}: 14 numbers per line are read as a box (left, right, top, bottom) and 5 points,"
        " or as 5 x, 5 y and 4 attributes, and these are neither; write a table whose header names"
        " the points"
    )


def _as_array(lines: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns the lines that hold numbers only, (n, count) float64."""
    return np.array([[float(n) for n in line] for line in lines if all(map(is_number, line))])


def _encloses(boxes: np.ndarray, points: np.ndarray) -> bool:
    """Whether boxes enclose points.

    Args:
        boxes: (n, 4): left, right, top, bottom.
        points: (n, 2 k): x and y of each point in turn.
    """
    left, right, top, bottom = boxes.T[..., None]
    x, y = points[:, ::2], points[:, 1::2]
    margin_x, margin_y = (right - left) / 4, (bottom - top) / 4
    inside = (x > left - margin_x) & (x < right + margin_x)
    inside &= (y > top - margin_y) & (y < bottom + margin_y)
    return bool(inside.all(axis=1).mean() >= _MIN_AGREEING)


def _are_attributes(numbers: np.ndarray) -> bool:
    whole = np.array_equal(numbers, np.rint(numbers))
    return whole and bool((np.abs(numbers) <= _MAX_ATTRIBUTE).all())
