import numpy as np

from keras_landmarks.inference.videos.tracking import FaceTracker


def box(x, y, side=20):
    return np.float32([x, y, x + side, y + side])


def test_faces_keep_numbers_in_any_order():
    tracker = FaceTracker(max_missed_frames=2)
    assert tracker.update([box(0, 0), box(100, 0)]) == [0, 1]
    assert tracker.update([box(104, 2), box(3, 1)]) == [1, 0]
    assert tracker.update([box(300, 0), box(5, 0)]) == [2, 0]
    assert tracker.num_tracks == 3


def test_assignment_is_optimal_for_all_faces():
    tracker = FaceTracker(max_missed_frames=2)
    tracker.update([box(0, 0), box(15, 0)])
    # The nearest pair is 4 px apart, but would leave the other face 23 px from its track.
    assert tracker.update([box(11, 0), box(23, 0)]) == [0, 1]


def test_face_matches_within_its_size_only():
    tracker = FaceTracker(max_missed_frames=2)
    tracker.update([box(0, 0)])
    assert tracker.update([box(21, 0)]) == [1]
    assert tracker.update([box(21, 19)]) == [1]


def test_box_of_another_size_is_another_face():
    tracker = FaceTracker(max_missed_frames=2)
    tracker.update([box(0, 0, side=20)])
    assert tracker.update([box(-11, -11, side=42)]) == [1]


def test_missing_face_moves_at_constant_velocity():
    """8 px per frame. Each step has a weight of 0.4, so ten frames suffice for the velocity."""
    tracker = FaceTracker(max_missed_frames=10)
    for frame in range(10):
        assert tracker.update([box(8 * frame, 0), box(8 * (20 - frame), 30)]) == [0, 1]
    for frame in range(10, 14):  # One face hides the other.
        assert tracker.update([box(8 * (20 - frame), 30)]) == [1]
    # A new face is where the hidden one was last seen.
    assert tracker.update([box(8 * 9, -5), box(8 * 14, 0), box(8 * 6, 30)]) == [2, 0, 1]


def test_sudden_camera_motion_keeps_numbers():
    """Faces of 40 px, 55 px apart, move by 30 px: each is nearer to its neighbour's position."""
    tracker = FaceTracker(max_missed_frames=10)
    for frame in range(4):
        row = [box(55 * face + 30 * frame, 3 * face, side=40) for face in range(4)]
        assert tracker.update(row) == [0, 1, 2, 3]
    # One face has left, another one comes, and the motion continues.
    for frame in range(4, 7):
        row = [box(55 * face + 30 * frame, 0, side=40) for face in (-1, 0, 1, 2)]
        assert tracker.update(row) == [4, 0, 1, 2]


def test_missing_faces_move_with_the_camera():
    tracker = FaceTracker(max_missed_frames=10)
    here = [box(0, 0), box(50, 0), box(100, 0)]
    assert tracker.update(here) == [0, 1, 2]
    assert tracker.update(here) == [0, 1, 2]
    for frame in range(1, 6):
        assert tracker.update([box(12 * frame, 0), box(50 + 12 * frame, 0)]) == [0, 1]
    assert tracker.update([box(172, 0)]) == [2]


def test_missing_face_is_forgotten_in_time():
    tracker = FaceTracker(max_missed_frames=2)
    assert [tracker.update([box(0, 0)]), tracker.update([]), tracker.update([])] == [[0], [], []]
    assert tracker.update([box(0, 0)]) == [0]
    for _ in range(3):
        assert tracker.update([]) == []
    assert tracker.update([box(0, 0)]) == [1]
