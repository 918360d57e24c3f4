"""Files of predictions: all the points of every image, as .npz without pickle.

A file may come from a stranger: its arrays are compared with the bytes that are there before memory
is taken for them.
"""

import contextlib
import math
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_landmarks.contest.landmark_tables import LandmarkTable
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_write


def write(
    path: Path,
    file_names: Sequence[str],
    landmarks: np.ndarray,
    sigmas: np.ndarray | None = None,
) -> None:
    """Writes names and landmarks ((n, k, 2) float32, photo pixels) as .npz without pickle.

    `sigmas` (n, k), if they are known: the standard deviation of a point's x and of its y.
    """
    arrays = {"landmarks": landmarks} | ({} if sigmas is None else {"sigmas": sigmas})
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez(file, file_names=np.array(file_names), **arrays)


def read(path: Path) -> LandmarkTable:
    """Reads what `write` wrote, the points as float32.

    Raises:
        InputError: the file is missing or is not such a file.
    """
    with _opened(path) as (file_names, landmarks, sigmas):
        points = landmarks.read(len(file_names)).astype(np.float32)
        if sigmas is not None:
            sigmas = sigmas.read(len(file_names)).astype(np.float32)
        return LandmarkTable(file_names, points, sigmas)


def read_names(path: Path) -> tuple[list[str], int]:
    """Returns the file names of predictions and the points an image, and reads no point."""
    with _opened(path) as (file_names, landmarks, _):
        return file_names, landmarks.shape[1]


def iterate(path: Path, rows: int) -> Iterator[np.ndarray]:
    """Yields what `read` reads, so many rows (the last: fewer) at a time.

    (rows, k, 2) float32, or (rows, k, 3) where the standard deviations are known.
    """
    with _opened(path) as (file_names, landmarks, sigmas):
        for start in range(0, len(file_names), rows):
            count = min(rows, len(file_names) - start)
            piece = landmarks.read(count)
            if sigmas is not None:
                piece = np.dstack([piece, sigmas.read(count)])
            yield piece.astype(np.float32, copy=False)


class _StoredArray:
    """An array of an .npz file, read row by row; takes no memory that the file has no bytes for.

    `np.load` takes what the header asks for before it looks whether it is there.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str, kind: str):
        stored = archive.getinfo(f"{name}.npy")
        if stored.compress_type != zipfile.ZIP_STORED:
            raise ValueError("it is compressed")
        self._file = archive.open(stored)
        if np.lib.format.read_magic(self._file) != (1, 0):
            raise ValueError("it is of another version")
        self.shape, columns_first, self._dtype = np.lib.format.read_array_header_1_0(self._file)
        if self._dtype.kind != kind or columns_first:
            raise ValueError(f"{name} are of type {self._dtype}")
        if stored.file_size - self._file.tell() != math.prod(self.shape) * self._dtype.itemsize:
            raise ValueError(f"{name} are not of the shape {self.shape}")

    def read(self, rows: int) -> np.ndarray:
        """Returns the next rows."""
        shape = (rows, *self.shape[1:])
        content = self._file.read(math.prod(shape) * self._dtype.itemsize)
        return np.frombuffer(content, self._dtype).reshape(shape)


@contextlib.contextmanager
def _opened(
    path: Path,
) -> Iterator[tuple[list[str], _StoredArray, _StoredArray | None]]:
    """Yields the file names and, not yet read, the landmarks and, if there are any, the sigmas.

    What fails is an InputError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = _StoredArray(archive, "file_names", kind="U")
            landmarks = _StoredArray(archive, "landmarks", kind="f")
            expected = (*names.shape, *landmarks.shape[1:2], 2)
            if len(names.shape) != 1 or landmarks.shape != expected:
                raise ValueError(
                    f"{names.shape} names and {landmarks.shape} landmarks do not match"
                )
            sigmas = None
            if "sigmas.npy" in archive.namelist():
                sigmas = _StoredArray(archive, "sigmas", kind="f")
                if sigmas.shape != landmarks.shape[:2]:
                    raise ValueError(
                        f"{sigmas.shape} sigmas and {landmarks.shape} landmarks do not match"
                    )
            file_names = names.read(names.shape[0]).tolist()
            # As in tables, a name is the same in both of Unicode's forms.
            file_names = [unicodedata.normalize("NFC", name) for name in file_names]
            yield file_names, landmarks, sigmas
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for a broken file
        raise InputError(f"{path}: not a predictions file ({error})") from None
