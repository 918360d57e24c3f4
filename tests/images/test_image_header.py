import struct
import zlib

import cv2
import numpy as np
import pytest
from image_bytes import gradient_photo, jpeg_with, png_chunk, png_with, tiff

from keras_landmarks.images import decoding, image_header


@pytest.fixture
def photo():
    return gradient_photo()


def decoded_size(content):
    return decoding.decode_image(content).shape[1::-1]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_follows_exif_orientation(photo, orientation, order, monkeypatch):
    contents = [
        jpeg_with(photo, b"Exif\0\0" + tiff(orientation, order)),
        jpeg_with(photo, b"http://ns.adobe.com/xap/1.0/\0", b"Exif\0\0" + tiff(orientation, order)),
        png_with(photo, tiff(orientation, order)),
        png_with(photo, tiff(orientation, order), at_end=True),
    ]
    expected = (20, 40) if orientation >= 5 else (40, 20)
    assert [decoded_size(content) for content in contents] == [expected] * 4
    monkeypatch.setattr(cv2, "imdecode", None)
    assert [decoding.image_size(content) for content in contents] == [expected] * 4


ODD_EXIF = {
    "empty": [b""],
    "cut off": [tiff(6)[:-8]],
    "neither order": [b"XX" + tiff(6)[2:]],
    "no magic number": [b"II+\0" + tiff(6)[4:]],
    "orientation 9": [tiff(9)],
    "orientation 0": [tiff(0)],
    "a long integer": [tiff(6, kind=4)],
    "a value inside": [tiff(6, entries_before=[(0x010F, 2, 8, 8)])],
    "a value beyond the end": [tiff(6, entries_before=[(0x010F, 2, 40, 5000)])],
    "an unknown type": [tiff(6, entries_before=[(0x010F, 99, 1, 0)])],
    "another value before": [tiff(6, entries_before=[(0x013F, 2, 8, 8)])],
    "two orientations": [tiff(6, entries_before=[(0x0112, 3, 1, 1)])],
    "two structures": [tiff(6), tiff(1)],
    "two structures, swapped": [tiff(1), tiff(6)],
}


@pytest.mark.parametrize("exif", ODD_EXIF.values(), ids=ODD_EXIF)
def test_odd_exif_size_matches_decoding(photo, exif):
    for content in (
        jpeg_with(photo, *(b"Exif\0\0" + body for body in exif)),
        jpeg_with(photo, *(b"Exif\0x" + body for body in exif)),
        png_with(photo, *exif),
    ):
        assert decoding.image_size(content) == decoded_size(content)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_damaged_header_size_matches_decoding(photo, kind, monkeypatch):
    """Random bytes; headers that cannot be decoded are not compared."""
    monkeypatch.setattr(image_header, "MAX_PIXELS", 20_000)  # quick to decode
    rng = np.random.default_rng(0)
    exif = tiff(6, entries_before=[(0x010F, 2, 8, 8)])
    valid = jpeg_with(photo, b"Exif\0\0" + exif) if kind == "jpeg" else png_with(photo, exif)
    compared = 0
    for _ in range(1500):
        content = bytearray(valid)
        for place in rng.integers(2, 90, rng.integers(1, 4)):
            content[place] = rng.integers(256)
        try:
            expected = decoded_size(bytes(content))
        except ValueError:
            continue
        assert decoding.image_size(bytes(content)) == expected
        compared += 1
    assert compared > 100


def test_extreme_aspect_ratio_is_rejected():
    assert decoding.decode_image(decoding.encode_jpeg(np.zeros((100, 1, 3), np.uint8))).size
    with pytest.raises(ValueError, match="1 x 101"):
        decoding.decode_image(decoding.encode_jpeg(np.zeros((101, 1, 3), np.uint8)))


def test_oversized_png_chunk_is_rejected(photo, monkeypatch):
    png = bytearray(png_with(photo))
    place = png.index(b"IDAT")
    png[place - 4 : place] = (0x7FFFFFFF).to_bytes(4, "big")
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ValueError, match="decode"):
        decoding.decode_image(bytes(png))


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_decompression_bomb_is_rejected(photo, kind, monkeypatch):
    side = 20_000
    if kind == "png":  # 1 bit a pixel: 50 MB of zeros in 49 kB, 1.2 GB decoded
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        pixels = zlib.compress(bytes(side * (side // 8 + 1)), 9)
        chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
        bomb = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
        assert len(bomb) < 50_000
    else:
        jpeg = decoding.encode_jpeg(photo)
        size = jpeg.index(b"\xff\xc0") + 5
        bomb = jpeg[:size] + struct.pack(">HH", side, side) + jpeg[size + 4 :]
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ValueError, match=r"100,000,000.*20000 x 20000"):
        decoding.decode_image(bomb)
