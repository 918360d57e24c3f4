import pytest

from keras_landmarks.contest import locations
from keras_landmarks.utils.errors import InputError


@pytest.mark.parametrize("name", ["test/test_points.csv", "test_points.csv"])
def test_test_points_are_found_in_either_place(write, tmp_path, name):
    path = write("file_name,point_index_list\n", name)
    assert locations.find_test_points(tmp_path, "test") == path


@pytest.mark.parametrize(
    "find", [locations.find_test_points, locations.find_landmarks, locations.find_image_folder]
)
def test_missing_part_of_split_is_named(tmp_path, find):
    with pytest.raises(InputError, match=str(tmp_path / "test")):
        find(tmp_path, "test")


def test_files_are_listed_by_relative_path(tmp_path):
    for name in ("b.jpg", "inner/a.jpg", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert locations.list_files(tmp_path) == [".hidden", "b.jpg", "inner/a.jpg"]


def test_files_added_by_macos_are_not_listed(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".DS_Store", "__MACOSX/a.jpg", "in/._b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert locations.list_files(tmp_path) == ["a.jpg"]
