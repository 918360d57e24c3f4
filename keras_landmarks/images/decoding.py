"""Reads, decodes and encodes images: files of several formats from untrusted sources.

JPEG and PNG, which trainings read by the million, are decoded here; `other_formats` has the others.

An image is rejected with a ValueError whose message is a reason in the form "what: details", the
same form in which `contest` reports invalid rows.
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterator

import cv2
import numpy as np

from keras_landmarks.images import image_header, other_formats

NO_FILE = "there is no such image"
_MAX_FILE_BYTES = 1 << 28


def read_photo(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file as `decode_image` does.

    Raises:
        ValueError: the file is missing or broken; the message is the reason alone.
    """
    with os_errors_as_value_errors():
        return decode_image(read_content(path))


def read_image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Returns the `image_size` of a file, of which often only the beginning is read.

    Raises:
        OSError: the file cannot be read.
        ValueError: as `image_size` and `read_content`.
    """
    head = read_content(path, image_header.JPEG_HEADER_BYTES)
    with contextlib.suppress(ValueError):  # in a long header the size may come later
        if head.startswith(image_header.JPEG_START):
            return image_size(head)
    return image_size(read_content(path))


def read_content(path: str | os.PathLike, max_bytes: int = -1) -> bytes:
    """Returns the bytes of a file, at most `max_bytes` of them.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a regular file, or it is too large.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for its writer
        raise ValueError("not an ordinary file")
    if status.st_size > _MAX_FILE_BYTES:
        raise ValueError(f"over {_MAX_FILE_BYTES:,} bytes: {status.st_size:,}")
    with open(path, "rb") as file:
        return file.read(max_bytes)


def decode_image(content: bytes) -> np.ndarray:
    """Decodes an image to (H, W, 3) uint8 RGB, rotated as its EXIF orientation says.

    Grey becomes RGB, 16 bits become the upper 8, and transparency is ignored.

    Raises:
        ValueError: the content has none of the formats, cannot be decoded, is a truncated JPEG, has
            too many pixels, or one side is over a hundred times the other; or what reads its format
            is not installed.
    """
    if format_name := other_formats.find_format(content):
        return other_formats.decode(content, format_name)
    header = image_header.read_header(content)
    # A JPEG damaged in its middle is not noticed: libjpeg warns of a quarter of single changed
    # bytes, nothing that is installed passes its warnings on, and a strict second decode would take
    # 60 % of the first one's time.
    # OpenCV silently fills the missing part of a JPEG with grey. An end marker before the first
    # scan belongs to an embedded thumbnail.
    if header.scan and content.rfind(image_header.JPEG_END) < header.scan:
        raise ValueError("the JPEG is truncated")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(image_header.DAMAGED)
    return image


def image_size(content: bytes) -> tuple[int, int]:
    """Returns the width and height of what `decode_image` returns, from the header if possible.

    Pixels are decoded only if the EXIF structure is so odd that only OpenCV can tell how it reads
    the orientation. An image that is cut off after its header therefore has a size.

    Raises:
        ValueError: as `decode_image`, as far as the header shows it.
    """
    if format_name := other_formats.find_format(content):
        return other_formats.read_size(content, format_name)
    header = image_header.read_header(content)
    width, height = header.size_px
    try:
        is_rotated = image_header.swaps_sides(header.exif)
    except (ValueError, struct.error):
        height, width = decode_image(content).shape[:2]
        return width, height
    return (height, width) if is_rotated else (width, height)


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Encodes an (H, W, 3) uint8 RGB image as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()


@contextlib.contextmanager
def os_errors_as_value_errors() -> Iterator[None]:
    """Turns an OSError raised within into a ValueError whose message is the reason alone."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(NO_FILE) from None
    except OSError as error:
        raise ValueError(error.strerror) from None
