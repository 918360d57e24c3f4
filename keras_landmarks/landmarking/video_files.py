"""Videos in files: their faces, frame by frame, numbered and steadied, into tables and drawn."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks.data import video
from keras_landmarks.files import whole_file
from keras_landmarks.landmarking.landmarker import Face, Landmarker
from keras_landmarks.landmarking.photo_files import draw_on, in_batches
from keras_landmarks.landmarking.tables import Picture, face_tables
from keras_landmarks.landmarking.tracking import FaceFilter, Jitter, OneEuroFilter, Tracks
from keras_landmarks.progress import progress
from keras_landmarks.reports import metrics

_REMEMBERED_S = 1.0  # a face that is out of sight for longer is a new one


class Smoothing(NamedTuple):
    """The numbers of a one-euro filter."""

    min_cutoff_hz: float = 1.0
    beta: float = 30.0


def landmark_video(
    name: str,
    path: Path,
    landmarker: Landmarker,
    out: Path,
    draw: bool,
    smoothing: Smoothing | None = None,
) -> dict:
    """Writes `<name>.csv`, `<name>.json` and, if asked, the video with its points into `out`.

    Returns:
        Figures: frames, rate, faces, and how much their points shake.

    Raises:
        UnreadableError: the file cannot be read.
        OSError: the disk is full.
    """
    clip = video.Video(path)
    steady = _Steady(clip.frames_per_s, smoothing)
    tables = out / f"{name}.csv", out / f"{name}.json"
    started, count = time.monotonic(), 0
    with (
        face_tables(*tables, landmarker.points, frames=True) as write,
        _drawn(out / name, clip.frames_per_s) if draw else contextlib.nullcontext() as draw_frame,
    ):
        every = _landmark_each(clip, landmarker)
        for image, faces in progress(every, name, "frames", clip.frames):
            numbered = steady(count, faces)
            time_s = count / clip.frames_per_s
            write(Picture(name, image.shape[1::-1], numbered, count, time_s))
            if draw:
                draw_frame(draw_on(image, numbered, enlarge=False))
            count += 1
        if not count:
            raise video.UnreadableError("no frame of the video can be read")
    if count < clip.frames:
        logging.warning("%s: %d of %d frames could be read", path, count, clip.frames)
    rate = count / (time.monotonic() - started)
    return {"frames": count, "frames_per_s": round(rate, 2)} | steady.figures


def _landmark_each(
    clip: video.Video, landmarker: Landmarker
) -> Iterator[tuple[np.ndarray, list[Face]]]:
    for images in in_batches(clip):
        yield from zip(images, landmarker(images), strict=True)


@contextlib.contextmanager
def _drawn(path: Path, frames_per_s: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields what adds a frame to the drawn video, an MP4 file by the name of its own."""
    name = path.name if path.suffix.lower() == ".mp4" else f"{path.name}.mp4"
    with (
        whole_file(path.with_name(name)) as partial,
        video.writer(partial, frames_per_s) as write,
    ):
        yield write


class _Steady:
    """Numbers the faces of a video, steadies them if asked, measures how they shake."""

    def __init__(self, frames_per_s: float, smoothing: Smoothing | None):
        self._frames_per_s, self._smoothing = frames_per_s, smoothing
        self._tracks = Tracks(round(_REMEMBERED_S * frames_per_s))
        self._filters: dict[int, tuple[FaceFilter, OneEuroFilter]] = {}
        self._last_frames: dict[int, int] = {}
        self._found, self._steadied = Jitter(), Jitter()

    def __call__(self, frame: int, faces: list[Face]) -> dict[int, Face]:
        """Returns the faces of the next frame by their numbers."""
        numbers = self._tracks.follow([face.box_photo_px for face in faces])
        return {
            number: self._steady(number, frame, face)
            for number, face in zip(numbers, faces, strict=True)
        }

    def _steady(self, number: int, frame: int, face: Face) -> Face:
        points = face.landmarks_photo_px
        size = max(1.0, metrics.face_sizes(points[None]).item())
        self._found.add(number, frame, points, size)
        if self._smoothing is None:
            return face
        if number not in self._filters:
            self._filters[number] = FaceFilter(*self._smoothing), OneEuroFilter(*self._smoothing)
        of_points, of_box = self._filters[number]
        elapsed = (frame - self._last_frames.get(number, frame - 1)) / self._frames_per_s
        points = of_points(points, size, elapsed)
        box = of_box(face.box_photo_px.reshape(2, 2), size, elapsed).ravel()
        self._last_frames[number] = frame
        self._steadied.add(number, frame, points, size)
        return dataclasses.replace(face, landmarks_photo_px=points, box_photo_px=box)

    @property
    def figures(self) -> dict:
        """Faces, and the jitter of their points: as found and, if they are, as steadied."""
        figures = {"faces": self._tracks.count} | _jitter_figures("jitter", self._found)
        return figures | (
            _jitter_figures("jitter_smoothed", self._steadied) if self._smoothing else {}
        )


def _jitter_figures(name: str, jitter: Jitter) -> dict:
    by_face = {face: round(share, 5) for face, share in jitter.by_face.items()}
    overall = None if jitter.share is None else round(jitter.share, 5)
    return {name: overall, f"{name}_by_face": by_face}
