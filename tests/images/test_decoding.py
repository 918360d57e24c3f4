import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_landmarks.contest import listed_images
from keras_landmarks.images import decoding
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def photo():
    """A smooth photo, 40 x 20: red grows to the right, green downwards, blue is 30."""
    x, y = np.meshgrid(np.arange(40), np.arange(20))
    return np.stack([x * 6, y * 12, np.full_like(x, 30)], axis=-1).astype(np.uint8)


def test_a_jpeg_comes_back_as_rgb(photo):
    decoded = decoding.decode_image(decoding.encode_jpeg(photo))
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded.astype(int), photo, atol=12)


def test_a_png_named_jpg_is_read(photo, write):
    path = write(cv2.imencode(".png", photo[..., ::-1])[1].tobytes(), "a.jpg")
    np.testing.assert_array_equal(listed_images.read_image(path.parent, path.name), photo)


def test_grey_becomes_rgb(photo):
    grey = photo[..., 0]
    decoded = decoding.decode_image(cv2.imencode(".png", grey)[1].tobytes())
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=-1))


def test_an_image_is_turned_as_its_exif_says(photo):
    jpeg = decoding.encode_jpeg(photo)
    # One entry: tag 0x0112 (orientation), one short, 6: the camera was turned to the left.
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    expected = np.rot90(decoding.decode_image(jpeg), -1)
    np.testing.assert_array_equal(decoding.decode_image(turned), expected)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda jpeg: jpeg[: len(jpeg) // 2], "the JPEG is truncated"),
        (lambda jpeg: jpeg[:-2], "the JPEG is truncated"),
        (lambda jpeg: b"", "the file is empty"),
        (lambda jpeg: jpeg[:20] + jpeg[-2:], "the JPEG is truncated"),
        (lambda jpeg: jpeg[:3], "the JPEG is truncated"),
        (lambda jpeg: jpeg.replace(b"\xff\xdb", b"\xff\xfe"), "the image does not decode"),
        (lambda jpeg: b"<html>not found</html>", "neither a JPEG nor a PNG"),
        (lambda jpeg: b"\x89PNG\r\n\x1a\n", "the image does not decode"),
    ],
)
def test_a_broken_image_is_named(photo, write, damage, says):
    path = write(damage(decoding.encode_jpeg(photo)), "a.jpg")
    with pytest.raises(InputError, match=f"{path.parent}/a.jpg: {says}"):
        listed_images.read_image(path.parent, path.name)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: not an ordinary file"):
        listed_images.read_image(tmp_path, "a.jpg")


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(InputError, match=r"a\.jpg: over 268,435,456 bytes: 68,719,476,736"):
        listed_images.read_image(tmp_path, "a.jpg")


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


def test_what_is_transparent_keeps_its_colour(photo):
    faint = np.dstack([photo[..., ::-1], np.zeros(photo.shape[:2], np.uint8)])
    decoded = decoding.decode_image(cv2.imencode(".png", faint)[1].tobytes())
    np.testing.assert_array_equal(decoded, photo)


def test_an_image_one_pixel_wide_is_read(photo):
    narrow = photo[:, :1]
    decoded = decoding.decode_image(cv2.imencode(".png", narrow[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(decoded, narrow)


def test_a_side_over_a_hundred_times_the_other_is_refused():
    assert decoding.decode_image(decoding.encode_jpeg(np.zeros((100, 1, 3), np.uint8))).size
    with pytest.raises(ValueError, match="a side is over 100 times the other: 1 x 101"):
        decoding.decode_image(decoding.encode_jpeg(np.zeros((101, 1, 3), np.uint8)))


def test_what_follows_a_jpegs_end_does_not_matter(photo):
    jpeg = decoding.encode_jpeg(photo)
    decoded = decoding.decode_image(jpeg + bytes(100_000))  # a film, as some telephones append
    np.testing.assert_array_equal(decoded, decoding.decode_image(jpeg))


def test_the_end_of_a_thumbnail_is_not_the_jpegs(photo):
    jpeg = decoding.encode_jpeg(photo)
    thumbnail = b"\xff\xe1" + (len(jpeg) + 2).to_bytes(2, "big") + jpeg
    whole = jpeg[:2] + thumbnail + jpeg[2:]
    np.testing.assert_array_equal(decoding.decode_image(whole), decoding.decode_image(jpeg))
    with pytest.raises(ValueError, match="the JPEG is truncated"):
        decoding.decode_image(whole[:-40])


@pytest.mark.parametrize("length", [1, 16, 512])
def test_a_jpeg_damaged_in_its_middle_goes_unnoticed(length):
    """libjpeg warns of most such damage, but OpenCV has no way to ask for its warnings."""
    blobs = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    jpeg = decoding.encode_jpeg(cv2.resize(blobs, (240, 240)))
    middle = len(jpeg) // 2
    damaged = decoding.decode_image(jpeg[:middle] + bytes(length) + jpeg[middle + length :])
    assert (damaged != decoding.decode_image(jpeg)).any()


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp", ".gif"])
def test_other_formats_are_refused(photo, suffix):
    with pytest.raises(ValueError, match="neither a JPEG nor a PNG"):
        decoding.decode_image(cv2.imencode(suffix, photo)[1].tobytes())


def png_chunk(kind, content):
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(photo, kind, monkeypatch):
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
    with pytest.raises(ValueError, match="over 100,000,000 pixels: 20000 x 20000"):
        decoding.decode_image(bomb)


# ── the size without decoding ──


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


def decoded_size(content):
    return decoding.decode_image(content).shape[1::-1]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_turned_image(photo, orientation, order, monkeypatch):
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
    "nothing": [b""],
    "cut off": [tiff(6)[:-8]],
    "neither order": [b"XX" + tiff(6)[2:]],
    "no magic number": [b"II+\0" + tiff(6)[4:]],
    "no such orientation": [tiff(9)],
    "orientation 0": [tiff(0)],
    "a long": [tiff(6, kind=4)],
    "a value within": [tiff(6, entries_before=[(0x010F, 2, 8, 8)])],
    "a value beyond the end": [tiff(6, entries_before=[(0x010F, 2, 40, 5000)])],
    "an unknown type": [tiff(6, entries_before=[(0x010F, 99, 1, 0)])],
    "another value before": [tiff(6, entries_before=[(0x013F, 2, 8, 8)])],
    "two orientations": [tiff(6, entries_before=[(0x0112, 3, 1, 1)])],
    "two structures": [tiff(6), tiff(1)],
    "two structures, the other way round": [tiff(1), tiff(6)],
}


@pytest.mark.parametrize("exif", ODD_EXIF.values(), ids=ODD_EXIF)
def test_the_size_under_an_odd_orientation_is_what_decoding_gives(photo, exif):
    for content in (
        jpeg_with(photo, *(b"Exif\0\0" + body for body in exif)),
        jpeg_with(photo, *(b"Exif\0x" + body for body in exif)),
        png_with(photo, *exif),
    ):
        assert decoding.image_size(content) == decoded_size(content)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_the_size_of_a_damaged_header_is_what_decoding_gives(photo, kind, monkeypatch):
    """Whatever bytes are in it: a size that cannot be decoded is not compared."""
    monkeypatch.setattr(decoding, "_MOST_PIXELS", 20_000)  # decoded in no time
    rng = np.random.default_rng(0)
    exif = tiff(6, entries_before=[(0x010F, 2, 8, 8)])
    sound = jpeg_with(photo, b"Exif\0\0" + exif) if kind == "jpeg" else png_with(photo, exif)
    compared = 0
    for _ in range(1500):
        content = bytearray(sound)
        for place in rng.integers(2, 90, rng.integers(1, 4)):
            content[place] = rng.integers(256)
        try:
            expected = decoded_size(bytes(content))
        except ValueError:
            continue
        assert decoding.image_size(bytes(content)) == expected
        compared += 1
    assert compared > 100


def test_the_size_is_read_from_the_header_alone(photo, write, monkeypatch):
    jpeg = jpeg_with(photo, b"Exif\0\0" + tiff(8))
    path = write(jpeg, "a.jpg")
    with path.open("r+b") as file:
        file.truncate(1 << 27)  # what comes after the end does not matter
    write(jpeg_with(photo, bytes(60_000), bytes(60_000)), "long header.jpg")
    write(jpeg[:-300], "cut off.jpg")
    monkeypatch.setattr(cv2, "imdecode", None)
    names = ["a.jpg", "long header.jpg", "cut off.jpg"]
    sizes = [listed_images.read_listed_size(path.parent, name) for name in names]
    assert sizes == [(20, 40), (40, 20), (20, 40)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no such image"),
        (b"", "the file is empty"),
        (b"<html>", "neither a JPEG nor a PNG"),
        (b"\xff\xd8\xff", "the JPEG is truncated"),
        (png_with(np.zeros((2, 300, 3), np.uint8)), "a side is over 100 times the other"),
    ],
)
def test_what_has_no_size_is_told(write, tmp_path, content, reason):
    if content is not None:
        write(content, "a.jpg")
    with pytest.raises(ValueError, match=f"^{reason}"):
        listed_images.read_listed_size(tmp_path, "a.jpg")


def test_a_png_chunk_that_claims_gigabytes_is_refused_before_it_is_decoded(photo, monkeypatch):
    png = bytearray(png_with(photo))
    place = png.index(b"IDAT")
    png[place - 4 : place] = (0x7FFFFFFF).to_bytes(4, "big")
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ValueError, match="the image does not decode"):
        decoding.decode_image(bytes(png))


@pytest.fixture
def photo_folder(tmp_path, photo):
    """A folder `images` with a.png, and a.png beside it."""
    for folder in (tmp_path, tmp_path / "images"):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "a.png"), photo[..., ::-1])
    return tmp_path / "images"


def test_a_link_within_the_images_folder_is_followed(photo_folder, photo):
    (photo_folder / "inner").mkdir()
    (photo_folder / "inner" / "b.png").symlink_to("../a.png")
    (photo_folder / "c.png").symlink_to(photo_folder / "inner" / "b.png")
    for name in ("a.png", "inner/b.png", "c.png"):
        np.testing.assert_array_equal(listed_images.read_listed_image(photo_folder, name), photo)


def test_the_images_folder_may_be_a_link(photo_folder, photo):
    link = photo_folder.with_name("link")
    link.symlink_to(photo_folder)
    (photo_folder / "b.png").symlink_to("a.png")
    for name in ("a.png", "b.png"):
        np.testing.assert_array_equal(listed_images.read_listed_image(link, name), photo)


def test_a_link_that_leaves_the_images_folder_is_refused(photo_folder):
    (photo_folder / "file.png").symlink_to("../a.png")
    (photo_folder / "outside").symlink_to("..")
    (photo_folder / "twice.png").symlink_to("file.png")
    (photo_folder / "away.png").symlink_to(photo_folder.parent / "nowhere.png")
    for name in ("file.png", "outside/a.png", "twice.png", "away.png"):
        for read in (listed_images.read_listed_image, listed_images.read_listed_size):
            with pytest.raises(ValueError, match=r"^a link that leaves the images folder"):
                read(photo_folder, name)
        with pytest.raises(InputError, match=f"{name}: a link that leaves the images folder"):
            listed_images.read_image(photo_folder, name)


@pytest.mark.parametrize("name", ["../a.png", "inner/../../a.png", "{folder}/a.png", "", "a\n.png"])
def test_what_is_no_name_of_a_file_in_the_folder_is_not_looked_for(photo_folder, name):
    """Tables are read with such rows refused; a file of predictions has any names."""
    name = name.format(folder=photo_folder)
    (photo_folder / "inner").mkdir()
    with pytest.raises(ValueError, match=r"^not the name of a file in the images folder: "):
        listed_images.read_listed_image(photo_folder, name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b.png", "there is no such image"),
        ("dangling.png", "there is no such image"),
        ("circle.png", "Too many levels of symbolic links"),
        (".", "not an ordinary file"),
        ("a.png/b.png", "Not a directory"),
        ("b" * 300, "File name too long"),
    ],
)
def test_what_is_no_image_is_told(photo_folder, name, reason):
    (photo_folder / "dangling.png").symlink_to("b.png")
    (photo_folder / "circle.png").symlink_to("circle.png")
    with pytest.raises(ValueError, match=f"^{reason}$"):
        listed_images.read_listed_image(photo_folder, name)
