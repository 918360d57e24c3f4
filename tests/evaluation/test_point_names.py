import pytest

from keras_landmarks.evaluation.point_names import point_labels, read_point_names
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def truth(write):
    return write("file_name,x0,y0,x1,y1\na.jpg,1,2,3,4\n", "data/train/landmarks.csv")


def test_header_numbers_the_points_if_nothing_names_them(truth):
    assert read_point_names(truth, 2) == ["0", "1"]


@pytest.mark.parametrize("place", ["data/layout.json", "data/train/layout.json"])
def test_layout_beside_the_truth_names_the_points(truth, write, place):
    write('{"points": ["ear_left", "ear_right"]}', place)
    assert read_point_names(truth, 2) == ["ear_left", "ear_right"]


@pytest.mark.parametrize("content", ['{"points": ["a", "b", "c"]}', '{"mirror": [1, 0]}', "[1, 0]"])
def test_layout_of_other_points_names_none(truth, write, content):
    write(content, "data/layout.json")
    assert read_point_names(truth, 2) == ["0", "1"]


def test_descriptive_header_comes_before_a_layout_beside_it(write):
    write('{"points": ["ear_left", "ear_right"]}', "layout.json")
    truth = write("file_name,nose_x,nose_y,chin_x,chin_y\na.jpg,1,2,3,4\n")
    assert read_point_names(truth, 2) == ["nose", "chin"]
    given = write('{"points": ["tip", "base"]}', "given.json")
    assert read_point_names(truth, 2, given) == ["tip", "base"]


@pytest.mark.parametrize(
    ("content", "mentioned"),
    [
        ('{"points": ["a", "b", "c"]}', "3 names, .* 2 points"),
        ('{"points": ["a", "a"]}', "same name"),
        ('{"points": 2}', "not a list"),
        ('{"points": ["a", 2]}', "not a list"),
    ],
)
def test_wrong_names_are_rejected(truth, write, content, mentioned):
    with pytest.raises(InputError, match=rf"given\.json: .*{mentioned}"):
        read_point_names(truth, 2, write(content, "given.json"))


def test_labels_are_names_or_numbers():
    assert point_labels(["Point_M0", "Point_M1"]) == ["point 0", "point 1"]
    assert point_labels(["nose", "ch\tin"]) == ["nose", "ch\\tin"]
