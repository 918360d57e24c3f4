import math

import numpy as np
import pytest

from keras_landmarks.inference.videos.smoothing import FaceFilter, OneEuroFilter

SQUARE = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])


def test_one_euro_filter_matches_manual_result():
    """At 1 / 2π s between points, a cutoff of f Hz weights the new value by f / (f + 1)."""
    smooth = OneEuroFilter(min_cutoff_hz=1, beta=2)
    elapsed, size = 1 / (2 * math.pi), 8 * math.pi
    points = [np.array([[x, y]]) for x, y in [(0, 0), (3, 4), (4.65, 6.2), (2.7, 3.6)]]
    np.testing.assert_array_equal(smooth(points[0], size, elapsed), [[0, 0]])
    # Velocity 2π (3, 4), 4/5 of it after the cutoff of 4 Hz: 8π px/s, one size per second. So the
    # cutoff is 1 + 2 · 1 Hz, the weight 3/4.
    np.testing.assert_allclose(smooth(points[1], size, elapsed), [[2.25, 3]])
    # (2.4, 3.2) further: 2π · 4 px/s, as before, so the weight is 3/4 again.
    np.testing.assert_allclose(smooth(points[2], size, elapsed), [[4.05, 5.4]])
    # (1.35, 1.8) back: -2π · 2.25 px/s, 4/5 of it and 1/5 of 8π: -2π px/s, 1/4 of a size. The
    # cutoff is 1.5 Hz, the weight 0.6.
    np.testing.assert_allclose(smooth(points[3], size, elapsed), [[3.24, 4.32]])


def test_each_point_has_its_own_speed():
    smooth = OneEuroFilter(min_cutoff_hz=0.5, beta=5)
    still, moving = np.zeros((10, 2)), np.arange(10)[:, None] * [4.0, 0]
    for points in np.stack([still, moving], axis=1):
        last = smooth(points, 50, 1 / 30)
    np.testing.assert_array_equal(last[0], [0, 0])
    assert 30 < last[1, 0] < 36


def test_longer_gap_weights_new_points_more():
    results = []
    for elapsed in (1 / 30, 10):
        smooth = OneEuroFilter(min_cutoff_hz=1, beta=0)
        smooth(np.zeros((1, 2)), 50, 1 / 30)
        results.append(smooth(np.ones((1, 2)), 50, elapsed)[0, 0])
    np.testing.assert_allclose(results, [1 / (1 + 30 / (2 * math.pi)), 1 / (1 + 0.1 / 2 / math.pi)])


def test_face_filter_matches_manual_result():
    """With weights of 1/2: half of the translation, half of the change to a rectangle."""
    smooth = FaceFilter(min_cutoff_hz=1, beta=0)
    elapsed = 1 / (2 * math.pi)
    np.testing.assert_allclose(smooth(SQUARE, 2, elapsed), SQUARE)
    np.testing.assert_allclose(
        smooth(SQUARE * (1.2, 0.8) + (4, 2), 2, elapsed), SQUARE * (1.1, 0.9) + (2, 1)
    )


def test_rotating_and_growing_face_keeps_shape():
    smooth = FaceFilter(min_cutoff_hz=1, beta=5)
    for frame in range(8):
        cosine, sine = math.cos(0.3 * frame), math.sin(0.3 * frame)
        rotated = SQUARE @ [[cosine, sine], [-sine, cosine]] * (1 + 0.1 * frame) + 9 * frame
        points = smooth(rotated, 2, 1 / 25)
    sides = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1)
    np.testing.assert_allclose(sides, sides[0])
    assert 3.0 < sides[0] < 3.4
    assert 45 < points.mean() < 63


def test_noise_is_smoothed_while_the_face_moves():
    """A face of 100 px that moves by 30 px per frame, with noise of 0.3 px."""
    rng, one_euro, by_face = np.random.default_rng(0), [], []
    face_filter = FaceFilter(min_cutoff_hz=1, beta=30)
    one_euro_filter = OneEuroFilter(min_cutoff_hz=1, beta=30)
    shape = rng.uniform(0, 100, (200, 2))
    for frame in range(40):
        points = shape + rng.normal(0, 0.3, shape.shape) + (30 * frame, 0)
        for results, smooth in ((by_face, face_filter), (one_euro, one_euro_filter)):
            smoothed = smooth(points, 100, 1 / 25)
            results.append(smoothed - smoothed.mean(axis=0))
    assert np.std(one_euro[20:], axis=0).mean() > 0.27
    assert np.std(by_face[20:], axis=0).mean() < 0.15


@pytest.mark.parametrize("points", [np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)])
def test_coinciding_points_stay_finite(points):
    smooth = FaceFilter(min_cutoff_hz=1, beta=1)
    for _ in range(3):
        result = smooth(points, 1, 1 / 25)
    np.testing.assert_allclose(result, points)
    assert result.dtype == np.float32
