"""The faces of a video, frame by frame: tracked and, on request, smoothed."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from keras_landmarks.evaluation import metrics
from keras_landmarks.images.video import Video
from keras_landmarks.inference.batching import in_batches
from keras_landmarks.inference.face import Face
from keras_landmarks.inference.videos.jitter import Jitter
from keras_landmarks.inference.videos.smoothing import FaceFilter, OneEuroFilter, Smoothing
from keras_landmarks.inference.videos.tracking import FaceTracker

_REMEMBERED_S = 1.0  # A face that was missing for longer gets a new number.

DetectFaces = Callable[[list[np.ndarray]], list[list[Face]]]  # A Landmarker, for example.


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        frame: the frame's number, from 0.
        time_s: the time since the first frame.
        image: (H, W, 3) uint8 RGB, rotated according to the file.
        faces: the faces by number; a face keeps its number from frame to frame.
    """

    frame: int
    time_s: float
    image: np.ndarray
    faces: dict[int, Face]


class VideoTracker:
    """Tracks the faces of a video, smooths them on request, and measures their jitter."""

    def __init__(self, frames_per_s: float, smoothing: Smoothing | None = None):
        """Begins without any frame; `smoothing` None leaves the faces as detected."""
        self._smoothing = smoothing
        self._tracker = FaceTracker(round(_REMEMBERED_S * frames_per_s))
        self._filters: dict[int, tuple[FaceFilter, OneEuroFilter]] = {}
        self._last_s: dict[int, float] = {}  # face -> time of its previous frame
        self._raw_jitter, self._smoothed_jitter = Jitter(), Jitter()

    def __call__(self, frame: int, time_s: float, faces: list[Face]) -> dict[int, Face]:
        """Returns the faces of the next frame by number, smoothed on request."""
        numbers = self._tracker.update([face.box_photo_px for face in faces])
        return {
            number: self._process(number, frame, time_s, face)
            for number, face in zip(numbers, faces, strict=True)
        }

    def _process(self, number: int, frame: int, time_s: float, face: Face) -> Face:
        landmarks_px = face.landmarks_photo_px
        size_px = max(1.0, metrics.face_sizes(landmarks_px[None]).item())
        self._raw_jitter.add(number, frame, landmarks_px, size_px)
        if self._smoothing is None:
            return face
        smoothed = self._smooth(number, time_s, face, size_px)
        self._smoothed_jitter.add(number, frame, smoothed.landmarks_photo_px, size_px)
        return smoothed

    def _smooth(self, number: int, time_s: float, face: Face, size_px: float) -> Face:
        if number not in self._filters:
            self._filters[number] = FaceFilter(*self._smoothing), OneEuroFilter(*self._smoothing)
        landmark_filter, box_filter = self._filters[number]
        elapsed_s = time_s - self._last_s.get(number, 0)
        self._last_s[number] = time_s
        landmarks_px = landmark_filter(face.landmarks_photo_px, size_px, elapsed_s)
        box_px = box_filter(face.box_photo_px.reshape(2, 2), size_px, elapsed_s).ravel()
        return dataclasses.replace(face, landmarks_photo_px=landmarks_px, box_photo_px=box_px)

    @property
    def results(self) -> dict:
        """The number of faces, and their jitter: as predicted and, if it is done, as smoothed."""
        results = {"faces": self._tracker.num_tracks} | _jitter_results("jitter", self._raw_jitter)
        if self._smoothing:
            results |= _jitter_results("jitter_smoothed", self._smoothed_jitter)
        return results


def track_video(
    video: Video, detect_faces: DetectFaces, tracker: VideoTracker
) -> Iterator[VideoFrame]:
    """Yields the frames of a video with their faces.

    Args:
        video: the video to read.
        detect_faces: returns the faces in each of several images, such as a `Landmarker`.
        tracker: numbers the faces; a new one for each video.
    """
    for batch in in_batches(enumerate(video)):
        detected = detect_faces([image for _, (_, image) in batch])
        for (frame, (time_s, image)), faces in zip(batch, detected, strict=True):
            yield VideoFrame(frame, time_s, image, tracker(frame, time_s, faces))


def _jitter_results(name: str, jitter: Jitter) -> dict:
    by_face = {face: round(value, 5) for face, value in sorted(jitter.by_face.items())}
    overall = None if jitter.overall is None else round(jitter.overall, 5)
    return {name: overall, f"{name}_by_face": by_face}
