import math

import numpy as np
import pytest

from keras_landmarks.inference.tracking import FaceFilter, Jitter, OneEuroFilter, Tracks


def box(x, y, side=20):
    return np.float32([x, y, x + side, y + side])


def test_faces_keep_their_numbers_whatever_their_order():
    tracks = Tracks(remembered_frames=2)
    assert tracks.follow([box(0, 0), box(100, 0)]) == [0, 1]
    assert tracks.follow([box(104, 2), box(3, 1)]) == [1, 0]
    assert tracks.follow([box(300, 0), box(5, 0)]) == [2, 0]
    assert tracks.count == 3


def test_all_faces_together_are_as_near_as_can_be():
    tracks = Tracks(remembered_frames=2)
    tracks.follow([box(0, 0), box(15, 0)])
    # The nearest pair is 4 px apart, but would leave the other face 23 px to go.
    assert tracks.follow([box(11, 0), box(23, 0)]) == [0, 1]


def test_a_face_goes_as_far_as_its_size_at_most():
    tracks = Tracks(remembered_frames=2)
    tracks.follow([box(0, 0)])
    assert tracks.follow([box(21, 0)]) == [1]
    assert tracks.follow([box(21, 19)]) == [1]


def test_a_box_of_another_size_is_another_face():
    tracks = Tracks(remembered_frames=2)
    tracks.follow([box(0, 0, side=20)])
    assert tracks.follow([box(-11, -11, side=42)]) == [1]


def test_a_face_is_expected_where_its_way_leads():
    """8 px a frame: of each step velocity takes 0.4, so that it is nearly 8 after ten frames."""
    tracks = Tracks(remembered_frames=10)
    for frame in range(10):
        assert tracks.follow([box(8 * frame, 0), box(8 * (20 - frame), 30)]) == [0, 1]
    for frame in range(10, 14):  # the one behind the other is not found
        assert tracks.follow([box(8 * (20 - frame), 30)]) == [1]
    # Where it was seen last there is one who was not there before.
    assert tracks.follow([box(8 * 9, -5), box(8 * 14, 0), box(8 * 6, 30)]) == [2, 0, 1]


def test_a_camera_that_moves_at_once_by_most_of_a_face_takes_no_number_along():
    """Faces of 40 px, 55 px apart, that move by 30: each is nearer to where its neighbour was."""
    tracks = Tracks(remembered_frames=10)
    for frame in range(4):
        row = [box(55 * face + 30 * frame, 3 * face, side=40) for face in range(4)]
        assert tracks.follow(row) == [0, 1, 2, 3]
    # One has left, one comes, and it goes on.
    for frame in range(4, 7):
        row = [box(55 * face + 30 * frame, 0, side=40) for face in (-1, 0, 1, 2)]
        assert tracks.follow(row) == [4, 0, 1, 2]


def test_faces_out_of_sight_move_with_the_camera():
    tracks = Tracks(remembered_frames=10)
    here = [box(0, 0), box(50, 0), box(100, 0)]
    assert tracks.follow(here) == [0, 1, 2]
    assert tracks.follow(here) == [0, 1, 2]
    for frame in range(1, 6):
        assert tracks.follow([box(12 * frame, 0), box(50 + 12 * frame, 0)]) == [0, 1]
    assert tracks.follow([box(172, 0)]) == [2]


def test_a_face_out_of_sight_is_remembered_so_long():
    tracks = Tracks(remembered_frames=2)
    assert [tracks.follow([box(0, 0)]), tracks.follow([]), tracks.follow([])] == [[0], [], []]
    assert tracks.follow([box(0, 0)]) == [0]
    for _ in range(3):
        assert tracks.follow([]) == []
    assert tracks.follow([box(0, 0)]) == [1]


def test_the_one_euro_filter_by_hand():
    """1 / 2π s between points: a cutoff of f Hz weights the new value by f / (f + 1)."""
    steadied = OneEuroFilter(min_cutoff_hz=1, beta=2)
    elapsed, size = 1 / (2 * math.pi), 8 * math.pi
    points = [np.array([[x, y]]) for x, y in [(0, 0), (3, 4), (4.65, 6.2), (2.7, 3.6)]]
    np.testing.assert_array_equal(steadied(points[0], size, elapsed), [[0, 0]])
    # Velocity 2π (3, 4), 4/5 of it after the cutoff of 4 Hz: 8π px/s, one size a second. So the
    # cutoff is 1 + 2 · 1 Hz, the weight 3/4.
    np.testing.assert_allclose(steadied(points[1], size, elapsed), [[2.25, 3]])
    # (2.4, 3.2) further: 2π · 4 px/s, the same as before: again 3/4.
    np.testing.assert_allclose(steadied(points[2], size, elapsed), [[4.05, 5.4]])
    # (1.35, 1.8) back: -2π · 2.25 px/s, 4/5 of it and 1/5 of 8π: -2π px/s, 1/4 of a size. The
    # cutoff is 1.5 Hz, the weight 0.6.
    np.testing.assert_allclose(steadied(points[3], size, elapsed), [[3.24, 4.32]])


def test_points_at_rest_stay_and_every_point_has_a_speed_of_its_own():
    steadied = OneEuroFilter(min_cutoff_hz=0.5, beta=5)
    still, moving = np.zeros((10, 2)), np.arange(10)[:, None] * [4.0, 0]
    for points in np.stack([still, moving], axis=1):
        last = steadied(points, 50, 1 / 30)
    np.testing.assert_array_equal(last[0], [0, 0])
    assert 30 < last[1, 0] < 36


def test_a_longer_pause_weights_the_new_points_more():
    results = []
    for elapsed in (1 / 30, 10):
        steadied = OneEuroFilter(min_cutoff_hz=1, beta=0)
        steadied(np.zeros((1, 2)), 50, 1 / 30)
        results.append(steadied(np.ones((1, 2)), 50, elapsed)[0, 0])
    np.testing.assert_allclose(results, [1 / (1 + 30 / (2 * math.pi)), 1 / (1 + 0.1 / 2 / math.pi)])


SQUARE = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])


def test_a_face_that_moves_as_a_whole_and_within_by_hand():
    """Weights of 1/2, as above: half of the way, half of the square's change to a rectangle."""
    steadied = FaceFilter(min_cutoff_hz=1, beta=0)
    elapsed = 1 / (2 * math.pi)
    np.testing.assert_allclose(steadied(SQUARE, 2, elapsed), SQUARE)
    np.testing.assert_allclose(
        steadied(SQUARE * (1.2, 0.8) + (4, 2), 2, elapsed), SQUARE * (1.1, 0.9) + (2, 1)
    )


def test_a_face_that_turns_and_comes_nearer_keeps_its_shape():
    steadied = FaceFilter(min_cutoff_hz=1, beta=5)
    for frame in range(8):
        cosine, sine = math.cos(0.3 * frame), math.sin(0.3 * frame)
        turned = SQUARE @ [[cosine, sine], [-sine, cosine]] * (1 + 0.1 * frame) + 9 * frame
        points = steadied(turned, 2, 1 / 25)
    sides = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1)
    np.testing.assert_allclose(sides, sides[0])
    assert 3.0 < sides[0] < 3.4
    assert 45 < points.mean() < 63


def test_points_within_are_steadied_though_the_face_moves():
    """By 30 px a frame, noise of 0.3 px: most of that of a face of 100 px at rest is taken away."""
    rng, raw, left = np.random.default_rng(0), [], []
    steadied = FaceFilter(min_cutoff_hz=1, beta=30)
    alone = OneEuroFilter(min_cutoff_hz=1, beta=30)
    shape = rng.uniform(0, 100, (200, 2))
    for frame in range(40):
        points = shape + rng.normal(0, 0.3, shape.shape) + (30 * frame, 0)
        for results, smooth in ((left, steadied), (raw, alone)):
            points_now = smooth(points, 100, 1 / 25)
            results.append(points_now - points_now.mean(axis=0))
    assert np.std(raw[20:], axis=0).mean() > 0.27
    assert np.std(left[20:], axis=0).mean() < 0.15


@pytest.mark.parametrize("points", [np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)])
def test_points_in_one_place_are_points(points):
    steadied = FaceFilter(min_cutoff_hz=1, beta=1)
    for _ in range(3):
        result = steadied(points, 1, 1 / 25)
    np.testing.assert_allclose(result, points)
    assert result.dtype == np.float32


DEVIATION = 1 / math.sqrt(6 * 2 * math.log(2))  # noise whose second differences are 1 px, median


def test_jitter_by_hand():
    """Second differences of (-6, 0), (-3, 4) and (0, 1) px: 6, 5 and 1 px."""
    jitter = Jitter()
    frames = [[0, 7], [0, 0], [5, 5]], [[3, 7], [3, 0], [5, 5]], [[0, 7], [3, 4], [5, 6]]
    for frame, points in enumerate(frames):
        jitter.add(0, frame, np.array(points, float), size_px=10)
    assert jitter.share == pytest.approx(5 * DEVIATION / 10)


def test_steady_movement_is_no_jitter():
    jitter = Jitter()
    for frame in range(5):
        jitter.add(0, frame, np.array([[3.0 * frame, -frame]]), size_px=10)
    assert jitter.share == 0


@pytest.mark.parametrize("together", [False, True])
def test_jitter_of_noise_is_its_deviation_whatever_moves_between(together):
    """Of every point for itself or of all together; for 15 of 200 frames all go 8 px a frame."""
    jitter, rng = Jitter(), np.random.default_rng(0)
    for frame in range(1000 if together else 200):
        noise = rng.normal(0, 2, (1 if together else 50, 2))
        moved = 8 * np.clip(frame - 100, 0, 15)
        jitter.add(0, frame, noise + np.full((50, 2), moved), size_px=100)
    assert jitter.share == pytest.approx(0.02, rel=0.05)


def test_every_face_has_a_jitter_of_its_own():
    jitter = Jitter()
    for frame, x in enumerate([0, 1, 0, 1, 0]):
        jitter.add(4, frame, np.array([[x, 7.0]]), size_px=10)  # thrice 2 px
        jitter.add(7, frame, np.array([[0, 7.0]]), size_px=10)  # thrice none
        if frame > 1:
            jitter.add(5, frame, np.array([[2.0 * x, 7]]), size_px=20)  # once 4 px
    expected = {4: 0.2 * DEVIATION, 7: 0, 5: 0.2 * DEVIATION}
    assert jitter.by_face == pytest.approx(expected)
    assert jitter.share == pytest.approx(0.2 * DEVIATION)  # four of seven


def test_jitter_needs_three_frames_in_a_row_of_one_face():
    jitter = Jitter()
    for face, frame in [(0, 0), (0, 1), (1, 1), (0, 3), (1, 2), (0, 4)]:
        jitter.add(face, frame, np.array([[frame**2, face]]), size_px=10)
    assert (jitter.share, jitter.by_face) == (None, {})
    jitter.add(1, 3, np.array([[9.0, 1]]), size_px=10)  # 1, 4, 9: a second difference of 2
    assert jitter.share == pytest.approx(2 * DEVIATION / 10)
