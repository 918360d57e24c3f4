import cv2
import numpy as np
import pytest

from keras_landmarks.contest.image_selection import read_evenly_spaced

NAMES = [f"{index}.png" for index in range(9)]


@pytest.fixture
def folder(tmp_path):
    """A folder of nine images, each of another grey."""
    for index, name in enumerate(NAMES):
        cv2.imwrite(str(tmp_path / name), np.full((8, 6, 3), index, np.uint8))
    return tmp_path


def test_images_are_evenly_spaced(folder):
    images, num_broken = read_evenly_spaced(folder, NAMES, 3)
    assert list(images) == ["0.png", "3.png", "6.png"]
    assert [image[0, 0, 0] for image in images.values()] == [0, 3, 6]
    assert num_broken == 0


def test_broken_images_are_replaced(folder, caplog):
    for name in ("0.png", "6.png"):
        (folder / name).write_bytes(b"")
    images, num_broken = read_evenly_spaced(folder, NAMES, 3)
    assert list(images) == ["1.png", "2.png", "3.png"]
    assert num_broken == 2
    assert "0.png" in caplog.text


def test_many_broken_images_are_counted(folder, caplog):
    assert read_evenly_spaced(folder / "nowhere", NAMES, 3) == ({}, 9)
    assert len(caplog.messages) == 4
    assert "6 more" in caplog.messages[-1]
