"""Images of a split's folder, read by the names that a table gives them."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_landmarks.contest import image_names
from keras_landmarks.images.decoding import (
    _JPEG_HEADER_BYTES,
    _JPEG_START,
    NO_FILE,
    decode_image,
    image_size,
    read_content,
    system_errors_as_reasons,
)
from keras_landmarks.utils.errors import InputError

LINK_OUT = (
    "a link that leaves the images folder: copy the file there, or let the whole folder be a link"
)


def read_listed_image(image_folder: Path, name: str) -> np.ndarray:
    """Reads an image of the folder as `decode_image` does, by its name in a table.

    Raises:
        ValueError: it is missing, broken, or lies elsewhere; the message is the reason alone.
    """
    return decode_image(read_listed_content(image_folder, name))


def read_listed_content(image_folder: Path, name: str) -> bytes:
    """Returns the bytes of an image of the folder, by its name in a table.

    Raises:
        ValueError: it is missing, or lies elsewhere; the message is the reason alone.
    """
    path = _listed_path(image_folder, name)
    with _nearest_named(image_folder, name), system_errors_as_reasons():
        return read_content(path)


def read_listed_size(image_folder: Path, name: str) -> tuple[int, int]:
    """Returns the `image_size` of an image of the folder, by its name in a table.

    Raises:
        ValueError: as `read_listed_image`, as far as the header shows it.
    """
    path = _listed_path(image_folder, name)
    with _nearest_named(image_folder, name), system_errors_as_reasons():
        head = read_content(path, _JPEG_HEADER_BYTES)
        with contextlib.suppress(ValueError):  # of a long header the size may come later
            if head.startswith(_JPEG_START):
                return image_size(head)
        return image_size(read_content(path))


def read_listed_sizes(image_folder: Path, names: Sequence[str]) -> Iterator[tuple[int, int] | str]:
    """Yields `read_listed_size` of each image, in order; where it has none, the reason."""

    def size_or_reason(name: str) -> tuple[int, int] | str:
        try:
            return read_listed_size(image_folder, name)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        yield from pool.map(size_or_reason, names)


def read_image(image_folder: Path, name: str) -> np.ndarray:
    """Reads an image as `read_listed_image` does; for those who cannot go on without it.

    Raises:
        InputError: the file, named, is missing, broken, or lies elsewhere.
    """
    try:
        return read_listed_image(image_folder, name)
    except ValueError as error:
        raise InputError(f"{os.path.join(image_folder, name)}: {error}") from None


def _listed_path(image_folder: Path, name: str) -> str:
    """Returns the path of an image of the folder; ValueError if it lies elsewhere."""
    image_names.checked_name(name)
    path = image_names.find_path(image_folder, name)
    # Where links lead is asked only if there may be one: that costs several system calls.
    if "/" in name or os.path.islink(path):
        path, folder = os.path.realpath(path), os.path.realpath(image_folder)
        if os.path.commonpath([path, folder]) != folder:
            raise ValueError(LINK_OUT)
    return path


@contextlib.contextmanager
def _nearest_named(image_folder: Path, name: str) -> Iterator[None]:
    """Within, the error that there is no such image names the nearest name in the folder."""
    try:
        yield
    except ValueError as error:
        if str(error) == NO_FILE and (nearest := image_names.nearest_name(image_folder, name)):
            raise ValueError(f"{NO_FILE}: the nearest name there is {nearest}") from None
        raise
