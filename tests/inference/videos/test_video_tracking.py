import numpy as np
import pytest

from keras_landmarks import Face, VideoFrame
from keras_landmarks.inference.videos.smoothing import Smoothing
from keras_landmarks.inference.videos.video_tracking import VideoTracker, track_video


def face_at(x):
    box = np.float32([x, 0, x + 20, 20])
    return Face(box, 0.9, np.float32([[x, 0], [x + 10, 10], [x + 20, 20]]))


class Video:
    """Twelve frames, 20 per second; the brightness of an image is its number."""

    frames_per_s = 20.0

    def __iter__(self):
        return ((frame / 20, np.full((4, 4, 3), frame, np.uint8)) for frame in range(12))


def test_frames_come_with_their_tracked_faces():
    def detect_faces(images):
        return [[face_at(100), face_at(int(image[0, 0, 0]))] for image in images]

    frames = list(track_video(Video(), detect_faces, VideoTracker(20.0)))
    assert [type(frame) for frame in frames] == [VideoFrame] * 12
    assert [frame.frame for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == [frame / 20 for frame in range(12)]
    assert [frame.image[0, 0, 0] for frame in frames] == list(range(12))
    assert [frame.faces[1].box_photo_px[0] for frame in frames] == list(range(12))


@pytest.mark.parametrize("smoothing", [None, Smoothing(1.0, 1.0)])
def test_results_count_faces_and_jitter(smoothing):
    tracker = VideoTracker(20.0, smoothing)
    for frame in range(12):
        faces = [face_at(frame % 2), face_at(100)]
        tracked = tracker(frame, frame / 20, faces)
        assert (tracked[1] is faces[1]) == (smoothing is None)
    results = tracker.results
    assert results["faces"] == 2
    assert set(results["jitter_by_face"]) == {0, 1}
    assert results["jitter_by_face"][0] > results["jitter_by_face"][1] == 0
    assert ("jitter_smoothed" in results) == (smoothing is not None)
    if smoothing:
        assert results["jitter_smoothed_by_face"][0] < 0.6 * results["jitter_by_face"][0]


def test_jitter_is_unknown_without_faces():
    assert VideoTracker(20.0).results == {"faces": 0, "jitter": None, "jitter_by_face": {}}
