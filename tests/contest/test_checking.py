import numpy as np
import pytest

from keras_landmarks.contest import checking, landmark_tables
from keras_landmarks.contest.checking import ValidSample, lies_far_outside
from keras_landmarks.images.geometry import bounding_boxes
from keras_landmarks.utils.errors import InputError


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_landmark_may_lie_outside_by_longer_side(dtype):
    within = [(-100, 0), (199, 0), (50, -100), (50, 149), (-40, 20)]
    beyond = [(-101, 0), (200, 0), (50, -101), (50, 150), (-32767, 32767)]
    rows = np.array([[(0, 0), point, (99, 49)] for point in within + beyond], dtype)
    far = [lies_far_outside(box, (100, 50)) for box in bounding_boxes(rows)]
    assert far == [False] * 5 + [True] * 5
    assert lies_far_outside(bounding_boxes(np.full((1, 1, 2), 199.5))[0], (100, 100))


def test_valid_samples_have_size_and_digest(faces):
    train = faces / "train"
    samples = list(checking.check_landmarks(train / "landmarks.csv", train / "images", limit=2))
    assert all(isinstance(sample, ValidSample) for sample in samples)
    table = landmark_tables.read_landmarks(train / "landmarks.csv")
    for sample, name, points in zip(
        samples, table.file_names, table.landmarks_photo_px, strict=False
    ):
        assert sample.file_name == name
        np.testing.assert_array_equal(sample.landmarks_photo_px, points)
        content = (train / "images" / name).read_bytes()
        assert sample.image_digest == checking.digest(content)
    assert [sample.line for sample in samples] == [2, 3]


def test_shares_of_photo_sides_are_refused(own_faces):
    train = own_faces / "train"
    table = landmark_tables.read_landmarks(train / "landmarks.csv")
    landmark_tables.write_landmarks(
        train / "landmarks.csv", table.file_names, table.landmarks_photo_px / 1000
    )
    with pytest.raises(InputError, match=r"landmarks\.csv: .* 0 to 1"):
        list(checking.check_landmarks(train / "landmarks.csv", train / "images"))


def test_most_faces_beyond_their_photos_are_reported(caplog):
    assert not checking.extends_beyond([-9, 0, 108, 54], (100, 50))
    assert checking.extends_beyond([0, 0, 50, 56], (100, 50))
    checking.warn_of_other_size("table.csv", [True, True, False, False])
    assert not caplog.text
    checking.warn_of_other_size("table.csv", [True, True, False])
    assert "table.csv: 2 of 3 faces have points beyond their photos" in caplog.text
