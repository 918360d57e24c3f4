"""A file of results that grows record by record, so that interrupted work can be continued."""

from pathlib import Path

import numpy as np


class Journal:
    """A file of records of equal length; a killed process loses at most the one it was writing."""

    def __init__(self, path: Path, record: np.dtype):
        """Opens or creates the file, and cuts off an incomplete record at its end.

        Args:
            path: the file.
            record: the type of one record, shape included.
        """
        self._path, self.record = path, record
        self._file = path.open("ab", buffering=0)
        self.truncate(len(self))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._path.stat().st_size // self.record.itemsize

    def append(self, record: np.ndarray) -> None:
        """Adds a record."""
        rest = memoryview(record.tobytes())
        while rest:  # a disk that fills up takes a part, and raises at the next write
            rest = rest[self._file.write(rest) :]

    def truncate(self, count: int) -> None:
        """Removes all records but the first `count`."""
        self._file.truncate(count * self.record.itemsize)

    def read(self) -> np.ndarray:
        """Returns all records in the order in which they were added."""
        return np.fromfile(self._path, self.record)
