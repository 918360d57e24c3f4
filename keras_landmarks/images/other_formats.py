"""Reads photos that are neither JPEG nor PNG: WebP, AVIF, TIFF and BMP with Pillow, HEIC with its
extra.

OpenCV reads most of these, too, but takes no orientation from AVIF, and not every build of it has
every format. Of several frames or pages the first is read. Transparency and colour profiles are
ignored, as in PNG files.

As in `decoding`, a ValueError's message is the reason alone.
"""

import contextlib
import importlib
import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from keras_landmarks.images import image_header

if TYPE_CHECKING:  # Takes a tenth of a second to import, and most photos are JPEG or PNG.
    from PIL.Image import Image

_BMP_HEADER_BYTES = (12, 40, 52, 56, 64, 108, 124)
_BRANDS = {  # in this order: an AVIF file often has the brand mif1 as well
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1"},
}
# Image.open would load every plugin of Pillow, and HEIC would have to be registered in the process.
_READERS = {
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}
_NO_HEIC = "HEIC, which needs an extra: pip install -e '.[heic]'; or convert it to JPEG"
_RAW = "a camera's raw file, of which only a preview could be read; convert it to JPEG or TIFF"
_ORIENTATION_TAG, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
# Of a raw file: its first image is marked as a reduced copy, or it has DNG's tag or Canon's mark.
_SUBFILE_TYPE_TAG, _REDUCED_COPY, _DNG_TAG, _CANON_MARK = 254, 1, 50706, b"CR"


def find_format(content: bytes) -> str | None:
    """Returns "WebP", "AVIF", "TIFF", "BMP" or "HEIC" by the first bytes; None for others."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if content[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    if content[:2] == b"BM" and int.from_bytes(content[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    if content[4:8] == b"ftyp":
        box = content[8 : int.from_bytes(content[:4], "big")]
        brands = set(re.findall(b"....", box, re.DOTALL))
        return next((name for name, own in _BRANDS.items() if own & brands), None)
    return None


def decode(content: bytes, format_name: str) -> np.ndarray:
    """Decodes a photo to (H, W, 3) uint8 RGB, upright.

    Args:
        content: the file.
        format_name: its `find_format`.

    Raises:
        ValueError: the content does not decode, is a camera's raw file or has pixels of 32 bits;
            it has too many pixels, or one side is over a hundred times the other; or what reads the
            format is not installed.
    """
    photo = _open(content, format_name)
    from PIL import ImageOps

    with _errors_as_damage():
        photo = ImageOps.exif_transpose(photo)
    if photo.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits; convert it to 8 or 16 bits")
    with _errors_as_damage():
        if photo.mode.startswith("I;16"):  # Pillow's own conversion cuts off what is above 255.
            grey = (np.asarray(photo) >> 8).astype(np.uint8)
            return np.stack([grey] * 3, axis=-1)
        return np.array(photo.convert("RGB"))


def read_size(content: bytes, format_name: str) -> tuple[int, int]:
    """Returns the width and height of what `decode` returns, without decoding pixels.

    Raises:
        ValueError: as `decode`, as far as the header shows it.
    """
    photo = _open(content, format_name)
    width, height = photo.size
    with _errors_as_damage():
        orientation = photo.getexif().get(_ORIENTATION_TAG)
    # Of a TIFF Pillow states the size when it is upright.
    is_rotated = format_name != "TIFF" and orientation in _ON_ITS_SIDE
    return (height, width) if is_rotated else (width, height)


def _open(content: bytes, format_name: str) -> "Image":
    """Reads a photo's header; checks its size before anything is allocated for its pixels."""
    reader = _find_reader(format_name)
    with _errors_as_damage():
        photo = reader(io.BytesIO(content))
    if format_name == "TIFF" and _is_raw(photo, content):
        raise ValueError(_RAW)
    image_header.check_size(photo.size)
    return photo


def _find_reader(format_name: str) -> Callable[[io.BytesIO], "Image"]:
    module_name, class_name = _READERS[format_name]
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        raise ValueError(_NO_HEIC) from None
    if not getattr(module, "SUPPORTED", True):
        raise ValueError(f"{format_name}, which Pillow was built without; convert it to JPEG")
    return getattr(module, class_name)


def _is_raw(photo: "Image", content: bytes) -> bool:
    tags = photo.tag_v2
    is_copy = tags.get(_SUBFILE_TYPE_TAG, 0) == _REDUCED_COPY
    return is_copy or _DNG_TAG in tags or content[8:10] == _CANON_MARK


@contextlib.contextmanager
def _errors_as_damage() -> Iterator[None]:
    """Turns whatever is raised within, by a reader of a damaged file, into one ValueError."""
    try:
        yield
    except Exception:  # Pillow raises a dozen types, SyntaxError and KeyError among them.
        raise ValueError(image_header.DAMAGED) from None
