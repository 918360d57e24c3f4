"""Images in files: JPEG and PNG, checked before they are decoded.

They come from strangers: what a file claims of its size is looked at before memory is taken for it.
What is wrong is told as a reason, "what: the particulars", as `contest` tells what is wrong with a
row.
"""

import contextlib
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

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
_JPEG_SCAN, _JPEG_APP1 = 0xDA, 0xE1
_JPEG_ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers that no segment follows
_JPEG_HEADER_BYTES = 1 << 16  # as much is read at first: most JPEGs have their size there
_EXIF_START = b"Exif\0\0"
_ORIENTATION_TAG, _TIFF_SHORT = 0x0112, 3
_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


class _Header(NamedTuple):
    """What a file says before its pixels.

    size_px: width and height as they are stored, not yet turned.
    exif: the TIFF structures with the orientation; usually one or none.
    scan: where a JPEG's first scan begins; 0 of a PNG.
    """

    size_px: tuple[int, int]
    exif: list[bytes]
    scan: int = 0


def decode_image(content: bytes) -> np.ndarray:
    """Decodes a JPEG or PNG to (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Raises:
        ValueError: it is neither, does not decode, is a JPEG without its end, has too many pixels,
            or one side is a hundred times the other.
    """
    header = _read_header(content)
    # An end before the first scan is a thumbnail's. OpenCV fills what is missing with grey and
    # says nothing.
    if header.scan and content.rfind(_JPEG_END) < header.scan:
        raise ValueError("the JPEG is truncated")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError("the image does not decode")
    return image


def image_size(content: bytes) -> tuple[int, int]:
    """Returns the width and height of what `decode_image` returns, from the header where it can.

    The pixels are looked at only if the header is so odd that OpenCV alone can tell what it makes
    of the orientation. So an image that is cut off after its header has a size.

    Raises:
        ValueError: as `decode_image`, as far as the header shows it.
    """
    header = _read_header(content)
    width, height = header.size_px
    try:
        is_turned = _lies_on_its_side(header.exif)
    except (ValueError, struct.error):
        height, width = decode_image(content).shape[:2]
        return width, height
    return (height, width) if is_turned else (width, height)


def _read_header(content: bytes) -> _Header:
    """Reads a header and checks the size in it.

    That comes before decoding: a file of some kilobytes can hold gigabytes of one colour.
    """
    if not content:
        raise ValueError("the file is empty")
    try:
        header = _read_unchecked_header(content)
    except struct.error:
        raise ValueError("the image does not decode") from None
    width, height = header.size_px
    if width * height > _MOST_PIXELS:
        raise ValueError(f"over {_MOST_PIXELS:,} pixels: {width} x {height}")
    if max(width, height) > _LARGEST_ASPECT_RATIO * min(width, height):
        raise ValueError(
            f"a side is over {_LARGEST_ASPECT_RATIO} times the other: {width} x {height}"
        )
    return header


def _read_unchecked_header(content: bytes) -> _Header:
    if content.startswith(_PNG_START):
        exif = [data for kind, data in _png_chunks(content) if kind == b"eXIf"]
        return _Header(struct.unpack_from(">II", content, 16), exif)
    if content.startswith(_JPEG_START):
        return _read_jpeg_header(content)
    # OpenCV reads more formats, some of them (HDR, GIF) wrongly for our purpose.
    for start, name in _OTHERS.items():
        if re.match(start, content, re.DOTALL):
            raise ValueError(f"{NO_PHOTO}: {name}; convert it to one of them")
    raise ValueError(NO_PHOTO)


def _read_jpeg_header(content: bytes) -> _Header:
    size, exif = None, []
    for marker, place in _jpeg_segments(content):
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, place + 5)
            size = width, height
        elif marker == _JPEG_APP1 and content.startswith(_EXIF_START, place + 4):
            (length,) = struct.unpack_from(">H", content, place + 2)
            exif.append(content[place + 4 + len(_EXIF_START) : place + 2 + length])
        elif marker == _JPEG_SCAN and size:
            return _Header(size, exif, place)
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


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and data of each chunk but the pixels', without those that libpng passes over.

    Raises:
        ValueError: a chunk ends beyond the file; OpenCV would take memory for all that it claims.
    """
    place, kind = len(_PNG_START), b""
    while kind != b"IEND" and place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            raise ValueError("the image does not decode")
        if kind != b"IDAT":
            checksum = zlib.crc32(memoryview(content)[place + 4 : end])
            if content[end : end + 4] == struct.pack(">I", checksum):
                yield kind, content[place + 8 : end]
        place = end + 4


def _lies_on_its_side(exif: list[bytes]) -> bool:
    """Whether the EXIF orientation exchanges width and height, as OpenCV reads it.

    Raises:
        ValueError: there are several structures, or one is odd.
        struct.error: it is cut off.
    """
    if not exif:
        return False
    if len(exif) > 1:
        raise ValueError("several EXIF structures")
    (tiff,) = exif
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if not order:
        raise ValueError("not a TIFF structure")
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
    is_unsorted = False
    for entry in range(entries):
        place = directory + 2 + 12 * entry
        tag, kind, count, value = struct.unpack_from(f"{order}HHII", tiff, place)
        if tag == _ORIENTATION_TAG:
            (orientation,) = struct.unpack_from(f"{order}H", tiff, place + 8)
            if (kind, count) != (_TIFF_SHORT, 1) or not 1 <= orientation <= 8 or is_unsorted:
                raise ValueError("an odd orientation")
            return orientation >= 5
        # OpenCV gives up at the first value that it cannot read; values of later tags are many
        # kinds, but stand after the orientation.
        is_unsorted = is_unsorted or tag > _ORIENTATION_TAG
        size = _TIFF_TYPE_BYTES[kind] * count if kind in _TIFF_TYPE_BYTES else len(tiff)
        if size > 4 and value + size > len(tiff):
            raise ValueError("a value beyond the end")
    return False


def read_photo(path: str | os.PathLike) -> np.ndarray:
    """Reads an image as `decode_image` does, wherever it lies.

    Raises:
        ValueError: it is missing or broken; the message is the reason alone.
    """
    with system_errors_as_reasons():
        return decode_image(read_content(path))


@contextlib.contextmanager
def system_errors_as_reasons() -> Iterator[None]:
    """Within, an error of the system becomes a ValueError with the reason alone."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(NO_FILE) from None
    except OSError as error:
        raise ValueError(error.strerror) from None


def read_content(path: str | os.PathLike, most_bytes: int = -1) -> bytes:
    """Returns the bytes of a file, or the first of them; ValueError if it is no ordinary file."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # to read a pipe is to wait for its writer
        raise ValueError("not an ordinary file")
    if status.st_size > _MOST_IMAGE_BYTES:
        raise ValueError(f"over {_MOST_IMAGE_BYTES:,} bytes: {status.st_size:,}")
    with open(path, "rb") as file:
        return file.read(most_bytes)


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encodes an (H, W, 3) uint8 RGB image as JPEG of quality 95."""
    _, content = cv2.imencode(".jpg", image[..., ::-1])
    return content.tobytes()
