import numpy as np
import pytest

from keras_landmarks.inference.tta import TTATransform, tta_transforms

WIDTH, HEIGHT = 120, 96
MIRROR_MAP = np.array([1, 0, 2])
LANDMARKS = np.array([[[40.0, 30], [71.5, 52.25], [60, 70]]], np.float32)


def draw_spots(landmarks):
    """Returns a batch of one image with a bright spot in its own colour at each of 3 points."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    squares = [(x - px) ** 2 + (y - py) ** 2 for px, py in landmarks]
    return np.stack([255 * np.exp(-s / 20) for s in squares], axis=-1).astype(np.uint8)[None]


def find_spots(image):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    weights = image / image.sum(axis=(0, 1))
    return np.stack([(weights * a[..., None]).sum(axis=(0, 1)) for a in (x, y)], axis=-1)


@pytest.mark.parametrize("transform", tta_transforms(crops=True, mirror_map=MIRROR_MAP))
def test_invert_undoes_apply(transform):
    crops = draw_spots(LANDMARKS[0])
    transformed = transform.apply(crops)
    assert transformed.shape == crops.shape
    found = find_spots(transformed[0])
    if transform.mirror_map is not None:
        found = found[MIRROR_MAP]  # A model names the left point of a mirrored face the first.
    np.testing.assert_allclose(transform.invert(found[None], crops), LANDMARKS, atol=0.05)


def test_identity_changes_nothing():
    crops = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    (identity,) = tta_transforms(crops=False, mirror_map=None)
    assert identity.apply(crops) is crops
    np.testing.assert_array_equal(identity.invert(LANDMARKS, crops), LANDMARKS)


def test_mirroring_is_exact():
    crops = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    _, mirrored = tta_transforms(crops=False, mirror_map=MIRROR_MAP)
    np.testing.assert_array_equal(mirrored.apply(crops), crops[:, :, ::-1])
    expected = [[[119 - 71.5, 52.25], [119 - 40, 30], [119 - 60, 70]]]
    np.testing.assert_array_equal(mirrored.invert(LANDMARKS, crops), expected)


def test_five_crops_are_mirrored_on_request():
    assert len(tta_transforms(crops=True, mirror_map=None)) == 5
    both = tta_transforms(crops=True, mirror_map=MIRROR_MAP)
    assert len(both) == 10
    assert sum(transform.mirror_map is None for transform in both) == 5
    assert {transform[:3] for transform in both} == {transform[:3] for transform in both[::2]}


def test_border_is_reflected_not_black():
    white = np.full((1, HEIGHT, WIDTH, 3), 255, np.uint8)
    assert TTATransform(0.8, 0.1, -0.1).apply(white).min() == 255
