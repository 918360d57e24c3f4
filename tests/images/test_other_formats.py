import io
import sys

import cv2
import numpy as np
import pytest
from image_bytes import gradient_photo
from PIL import AvifImagePlugin, Image

from keras_landmarks.images import decoding, image_header, other_formats

PHOTO = gradient_photo()
LOSSLESS = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
FORMATS = ["WEBP", "AVIF", "TIFF", "BMP"]
NAMES = dict(zip(FORMATS, ["WebP", "AVIF", "TIFF", "BMP"], strict=True))


def encode(format_name, image=PHOTO, orientation=None, **options):
    """Returns a photo as a file of one of Pillow's formats, as without loss as the format can."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    options = LOSSLESS.get(format_name, {}) | options
    if orientation and format_name == "TIFF":
        options["tiffinfo"] = {0x0112: orientation}
    elif orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def upright(photo, orientation):
    """Returns the photo as an EXIF orientation says that it is to be shown."""
    if orientation in (2, 5, 4, 7):
        photo = photo[:, ::-1]
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}
    return np.rot90(photo, turns[orientation])


@pytest.mark.parametrize("format_name", FORMATS)
def test_photo_decodes_to_rgb(format_name):
    content = encode(format_name)
    assert other_formats.find_format(content) == NAMES[format_name]
    decoded = decoding.decode_image(content)
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded.astype(int), PHOTO, atol=4)
    assert decoding.image_size(content) == (40, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["WEBP", "AVIF", "TIFF"])
def test_orientation_is_applied(format_name, orientation):
    content = encode(format_name, orientation=orientation)
    expected = upright(PHOTO, orientation)
    np.testing.assert_allclose(decoding.decode_image(content).astype(int), expected, atol=4)
    assert decoding.image_size(content) == expected.shape[1::-1]


@pytest.mark.parametrize(("format_name", "mode"), [("WEBP", "RGBA"), ("TIFF", "LA"), ("BMP", "L")])
def test_grey_becomes_rgb_and_transparency_is_ignored(format_name, mode):
    photo = PHOTO if mode == "RGBA" else np.stack([PHOTO[..., 0]] * 3, axis=-1)
    image = Image.fromarray(photo).convert(mode)
    if mode != "L":
        image.putalpha(128)
    decoded = decoding.decode_image(encode(format_name, image))
    np.testing.assert_allclose(decoded.astype(int), photo, atol=1)


@pytest.mark.parametrize("colour", [slice(None), 0], ids=["colour", "grey"])
def test_sixteen_bits_become_the_upper_eight(colour):
    deep = PHOTO[..., colour].astype(np.uint16) * 257
    content = cv2.imencode(".tiff", deep[..., ::-1] if deep.ndim == 3 else deep)[1].tobytes()
    expected = PHOTO if deep.ndim == 3 else np.stack([PHOTO[..., 0]] * 3, axis=-1)
    np.testing.assert_array_equal(decoding.decode_image(content), expected)


@pytest.mark.parametrize("mode", ["1", "P", "CMYK"])
def test_tiff_of_any_colours_becomes_rgb(mode):
    image = Image.fromarray(PHOTO).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decoding.decode_image(encode("TIFF", image)), expected)


def test_first_page_is_read():
    pages = [Image.fromarray(page) for page in (PHOTO, 255 - PHOTO)]
    content = encode("TIFF", pages[0], save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(decoding.decode_image(content), PHOTO)


def test_heic_is_read_with_its_extra():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    for orientation in (1, 6):
        content = encode("HEIF", orientation=orientation, quality=95)
        assert other_formats.find_format(content) == "HEIC"
        expected = upright(PHOTO, orientation)
        decoded = decoding.decode_image(content).astype(int)
        np.testing.assert_allclose(decoded, expected, atol=16)
        assert decoding.image_size(content) == expected.shape[1::-1]
        with pytest.raises(ValueError, match=r"^the image does not decode$"):
            decoding.decode_image(content[:200])


# ── files that cannot be read ──


def test_heic_without_its_extra_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"^HEIC.*\.\[heic\]"):
        decoding.decode_image(b"\0\0\0\x18ftypheic" + bytes(50))
    brands = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(50)
    with pytest.raises(ValueError, match=r"^HEIC.*\.\[heic\]"):
        decoding.image_size(brands)


def test_pillow_without_avif_is_named(monkeypatch):
    content = encode("AVIF")
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    with pytest.raises(ValueError, match=r"^AVIF, which Pillow was built without; convert it"):
        decoding.decode_image(content)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format_name", FORMATS)
def test_truncated_file_does_not_decode(format_name):
    content = encode(format_name)
    for length in (30, len(content) // 2):
        with pytest.raises(ValueError, match=r"^the image does not decode$"):
            decoding.decode_image(content[:length])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format_name", FORMATS)
def test_damaged_file_is_decoded_or_refused(format_name):
    """Random bytes; the size read from a header is that of the decoded image."""
    rng = np.random.default_rng(0)
    valid = encode(format_name)
    for _ in range(100):
        content = bytearray(valid)
        for place in rng.integers(12, min(len(valid), 300), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        try:
            decoded = decoding.decode_image(bytes(content))
        except ValueError:
            continue
        assert decoded.dtype == np.uint8
        assert decoding.image_size(bytes(content)) == decoded.shape[1::-1]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_32_bits_are_refused(mode):
    content = encode("TIFF", Image.fromarray(PHOTO).convert(mode))
    with pytest.raises(ValueError, match=r"^pixels of 32 bits"):
        decoding.decode_image(content)


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}])
def test_raw_file_is_not_mistaken_for_its_preview(tags):
    with pytest.raises(ValueError, match=r"^a camera's raw file"):
        decoding.decode_image(encode("TIFF", tiffinfo=tags))


@pytest.mark.parametrize("format_name", FORMATS)
def test_size_is_checked_before_decoding(format_name, monkeypatch):
    narrow = encode(format_name, np.zeros((101, 1, 3), np.uint8))
    with pytest.raises(ValueError, match="1 x 101"):
        decoding.decode_image(narrow)
    monkeypatch.setattr(image_header, "MAX_PIXELS", 799)
    with pytest.raises(ValueError, match="over 799 pixels: 40 x 20"):
        decoding.decode_image(encode(format_name))


def test_text_that_begins_like_a_bmp_is_no_photo():
    with pytest.raises(ValueError, match=f"^{image_header.NO_PHOTO}$"):
        decoding.decode_image(b"BMW, Opel, Fiat and so on, a list of cars")
