import math

import numpy as np
import pytest

from keras_landmarks.inference.videos.jitter import Jitter

# Noise of this standard deviation has second differences with a median length of 1 px.
DEVIATION = 1 / math.sqrt(6 * 2 * math.log(2))


def test_jitter_matches_manual_result():
    """Second differences of (-6, 0), (-3, 4) and (0, 1) px: 6, 5 and 1 px."""
    jitter = Jitter()
    frames = [[0, 7], [0, 0], [5, 5]], [[3, 7], [3, 0], [5, 5]], [[0, 7], [3, 4], [5, 6]]
    for frame, points in enumerate(frames):
        jitter.add(0, frame, np.array(points, float), size_px=10)
    assert jitter.overall == pytest.approx(5 * DEVIATION / 10)


def test_steady_movement_has_no_jitter():
    jitter = Jitter()
    for frame in range(5):
        jitter.add(0, frame, np.array([[3.0 * frame, -frame]]), size_px=10)
    assert jitter.overall == 0


@pytest.mark.parametrize("together", [False, True])
def test_jitter_is_the_deviation_of_noise(together):
    """Noise of each point or of all together; for 15 of 200 frames they move 8 px per frame."""
    jitter, rng = Jitter(), np.random.default_rng(0)
    for frame in range(1000 if together else 200):
        noise = rng.normal(0, 2, (1 if together else 50, 2))
        moved = 8 * np.clip(frame - 100, 0, 15)
        jitter.add(0, frame, noise + np.full((50, 2), moved), size_px=100)
    assert jitter.overall == pytest.approx(0.02, rel=0.05)


def test_each_face_has_its_own_jitter():
    jitter = Jitter()
    for frame, x in enumerate([0, 1, 0, 1, 0]):
        jitter.add(4, frame, np.array([[x, 7.0]]), size_px=10)  # three times 2 px
        jitter.add(7, frame, np.array([[0, 7.0]]), size_px=10)  # three times 0 px
        if frame > 1:
            jitter.add(5, frame, np.array([[2.0 * x, 7]]), size_px=20)  # once 4 px
    expected = {4: 0.2 * DEVIATION, 7: 0, 5: 0.2 * DEVIATION}
    assert jitter.by_face == pytest.approx(expected)
    assert jitter.overall == pytest.approx(0.2 * DEVIATION)  # four of the seven values


def test_jitter_needs_three_consecutive_frames():
    jitter = Jitter()
    for face, frame in [(0, 0), (0, 1), (1, 1), (0, 3), (1, 2), (0, 4)]:
        jitter.add(face, frame, np.array([[frame**2, face]]), size_px=10)
    assert (jitter.overall, jitter.by_face) == (None, {})
    jitter.add(1, 3, np.array([[9.0, 1]]), size_px=10)  # 1, 4, 9: a second difference of 2
    assert jitter.overall == pytest.approx(2 * DEVIATION / 10)
