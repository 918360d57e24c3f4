import numpy as np
import pytest
from annotation_files import assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError

FIVE = [30, 31, 50, 32, 40, 44, 33, 55, 48, 56]


@pytest.fixture
def write_list(write):
    """Writes list.txt and returns its path."""
    return lambda text: write(text, "list.txt")


def test_path_may_stand_last_or_first(write_list):
    assert read_faces(write_list("1 2 3 4 a/b.jpg\n")) == [("a/b.jpg", [[1, 2], [3, 4]])]
    celeba = "1\nlefteye_x lefteye_y nose_x nose_y\n000001.jpg 69 109 70 110\n"
    assert read_faces(write_list(celeba)) == [("000001.jpg", [[69, 109], [70, 110]])]


@pytest.mark.parametrize(
    ("line", "photo"),
    [
        ("my photos/a b.jpg 1 2 3 4", "my photos/a b.jpg"),
        ("1 2 3 4 my photos/a b.jpg", "my photos/a b.jpg"),
        ("a.jpg,1,2,3,4", "a.jpg"),
        ("a.jpg, 1, 2, 3, 4", "a.jpg"),
    ],
)
def test_paths_may_contain_spaces(write_list, line, photo):
    assert read_faces(write_list(line + "\n")) == [(photo, [[1, 2], [3, 4]])]


def test_decimal_commas_are_not_separators(write_list):
    assert read_faces(write_list("a.jpg 1,5 2 3 4\n")) == ["not a number: '1,5', x of point 0"]


def test_wflw_box_and_attributes_are_skipped(write_list):
    numbers = [*range(196), 10, 20, 30, 40, 0, 0, 1, 0, 0, 0]
    [(photo, points)] = read_faces(write_list(" ".join(map(str, numbers)) + " 1/a.jpg\n"))
    assert photo == "1/a.jpg"
    assert np.array_equal(np.ravel(points), np.arange(196))


def test_box_before_five_points_is_skipped(write_list):
    lines = [f"a.jpg {20 + i} {70 + i} {25} {60} " + " ".join(map(str, FIVE)) for i in range(3)]
    found = read_faces(write_list("\n".join(lines)))
    assert found == [("a.jpg", np.reshape(FIVE, (5, 2)).tolist())] * 3


def test_mtfl_is_read_as_x_then_y_then_attributes(write_list):
    numbers = [*FIVE[::2], *FIVE[1::2], 1, 2, 2, 3]
    source = write_list(" lfw_5590\\a.jpg " + " ".join(map(str, numbers)))
    assert read_faces(source) == [("lfw_5590\\a.jpg", np.reshape(FIVE, (5, 2)).tolist())]
    names = ["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"]
    assert read_annotations(source, "auto").names == names


def test_titles_of_celeba_are_names(write_list, tmp_path):
    """list_landmarks_align_celeba.txt"""
    names = ["lefteye", "righteye", "nose", "leftmouth", "rightmouth"]
    titles = " ".join(f"{name}_{axis}" for name in names for axis in "xy")
    source = write_list(f"1\n{titles}\n000001.jpg  {'  '.join(map(str, FIVE))}\n")
    write_photo(tmp_path / "000001.jpg")
    faces, found, results = converted(source, tmp_path / "data")
    assert_faces(faces, [("000001.jpg", np.reshape(FIVE, (5, 2)))])
    assert found == names
    assert results["mirror"]


def test_unknown_fourteen_numbers_are_refused(write_list):
    source = write_list("a.jpg " + " ".join(map(str, range(90, 76, -1))))
    with pytest.raises(InputError, match=r"list\.txt: 14 "):
        read_annotations(source, "auto")


def test_menpo_box_and_five_points_are_skipped(write_list):
    points = np.random.default_rng(0).uniform(20, 80, (68, 2)).round(1)
    numbers = [10, 10, 90, 90, *FIVE, *points.ravel().tolist()]
    source = write_list(" ".join(["a.jpg", *map(str, numbers)]))
    assert read_faces(source) == [("a.jpg", points.tolist())]


@pytest.mark.parametrize("content", ["5\n301.0 231.0\n", "photo_00\n301.0 , 231.0\n"])
def test_list_without_faces_is_refused(write_list, content):
    with pytest.raises(InputError, match=r"list\.txt: .*COCO.*\.pts"):
        read_annotations(write_list(content), "auto")
