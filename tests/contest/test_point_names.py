import json

import pytest

from keras_landmarks.contest.point_names import find_names, point_labels
from keras_landmarks.utils.errors import InputError

NAMES = ["nose", "left eye", "right eye"]
CONTEST_TITLES = "Point_M0_X,Point_M0_Y,Point_M1_X,Point_M1_Y,Point_M2_X,Point_M2_Y"


def names_of(data, num_landmarks=3, layout_file=None):
    return find_names(data / "train" / "landmarks.csv", num_landmarks, layout_file)


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
    assert names_of(data, 3) is None
    write_layout(data, {"points": NAMES, "mirror": [0, 2, 1]})
    assert names_of(data, 3) == NAMES


def test_names_may_be_in_the_table(data):
    write_titles(data, "nose_x,nose_y,left_x,left_y,right_x,right_y")
    assert names_of(data, 3) == ["nose", "left", "right"]
    write_layout(data, {"points": ["nose", "left", "right"]})
    assert names_of(data, 3) == ["nose", "left", "right"]


@pytest.mark.parametrize(
    "layout",
    [
        {"points": ["p0", "p1", "p2"]},
        {"points": ["nose", "eye", "eye"]},
        {"mirror": [0, 2, 1]},
        [0, 2, 1],
    ],
)
def test_names_that_describe_no_points_are_none(data, layout):
    write_layout(data, layout)
    assert names_of(data, 3) is None


def test_layout_file_in_another_order_is_refused(data, tmp_path):
    write_titles(data, "nose_x,nose_y,left_x,left_y,right_x,right_y")
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"points": ["tip", "left", "right"]}))
    assert names_of(data, 3, given) == ["tip", "left", "right"]
    given.write_text(json.dumps({"points": ["left", "nose", "right"]}))
    with pytest.raises(InputError, match=r"given\.json: point 0 is 'left', which is point 1 in "):
        names_of(data, 3, given)


def test_names_of_other_points_are_refused(data):
    write_layout(data, {"points": NAMES})
    with pytest.raises(InputError, match=r"layout\.json: names of 3 points, but there are 4"):
        names_of(data, 4)
    write_titles(data, "nose_x,nose_y,right_x,right_y,left_x,left_y")
    with pytest.raises(InputError, match=r"layout\.json: point 1 is 'left eye', but 'right' in .*"):
        names_of(data, 3)


def test_folder_without_a_table_has_no_names(tmp_path):
    assert names_of(tmp_path, 3) is None


@pytest.mark.parametrize("points", [["nose", "eye", 3], 3])
def test_layout_without_a_list_of_names_is_refused(data, points):
    write_layout(data, {"points": points})
    with pytest.raises(InputError, match=r"layout\.json: 'points' is not a list of names"):
        names_of(data, 3)


def test_given_layout_comes_before_all_others(data, write):
    write_layout(data, {"points": NAMES})
    write_titles(data, "nose_x,nose_y,right_x,right_y,left_x,left_y")
    given = write('{"points": ["tip", "base", "side"]}', "given.json")
    assert names_of(data, 3, given) == ["tip", "base", "side"]
    with pytest.raises(InputError, match=r"given\.json: names of 3 points, but there are 2"):
        names_of(data, 2, given)


def test_labels_are_names_or_numbers():
    assert point_labels(None, 2) == ["point 0", "point 1"]
    assert point_labels(["nose", "ch\tin"], 2) == ["nose", "ch\\tin"]
