"""Lists: a line a face, numbers and the photo's path, which stands first or last.

Known lists are recognised by how many numbers a line has:

    206  WFLW: 98 points, a box, six attributes (Wu et al., "Look at boundary", 2018)
    150  Menpo: a box, 5 points, then the 68 that count (Zafeiriou et al., "Menpo challenge", 2017)
     14  the CNN cascade's: a box as left, right, top, bottom, then 5 points (Sun et al., 2013); or
         MTFL: x of 5 points, y of 5 points, four attributes (Zhang et al., 2014)
     10  CelebA: 5 points (Liu et al., 2015), under a count of faces and a line of titles

The numbers of any other list are x and y of each point in turn.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.annotations.face import KINDS_READ, Annotations, Face, face_of, is_number
from keras_landmarks.annotations.text import open_text
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_MOST_SHARE = 0.95  # of the lines that must look alike; a detector's box may miss its face
_LARGEST_ATTRIBUTE = 10
_ENDING = re.compile(r"\.[A-Za-z]\w*$")


class _Line(NamedTuple):
    row: int
    photo: str
    numbers: list[str]


def read_list(source: Path) -> Annotations:
    """Reads a list.

    Raises:
        InputError: its lines hold a box or attributes in a way that is not known.
    """
    lines = list(_read_lines(source))
    if not lines and source.stat().st_size:
        raise InputError(
            f"{source}: no line has a file name and numbers, as a list has for each face;"
            f" {KINDS_READ}"
        )
    whole = [line for line in lines if isinstance(line, _Line)]
    count = Counter(len(line.numbers) for line in whole)
    usual = max(count, key=count.get, default=0)
    order = _order(source, usual, [line.numbers for line in whole if len(line.numbers) == usual])
    return Annotations(
        line if isinstance(line, InvalidSample) else _face(line, usual, order) for line in lines
    )


def _face(line: _Line, usual: int, order: Sequence[int]) -> Face | InvalidSample:
    if len(line.numbers) == usual:
        return face_of(line.photo, [line.numbers[place] for place in order], line.row)
    return face_of(line.photo, line.numbers, line.row)


def _read_lines(source: Path) -> Iterator[_Line | InvalidSample]:
    with open_text(source) as file:
        for row, text in enumerate(file, start=1):
            words = _words(text)
            if len(words) < 3:  # an empty line, or CelebA's count of faces
                continue
            numbers = [word for word in words if is_number(word)]
            if len(numbers) == len(words):
                yield InvalidSample("", row, "no file name: neither the first word nor the last")
            elif numbers:  # else it is CelebA's line of titles
                yield _split(words, row)


def _words(text: str) -> list[str]:
    """Returns what white space or, without such, commas separate."""
    words = text.split()
    words = [word.strip(" ,") for word in (words if len(words) > 2 else text.split(","))]
    return list(filter(None, words))


def _split(words: Sequence[str], row: int) -> _Line:
    """Returns the line of these words; the path, which may have spaces, is first or last."""
    if is_number(words[0]):
        start = max(place for place, word in enumerate(words) if is_number(word)) + 1
        return _Line(row, " ".join(words[start:]), list(words[:start]))
    numbers = [place for place, word in enumerate(words) if is_number(word)]
    endings = [place + 1 for place, word in enumerate(words) if _ENDING.search(word)]
    end = min([*endings, *numbers])
    return _Line(row, " ".join(words[:end]), list(words[end:]))


# ── which numbers are points ──


def _order(source: Path, count: int, lines: Sequence[Sequence[str]]) -> list[int]:
    """Returns the places of x and y of each point in turn among a line's numbers."""
    in_turn = list(range(count))
    if count == 206:
        return in_turn[:196]
    if count not in (14, 150):
        return in_turn
    numbers = _as_numbers(lines)
    if not len(numbers):  # each line has a word that is none, and is rejected for it
        return in_turn
    if count == 150:
        if not _bound(numbers[:, [0, 2, 1, 3]], numbers[:, 4:]):
            raise InputError(
                f"{source}: 150 numbers a line are Menpo's box, 5 points and 68 points, but the box"
                " does not hold the points; write a table whose header names the points"
            )
        return in_turn[14:]
    if _are_attributes(numbers[:, 10:]):
        return [place for point in range(5) for place in (point, point + 5)]
    if _bound(numbers[:, :4], numbers[:, 4:]):
        return in_turn[4:]
    raise InputError(
        f"{source}: 14 numbers a line are a box (left, right, top, bottom) and 5 points, or 5 x,"
        " 5 y and 4 attributes; these are neither; write a table whose header names the points"
    )


def _as_numbers(lines: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns the lines that are all numbers, (n, count) float64."""
    return np.array([[float(n) for n in line] for line in lines if all(map(is_number, line))])


def _bound(ranges: np.ndarray, points: np.ndarray) -> bool:
    """Whether left, right, top, bottom, (n, 4), are around x and y of each point in turn."""
    left, right, top, bottom = ranges.T[..., None]
    x, y = points[:, ::2], points[:, 1::2]
    margin_x, margin_y = (right - left) / 4, (bottom - top) / 4
    inside = (x > left - margin_x) & (x < right + margin_x)
    inside &= (y > top - margin_y) & (y < bottom + margin_y)
    return bool(inside.all(axis=1).mean() >= _MOST_SHARE)


def _are_attributes(numbers: np.ndarray) -> bool:
    whole = np.array_equal(numbers, np.rint(numbers))
    return whole and bool((np.abs(numbers) <= _LARGEST_ATTRIBUTE).all())
