import shutil

import numpy as np
import pytest

from keras_landmarks.contest import folder_report, landmark_tables, listed_images
from keras_landmarks.contest.image_names import find_path, is_valid_name, nearest_file, nearest_name
from keras_landmarks.images import decoding

COMPOSED, DECOMPOSED = "f\u00fcr.jpg", "fu\u0308r.jpg"


@pytest.mark.parametrize("name", ["", "/etc/a.jpg", "../a.jpg", "a\tb.jpg", "a\udce9.jpg"])
def test_outside_or_unprintable_name_is_invalid(name):
    assert not is_valid_name(name)


@pytest.mark.parametrize("on_disk", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("name", [COMPOSED, DECOMPOSED])
def test_file_is_found_in_either_unicode_form(tmp_path, on_disk, name):
    (tmp_path / on_disk).touch()
    assert find_path(tmp_path, name) == str(tmp_path / on_disk)


def test_name_without_file_is_unchanged(tmp_path):
    assert find_path(tmp_path, COMPOSED) == str(tmp_path / COMPOSED)


@pytest.mark.parametrize("name", ["7", "007", "00007.png", "A/00007.JPG", "b\\00007", "0007.jpg"])
def test_similar_name_is_found(tmp_path, name):
    (tmp_path / "00007.jpg").touch()
    assert nearest_file(tmp_path, name) == "00007.jpg"
    assert nearest_name(["b.jpg", "00007.jpg"], name) == "00007.jpg"


def test_other_name_is_not_similar(tmp_path):
    (tmp_path / "00007.jpg").touch()
    assert nearest_file(tmp_path, "8") == ""


def test_table_and_file_may_differ_in_form(own_faces):
    """The table has one form, the file the other."""
    table = own_faces / "train" / "landmarks.csv"
    images = own_faces / "train" / "images"
    first, *_ = landmark_tables.read_landmarks(table).file_names
    table.write_text(table.read_text().replace(first, COMPOSED))
    before = listed_images.read_image(images, first)
    shutil.move(images / first, images / DECOMPOSED)
    np.testing.assert_array_equal(listed_images.read_image(images, COMPOSED), before)
    report = folder_report.check_folder(own_faces)["train"]
    assert (report.invalid_samples, report.unlisted) == ([], [])


def test_nearest_name_of_missing_image_is_given(own_faces):
    table = own_faces / "train" / "landmarks.csv"
    first, *_ = landmark_tables.read_landmarks(table).file_names
    table.write_text(table.read_text().replace(first, first.removesuffix(".jpg")))
    (sample,) = folder_report.check_folder(own_faces)["train"].invalid_samples
    assert sample.kind == decoding.NO_FILE
    assert sample.reason.endswith(f" {first}")
