import numpy as np
import pytest
from photos import random_landmarks

from keras_landmarks.layouts import mirror_estimation, standard_layouts
from keras_landmarks.layouts.layout import REGIONS, mirror_map
from keras_landmarks.utils.errors import InputError

CONTEST_MAP = mirror_map()
IDENTITY = np.arange(971)
SLOW = pytest.mark.slow  # as all 971 points take seconds


@pytest.fixture(scope="module")
def faces():
    """Points of 300 synthetic faces: (300, 971, 2)."""
    return random_landmarks(300)


def yaw_of(faces):
    """Returns how far each nose lies to the right of the temples' midpoint, in face widths."""
    temples, nose = faces[:, [0, 64], 0].mean(axis=1), faces[:, 580, 0]
    return (nose - temples) / np.ptp(faces[..., 0], axis=1)


def turned_to_one_side(faces):
    return faces[yaw_of(faces) > 0]


def changed(*pairs):
    """Returns the contest's map with pairs of point sets made each other's partners."""
    wrong = CONTEST_MAP.copy()
    for points, partners in pairs:
        wrong[points], wrong[partners] = partners, points
    return wrong


def region(name):
    return IDENTITY[REGIONS[name]]


def test_one_sided_faces_are_enough(faces):
    one_side = turned_to_one_side(faces)
    assert 100 < len(one_side) < 200
    np.testing.assert_array_equal(mirror_estimation.estimate_map(one_side), CONTEST_MAP)


@SLOW
def test_estimate_is_similarity_invariant(faces):
    cos, sin = np.cos(np.radians(3)), np.sin(np.radians(3))
    rng = np.random.default_rng(0)
    sizes, places = rng.uniform(0.01, 100, (300, 1, 1)), rng.uniform(-900, 900, (300, 1, 2))
    tilted = faces @ np.array([[cos, sin], [-sin, cos]]) * sizes + places
    np.testing.assert_array_equal(mirror_estimation.estimate_map(tilted), CONTEST_MAP)


def test_faces_with_gaps_are_enough(faces):
    subset = np.unique([IDENTITY[::40], CONTEST_MAP[::40]])
    partners = np.searchsorted(subset, CONTEST_MAP[subset])
    whole = faces[:, subset].astype(np.float64)
    gaps = np.random.default_rng(0).random(whole.shape[:2]) < 0.2
    with_gaps = np.where(gaps[..., None], np.nan, whole)
    np.testing.assert_array_equal(mirror_estimation.estimate_map(with_gaps), partners)
    mirror_estimation.check_map(with_gaps, partners, "the map")


def test_point_without_a_place_is_named(faces):
    with_gaps = faces[:, ::40].astype(np.float64)
    with_gaps[:, 3] = np.nan
    with pytest.raises(InputError, match="--mirror: points 3 have no place"):
        mirror_estimation.estimate_map(with_gaps)


@pytest.mark.parametrize("step", [pytest.param(5, marks=SLOW), 20, 120])
def test_subsets_in_any_order_are_estimated(faces, step):
    subset = np.unique([IDENTITY[::step], CONTEST_MAP[::step]])
    subset = np.random.default_rng(0).permutation(subset)
    found = mirror_estimation.estimate_map(faces[:, subset])
    np.testing.assert_array_equal(subset[found], CONTEST_MAP[subset])


def test_odd_cycle_is_paired_at_least_cost():
    costs = np.array([[3, 1, 9], [1, 3, 1], [9, 1, 2.0]])
    pairs = mirror_estimation._pair_up(np.array([1, 2, 0]), costs)
    np.testing.assert_array_equal(pairs, [1, 0, 2])


def test_random_points_have_no_map():
    rng = np.random.default_rng(0)
    strewn = rng.uniform(size=(68, 2)) + rng.normal(0, 0.01, (100, 68, 2))
    with pytest.raises(InputError, match="--mirror=found"):
        mirror_estimation.estimate_map(strewn)


def test_estimate_needs_ten_faces(faces):
    with pytest.raises(InputError, match="--mirror=found: 9 "):
        mirror_estimation.estimate_map(faces[:9])


def test_one_sided_faces_accept_the_map(faces):
    mirror_estimation.check_map(turned_to_one_side(faces), CONTEST_MAP, "map.json")


@SLOW
def test_few_noisy_faces_accept_the_map(faces):
    size = np.sqrt(np.ptp(faces, axis=1).prod(axis=1))[:, None, None]
    noisy = faces + np.random.default_rng(0).normal(0, 0.01, faces.shape) * size
    few = np.rint(noisy[:20]).astype(np.int16)
    few[0] = [5, 7]  # a degenerate face
    mirror_estimation.check_map(few, CONTEST_MAP, "map.json")


@SLOW
def test_profiles_accept_the_map(faces):
    by_turn = np.argsort(yaw_of(faces))
    for most in (by_turn[:30], by_turn[-30:]):
        mirror_estimation.check_map(faces[most], CONTEST_MAP, "map.json")


def test_no_check_if_no_map_fits(faces, caplog):
    """Faces in near profile do not show where the points of their far side are."""
    most = faces[np.argsort(yaw_of(faces))[-10:]]
    subset = np.unique([IDENTITY[::10], CONTEST_MAP[::10]])  # to be quick
    subset_map = np.searchsorted(subset, CONTEST_MAP[subset])
    mirror_estimation.check_map(most[:, subset], subset_map, "map.json")
    assert "map.json is not checked" in caplog.text


def test_unrelated_map_is_rejected(faces):
    """WFLW's map is wrong for 98 random points, although no map fits those well."""
    others = np.sort(np.random.default_rng(0).permutation(971)[:98])
    wflw = np.array(standard_layouts.describe(98, None)["mirror"])
    with pytest.raises(InputError, match=r"map\.json: points .* 300 faces"):
        mirror_estimation.check_map(faces[:, others], wflw, "map.json")
    subset = np.unique([IDENTITY[::80], CONTEST_MAP[::80]])
    noisy = faces[:10, subset] + np.random.default_rng(0).normal(0, 12, (10, len(subset), 2))
    mirror_estimation.check_map(noisy, np.searchsorted(subset, CONTEST_MAP[subset]), "map.json")
    with pytest.raises(InputError, match=r"map\.json: points .* 10 faces"):
        mirror_estimation.check_map(noisy, np.arange(len(subset)), "map.json")


def test_no_check_with_nine_faces(faces):
    mirror_estimation.check_map(faces[:9], IDENTITY, "map.json")


def off_by_one_along_the_jaw():
    left, right = region("jaw_left"), region("jaw_right")
    ends = np.array([left[0], right[-1]])
    return changed((left[1:], right[:-1]), (ends, ends))


def slid_round_the_face():
    """Returns a map where every point of the outline has its neighbour's partner."""
    outline = np.r_[128:273, 127:63:-1, 0:64][::-1]
    assert set(outline) == set(range(273))
    top = int(np.flatnonzero(outline == 200)[0])
    outline = np.roll(outline, -top)
    return changed((outline, np.roll(outline[::-1], 2)))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        pytest.param(
            changed((IDENTITY[273:401], IDENTITY[273:401])), "273-400", id="brows not swapped"
        ),
        pytest.param(
            changed((region("lip_upper_inner"),) * 2),
            "873-904",
            id="upper lip not reversed",
            marks=SLOW,
        ),
        pytest.param(
            changed((region("lip_lower_outer"),) * 2),
            "905-936",
            id="lower lip not reversed",
            marks=SLOW,
        ),
        pytest.param(off_by_one_along_the_jaw(), "0-127", id="jaw off by one"),
        pytest.param(slid_round_the_face(), r"[0-9, -]+", id="outline slid by one", marks=SLOW),
        pytest.param(
            changed((IDENTITY[969:], IDENTITY[969:])),
            "969-970",
            id="pupils not swapped",
            marks=SLOW,
        ),
        pytest.param(
            changed((region("lip_upper_inner"), region("lip_lower_inner")[::-1])),
            "873-904, 937-968",
            id="inner lips swapped",
            marks=SLOW,
        ),
    ],
)
def test_wrong_partners_are_named(faces, wrong, named):
    np.testing.assert_array_equal(wrong[wrong], IDENTITY)
    message = rf"^map\.json: points {named} .* 300 faces; .*--mirror=none$"
    with pytest.raises(InputError, match=message):
        mirror_estimation.check_map(faces, wrong, "map.json")


@SLOW
def test_one_sided_faces_reject_a_wrong_map(faces):
    with pytest.raises(InputError, match="points 273-400 "):
        mirror_estimation.check_map(
            turned_to_one_side(faces), changed((IDENTITY[273:401],) * 2), "map.json"
        )


@SLOW
def test_identity_map_gives_a_short_error(faces):
    with pytest.raises(InputError, match=r"points 0-199, 201-462") as error:
        mirror_estimation.check_map(faces, IDENTITY, "map.json")
    assert len(str(error.value)) < 200
