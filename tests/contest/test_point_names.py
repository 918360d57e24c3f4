import json

import pytest

from keras_landmarks.contest.point_names import find_names
from keras_landmarks.utils.errors import InputError

NAMES = ["nose", "left eye", "right eye"]
CONTEST_TITLES = "Point_M0_X,Point_M0_Y,Point_M1_X,Point_M1_Y,Point_M2_X,Point_M2_Y"


@pytest.fixture
def data(tmp_path):
    (tmp_path / "train").mkdir()
    write_titles(tmp_path, CONTEST_TITLES)
    return tmp_path


def write_titles(data, titles):
    (data / "train" / "landmarks.csv").write_text(f"file_name,{titles}\n")


def write_layout(data, value):
    (data / "layout.json").write_text(json.dumps(value))


def test_names_are_those_of_the_layout_file(data):
    assert find_names(data, 3) is None
    write_layout(data, {"points": NAMES, "mirror": [0, 2, 1]})
    assert find_names(data, 3) == NAMES


def test_names_may_be_in_the_table(data):
    write_titles(data, "nose_x,nose_y,left_x,left_y,right_x,right_y")
    assert find_names(data, 3) == ["nose", "left", "right"]
    write_layout(data, {"points": ["nose", "left", "right"]})
    assert find_names(data, 3) == ["nose", "left", "right"]


@pytest.mark.parametrize(
    "layout",
    [
        {"points": ["p0", "p1", "p2"]},
        {"points": ["nose", "eye", "eye"]},
        {"points": ["nose", "eye", 3]},
        {"points": 3},
        {"mirror": [0, 2, 1]},
        [0, 2, 1],
    ],
)
def test_names_that_describe_no_points_are_none(data, layout):
    write_layout(data, layout)
    assert find_names(data, 3) is None


def test_names_of_other_points_are_refused(data):
    write_layout(data, {"points": NAMES})
    with pytest.raises(InputError, match=r"layout\.json: names of 3 points, but there are 4"):
        find_names(data, 4)
    write_titles(data, "nose_x,nose_y,right_x,right_y,left_x,left_y")
    with pytest.raises(InputError, match=r"layout\.json: point 1 is 'left eye', but 'right' in .*"):
        find_names(data, 3)


def test_folder_without_a_table_has_no_names(tmp_path):
    assert find_names(tmp_path, 3) is None
