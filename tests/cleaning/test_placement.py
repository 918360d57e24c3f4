import numpy as np
import pytest

from keras_landmarks.cleaning import placement
from keras_landmarks.contest import landmark_tables


@pytest.fixture(scope="module")
def labels(faces):
    return landmark_tables.read_landmarks(faces / "train" / "landmarks.csv").landmarks_photo_px


def test_chosen_points_lie_far_apart(labels):
    chosen = placement.choose_points(labels)
    assert len(set(chosen.tolist())) == 48
    shape = np.median(placement.to_frame(labels), axis=0)[chosen]
    distances = np.linalg.norm(shape[:, None] - shape, axis=-1) + 9 * np.eye(48)
    assert distances.min() > 0.05
    assert sorted(placement.choose_points(labels[:, :5])) == [0, 1, 2, 3, 4]


def test_face_sizes_are_positive():
    points = np.array(
        [[[-30000, 0], [30000, 15000]], [[5, 5], [5, 5]], [[0, 0], [80, 0]]], np.int16
    )
    np.testing.assert_allclose(placement.nonzero_face_sizes(points), [30000, 1, 20])


def test_gaps_leave_the_frame_of_other_faces(labels):
    gapped = labels.astype(np.float32)
    gapped[0, 3:5] = gapped[5:9, 40] = np.nan
    np.testing.assert_array_equal(
        placement.nonzero_face_sizes(gapped)[5:], placement.nonzero_face_sizes(labels)[5:]
    )
    np.testing.assert_array_equal(
        placement.to_frame(gapped)[9:], placement.to_frame(labels.astype(np.float32))[9:]
    )
    assert sorted(placement.choose_points(gapped[:, :5])) == [0, 1, 2, 3, 4]
    assert len(set(placement.choose_points(gapped).tolist())) == 48


def test_weights_ignore_their_own_fold():
    def examples_of(number):
        rng = np.random.default_rng(number)
        return placement.fold_of(number), rng.normal(size=(4, 3)), rng.normal(size=4)

    examples = [examples_of(number) for number in range(300)]
    others = [(number, edges, fits + 9 * (number == 2)) for number, edges, fits in examples]
    weights, changed = placement.fit_weights(examples), placement.fit_weights(others)
    np.testing.assert_array_equal(weights[2], changed[2])
    assert np.abs(weights[1] - changed[1]).max() > 0.1
    rest = [each for each in examples if each[0] != 2]
    edges, fits = (np.concatenate([each[i] for each in rest]) for i in (1, 2))
    expected = np.linalg.solve(edges.T @ edges + 30 * np.eye(3), edges.T @ fits)
    np.testing.assert_allclose(weights[2], expected, atol=1e-5)
