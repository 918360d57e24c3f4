"""Rows and images that cannot be used, with the reason, and the table that lists them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from keras_landmarks.contest.table_files import printable, write_rows


class InvalidSample(NamedTuple):
    """A sample that cannot be used. `line` counts from 1 and includes the header."""

    file_name: str
    line: int
    reason: str

    @property
    def kind(self) -> str:
        """The reason without the particulars."""
        return self.reason.partition(":")[0]


def write_invalid_samples(path: Path, rejects: Iterable[InvalidSample]) -> None:
    """Writes samples that cannot be used as a table: file name, row, reason.

    The row is the line in its table. Tabs and the like in a name are written as \\t.
    """
    rows = ([printable(str(cell)) for cell in reject] for reject in rejects)
    write_rows(path, ("file_name", "row", "reason"), rows)
