import numpy as np
import pytest

from keras_landmarks.layouts import layout, mirror, standard_layouts


@pytest.mark.parametrize("points", [68, 98])
def test_standard_layouts_are_consistent(points):
    description = standard_layouts.describe(points, None)
    assert mirror.parse_map(description["mirror"], points, "layout").shape == (points,)
    covered = [p for first, last in description["regions"].values() for p in range(first, last + 1)]
    assert covered == list(range(points))


def test_partners_of_300w():
    partners = standard_layouts.describe(68, None)["mirror"]
    # jaw ends, chin, outer brows, nose bridge, nostrils, outer and lower eye corners, mouth corners
    for point, partner in [(0, 16), (8, 8), (17, 26), (29, 29), (31, 35), (36, 45), (41, 46)]:
        assert partners[point] == partner
    for point, partner in [(48, 54), (51, 51), (57, 57), (59, 55), (60, 64), (62, 62), (66, 66)]:
        assert partners[point] == partner
    assert partners[67] == 65


def test_partners_of_wflw():
    partners = standard_layouts.describe(98, None)["mirror"]
    for point, partner in [(0, 32), (16, 16), (33, 46), (37, 42), (38, 50), (41, 47), (55, 59)]:
        assert partners[point] == partner
    for point, partner in [(60, 72), (64, 68), (67, 73), (76, 82), (83, 87), (88, 92), (96, 97)]:
        assert partners[point] == partner


def test_contest_layout_is_described():
    description = standard_layouts.describe(layout.CONTEST_POINTS, None)
    assert np.array_equal(description["mirror"], layout.mirror_map())
    assert description["regions"]["oval_upper"] == [128, 272]


def test_names_imply_a_mirror_map():
    names = ["left_eye", "nose", "right_eye"]
    assert standard_layouts.describe(3, names) == {"points": names, "mirror": [2, 1, 0]}
    assert standard_layouts.mirror_by_names(["left_eye", "nose"]) is None
    assert standard_layouts.mirror_by_names(["a", "b"]) is None  # no side is mentioned


@pytest.mark.parametrize(
    "names", [["LeftEye", "Nose", "RightEye"], ["EYE_RIGHT", "NOSE", "EYE_LEFT"]]
)
def test_capitalised_sides_are_recognised(names):
    assert standard_layouts.mirror_by_names(names) == [2, 1, 0]


def test_descriptive_names_take_precedence():
    counted = [f"p{point}" for point in range(68)]
    assert "regions" in standard_layouts.describe(68, counted)
    named = [*counted[:66], "left_ear", "right_ear"]
    mirror_map = [*range(66), 67, 66]
    assert standard_layouts.describe(68, named) == {"points": named, "mirror": mirror_map}
    named[66:] = "ear", "nose"
    assert standard_layouts.describe(68, named) == {"points": named}
