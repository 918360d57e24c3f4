import pytest

from keras_landmarks.inference.input_files import list_input_files
from keras_landmarks.utils.errors import InputError

ALBUM = ["broken.jpg", "group.jpg", "notes.txt", "phone.heic", "sky.jpg"]
TRIP = ["trip/one.png", "trip/turned.JPG"]


def test_folder_is_listed_without_hidden_files(album, tmp_path):
    files, links = list_input_files([album], tmp_path / "out")
    assert list(files) == ALBUM + TRIP
    assert all(path == album / name for name, path in files.items())
    assert links == ["linked"]


def test_names_are_relative_to_the_shared_folder(album, tmp_path):
    paths = [album / "group.jpg", album / "trip", album / "group.jpg"]
    assert list(list_input_files(paths, tmp_path / "out")[0]) == ["group.jpg", *TRIP]
    files, _ = list_input_files([str(album / "trip" / "one.png")], tmp_path / "out")
    assert files == {"one.png": album / "trip" / "one.png"}


def test_output_folder_is_left_out(album):
    files, _ = list_input_files([album], album / "trip")
    assert list(files) == ALBUM


def test_missing_path_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.jpg: "):
        list_input_files([tmp_path / "nothing.jpg"], tmp_path / "out")


def test_empty_folder_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: "):
        list_input_files([tmp_path / "empty"], tmp_path / "out")
