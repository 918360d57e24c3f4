"""The faces of a video, frame by frame: numbered and, if asked, steadied."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from keras_landmarks.evaluation import metrics
from keras_landmarks.images.video import Video
from keras_landmarks.inference.tracking import FaceFilter, Jitter, OneEuroFilter, Tracks

if TYPE_CHECKING:  # which offers this module's work as a method
    from keras_landmarks.inference.landmarker import Face, Landmarker

_REMEMBERED_S = 1.0  # a face that is out of sight for longer is a new one
_IN_MEMORY = 8  # photos, or frames of a video
Item = TypeVar("Item")


class Smoothing(NamedTuple):
    """The numbers of a one-euro filter."""

    min_cutoff_hz: float = 1.0
    beta: float = 30.0


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        frame: its number, from 0.
        time_s: since the first.
        image: (H, W, 3) uint8 RGB, turned as the file says.
        faces: by their numbers, which they keep from frame to frame.
    """

    frame: int
    time_s: float
    image: np.ndarray
    faces: "dict[int, Face]"


class Follower:
    """Numbers the faces of a video, steadies them if asked, measures how they shake."""

    def __init__(self, frames_per_s: float, smoothing: Smoothing | None = None):
        """Begins without any frame."""
        self._smoothing = smoothing
        self._tracks = Tracks(round(_REMEMBERED_S * frames_per_s))
        self._filters: dict[int, tuple[FaceFilter, OneEuroFilter]] = {}
        self._last_s: dict[int, float] = {}  # when a face was seen
        self._found, self._steadied = Jitter(), Jitter()

    def __call__(self, frame: int, time_s: float, faces: "list[Face]") -> "dict[int, Face]":
        """Returns the faces of the next frame by their numbers."""
        numbers = self._tracks.follow([face.box_photo_px for face in faces])
        return {
            number: self._see(number, frame, time_s, face)
            for number, face in zip(numbers, faces, strict=True)
        }

    def _see(self, number: int, frame: int, time_s: float, face: "Face") -> "Face":
        points = face.landmarks_photo_px
        size = max(1.0, metrics.face_sizes(points[None]).item())
        self._found.add(number, frame, points, size)
        if self._smoothing is None:
            return face
        if number not in self._filters:
            self._filters[number] = FaceFilter(*self._smoothing), OneEuroFilter(*self._smoothing)
        of_points, of_box = self._filters[number]
        elapsed = time_s - self._last_s.get(number, 0)
        self._last_s[number] = time_s
        points = of_points(points, size, elapsed)
        self._steadied.add(number, frame, points, size)
        box = of_box(face.box_photo_px.reshape(2, 2), size, elapsed).ravel()
        return dataclasses.replace(face, landmarks_photo_px=points, box_photo_px=box)

    @property
    def figures(self) -> dict:
        """Faces, and the jitter of their points: as found and, if they are, as steadied."""
        figures = {"faces": self._tracks.count} | _jitter_figures("jitter", self._found)
        if self._smoothing:
            figures |= _jitter_figures("jitter_smoothed", self._steadied)
        return figures


def follow(clip: Video, landmarker: "Landmarker", follower: Follower) -> Iterator[VideoFrame]:
    """Yields the frames of a video with their faces."""
    for some in in_batches(enumerate(clip)):
        found = landmarker([image for _, (_, image) in some])
        for (frame, (time_s, image)), faces in zip(some, found, strict=True):
            yield VideoFrame(frame, time_s, image, follower(frame, time_s, faces))


def in_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yields as many of the items at a time as should be in memory."""
    items = iter(items)
    while some := list(itertools.islice(items, _IN_MEMORY)):
        yield some


def _jitter_figures(name: str, jitter: Jitter) -> dict:
    by_face = {face: round(share, 5) for face, share in sorted(jitter.by_face.items())}
    overall = None if jitter.share is None else round(jitter.share, 5)
    return {name: overall, f"{name}_by_face": by_face}
