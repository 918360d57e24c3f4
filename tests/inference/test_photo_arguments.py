from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_landmarks.inference.photo_arguments import as_photos
from keras_landmarks.utils.errors import InputError

PHOTO = np.zeros((400, 300, 3), np.uint8)


def test_arrays_and_paths_become_photos(tmp_path):
    photo = np.arange(90, dtype=np.uint8).reshape(5, 6, 3)
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    photos = as_photos([photo, tmp_path / "photo.png", str(tmp_path / "photo.png")])
    assert photos[0] is photo
    np.testing.assert_array_equal(photos[1], photo)
    np.testing.assert_array_equal(photos[2], photo)


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (PHOTO, r"uint8 \(400, 300, 3\)"),
        ("photo.jpg", "str"),
        (Path("photo.jpg"), "Path"),
        (None, "NoneType"),
    ],
)
def test_anything_but_a_list_is_rejected(images, match):
    with pytest.raises(TypeError, match=f"list.*{match}"):
        as_photos(images)


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (PHOTO[..., 0], r"uint8 \(400, 300\).*cv2\.cvtColor\(image, cv2\.COLOR_GRAY2RGB\)"),
        (PHOTO[..., :1], r"uint8 \(400, 300, 1\).*COLOR_GRAY2RGB"),
        (np.dstack([PHOTO, PHOTO[..., 0]]), r"uint8 \(400, 300, 4\).*COLOR_RGBA2RGB"),
        (PHOTO / 255, r"float64 \(400, 300, 3\).*\(255 \* image\)\.astype\(np\.uint8\)"),
        (None, "NoneType$"),
    ],
)
def test_error_tells_how_to_convert_an_array(image, match):
    with pytest.raises(TypeError, match=match):
        as_photos([image])


def test_photo_without_pixels_is_rejected():
    with pytest.raises(ValueError, match=r"\(0, 0, 3\)"):
        as_photos([PHOTO[:0, :0]])


def test_unreadable_file_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("nothing")
    with pytest.raises(InputError, match=r"a\.jpg: .*JPEG"):
        as_photos([tmp_path / "a.jpg"])
    with pytest.raises(InputError, match=r"b\.jpg: "):
        as_photos([str(tmp_path / "b.jpg")])
