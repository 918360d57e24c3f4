import shutil

import numpy as np
import pytest

from keras_landmarks.check import check
from keras_landmarks.contest import landmark_tables, listed_images, locations
from keras_landmarks.contest.image_names import find_path, nearest_name, nearest_of

COMPOSED, DECOMPOSED = "f\u00fcr.jpg", "fu\u0308r.jpg"


@pytest.mark.parametrize("on_disk", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("name", [COMPOSED, DECOMPOSED])
def test_a_file_is_found_in_either_unicode_form(tmp_path, on_disk, name):
    (tmp_path / on_disk).touch()
    assert find_path(tmp_path, name) == str(tmp_path / on_disk)


def test_a_name_without_a_file_stays_as_it_is(tmp_path):
    assert find_path(tmp_path, COMPOSED) == str(tmp_path / COMPOSED)


@pytest.mark.parametrize("name", ["7", "007", "00007.png", "A/00007.JPG", "b\\00007", "0007.jpg"])
def test_the_nearest_name_differs_in_zeros_capitals_ending_or_folder(tmp_path, name):
    (tmp_path / "00007.jpg").touch()
    assert nearest_name(tmp_path, name) == "00007.jpg"
    assert nearest_of(["b.jpg", "00007.jpg"], name) == "00007.jpg"


def test_other_names_are_not_near(tmp_path):
    (tmp_path / "00007.jpg").touch()
    assert nearest_name(tmp_path, "8") == ""


def test_tables_and_files_meet_in_either_unicode_form(own_faces):
    """The table has one form, the file the other."""
    table = own_faces / "train" / "landmarks.csv"
    images = own_faces / "train" / "images"
    first, *_ = landmark_tables.read_landmarks(table).file_names
    table.write_text(table.read_text().replace(first, COMPOSED))
    before = listed_images.read_image(images, first)
    shutil.move(images / first, images / DECOMPOSED)
    np.testing.assert_array_equal(listed_images.read_image(images, COMPOSED), before)
    report = check(own_faces)["train"]
    assert (report.rejects, report.unlisted) == ([], [])


def test_a_missing_image_is_told_with_the_nearest_name(own_faces):
    table = own_faces / "train" / "landmarks.csv"
    first, *_ = landmark_tables.read_landmarks(table).file_names
    table.write_text(table.read_text().replace(first, first.removesuffix(".jpg")))
    (reject,) = check(own_faces)["train"].rejects
    assert reject.reason == f"there is no such image: the nearest name there is {first}"


def test_files_that_macos_adds_are_no_images(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".DS_Store", "__MACOSX/a.jpg", "in/._b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert locations.list_files(tmp_path) == ["a.jpg"]
