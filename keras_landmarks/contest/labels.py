"""Labels: tables of points that are held to be true, read with one tolerance.

What `train` skips and counts of a table, every command skips and counts: rows that are broken, that
repeat an earlier row of their file name, or that contradict another one. Rows that nobody asked for
cost nothing, whatever they hold.
"""

import array
import logging
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_landmarks.contest import landmark_tables, table_files
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_LOGGER = logging.getLogger(__name__)  # absl's would bring absl's flags, and not only to commands


@dataclass(frozen=True)
class Labels:
    """The sound rows of a table that were asked for.

    Attributes:
        file_names: n names, each once, in the table's order.
        points: (n, k, 2) in photo pixels, int16 where all are whole, else float32.
        rejects: rows that were asked for and cannot be used, by line.
        listed: every name of the table, each once, whether or not it was asked for or can be used.
    """

    file_names: list[str]
    points: np.ndarray
    rejects: list[InvalidSample]
    listed: Collection[str]


def read(
    path: Path,
    names: Iterable[str] | None = None,
    limit: int | None = None,
    strict: bool = False,
) -> Labels:
    """Reads the sound rows of a table of points; the log has how many others there are.

    Args:
        path: the table.
        names: of the images whose rows are asked for; None for all. Only these are kept in memory.
        limit: read only this many rows of the table.
        strict: a row that was asked for and cannot be used is an error. That is for tables whose
            every row counts: the image of a broken row of a submission has no score.

    Raises:
        InputError: as `contest.iterate_landmarks`; there is no row at all; or more of the rows that
            were asked for are broken than sound (the first is named).
    """
    wanted = None if names is None else {os.path.normpath(name) for name in names}
    first_rows, listed, rejects = FirstRows(), {}, []
    file_names, lines, pieces = [], [], []
    for rows in landmark_tables.iterate_landmarks(path, limit, wanted):
        points = rows.points.astype(landmark_tables.smallest_dtype(rows.points), copy=False)
        broken = (row.file_name for row in rows.rejects)
        listed |= dict.fromkeys([*rows.file_names, *broken, *rows.others])
        rejects += rows.rejects
        kept = []
        for row, name in enumerate(rows.file_names):
            if found := first_rows.compare(name, rows.lines[row], points[row]):
                rejects += found
            else:
                kept.append(row)
        file_names += [rows.file_names[row] for row in kept]
        lines += [rows.lines[row] for row in kept]
        pieces.append(points[kept])
    if not listed:
        raise InputError(f"{path}: there is no row under the header")
    rejects.sort(key=lambda reject: reject.line)
    taken_back = {reject.line for reject in rejects}
    sound = [row for row, line in enumerate(lines) if line not in taken_back]
    points = np.concatenate(pieces)
    del pieces  # gigabytes, maybe
    if len(sound) < len(points):
        file_names, points = [file_names[row] for row in sound], points[sound]
    _report(path, rejects, len(sound), strict)
    points = points.astype(landmark_tables.smallest_dtype(points), copy=False)
    return Labels(file_names, points, rejects, listed)


def _report(path: Path, rejects: list[InvalidSample], sound: int, strict: bool) -> None:
    """Logs rows that cannot be used; raises InputError if they are too many."""
    if not rejects:
        return
    name, line, reason = rejects[0]
    where = f"{path}, line {line} ({table_files.printable(name)}): {reason}"
    if strict:
        raise InputError(where)
    count = f"{len(rejects):,} of {len(rejects) + sound:,} rows cannot be used"
    if len(rejects) > sound:
        raise InputError(f"{where}; {count}: is it the right table?")
    _LOGGER.warning("%s; %s and are skipped", where, count)


class FirstRows:
    """The first sound row of each file, and what it says."""

    def __init__(self):
        self._order: dict[str, int] = {}
        # By that order; arrays, as so many tuples would take a hundred bytes more a row.
        self._lines, self._says = array.array("q"), array.array("q")
        self._distrusted: set[str] = set()

    def compare(self, name: str, line: int, values: np.ndarray) -> list[InvalidSample]:
        """Returns the rejects that a row, sound so far, leads to; none if it is the first.

        Rows that agree cost nothing but a row. Of rows that disagree one is wrong and none can tell
        which, so all are refused.
        """
        if (file := os.path.normpath(name)) == name:
            file = name  # not a copy of every name
        # 5 and 5.0 are the same, and so are 0.0 and -0.0.
        says = hash(
            (values.astype(landmark_tables.smallest_dtype(values), copy=False) + 0).tobytes()
        )
        first = self._order.setdefault(file, len(self._lines))
        if first == len(self._lines):
            self._lines.append(line)
            self._says.append(says)
            return []
        first_line = self._lines[first]
        if self._says[first] == says and file not in self._distrusted:
            return [InvalidSample(name, line, f"an earlier row has this name: {first_line}")]
        rejects = [InvalidSample(name, line, f"another row of this name disagrees: {first_line}")]
        if file not in self._distrusted:
            reason = f"another row of this name disagrees: {line}"
            rejects.insert(0, InvalidSample(name, first_line, reason))
        self._distrusted.add(file)
        return rejects
