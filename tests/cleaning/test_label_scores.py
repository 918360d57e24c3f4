import numpy as np
import pytest

from keras_landmarks.cleaning import label_scores, placement
from keras_landmarks.contest import landmark_tables
from keras_landmarks.layouts import layout

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def labels(faces):
    return landmark_tables.read_landmarks(faces / "train" / "landmarks.csv").points


def turned(points, degrees, scale, shift):
    turn = scale * np.exp(1j * np.radians(degrees))
    places = points @ np.array([1, 1j]) * turn
    return np.stack([places.real, places.imag], axis=-1) + shift


def test_a_standardised_score_is_in_deviations_from_the_median():
    scores = label_scores.standardise(RNG.normal(5, 3, 10_000))
    assert abs(np.median(scores)) < 1e-9
    assert scores.std() == pytest.approx(1, abs=0.03)


def test_a_few_wild_values_do_not_move_the_others_scores():
    values = RNG.normal(size=1000)
    wild = np.concatenate([values, np.full(30, 1e6)])
    np.testing.assert_allclose(
        label_scores.standardise(wild)[:1000], label_scores.standardise(values), atol=0.15
    )


def test_values_that_are_mostly_or_all_equal_have_scores():
    assert label_scores.standardise(np.array([3.0, 3, 3])).tolist() == [0, 0, 0]
    assert label_scores.standardise(np.array([0.0, 0, 0, 8])).tolist() == [0, 0, 0, 4]


@pytest.mark.parametrize("rows", [3, 100, 5_000])
def test_nothing_is_suspect_among_normal_scores(rows):
    assert label_scores.threshold(RNG.normal(size=rows)) == np.inf


def test_the_more_rows_stick_out_the_lower_the_threshold():
    few, many = (np.concatenate([RNG.normal(size=2000), np.full(n, 5.5)]) for n in (1, 20))
    assert label_scores.threshold(few) == np.inf
    assert label_scores.threshold(many) == 5.5
    assert label_scores.threshold(np.append(few, 9)) == 9


def test_shape_scores_heed_neither_place_nor_size_nor_turn(labels):
    labels = np.tile(labels[:, ::21], (4, 1, 1)).astype(float)
    labels += np.random.default_rng(0).normal(0, 0.5, labels.shape)
    moved = labels.copy()
    moved[5] = turned(labels[5], 35, 3, (900, -20))
    np.testing.assert_allclose(
        label_scores.shape_scores(moved), label_scores.shape_scores(labels), atol=0.1
    )


def test_a_face_with_its_mouth_on_its_brow_has_the_highest_shape_score(labels):
    labels = np.tile(labels, (5, 1, 1)).astype(float)
    labels += np.random.default_rng(0).normal(0, 0.5, labels.shape)
    face = np.ptp(labels[40], axis=0)
    labels[40, layout.REGIONS["lip_upper_outer"].start : 969] -= (0, 0.4 * face[1])
    scores = label_scores.shape_scores(labels)
    assert scores.argmax() == 40
    assert scores[40] >= label_scores.threshold(scores)


def test_the_jagged_curve_is_named(labels):
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


def test_the_contest_s_curves_are_found_without_being_told(labels):
    found = [(region.start, region.stop) for region in label_scores.find_curves(labels).values()]
    ends = [(region.start, region.stop) for region in layout.REGIONS.values()]
    assert set(found) >= {ends[0], ends[3], ends[4], ends[7]}
    assert [start for start, _ in found[1:]] == [stop for _, stop in found[:-1]]


def test_chosen_points_lie_far_from_each_other(labels):
    chosen = placement.choose_points(labels)
    assert len(set(chosen.tolist())) == 48
    shape = np.median(placement.to_frame(labels), axis=0)[chosen]
    distances = np.linalg.norm(shape[:, None] - shape, axis=-1) + 9 * np.eye(48)
    assert distances.min() > 0.05
    assert sorted(placement.choose_points(labels[:, :5])) == [0, 1, 2, 3, 4]


def test_face_sizes_of_int16_do_not_overflow_and_are_never_nothing():
    points = np.array(
        [[[-30000, 0], [30000, 15000]], [[5, 5], [5, 5]], [[0, 0], [80, 0]]], np.int16
    )
    np.testing.assert_allclose(placement.face_sizes(points), [30000, 1, 20])


def test_lessons_of_a_fold_do_not_change_its_weights():
    def lesson(number):
        rng = np.random.default_rng(number)
        return placement.fold(number), rng.normal(size=(4, 3)), rng.normal(size=4)

    lessons = [lesson(number) for number in range(300)]
    others = [(number, edges, fits + 9 * (number == 2)) for number, edges, fits in lessons]
    weights, changed = placement.learn(lessons), placement.learn(others)
    np.testing.assert_array_equal(weights[2], changed[2])
    assert np.abs(weights[1] - changed[1]).max() > 0.1
    rest = [each for each in lessons if each[0] != 2]
    edges, fits = (np.concatenate([each[i] for each in rest]) for i in (1, 2))
    expected = np.linalg.solve(edges.T @ edges + 30 * np.eye(3), edges.T @ fits)
    np.testing.assert_allclose(weights[2], expected, atol=1e-5)


def test_shapes_that_are_all_alike_are_none_of_them_suspect():
    faces = np.tile(RNG.normal(50, 20, (1, 30, 2)), (5, 1, 1))
    scores = label_scores.shape_scores(faces)
    assert np.isfinite(scores).all()
    assert label_scores.threshold(scores) == np.inf
