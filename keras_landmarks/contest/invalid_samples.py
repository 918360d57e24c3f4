"""Samples that cannot be used: why, and the table that lists them.

A reason has the form "kind: details", so that samples can be counted by the part before the colon.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from keras_landmarks.contest.table_files import printable, write_rows


class InvalidSample(NamedTuple):
    """A row of a table, or its image, that cannot be used.

    Attributes:
        file_name: the image's name in the table.
        line: the row's line in the table; the header is line 1.
        reason: "kind: details", or the kind alone.
    """

    file_name: str
    line: int
    reason: str

    @property
    def kind(self) -> str:
        """The reason without its details."""
        return self.reason.partition(":")[0]

    def describe(self, table: Path) -> str:
        """Returns where in its table the row is, and the reason, for a message."""
        return f"{table}, line {self.line} ({printable(self.file_name)}): {self.reason}"


def write_invalid_samples(path: Path, samples: Iterable[InvalidSample]) -> None:
    """Writes invalid samples as a tab-separated table: file name, line in their table, reason.

    Characters that do not print are escaped: a tab in a name becomes \\t.
    """
    rows = ([printable(str(cell)) for cell in sample] for sample in samples)
    write_rows(path, ("file_name", "row", "reason"), rows)
