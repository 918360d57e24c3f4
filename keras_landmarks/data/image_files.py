"""Images in files: JPEG and PNG, checked before they are decoded.

They come from strangers: what a file claims of its size is looked at before memory is taken for it.
What is wrong is told as a reason, "what: the particulars", as `contest` tells what is wrong with a
row.
"""

import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.data import contest, image_names
from keras_landmarks.errors import InputError

NO_FILE = "there is no such image"
NO_PHOTO = "neither a JPEG nor a PNG"
_MOST_PIXELS = 100_000_000  # 300 MB decoded
_MOST_IMAGE_BYTES = 1 << 28
_LARGEST_ASPECT_RATIO = 100  # the shorter side is scaled to the crop's, and the longer one with it
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_OTHERS = {  # what phones and the web have besides
    rb"RIFF....WEBP": "WebP",
    rb"....ftyp(hei|hev|mif1|msf1)": "HEIC",
    rb"....ftypavi": "AVIF",
    rb"GIF8": "GIF",
}
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of segments with the size
_JPEG_SCAN = 0xDA
_JPEG_ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers that no segment follows


def decode_image(content: bytes) -> np.ndarray:
    """Decodes a JPEG or PNG to (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Raises:
        ValueError: it is neither, does not decode, is a JPEG without its end, has too many pixels,
            or one side is a hundred times the other.
    """
    if not content:
        raise ValueError("the file is empty")
    # Before it is decoded: a file of some kilobytes can hold gigabytes of one colour.
    width, height = _image_size(content)
    if width * height > _MOST_PIXELS:
        raise ValueError(f"over {_MOST_PIXELS:,} pixels: {width} x {height}")
    if max(width, height) > _LARGEST_ASPECT_RATIO * min(width, height):
        raise ValueError(
            f"a side is over {_LARGEST_ASPECT_RATIO} times the other: {width} x {height}"
        )
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError("the image does not decode")
    return image


def _image_size(content: bytes) -> tuple[int, int]:
    """Returns width and height as the file's header has them, not turned."""
    try:
        if content.startswith(_PNG_START):
            return struct.unpack_from(">II", content, 16)
        if content.startswith(_JPEG_START):
            return _jpeg_size(content)
    except struct.error:
        raise ValueError("the image does not decode") from None
    # OpenCV reads more formats, some of them (HDR, GIF) wrongly for our purpose.
    for start, name in _OTHERS.items():
        if re.match(start, content, re.DOTALL):
            raise ValueError(f"{NO_PHOTO}: {name}; convert it to one of them")
    raise ValueError(NO_PHOTO)


def _jpeg_size(content: bytes) -> tuple[int, int]:
    size = None
    for marker, place in _jpeg_segments(content):
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, place + 5)
            size = width, height
        # An end before the first scan is a thumbnail's. OpenCV fills what is missing with grey and
        # says nothing.
        if marker == _JPEG_SCAN and size and content.rfind(_JPEG_END) > place:
            return size
    raise ValueError("the JPEG is truncated")


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Yields marker and place of each segment, found as libjpeg finds them."""
    place = 2
    while (place := content.find(b"\xff", place)) >= 0 and place + 4 <= len(content):
        marker = content[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _JPEG_ALONE:
            place += 2
        else:
            yield marker, place
            place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")


def read_listed_image(image_folder: Path, name: str) -> np.ndarray:
    """Reads an image of the folder as `decode_image` does, by its name in a table.

    Raises:
        ValueError: it is missing, broken, or lies elsewhere; the message is the reason alone.
    """
    contest.checked_name(name)
    path = image_names.find_path(image_folder, name)
    # Where links lead is asked only if there may be one: that costs several system calls.
    if "/" in name or os.path.islink(path):
        path, folder = os.path.realpath(path), os.path.realpath(image_folder)
        if os.path.commonpath([path, folder]) != folder:
            raise ValueError("a link that leaves the images folder")
    try:
        return read_photo(path)
    except ValueError as error:
        if str(error) == NO_FILE and (nearest := image_names.nearest_name(image_folder, name)):
            raise ValueError(f"{NO_FILE}: the nearest name there is {nearest}") from None
        raise


def read_photo(path: str | os.PathLike) -> np.ndarray:
    """Reads an image as `decode_image` does, wherever it lies.

    Raises:
        ValueError: it is missing or broken; the message is the reason alone.
    """
    try:
        return decode_image(_read_content(path))
    except FileNotFoundError:
        raise ValueError(NO_FILE) from None
    except OSError as error:
        raise ValueError(error.strerror) from None


def read_image(image_folder: Path, name: str) -> np.ndarray:
    """Reads an image as `read_listed_image` does; for those who cannot go on without it.

    Raises:
        InputError: the file, named, is missing, broken, or lies elsewhere.
    """
    try:
        return read_listed_image(image_folder, name)
    except ValueError as error:
        raise InputError(f"{os.path.join(image_folder, name)}: {error}") from None


def _read_content(path: str | os.PathLike) -> bytes:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # to read a pipe is to wait for its writer
        raise ValueError("not an ordinary file")
    if status.st_size > _MOST_IMAGE_BYTES:
        raise ValueError(f"over {_MOST_IMAGE_BYTES:,} bytes: {status.st_size:,}")
    with open(path, "rb") as file:
        return file.read()


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encodes an (H, W, 3) uint8 RGB image as JPEG of quality 95."""
    _, content = cv2.imencode(".jpg", image[..., ::-1])
    return content.tobytes()
