import numpy as np
import pytest

from keras_landmarks.inference import tta
from keras_landmarks.inference.tta import View

WIDTH, HEIGHT = 120, 96
SWAPPED = np.array([1, 0, 2])
POINTS = np.array([[[40.0, 30], [71.5, 52.25], [60, 70]]], np.float32)


def spots(points):
    """Returns an image with a bright spot of its own colour at each of three points."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    squares = [(x - px) ** 2 + (y - py) ** 2 for px, py in points]
    return np.stack([255 * np.exp(-s / 20) for s in squares], axis=-1).astype(np.uint8)[None]


def find_spots(image):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    weights = image / image.sum(axis=(0, 1))
    return np.stack([(weights * a[..., None]).sum(axis=(0, 1)) for a in (x, y)], axis=-1)


@pytest.mark.parametrize("view", tta.tta_views(crops=True, mirror_map=SWAPPED))
def test_points_found_in_a_view_are_brought_back_to_the_image(view):
    images = spots(POINTS[0])
    shown = view.of(images)
    assert shown.shape == images.shape
    found = find_spots(shown[0])
    if view.mirror_map is not None:
        found = found[SWAPPED]  # a model calls the left one in the view the first
    np.testing.assert_allclose(view.back(found[None], images), POINTS, atol=0.05)


def test_the_plain_view_changes_no_bit():
    images = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    (plain,) = tta.tta_views(crops=False, mirror_map=None)
    assert plain.of(images) is images
    np.testing.assert_array_equal(plain.back(POINTS, images), POINTS)


def test_mirroring_is_exact():
    images = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    _, mirrored = tta.tta_views(crops=False, mirror_map=SWAPPED)
    np.testing.assert_array_equal(mirrored.of(images), images[:, :, ::-1])
    by_hand = [[[119 - 71.5, 52.25], [119 - 40, 30], [119 - 60, 70]]]
    np.testing.assert_array_equal(mirrored.back(POINTS, images), by_hand)


def test_there_are_five_crops_and_each_once_more_in_the_mirror():
    assert len(tta.tta_views(crops=True, mirror_map=None)) == 5
    both = tta.tta_views(crops=True, mirror_map=SWAPPED)
    assert len(both) == 10
    assert sum(view.mirror_map is None for view in both) == 5
    assert {view[:3] for view in both} == {view[:3] for view in both[::2]}


def test_a_view_shows_no_black_border():
    white = np.full((1, HEIGHT, WIDTH, 3), 255, np.uint8)
    assert View(0.8, 0.1, -0.1).of(white).min() == 255
