"""Prediction files: all landmarks of every image, as an uncompressed .npz without pickles.

A file may come from a stranger, so the size that an array's header states is compared with the
size of its data before any memory is allocated; `np.load` allocates first. Reading the arrays here
rather than by `np.load` also allows a few rows to be read at a time.
"""

import contextlib
import math
import unicodedata
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest.landmark_tables import LandmarkTable
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_write


def write(
    path: Path,
    file_names: Sequence[str],
    landmarks: np.ndarray,
    sigmas: np.ndarray | None = None,
    point_names: Sequence[str] | None = None,
    imputed: Collection[str] = (),
) -> None:
    """Writes predictions.

    Args:
        path: the .npz file.
        file_names: n names.
        landmarks: (n, k, 2), in photo pixels; stored as float32.
        sigmas: (n, k), in photo pixels: the standard deviation of each x and y, if known.
        point_names: k names, if the points have some.
        imputed: the names of images that could not be read, whose landmarks are the mean shape.
    """
    arrays = {"landmarks": landmarks} | ({} if sigmas is None else {"sigmas": sigmas})
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    lists = {"point_names": point_names or (), "imputed": sorted(imputed)}
    arrays |= {name: np.array(values) for name, values in lists.items() if values}
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez(file, file_names=np.array(file_names), **arrays)


def read(path: Path) -> LandmarkTable:
    """Reads predictions; the landmarks and sigmas are float32.

    Raises:
        InputError: the file is missing or is not a predictions file.
    """
    with _open(path) as (header, landmarks, sigmas):
        rows = len(header.file_names)
        points = landmarks.read(rows).astype(np.float32)
        if sigmas is not None:
            sigmas = sigmas.read(rows).astype(np.float32)
        return LandmarkTable(header.file_names, points, sigmas, header.point_names, header.imputed)


class PredictionsHeader(NamedTuple):
    """What a file of predictions has besides landmarks; see `write`."""

    file_names: list[str]
    num_landmarks: int
    point_names: list[str] | None
    imputed: frozenset[str]


def read_header(path: Path) -> PredictionsHeader:
    """Reads the names of a file, and the number of landmarks, without reading any landmarks.

    Raises:
        InputError: as `read`.
    """
    with _open(path) as (header, _, _):
        return header


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
    with _open(path) as (header, landmarks, sigmas):
        for start in range(0, len(header.file_names), rows):
            count = min(rows, len(header.file_names) - start)
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
def _open(path: Path) -> Iterator[tuple[PredictionsHeader, _StoredArray, _StoredArray | None]]:
    """Yields the header and the arrays of landmarks and sigmas, ready to be read.

    Any failure, also within the block, becomes an InputError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            landmarks = _StoredArray(archive, "landmarks", kind="f")
            has_sigmas = "sigmas.npy" in archive.namelist()
            sigmas = _StoredArray(archive, "sigmas", kind="f") if has_sigmas else None
            header = PredictionsHeader(
                _read_names(archive, "file_names"),
                landmarks.shape[1],
                _read_names(archive, "point_names", is_optional=True) or None,
                frozenset(_read_names(archive, "imputed", is_optional=True)),
            )
            _check_shapes(header, landmarks, sigmas)
            yield header, landmarks, sigmas
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for a broken file
        raise InputError(f"{path}: not a predictions file ({error})") from None


def _read_names(archive: zipfile.ZipFile, array: str, is_optional: bool = False) -> list[str]:
    """Returns the names in an array; as in tables they are in Unicode's normal form C."""
    if is_optional and f"{array}.npy" not in archive.namelist():
        return []
    names = _StoredArray(archive, array, kind="U")
    if len(names.shape) != 1:
        raise ValueError(f"{array} has the shape {names.shape}")
    return [unicodedata.normalize("NFC", name) for name in names.read(*names.shape).tolist()]


def _check_shapes(
    header: PredictionsHeader, landmarks: _StoredArray, sigmas: _StoredArray | None
) -> None:
    num_images, num_landmarks = len(header.file_names), header.num_landmarks
    if landmarks.shape != (num_images, num_landmarks, 2):
        raise ValueError(f"{num_images} names and {landmarks.shape} landmarks do not match")
    if sigmas is not None and sigmas.shape != (num_images, num_landmarks):
        raise ValueError(f"{sigmas.shape} sigmas and {landmarks.shape} landmarks do not match")
    if header.point_names and len(header.point_names) != num_landmarks:
        raise ValueError(f"{len(header.point_names)} names for {num_landmarks} points")
