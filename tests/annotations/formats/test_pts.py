import pytest
from annotation_files import read_faces

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError


def test_pixels_are_counted_from_1(write, tmp_path):
    write("version: 1\nn_points: 2\n{\n1 1\n30.5 40\n}\n", "a.pts")
    (tmp_path / "a.png").touch()
    assert read_faces(tmp_path) == [("a.png", [[0, 0], [29.5, 39]])]
    assert read_faces(tmp_path / "a.pts") == [("a.png", [[0, 0], [29.5, 39]])]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version: 1\nn_points: 3\n{\n1 1\n2 2\n}\n", "n_points: 3, but 2 points"),
        ("1 1\n2 2\n", "a .pts file has its points in braces"),
        ("{\n1 1\n2\n}\n", "not x and y of each point: 3 numbers"),
    ],
)
def test_broken_file_has_reason(write, tmp_path, text, reason):
    write(text, "a.pts")
    (tmp_path / "a.jpg").touch()
    assert read_faces(tmp_path) == [reason]


def test_files_added_by_macos_are_skipped(write, tmp_path):
    for name in ("a.pts", "._a.pts", "__MACOSX/b.pts"):
        write("{\n1 1\n}", name)
    (tmp_path / "a.jpg").touch()
    assert read_faces(tmp_path) == [("a.jpg", [[0, 0]])]


def test_file_without_photo_has_reason(write, tmp_path):
    write("{\n1 1\n}", "a.pts")
    assert read_faces(tmp_path) == ["no photo of the same name beside it"]


def test_folder_without_files_is_refused(tmp_path):
    with pytest.raises(InputError, match=rf"{tmp_path}: .*\.pts"):
        read_annotations(tmp_path, "auto")
