"""Images of a split's folder, read by their names in a table.

A name must not lead out of the folder, neither by `..` nor by a symbolic link.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_landmarks.contest import image_names
from keras_landmarks.images.decoding import (
    NO_FILE,
    decode_image,
    os_errors_as_value_errors,
    read_content,
    read_image_size,
)
from keras_landmarks.utils.errors import InputError

LINK_OUT = (
    "a link that leaves the images folder: copy the file there, or let the whole folder be a link"
)


def read_image(image_folder: Path, name: str) -> np.ndarray:
    """Reads an image as `read_listed_image` does, for callers that cannot continue without it.

    Raises:
        InputError: the file is missing, broken, or outside the folder; the message names it.
    """
    try:
        return read_listed_image(image_folder, name)
    except ValueError as error:
        raise InputError(f"{os.path.join(image_folder, name)}: {error}") from None


def read_listed_image(image_folder: Path, name: str) -> np.ndarray:
    """Returns an image of the folder as (H, W, 3) uint8 RGB.

    Raises:
        ValueError: it is missing, broken, or outside the folder; the message is the reason alone.
    """
    return decode_image(read_listed_content(image_folder, name))


def read_listed_content(image_folder: Path, name: str) -> bytes:
    """Returns the bytes of an image file of the folder.

    Raises:
        ValueError: it is missing or outside the folder; the message is the reason alone.
    """
    path = _resolve(image_folder, name)
    with _suggest_nearest(image_folder, name), os_errors_as_value_errors():
        return read_content(path)


def read_listed_size(image_folder: Path, name: str) -> tuple[int, int]:
    """Returns the `image_size` (width, height) of an image of the folder.

    Raises:
        ValueError: as `read_listed_image`, as far as the image's header shows it.
    """
    path = _resolve(image_folder, name)
    with _suggest_nearest(image_folder, name), os_errors_as_value_errors():
        return read_image_size(path)


def read_listed_sizes(image_folder: Path, names: Sequence[str]) -> Iterator[tuple[int, int] | str]:
    """Yields the `read_listed_size` of each image in order, or the reason why it has none."""

    def size_or_reason(name: str) -> tuple[int, int] | str:
        try:
            return read_listed_size(image_folder, name)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        yield from pool.map(size_or_reason, names)


def _resolve(image_folder: Path, name: str) -> str:
    """Returns the path of an image; raises ValueError if it is outside the folder."""
    image_names.validate_name(name)
    path = image_names.find_path(image_folder, name)
    # Resolving links takes several system calls, so it is done only where there may be one.
    if "/" in name or os.path.islink(path):
        path, folder = os.path.realpath(path), os.path.realpath(image_folder)
        if os.path.commonpath([path, folder]) != folder:
            raise ValueError(LINK_OUT)
    return path


@contextlib.contextmanager
def _suggest_nearest(image_folder: Path, name: str) -> Iterator[None]:
    """Adds the most similar name in the folder to the error that a file is missing."""
    try:
        yield
    except ValueError as error:
        if str(error) == NO_FILE and (nearest := image_names.nearest_file(image_folder, name)):
            raise ValueError(f"{NO_FILE}: the nearest name there is {nearest}") from None
        raise
