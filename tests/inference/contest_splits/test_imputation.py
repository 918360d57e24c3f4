import cv2
import numpy as np
import pytest

from keras_landmarks.inference.contest_splits.imputation import impute_mean_shape

SIZES = {"a.png": (10, 20), "b.png": (20, 10), "c.png": (8, 6)}


@pytest.fixture
def images(tmp_path):
    for name, (width, height) in SIZES.items():
        cv2.imwrite(str(tmp_path / name), np.zeros((height, width, 3), np.uint8))
    return tmp_path


def test_mean_shape_is_scaled_and_clipped_to_the_photo(images):
    """The landmarks of the others are far outside of their photos."""
    predicted = np.array([[[-5, 4, 3], [30, 2, 1]], [[-10, 2, 3], [60, 1, 1]], np.zeros((2, 3))])
    impute_mean_shape(predicted, [2], images, list(SIZES))
    # Standard deviations are shares of the square root of the area: of 200 px² and of 48 px².
    share = np.sqrt(48 / 200)
    expected = [[0, 6 * (4 / 20 + 2 / 10) / 2, 3 * share], [7, 6 * (2 / 20 + 1 / 10) / 2, share]]
    np.testing.assert_allclose(predicted[2], expected)


def test_median_size_is_used_if_the_file_has_none(images):
    (images / "c.png").write_bytes(b"no photo")
    predicted = np.array([[[5, 10]], [[10, 5]], [[0, 0]]], float)
    impute_mean_shape(predicted, [2], images, list(SIZES))
    np.testing.assert_allclose(predicted[2], [[7.5, 7.5]])
