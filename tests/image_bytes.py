"""JPEG and PNG files built by hand, for tests of what reads them."""

import struct
import zlib

import cv2
import numpy as np

from keras_landmarks.images import decoding


def gradient_photo():
    """Returns a smooth photo, 40 x 20: red grows to the right, green downwards, blue is 30."""
    x, y = np.meshgrid(np.arange(40), np.arange(20))
    return np.stack([x * 6, y * 12, np.full_like(x, 30)], axis=-1).astype(np.uint8)


def tiff(orientation, order="<", kind=3, entries_before=()):
    """Returns a TIFF structure whose only directory ends with an orientation."""
    entries = [*entries_before, (0x0112, kind, 1, orientation)]
    directory = struct.pack(f"{order}H", len(entries))
    for tag, its_kind, count, value in entries:
        form = "H2x" if its_kind == 3 else "I"
        directory += struct.pack(f"{order}HHI{form}", tag, its_kind, count, value)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}I", 8) + directory + bytes(4)


def jpeg_with(photo, *segments):
    """Returns the photo as a JPEG with these APP1 segments."""
    jpeg = decoding.encode_jpeg(photo)
    app1 = [b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body for body in segments]
    return jpeg[:2] + b"".join(app1) + jpeg[2:]


def png_with(photo, *exif, at_end=False):
    """Returns the photo as a PNG with these eXIf chunks, before or after its pixels."""
    png = cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
    place = png.rindex(b"IEND") - 4 if at_end else png.index(b"IDAT") - 4
    return png[:place] + b"".join(png_chunk(b"eXIf", body) for body in exif) + png[place:]


def png_chunk(kind, content):
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
