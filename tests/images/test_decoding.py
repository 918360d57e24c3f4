import io

import cv2
import numpy as np
import pytest
from image_bytes import gradient_photo
from PIL import Image

from keras_landmarks.images import decoding


@pytest.fixture
def photo():
    return gradient_photo()


def test_jpeg_decodes_to_rgb(photo):
    decoded = decoding.decode_image(decoding.encode_jpeg(photo))
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded.astype(int), photo, atol=12)


def test_grey_becomes_rgb(photo):
    grey = photo[..., 0]
    decoded = decoding.decode_image(cv2.imencode(".png", grey)[1].tobytes())
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=-1))


def test_exif_orientation_is_applied(photo):
    jpeg = decoding.encode_jpeg(photo)
    # One entry: tag 0x0112 (orientation), one short, 6: the camera was turned to the left.
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    expected = np.rot90(decoding.decode_image(jpeg), -1)
    np.testing.assert_array_equal(decoding.decode_image(turned), expected)


def test_cmyk_becomes_rgb(photo):
    buffer = io.BytesIO()
    Image.fromarray(photo).convert("CMYK").save(buffer, "JPEG", quality=95, subsampling=0)
    np.testing.assert_allclose(decoding.decode_image(buffer.getvalue()).astype(int), photo, atol=12)


@pytest.mark.parametrize("channels", [slice(None, None, -1), 0], ids=["colour", "grey"])
def test_sixteen_bits_become_eight(photo, channels):
    deep = photo[..., channels].astype(np.uint16) * 257
    decoded = decoding.decode_image(cv2.imencode(".png", deep)[1].tobytes())
    expected = photo if deep.ndim == 3 else np.stack([photo[..., 0]] * 3, axis=-1)
    np.testing.assert_array_equal(decoded, expected)


def test_transparency_is_ignored(photo):
    faint = np.dstack([photo[..., ::-1], np.zeros(photo.shape[:2], np.uint8)])
    decoded = decoding.decode_image(cv2.imencode(".png", faint)[1].tobytes())
    np.testing.assert_array_equal(decoded, photo)


def test_one_pixel_wide_image_is_read(photo):
    narrow = photo[:, :1]
    decoded = decoding.decode_image(cv2.imencode(".png", narrow[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(decoded, narrow)


def test_bytes_after_jpeg_end_are_ignored(photo):
    jpeg = decoding.encode_jpeg(photo)
    decoded = decoding.decode_image(jpeg + bytes(100_000))  # a video, as some phones append
    np.testing.assert_array_equal(decoded, decoding.decode_image(jpeg))


def test_thumbnail_end_is_not_the_end(photo):
    jpeg = decoding.encode_jpeg(photo)
    thumbnail = b"\xff\xe1" + (len(jpeg) + 2).to_bytes(2, "big") + jpeg
    whole = jpeg[:2] + thumbnail + jpeg[2:]
    np.testing.assert_array_equal(decoding.decode_image(whole), decoding.decode_image(jpeg))
    with pytest.raises(ValueError, match="truncated"):
        decoding.decode_image(whole[:-40])


@pytest.mark.parametrize("length", [1, 16, 512])
def test_damaged_jpeg_scan_is_decoded(length):
    """libjpeg warns of most such damage, but OpenCV has no way to ask for its warnings."""
    blobs = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    jpeg = decoding.encode_jpeg(cv2.resize(blobs, (240, 240)))
    middle = len(jpeg) // 2
    damaged = decoding.decode_image(jpeg[:middle] + bytes(length) + jpeg[middle + length :])
    assert (damaged != decoding.decode_image(jpeg)).any()


def test_unread_format_is_named(photo):
    with pytest.raises(ValueError, match=r"JPEG.*: GIF; convert it"):
        decoding.decode_image(cv2.imencode(".gif", photo)[1].tobytes())


def test_png_named_jpg_is_read(photo, write):
    path = write(cv2.imencode(".png", photo[..., ::-1])[1].tobytes(), "a.jpg")
    np.testing.assert_array_equal(decoding.read_photo(path), photo)


def test_read_errors_are_value_errors(tmp_path):
    with pytest.raises(ValueError, match=f"^{decoding.NO_FILE}$"):
        decoding.read_photo(tmp_path / "a.jpg")


def test_lower_quality_makes_smaller_jpegs(photo):
    small = decoding.encode_jpeg(photo, quality=82)
    assert len(small) < len(decoding.encode_jpeg(photo))
    np.testing.assert_allclose(decoding.decode_image(small).astype(int), photo, atol=16)
