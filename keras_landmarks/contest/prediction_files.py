"""Prediction files: all landmarks of every image, as an uncompressed .npz without pickles.

A file may come from a stranger, so the size that an array's header states is compared with the
size of its data before any memory is allocated; `np.load` allocates first. Reading the arrays here
rather than by `np.load` also allows a few rows to be read at a time.
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
    """Writes predictions.

    Args:
        path: the .npz file.
        file_names: n names.
        landmarks: (n, k, 2), in photo pixels; stored as float32.
        sigmas: (n, k), in photo pixels: the standard deviation of each x and y, if known.
    """
    arrays = {"landmarks": landmarks} | ({} if sigmas is None else {"sigmas": sigmas})
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez(file, file_names=np.array(file_names), **arrays)


def read(path: Path) -> LandmarkTable:
    """Reads predictions; the landmarks and sigmas are float32.

    Raises:
        InputError: the file is missing or is not a predictions file.
    """
    with _open(path) as (file_names, landmarks, sigmas):
        points = landmarks.read(len(file_names)).astype(np.float32)
        if sigmas is not None:
            sigmas = sigmas.read(len(file_names)).astype(np.float32)
        return LandmarkTable(file_names, points, sigmas)


def read_names(path: Path) -> tuple[list[str], int]:
    """Returns the file names and the number of landmarks, without reading any landmarks.

    Raises:
        InputError: as `read`.
    """
    with _open(path) as (file_names, landmarks, _):
        return file_names, landmarks.shape[1]


def iterate(path: Path, rows: int) -> Iterator[np.ndarray]:
    """Yields the predictions of `rows` images at a time; the last piece may have fewer.

    The file is read rather than memory-mapped: that verifies its checksum, and pages that were read
    do not count as the process's memory.

    Args:
        path: the .npz file.
        rows: the number of images in a piece.

    Yields:
        (rows, k, 2) float32: x and y; or (rows, k, 3) if the file has sigmas: x, y and sigma.

    Raises:
        InputError: as `read`.
    """
    with _open(path) as (file_names, landmarks, sigmas):
        for start in range(0, len(file_names), rows):
            count = min(rows, len(file_names) - start)
            piece = landmarks.read(count)
            if sigmas is not None:
                piece = np.dstack([piece, sigmas.read(count)])
            yield piece.astype(np.float32, copy=False)


class _StoredArray:
    """An array of an .npz file, read row by row.

    Raises:
        ValueError: the array is not stored plainly, or its size differs from what its header says.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str, kind: str):
        """Reads the header of array `name`, whose dtype must be of this NumPy kind ("f", "U")."""
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed")
        self._file = archive.open(member)
        if np.lib.format.read_magic(self._file) != (1, 0):
            raise ValueError(f"{name} is in another version of the .npy format")
        self.shape, is_fortran, self._dtype = np.lib.format.read_array_header_1_0(self._file)
        if self._dtype.kind != kind or is_fortran:
            raise ValueError(f"{name} has type {self._dtype}")
        num_bytes = math.prod(self.shape) * self._dtype.itemsize
        if member.file_size - self._file.tell() != num_bytes:
            raise ValueError(f"{name} does not have the shape {self.shape}")

    def read(self, rows: int) -> np.ndarray:
        """Returns the next rows."""
        shape = (rows, *self.shape[1:])
        content = self._file.read(math.prod(shape) * self._dtype.itemsize)
        return np.frombuffer(content, self._dtype).reshape(shape)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[list[str], _StoredArray, _StoredArray | None]]:
    """Yields the file names and the arrays of landmarks and sigmas, ready to be read.

    Any failure, also within the block, becomes an InputError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = _StoredArray(archive, "file_names", kind="U")
            landmarks = _StoredArray(archive, "landmarks", kind="f")
            has_sigmas = "sigmas.npy" in archive.namelist()
            sigmas = _StoredArray(archive, "sigmas", kind="f") if has_sigmas else None
            _check_shapes(names, landmarks, sigmas)
            # As in tables, names are in Unicode's normal form C.
            file_names = [
                unicodedata.normalize("NFC", name) for name in names.read(*names.shape).tolist()
            ]
            yield file_names, landmarks, sigmas
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for a broken file
        raise InputError(f"{path}: not a predictions file ({error})") from None


def _check_shapes(
    names: _StoredArray, landmarks: _StoredArray, sigmas: _StoredArray | None
) -> None:
    expected = (*names.shape, *landmarks.shape[1:2], 2)
    if len(names.shape) != 1 or landmarks.shape != expected:
        raise ValueError(f"{names.shape} names and {landmarks.shape} landmarks do not match")
    if sigmas is not None and sigmas.shape != landmarks.shape[:2]:
        raise ValueError(f"{sigmas.shape} sigmas and {landmarks.shape} landmarks do not match")
