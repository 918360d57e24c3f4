"""Reads the headers of JPEG and PNG files: size and EXIF orientation, without decoding pixels.

Files come from untrusted sources, so the size that a file claims is checked before any memory is
allocated for it. Headers are parsed the way libjpeg, libpng and OpenCV parse them.

Specifications: ITU-T T.81 (JPEG), W3C PNG (third edition), CIPA DC-008 (Exif).
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

NO_PHOTO = "not a JPEG, PNG, WebP, AVIF, TIFF, BMP or HEIC"
DAMAGED = "the image does not decode"
MAX_PIXELS = 100_000_000  # 300 MB decoded
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
JPEG_HEADER_BYTES = 1 << 16  # enough to find the size in most JPEGs
_MAX_ASPECT_RATIO = 100  # crops scale the shorter side to a fixed size, and the longer one with it
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # their segments hold the size
_JPEG_SCAN, _JPEG_APP1 = 0xDA, 0xE1
_JPEG_ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers without a segment
_EXIF_START = b"Exif\0\0"
_ORIENTATION_TAG, _TIFF_SHORT = 0x0112, 3
_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


class Header(NamedTuple):
    """What an image file says before its pixels.

    Attributes:
        size_px: width and height as stored, before any rotation.
        exif: TIFF structures that may hold the orientation; usually one or none.
        scan: byte offset of the first scan of a JPEG; 0 for a PNG.
    """

    size_px: tuple[int, int]
    exif: list[bytes]
    scan: int = 0


def read_header(content: bytes) -> Header:
    """Returns the header of a JPEG or PNG, with its size checked.

    The check comes before decoding because a file of some kilobytes can hold gigabytes of one
    colour.

    Raises:
        ValueError: the content is neither format, its header is broken, it has too many pixels, or
            one side is over a hundred times the other. The message is the reason alone.
    """
    if not content:
        raise ValueError("the file is empty")
    try:
        header = _parse_header(content)
    except struct.error:
        raise ValueError(DAMAGED) from None
    check_size(header.size_px)
    return header


def check_size(size_px: tuple[int, int]) -> None:
    """Raises ValueError if an image has too many pixels, or one side is far longer than the other.

    Args:
        size_px: width and height.
    """
    width, height = size_px
    if width * height > MAX_PIXELS:
        raise ValueError(f"over {MAX_PIXELS:,} pixels: {width} x {height}")
    if max(width, height) > _MAX_ASPECT_RATIO * min(width, height):
        raise ValueError(f"a side is over {_MAX_ASPECT_RATIO} times the other: {width} x {height}")


def swaps_sides(exif: list[bytes]) -> bool:
    """Whether the EXIF orientation exchanges width and height, as OpenCV reads it.

    Args:
        exif: the TIFF structures of a `Header`.

    Raises:
        ValueError: there are several structures, or one is malformed.
        struct.error: a structure is cut off.
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
    (num_entries,) = struct.unpack_from(f"{order}H", tiff, directory)
    is_unsorted = False
    for entry in range(num_entries):
        start = directory + 2 + 12 * entry
        tag, kind, count, value = struct.unpack_from(f"{order}HHII", tiff, start)
        if tag == _ORIENTATION_TAG:
            (orientation,) = struct.unpack_from(f"{order}H", tiff, start + 8)
            if (kind, count) != (_TIFF_SHORT, 1) or not 1 <= orientation <= 8 or is_unsorted:
                raise ValueError("malformed orientation")
            return orientation >= 5
        # OpenCV stops at the first value that it cannot read. Tags after the orientation may have
        # such values, but in a sorted directory they are not reached.
        is_unsorted = is_unsorted or tag > _ORIENTATION_TAG
        size = _TIFF_TYPE_BYTES[kind] * count if kind in _TIFF_TYPE_BYTES else len(tiff)
        if size > 4 and value + size > len(tiff):
            raise ValueError("a value beyond the end")
    return False


def _parse_header(content: bytes) -> Header:
    if content.startswith(_PNG_START):
        exif = [data for kind, data in _png_chunks(content) if kind == b"eXIf"]
        return Header(struct.unpack_from(">II", content, 16), exif)
    if content.startswith(JPEG_START):
        return _parse_jpeg_header(content)
    if content.startswith(b"GIF8"):
        raise ValueError(f"{NO_PHOTO}: GIF; convert it to one of them")
    raise ValueError(NO_PHOTO)


def _parse_jpeg_header(content: bytes) -> Header:
    size, exif = None, []
    for marker, start in _jpeg_segments(content):
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, start + 5)
            size = width, height
        elif marker == _JPEG_APP1 and content.startswith(_EXIF_START, start + 4):
            (length,) = struct.unpack_from(">H", content, start + 2)
            exif.append(content[start + 4 + len(_EXIF_START) : start + 2 + length])
        elif marker == _JPEG_SCAN and size:
            return Header(size, exif, start)
    raise ValueError("the JPEG is truncated")


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Yields the marker and byte offset of each segment, found as libjpeg finds them."""
    place = 2
    while (place := content.find(b"\xff", place)) >= 0 and place + 4 <= len(content):
        marker = content[place + 1]
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _JPEG_ALONE:
            place += 2
        else:
            yield marker, place
            place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and data of each chunk with a valid checksum, except those of the pixels.

    Raises:
        ValueError: a chunk ends beyond the file; OpenCV would allocate all that it claims.
    """
    place, kind = len(_PNG_START), b""
    while kind != b"IEND" and place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            raise ValueError(DAMAGED)
        if kind != b"IDAT":
            checksum = zlib.crc32(memoryview(content)[place + 4 : end])
            if content[end : end + 4] == struct.pack(">I", checksum):
                yield kind, content[place + 8 : end]
        place = end + 4
