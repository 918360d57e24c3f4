"""Validates the photos that a program passes to `Landmarker`, and reads those in files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks.images import decoding
from keras_landmarks.utils.errors import InputError


def as_photos(images: Sequence[np.ndarray | str | Path]) -> list[np.ndarray]:
    """Returns photos as arrays (H, W, 3) uint8 RGB.

    Args:
        images: such arrays, or paths of photos.

    Raises:
        InputError: a file, named, cannot be read.
        TypeError: `images` is a single photo or path, or one of them is not a photo.
        ValueError: a photo has no pixels.
    """
    is_single = isinstance(images, (str, Path)) or getattr(images, "ndim", 4) != 4
    if is_single or not isinstance(images, Iterable):
        raise TypeError(
            f"images must be a list, not {_describe(images)}; put a single photo or path into [ ]"
        )
    return [_as_photo(image) for image in images]


def _as_photo(image: np.ndarray | str | Path) -> np.ndarray:
    if isinstance(image, (str, Path)):
        return _read_photo(image)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
        raise TypeError(
            "a photo must be an RGB array (H, W, 3) uint8 or a path,"
            f" not {_describe(image)}{_conversion(image)}"
        )
    if not image.size:
        raise ValueError(f"a photo has no pixels: its shape is {image.shape}")
    return image


def _read_photo(path: str | Path) -> np.ndarray:
    try:
        return decoding.read_photo(path)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _describe(value: Any) -> str:
    """Returns the dtype and shape of an array, or the type of anything else."""
    is_array = isinstance(value, np.ndarray)
    return f"{value.dtype} {value.shape}" if is_array else type(value).__name__


def _conversion(image: Any) -> str:
    """Returns, for the end of an error message, the code that makes a photo of the image."""
    shape, dtype = getattr(image, "shape", ()), getattr(image, "dtype", None)
    if dtype != np.uint8 and shape[2:] == (3,):
        return "; convert values from 0 to 1 by (255 * image).astype(np.uint8)"
    if len(shape) == 2 or shape[2:] == (1,):
        return "; convert it by cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)"
    is_rgba = shape[2:] == (4,)
    return "; convert it by cv2.cvtColor(image, cv2.COLOR_RGBA2RGB)" if is_rgba else ""
