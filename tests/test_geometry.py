import cv2
import numpy as np
import pytest

from keras_landmarks.data import geometry


def test_centre_crop_by_hand():
    # 100 x 150 to 50 x 75; 12 rows are cut off above. Photo x = 0 is the middle of the first pixel,
    # which the scaled image has at 0.25 - 0.5 = -0.25.
    framing = geometry.centre_crop(np.array([100, 150]), 50)
    np.testing.assert_allclose(framing.scale, [0.5, 0.5])
    np.testing.assert_allclose(framing.offset, [-0.25, -0.25 - 12])
    crop_px = geometry.to_crop(np.array([[10, 20], [99, 149]]), framing)
    np.testing.assert_allclose(crop_px, [[4.75, -2.25], [49.25, 62.25]])


@pytest.mark.parametrize("crop_size", [64, 128, 224])
def test_round_trip_for_every_size(crop_size):
    rng = np.random.default_rng(0)
    sizes = np.concatenate([rng.integers(40, 2001, (2000, 2)), [[40, 2000], [2000, 40], [64, 64]]])
    landmarks = rng.uniform(-0.1, 1.1, (len(sizes), 30, 2)) * sizes[:, None]
    framing = geometry.centre_crop(sizes, crop_size)
    back = geometry.to_photo(geometry.to_crop(landmarks, framing), framing)
    assert np.abs(back - landmarks).max() < 1e-3


@pytest.mark.parametrize(("width", "height"), [(200, 317), (317, 200), (90, 90), (61, 100)])
def test_points_stay_on_what_they_mark(width, height):
    """A bright spot drawn at a point is found at the mapped point in the crop."""
    point = np.array([width * 0.55, height * 0.45])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    spot = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (width / 20) ** 2))
    image = np.repeat((255 * spot)[..., None], 3, axis=-1).astype(np.uint8)

    crop = geometry.crop_image(image, 128)[..., 0].astype(float)
    x, y = np.meshgrid(np.arange(128), np.arange(128))
    found = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()

    framing = geometry.centre_crop(np.array([width, height]), 128)
    expected = geometry.to_crop(point[None], framing)[0]
    # OpenCV's "area" is a blocky stretch when it enlarges; when it shrinks it is exact.
    tolerance = 0.05 if min(width, height) >= 128 else 0.3
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_the_crop_of_a_photo_of_that_size_is_the_photo():
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    np.testing.assert_array_equal(geometry.crop_image(image, 128), image)
    framing = geometry.centre_crop(np.array([128, 128]), 128)
    np.testing.assert_array_equal(framing.scale, 1)
    np.testing.assert_array_equal(framing.offset, 0)


def test_the_points_given_are_left_as_they_are():
    landmarks = np.array([[[5, 7]]], np.int16)
    geometry.to_crop(landmarks, geometry.centre_crop(np.array([[300, 400]]), 128))
    np.testing.assert_array_equal(landmarks, [[[5, 7]]])
    assert landmarks.dtype == np.int16


def test_area_interpolation():
    image = cv2.resize(np.eye(256, dtype=np.uint8)[..., None].repeat(3, -1) * 200, (256, 256))
    np.testing.assert_array_equal(
        geometry.crop_image(image, 128), cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    )
