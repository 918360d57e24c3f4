import numpy as np
import pytest

from keras_landmarks.layouts import known_layouts, layout, mirror


@pytest.mark.parametrize("points", [68, 98])
def test_mirroring_twice_is_nothing_and_regions_cover_all_points(points):
    known = known_layouts.describe(points, None)
    assert mirror.as_map(known["mirror"], points, "known").shape == (points,)
    covered = [p for first, last in known["regions"].values() for p in range(first, last + 1)]
    assert covered == list(range(points))


def test_partners_of_300w():
    partners = known_layouts.describe(68, None)["mirror"]
    # jaw ends, chin, outer brows, nose bridge, nostrils, outer and lower eye corners, mouth corners
    for point, partner in [(0, 16), (8, 8), (17, 26), (29, 29), (31, 35), (36, 45), (41, 46)]:
        assert partners[point] == partner
    assert [partners[p] for p in (48, 51, 57, 59, 60, 62, 66, 67)] == [
        54,
        51,
        57,
        55,
        64,
        62,
        66,
        65,
    ]


def test_partners_of_wflw():
    partners = known_layouts.describe(98, None)["mirror"]
    for point, partner in [(0, 32), (16, 16), (33, 46), (37, 42), (38, 50), (41, 47), (55, 59)]:
        assert partners[point] == partner
    for point, partner in [(60, 72), (64, 68), (67, 73), (76, 82), (83, 87), (88, 92), (96, 97)]:
        assert partners[point] == partner


def test_the_contests_points_are_known():
    known = known_layouts.describe(layout.CONTEST_POINTS, None)
    assert np.array_equal(known["mirror"], layout.mirror_map())
    assert known["regions"]["oval_upper"] == [128, 272]


def test_a_mirror_map_follows_from_names():
    names = ["left_eye", "nose", "right_eye"]
    assert known_layouts.describe(3, names) == {"points": names, "mirror": [2, 1, 0]}
    assert known_layouts.mirror_by_names(["left_eye", "nose"]) is None
    assert known_layouts.mirror_by_names(["a", "b"]) is None  # nothing is said of sides


@pytest.mark.parametrize(
    "names", [["LeftEye", "Nose", "RightEye"], ["EYE_RIGHT", "NOSE", "EYE_LEFT"]]
)
def test_sides_are_known_in_capitals_too(names):
    assert known_layouts.mirror_by_names(names) == [2, 1, 0]


def test_names_tell_more_than_the_number_of_points():
    counted = [f"p{point}" for point in range(68)]
    assert "regions" in known_layouts.describe(68, counted)
    named = [*counted[:66], "left_ear", "right_ear"]
    mirror_map = [*range(66), 67, 66]
    assert known_layouts.describe(68, named) == {"points": named, "mirror": mirror_map}
    named[66:] = "ear", "nose"
    assert known_layouts.describe(68, named) == {"points": named}
