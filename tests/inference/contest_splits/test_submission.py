import numpy as np
import pytest

from keras_landmarks.contest import landmark_tables
from keras_landmarks.contest.requested_points import RequestedPointsTable
from keras_landmarks.inference.contest_splits.submission import (
    requested_landmarks,
    to_whole_px,
    validate_requested_landmarks,
)
from keras_landmarks.utils.errors import InputError


def request(*point_indices):
    names = [f"{row}.jpg" for row in range(len(point_indices))]
    return RequestedPointsTable(names, list(map(np.array, point_indices)), list(range(len(names))))


@pytest.mark.parametrize(
    ("rounding", "expected"), [("round", "0,0,0,0,2,4,-2,-1"), ("truncate", "0,0,0,0,2,3,-1,-1")]
)
def test_rounding_and_truncation(tmp_path, rounding, expected):
    """Halves are rounded to the even number, and no number is minus zero."""
    landmarks = np.array([[-0.4, -0.0], [0.5, -0.5], [2.5, 3.5], [-1.5, -1.4]])
    path = tmp_path / "s.csv"
    landmark_tables.write_submission(path, ["a.jpg"], [to_whole_px(landmarks, rounding)])
    assert path.read_text().splitlines()[1] == f"a.jpg,{expected}"


def test_landmarks_come_in_the_requested_order():
    landmarks = np.arange(12).reshape(2, 3, 2) + 0.25
    first, second = requested_landmarks(landmarks, request([2, 0], [1, 2]), "round")
    np.testing.assert_array_equal(first, [[4, 5], [0, 1]])
    np.testing.assert_array_equal(second, [[8, 9], [10, 11]])


def test_requested_landmarks_of_the_model_are_valid():
    validate_requested_landmarks(request([0, 2], [1, 2]), num_landmarks=3)


@pytest.mark.parametrize(
    ("point_indices", "match"), [([[0, 2], [1, 3]], r"1\.jpg: .*3"), ([[0, 2], [1]], r"1\.jpg: 1")]
)
def test_invalid_request_names_the_image(point_indices, match):
    with pytest.raises(InputError, match=match):
        validate_requested_landmarks(request(*point_indices), num_landmarks=3)
