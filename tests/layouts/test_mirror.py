import json

import numpy as np
import pytest

from keras_landmarks.layouts import known_layouts, mirror
from keras_landmarks.layouts.layout import REGIONS, mirror_map
from keras_landmarks.synthetic.faces import head_points, place_in_crop, random_face
from keras_landmarks.utils.errors import InputError

RIGHT = mirror_map()
EVERY = np.arange(971)


def draw_points(count, seed=0):
    """Returns points of procedural faces as `draw_face` does, without painting them."""
    rng = np.random.default_rng(seed)
    faces = np.empty((count, 971, 2))
    for face in faces:
        points = head_points(random_face(rng))
        placement, _ = place_in_crop(rng, points)
        face[:] = placement(points)[:, :2]
    return faces


@pytest.fixture(scope="module")
def faces():
    """Points of 300 procedural faces."""
    return draw_points(300)


def turn_of(faces):
    """Returns how far each nose lies to the right of the middle of the temples, of its width."""
    temples, nose = faces[:, [0, 64], 0].mean(axis=1), faces[:, 580, 0]
    return (nose - temples) / np.ptp(faces[..., 0], axis=1)


def turned_to_one_side(faces):
    return faces[turn_of(faces) > 0]


def changed(*pairs):
    """Returns the contest's map with points that are made each other's partners."""
    wrong = RIGHT.copy()
    for points, partners in pairs:
        wrong[points], wrong[partners] = partners, points
    return wrong


def region(name):
    return EVERY[REGIONS[name]]


# ── found ──


def test_the_map_is_found_from_faces_that_are_all_turned_to_one_side(faces):
    one_side = turned_to_one_side(faces)
    assert 100 < len(one_side) < 200
    np.testing.assert_array_equal(mirror.find_map(one_side), RIGHT)


def test_the_map_is_found_from_tilted_faces_of_any_size_and_place(faces):
    cos, sin = np.cos(np.radians(3)), np.sin(np.radians(3))
    rng = np.random.default_rng(0)
    sizes, places = rng.uniform(0.01, 100, (300, 1, 1)), rng.uniform(-900, 900, (300, 1, 2))
    tilted = faces @ np.array([[cos, sin], [-sin, cos]]) * sizes + places
    np.testing.assert_array_equal(mirror.find_map(tilted), RIGHT)


@pytest.mark.parametrize("step", [5, 20, 120])
def test_the_map_is_found_for_fewer_points_in_any_order(faces, step):
    some = np.unique([EVERY[::step], RIGHT[::step]])
    some = np.random.default_rng(0).permutation(some)
    found = mirror.find_map(faces[:, some])
    np.testing.assert_array_equal(some[found], RIGHT[some])


def test_an_odd_circle_of_partners_becomes_pairs_at_the_least_cost():
    costs = np.array([[3, 1, 9], [1, 3, 1], [9, 1, 2.0]])
    pairs = mirror._as_pairs(np.array([1, 2, 0]), costs)
    np.testing.assert_array_equal(pairs, [1, 0, 2])


def test_points_without_symmetry_have_no_map():
    rng = np.random.default_rng(0)
    strewn = rng.uniform(size=(68, 2)) + rng.normal(0, 0.01, (100, 68, 2))
    with pytest.raises(InputError, match=r"found: under the best map, mirrored faces are off by"):
        mirror.find_map(strewn)


def test_few_faces_are_not_enough_to_find_a_map(faces):
    with pytest.raises(InputError, match="--mirror=found: 9 training faces are too few"):
        mirror.find_map(faces[:9])


# ── checked ──


def test_the_right_map_is_accepted_by_faces_that_are_mostly_turned_to_one_side(faces):
    mirror.check_map(turned_to_one_side(faces), RIGHT, "map.json")


def test_the_right_map_is_accepted_by_few_faces_with_noisy_points(faces):
    size = np.sqrt(np.ptp(faces, axis=1).prod(axis=1))[:, None, None]
    noisy = faces + np.random.default_rng(0).normal(0, 0.01, faces.shape) * size
    few = np.rint(noisy[:20]).astype(np.int16)
    few[0] = [5, 7]  # as good as no face
    mirror.check_map(few, RIGHT, "map.json")


def test_the_right_map_is_accepted_by_the_faces_that_are_turned_most(faces):
    by_turn = np.argsort(turn_of(faces))
    for most in (by_turn[:30], by_turn[-30:]):
        mirror.check_map(faces[most], RIGHT, "map.json")


def test_faces_that_no_map_fits_say_nothing(faces, caplog):
    """The most turned of all: the side that none of them shows cannot be told from them."""
    most = faces[np.argsort(turn_of(faces))[-10:]]
    some = np.unique([EVERY[::10], RIGHT[::10]])  # quicker
    mirror.check_map(most[:, some], np.searchsorted(some, RIGHT[some]), "map.json")
    assert "map.json is not checked: under the best map, these faces mirrored" in caplog.text


def test_a_map_of_other_points_is_refused_though_none_fits(faces):
    """WFLW's map on 98 points that have no partners; with noise, partners fit no better."""
    others = np.sort(np.random.default_rng(0).permutation(971)[:98])
    wflw = np.array(known_layouts.describe(98, None)["mirror"])
    with pytest.raises(InputError, match=r"map\.json: points .* have wrong partners, by 300 faces"):
        mirror.check_map(faces[:, others], wflw, "map.json")
    some = np.unique([EVERY[::80], RIGHT[::80]])
    noisy = faces[:10, some] + np.random.default_rng(0).normal(0, 12, (10, len(some), 2))
    mirror.check_map(noisy, np.searchsorted(some, RIGHT[some]), "map.json")
    with pytest.raises(InputError, match="have wrong partners, by 10 faces"):
        mirror.check_map(noisy, np.arange(len(some)), "map.json")


def test_less_than_ten_faces_say_nothing_of_a_map(faces):
    mirror.check_map(faces[:9], EVERY, "map.json")


def off_by_one_along_the_jaw():
    left, right = region("jaw_left"), region("jaw_right")
    ends = np.array([left[0], right[-1]])
    return changed((left[1:], right[:-1]), (ends, ends))


def slid_round_the_face():
    """Every point of the outline has the partner of its neighbour."""
    outline = np.r_[128:273, 127:63:-1, 0:64][::-1]
    assert set(outline) == set(range(273))
    middle = int(np.flatnonzero(outline == 200)[0])
    outline = np.roll(outline, -middle)
    return changed((outline, np.roll(outline[::-1], 2)))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (changed((EVERY[273:401], EVERY[273:401])), "273-400"),
        (changed((region("lip_upper_inner"),) * 2), "873-904"),
        (changed((region("lip_lower_outer"),) * 2), "905-936"),
        (off_by_one_along_the_jaw(), "0-127"),
        (slid_round_the_face(), r"[0-9, -]+"),
        (changed((EVERY[969:], EVERY[969:])), "969-970"),
        (changed((region("lip_upper_inner"), region("lip_lower_inner")[::-1])), "873-904, 937-968"),
    ],
    ids=[
        "brows not swapped",
        "upper lip not reversed",
        "lower lip not reversed",
        "jaw off by one",
        "outline slid by one",
        "pupils not swapped",
        "inner lips swapped",
    ],
)
def test_a_wrong_map_is_refused_and_its_points_are_named(faces, wrong, named):
    np.testing.assert_array_equal(wrong[wrong], EVERY)
    says = rf"^map\.json: points {named} have wrong partners, by 300 faces; .*--mirror=none$"
    with pytest.raises(InputError, match=says):
        mirror.check_map(faces, wrong, "map.json")


def test_a_wrong_map_is_refused_by_faces_that_are_turned_to_one_side(faces):
    with pytest.raises(InputError, match="points 273-400 have wrong partners"):
        mirror.check_map(turned_to_one_side(faces), changed((EVERY[273:401],) * 2), "map.json")


def test_a_map_that_mirrors_nothing_is_refused_in_one_short_line(faces):
    with pytest.raises(InputError, match=r"points 0-199, 201-462.* have wrong") as error:
        mirror.check_map(faces, EVERY, "map.json")
    assert len(str(error.value)) < 200


# ── read ──


def test_what_may_be_asked_for(faces, tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"regions": {}, "mirror": RIGHT.tolist()}))
    for choice in ("contest", "found", str(path)):
        np.testing.assert_array_equal(mirror.choose_map(choice, faces), RIGHT)
    assert mirror.choose_map("none", faces) is None
    path.write_text(json.dumps(RIGHT.tolist()))
    np.testing.assert_array_equal(mirror.read_map(path, 971), RIGHT)
    with pytest.raises(InputError, match="--mirror=contest is for 971 points, not 68"):
        mirror.choose_map("contest", faces[:, :68])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        (" " * (1 << 20) + "[1, 0, 2]", "larger than any layout of points"),
        ("{}", "'mirror' must be a list of whole numbers"),
        ("3", "'mirror' must be a list of whole numbers"),
        ('{"mirror": [1, 0, 2.0]}', "'mirror' must be a list of whole numbers"),
        ('{"mirror": [1, 0, true]}', "'mirror' must be a list of whole numbers"),
        ("[1, 0]", "the mirror map has 2 points, the faces 3"),
        ("[1, 0, 3]", "there is no point 3, point 2's partner"),
        ("[1, 0, -1]", "there is no point -1, point 2's partner"),
        ("[1, 2, 0]", "point 0 becomes 1, but that becomes 2"),
    ],
)
def test_a_file_that_holds_no_map_is_refused(tmp_path, content, says):
    path = tmp_path / "map.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=rf"^\S+map\.json: {says}$"):
        mirror.read_map(path, 3)


def test_the_contests_map_goes_by_its_name():
    assert mirror.as_json(RIGHT) == "contest"
    assert mirror.as_json(np.array([1, 0])) == [1, 0]
    assert mirror.as_json(None) is None
    for known in (RIGHT, EVERY[::-1]):
        told = json.loads(json.dumps(mirror.as_json(known)))
        np.testing.assert_array_equal(mirror.from_json(told, 971, "model.json"), known)


def test_a_layouts_map_goes_before_the_trained_one_and_that_before_the_contests(tmp_path):
    path = tmp_path / "layout.json"
    np.testing.assert_array_equal(mirror.known_map(971, None), mirror_map())
    assert mirror.known_map(3, None) is None
    np.testing.assert_array_equal(mirror.known_map(3, None, [0, 2, 1]), [0, 2, 1])
    path.write_text('{"regions": {"ears": [0, 1]}}')
    assert mirror.known_map(3, path) is None
    np.testing.assert_array_equal(mirror.known_map(3, path, [0, 2, 1]), [0, 2, 1])
    path.write_text('{"mirror": [1, 0, 2]}')
    np.testing.assert_array_equal(mirror.known_map(3, path, [0, 2, 1]), [1, 0, 2])
    with pytest.raises(InputError, match="the mirror map has 3 points, the faces 971"):
        mirror.known_map(971, path)
