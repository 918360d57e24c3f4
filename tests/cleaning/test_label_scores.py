import numpy as np
import pytest

from keras_landmarks.cleaning import label_scores
from keras_landmarks.contest import landmark_tables
from keras_landmarks.layouts import layout

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def labels(faces):
    return landmark_tables.read_landmarks(faces / "train" / "landmarks.csv").landmarks_photo_px


def turned(points, degrees, scale, shift):
    turn = scale * np.exp(1j * np.radians(degrees))
    places = points @ np.array([1, 1j]) * turn
    return np.stack([places.real, places.imag], axis=-1) + shift


def test_standardised_scores_are_normal():
    scores = label_scores.standardise(RNG.normal(5, 3, 10_000))
    assert abs(np.median(scores)) < 1e-9
    assert scores.std() == pytest.approx(1, abs=0.03)


def test_outliers_hardly_change_other_scores():
    values = RNG.normal(size=1000)
    wild = np.concatenate([values, np.full(30, 1e6)])
    np.testing.assert_allclose(
        label_scores.standardise(wild)[:1000], label_scores.standardise(values), atol=0.15
    )


def test_equal_values_have_scores():
    assert label_scores.standardise(np.array([3.0, 3, 3])).tolist() == [0, 0, 0]
    assert label_scores.standardise(np.array([0.0, 0, 0, 8])).tolist() == [0, 0, 0, 4]


@pytest.mark.parametrize("rows", [3, 100, 5_000])
def test_normal_scores_are_not_suspect(rows):
    assert label_scores.threshold(RNG.normal(size=rows)) == np.inf


def test_more_outliers_lower_the_threshold():
    few, many = (np.concatenate([RNG.normal(size=2000), np.full(n, 5.5)]) for n in (1, 20))
    assert label_scores.threshold(few) == np.inf
    assert label_scores.threshold(many) == 5.5
    assert label_scores.threshold(np.append(few, 9)) == 9


def test_shape_score_ignores_similarity(labels):
    labels = np.tile(labels[:, ::21], (4, 1, 1)).astype(float)
    labels += np.random.default_rng(0).normal(0, 0.5, labels.shape)
    moved = labels.copy()
    moved[5] = turned(labels[5], 35, 3, (900, -20))
    np.testing.assert_allclose(
        label_scores.shape_scores(moved), label_scores.shape_scores(labels), atol=0.1
    )


def test_misshapen_face_has_highest_score(labels):
    labels = np.tile(labels, (5, 1, 1)).astype(float)
    labels += np.random.default_rng(0).normal(0, 0.5, labels.shape)
    face = np.ptp(labels[40], axis=0)
    labels[40, layout.REGIONS["lip_upper_outer"].start : 969] -= (0, 0.4 * face[1])
    scores = label_scores.shape_scores(labels)
    assert scores.argmax() == 40
    assert scores[40] >= label_scores.threshold(scores)


def test_jagged_curve_is_named(labels):
    labels = labels.copy()
    jaw = layout.REGIONS["jaw_right"]
    labels[3, jaw] += np.tile([(2, 2), (-2, -2)], (32, 1)).astype(np.int16)
    scores, names = label_scores.jaggedness_scores(labels, layout.REGIONS)
    assert scores.argmax() == 3
    assert names[3] == "jaw_right"


def test_points_without_curves_are_not_jagged():
    scores, names = label_scores.jaggedness_scores(np.ones((4, 2, 2)), {"both": slice(0, 2)})
    assert scores.tolist() == [0] * 4
    assert names == [""] * 4


def test_contest_curves_are_found(labels):
    found = [(region.start, region.stop) for region in label_scores.find_curves(labels).values()]
    ends = [(region.start, region.stop) for region in layout.REGIONS.values()]
    assert set(found) >= {ends[0], ends[3], ends[4], ends[7]}
    assert [start for start, _ in found[1:]] == [stop for _, stop in found[:-1]]


def test_equal_shapes_are_not_suspect():
    faces = np.tile(RNG.normal(50, 20, (1, 30, 2)), (5, 1, 1))
    scores = label_scores.shape_scores(faces)
    assert np.isfinite(scores).all()
    assert label_scores.threshold(scores) == np.inf


# ── missing points ──


def test_jaggedness_of_missing_points_is_the_median():
    """Five equal curves but for the third face's corner, which is gone in the fourth and fifth."""
    curve = np.array([[0, 0], [1, 0], [2, 1], [3, 0], [4, 0], [5, 2.0]])
    labels = np.tile(curve, (5, 1, 1))
    labels[2, 1, 1] = -0.8
    labels[3, 4] = labels[4] = np.nan
    labels[4, :2] = curve[:2]
    scores, names = label_scores.jaggedness_scores(labels, {"all": slice(0, 6)})
    assert scores.argmax() == 2
    assert np.isfinite(scores).all()
    assert scores[3] == pytest.approx(scores[0])
    assert names == ["all"] * 5


def test_curves_are_found_in_faces_with_gaps(labels):
    gapped = labels.astype(np.float32)
    gapped[::3, 100:180] = np.nan
    assert label_scores.find_curves(gapped) == label_scores.find_curves(labels)
