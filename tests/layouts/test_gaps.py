import numpy as np
import pytest
from photos import random_landmarks

from keras_landmarks.layouts.gaps import count_missing, fill_gaps, rows_to_add

POINTS = np.arange(0, 971, 20)


@pytest.fixture(scope="module")
def faces():
    """Every twentieth point of 200 synthetic faces: (200, 49, 2)."""
    return random_landmarks(200)[:, POINTS].astype(np.float64)


def emptied(faces, share, seed=0):
    """Returns faces without this share of their points; the first face is whole."""
    gaps = np.random.default_rng(seed).random(faces.shape[:2]) < share
    gaps[0], gaps[:, 0] = False, False
    return np.where(gaps[..., None], np.nan, faces), gaps


def test_missing_points_are_counted():
    faces = np.array([[[1, 2], [np.nan, np.nan]], [[3, 4], [5, 6]]])
    np.testing.assert_array_equal(count_missing(faces), [1, 0])
    assert count_missing(np.zeros((5, 2), np.int16)) == 0


def test_whole_faces_stay_as_they_are(faces):
    assert fill_gaps(faces) is faces


def test_placed_points_stay_where_they_are(faces):
    with_gaps, gaps = emptied(faces, 0.3)
    np.testing.assert_array_equal(fill_gaps(with_gaps)[~gaps], faces[~gaps])


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_gaps_are_filled_by_the_other_points(faces, share):
    with_gaps, gaps = emptied(faces, share)
    errors_px = np.linalg.norm(fill_gaps(with_gaps) - faces, axis=-1)[gaps]
    spread_px = np.linalg.norm(faces - faces.mean(axis=0), axis=-1)[gaps]
    assert errors_px.mean() < 0.1 * spread_px.mean()


def test_rows_are_added_until_every_point_is_placed():
    faces = np.full((2, 4, 2), np.nan)
    faces[0, 0] = 1
    candidates = np.full((4, 4, 2), np.nan)
    candidates[0, 0] = candidates[1, 1] = candidates[2, 1] = candidates[3, 2:] = 1
    assert rows_to_add(faces, candidates) == [1, 3]
    assert rows_to_add(np.ones((2, 4, 2)), candidates) == []


def test_two_faces_are_filled_by_the_shifted_mean():
    faces = np.array([[[0.0, 0], [10, 0]], [[4, 2], [np.nan, np.nan]]])
    np.testing.assert_allclose(fill_gaps(faces)[1], [[4, 2], [12, 1]])


def test_point_that_no_face_has_stays_missing(faces):
    with_gaps, _ = emptied(faces, 0.1)
    with_gaps[:, 7] = np.nan
    filled = fill_gaps(with_gaps)
    assert np.isnan(filled[:, 7]).all()
    assert not np.isnan(np.delete(filled, 7, axis=1)).any()
