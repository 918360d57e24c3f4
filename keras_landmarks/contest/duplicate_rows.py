"""Rows of one file name: repeated rows count once, and rows that contradict each other never."""

import array
import os

import numpy as np

from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.landmark_tables import as_smallest_dtype


class DuplicateRowCheck:
    """Compares every row of a table with the first row of the same file."""

    def __init__(self):
        self._order: dict[str, int] = {}
        # In that order. Arrays, because tuples would take a hundred bytes more per row.
        self._lines, self._hashes = array.array("q"), array.array("q")
        self._contradicted: set[str] = set()

    def add(self, name: str, line: int, values: np.ndarray) -> list[InvalidSample]:
        """Adds a row and returns the samples that it makes invalid.

        A row that equals an earlier one is itself invalid. Of rows that contradict each other one
        is wrong and nothing tells which, so all of them are invalid, including the first.

        Args:
            name: the row's file name.
            line: its line in the table.
            values: its coordinates or point indices.
        """
        if (file := os.path.normpath(name)) == name:
            file = name  # keeps no copy of the string
        # 5 and 5.0 are equal, and so are 0.0 and -0.0.
        values_hash = hash((as_smallest_dtype(values) + 0).tobytes())
        first = self._order.setdefault(file, len(self._lines))
        if first == len(self._lines):
            self._lines.append(line)
            self._hashes.append(values_hash)
            return []
        first_line = self._lines[first]
        if self._hashes[first] == values_hash and file not in self._contradicted:
            return [InvalidSample(name, line, f"duplicate of an earlier row: line {first_line}")]
        invalid = [_contradiction(name, line, first_line)]
        if file not in self._contradicted:
            invalid.insert(0, _contradiction(name, first_line, line))
        self._contradicted.add(file)
        return invalid


def _contradiction(name: str, line: int, other_line: int) -> InvalidSample:
    return InvalidSample(name, line, f"contradicts another row of this file: line {other_line}")
