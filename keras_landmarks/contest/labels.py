"""True landmarks, read from a table with the same tolerance by every command.

What `train` skips and counts, every command skips and counts: rows that are broken, repeat an
earlier row of their file, or contradict another one. Rows of files that were not requested do not
matter, whatever they hold.
"""

import logging
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_landmarks.contest import landmark_tables
from keras_landmarks.contest.duplicate_rows import DuplicateRowCheck
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

# Not absl's logging: importing it defines absl's flags, and this module is also used as a library.
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """The valid, requested rows of a landmark table.

    Attributes:
        file_names: n distinct names, in the table's order.
        landmarks_photo_px: (n, k, 2), int16 if all are whole numbers, else float32, with NaN for
            landmarks without a place.
        invalid_samples: requested rows that cannot be used, by line.
        listed: every distinct name in the table, requested or not, valid or not.
    """

    file_names: list[str]
    landmarks_photo_px: np.ndarray
    invalid_samples: list[InvalidSample]
    listed: Collection[str]


def read(
    path: Path,
    names: Iterable[str] | None = None,
    limit: int | None = None,
    strict: bool = False,
) -> Labels:
    """Reads the valid rows of a landmark table and logs the number of invalid ones.

    Args:
        path: the table.
        names: the images whose rows are requested; None for all. Only these are kept in memory.
        limit: read only this many rows of the table.
        strict: raise an error for a requested row that is invalid or lacks a landmark. For
            predictions, where every row counts: the image of a broken row would have no score.

    Raises:
        InputError: as `landmark_tables.iterate_landmarks`; the table has no rows; or more of the
            requested rows are invalid than valid.
    """
    requested = None if names is None else {os.path.normpath(name) for name in names}
    duplicates, listed, invalid = DuplicateRowCheck(), {}, []
    file_names, lines, blocks = [], [], []
    for rows in landmark_tables.iterate_landmarks(path, limit, requested):
        rows = landmark_tables.without_gaps(rows) if strict else rows
        points = landmark_tables.as_smallest_dtype(rows.landmarks_photo_px)
        broken_names = (sample.file_name for sample in rows.invalid_samples)
        listed |= dict.fromkeys([*rows.file_names, *broken_names, *rows.other_names])
        invalid += rows.invalid_samples
        kept = []
        for row, name in enumerate(rows.file_names):
            if found := duplicates.add(name, rows.lines[row], points[row]):
                invalid += found
            else:
                kept.append(row)
        file_names += [rows.file_names[row] for row in kept]
        lines += [rows.lines[row] for row in kept]
        blocks.append(points[kept])
    if not listed:
        raise InputError(f"{path}: there is no row under the header")
    invalid.sort(key=lambda sample: sample.line)
    invalid_lines = {sample.line for sample in invalid}
    valid = [row for row, line in enumerate(lines) if line not in invalid_lines]
    points = np.concatenate(blocks)
    del blocks  # possibly gigabytes
    if len(valid) < len(points):
        file_names, points = [file_names[row] for row in valid], points[valid]
    _report_invalid(path, invalid, len(valid), strict)
    return Labels(file_names, landmark_tables.as_smallest_dtype(points), invalid, listed)


def _report_invalid(path: Path, invalid: list[InvalidSample], num_valid: int, strict: bool) -> None:
    """Logs invalid rows; raises InputError if there are too many."""
    if not invalid:
        return
    where = invalid[0].describe(path)
    if strict:
        raise InputError(where)
    count = f"{len(invalid):,} of {len(invalid) + num_valid:,} rows cannot be used"
    if len(invalid) > num_valid:
        raise InputError(f"{where}; {count}: is it the right table?")
    _LOGGER.warning("%s; %s and are skipped", where, count)
