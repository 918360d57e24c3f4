import os

import cv2
import numpy as np
import pytest
from image_bytes import gradient_photo, jpeg_with, png_with, tiff

from keras_landmarks.contest import listed_images
from keras_landmarks.images import decoding
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def photo():
    return gradient_photo()


@pytest.fixture
def photo_folder(tmp_path, photo):
    """A folder `images` with a.png, and a.png beside it."""
    for folder in (tmp_path, tmp_path / "images"):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "a.png"), photo[..., ::-1])
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda jpeg: jpeg[: len(jpeg) // 2], "truncated"),
        (lambda jpeg: jpeg[:-2], "truncated"),
        (lambda jpeg: b"", "empty"),
        (lambda jpeg: jpeg[:20] + jpeg[-2:], "truncated"),
        (lambda jpeg: jpeg[:3], "truncated"),
        (lambda jpeg: jpeg.replace(b"\xff\xdb", b"\xff\xfe"), "decode"),
        (lambda jpeg: b"<html>not found</html>", "not a JPEG"),
        (lambda jpeg: b"\x89PNG\r\n\x1a\n", "decode"),
    ],
)
def test_broken_image_is_named(photo, write, damage, reason):
    path = write(damage(decoding.encode_jpeg(photo)), "a.jpg")
    with pytest.raises(InputError, match=f"{path.parent}/a.jpg: .*{reason}"):
        listed_images.read_image(path.parent, path.name)


def test_pipe_is_rejected(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: "):
        listed_images.read_image(tmp_path, "a.jpg")


def test_huge_file_is_rejected(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(InputError, match=r"a\.jpg: .*268,435,456.*68,719,476,736"):
        listed_images.read_image(tmp_path, "a.jpg")


def test_size_needs_only_the_header(photo, write, monkeypatch):
    jpeg = jpeg_with(photo, b"Exif\0\0" + tiff(8))
    path = write(jpeg, "a.jpg")
    with path.open("r+b") as file:
        file.truncate(1 << 27)  # bytes after the end are ignored
    write(jpeg_with(photo, bytes(60_000), bytes(60_000)), "long header.jpg")
    write(jpeg[:-300], "cut off.jpg")
    monkeypatch.setattr(cv2, "imdecode", None)
    names = ["a.jpg", "long header.jpg", "cut off.jpg"]
    sizes = [listed_images.read_listed_size(path.parent, name) for name in names]
    assert sizes == [(20, 40), (40, 20), (20, 40)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, decoding.NO_FILE),
        (b"", "empty"),
        (b"<html>", "not a JPEG"),
        (b"\xff\xd8\xff", "truncated"),
        (png_with(np.zeros((2, 300, 3), np.uint8)), "100"),
    ],
)
def test_size_errors_give_the_reason(write, tmp_path, content, reason):
    if content is not None:
        write(content, "a.jpg")
    with pytest.raises(ValueError, match=reason):
        listed_images.read_listed_size(tmp_path, "a.jpg")


def test_inner_links_are_followed(photo_folder, photo):
    (photo_folder / "inner").mkdir()
    (photo_folder / "inner" / "b.png").symlink_to("../a.png")
    (photo_folder / "c.png").symlink_to(photo_folder / "inner" / "b.png")
    for name in ("a.png", "inner/b.png", "c.png"):
        np.testing.assert_array_equal(listed_images.read_listed_image(photo_folder, name), photo)


def test_folder_may_be_a_link(photo_folder, photo):
    link = photo_folder.with_name("link")
    link.symlink_to(photo_folder)
    (photo_folder / "b.png").symlink_to("a.png")
    for name in ("a.png", "b.png"):
        np.testing.assert_array_equal(listed_images.read_listed_image(link, name), photo)


def test_links_leaving_the_folder_are_rejected(photo_folder):
    (photo_folder / "file.png").symlink_to("../a.png")
    (photo_folder / "outside").symlink_to("..")
    (photo_folder / "twice.png").symlink_to("file.png")
    (photo_folder / "away.png").symlink_to(photo_folder.parent / "nowhere.png")
    for name in ("file.png", "outside/a.png", "twice.png", "away.png"):
        for read in (listed_images.read_listed_image, listed_images.read_listed_size):
            with pytest.raises(ValueError, match="link"):
                read(photo_folder, name)
        with pytest.raises(InputError, match=f"{name}: .*link"):
            listed_images.read_image(photo_folder, name)


@pytest.mark.parametrize("name", ["../a.png", "inner/../../a.png", "{folder}/a.png", "", "a\n.png"])
def test_names_outside_the_folder_are_rejected(photo_folder, name):
    """Tables reject such rows when they are read; a file of predictions may have any names."""
    name = name.format(folder=photo_folder)
    (photo_folder / "inner").mkdir()
    with pytest.raises(ValueError, match="name"):
        listed_images.read_listed_image(photo_folder, name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b.png", decoding.NO_FILE),
        ("dangling.png", decoding.NO_FILE),
        ("circle.png", "Too many levels of symbolic links"),
        (".", "ordinary"),
        ("a.png/b.png", "Not a directory"),
        ("b" * 300, "File name too long"),
    ],
)
def test_unreadable_files_give_the_reason(photo_folder, name, reason):
    (photo_folder / "dangling.png").symlink_to("b.png")
    (photo_folder / "circle.png").symlink_to("circle.png")
    with pytest.raises(ValueError, match=reason):
        listed_images.read_listed_image(photo_folder, name)
