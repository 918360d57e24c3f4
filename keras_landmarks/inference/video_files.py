"""Videos in files: their faces, frame by frame, into tables and drawn."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks.images import video
from keras_landmarks.inference.following import Follower, Smoothing, follow
from keras_landmarks.inference.landmarker import Landmarker
from keras_landmarks.inference.photo_files import draw_on
from keras_landmarks.inference.tables import Picture, face_tables
from keras_landmarks.utils.files import atomic_write
from keras_landmarks.utils.progress import progress

_UNEVEN_FRAMES = 1.5  # that times are off from those of a constant rate


def landmark_video(
    name: str,
    path: Path,
    landmarker: Landmarker,
    out: Path,
    draw: bool,
    smoothing: Smoothing | None = None,
) -> dict:
    """Writes the tables of a video and, with `draw`, the video with its points.

    Args:
        name: of the video, which the tables have.
        path: of the file.
        landmarker: finds and predicts.
        out: path of what is written, without the endings that `outputs` adds.
        draw: whether to write the video.
        smoothing: how to steady the faces, if at all.

    Returns:
        Figures: frames, and `frames_expected` if the file says more; rate, faces, and how much
        their points shake.

    Raises:
        UnreadableError: the file cannot be read.
        OSError: the disk is full.
    """
    clip = video.Video(path)
    follower = Follower(clip.frames_per_s, smoothing)
    *tables, drawn = map(Path, outputs(str(out)))
    started, count, uneven_s = time.monotonic(), 0, 0.0
    with (
        face_tables(*tables, landmarker.points, frames=True) as write,
        _drawn(drawn, clip.frames_per_s) if draw else contextlib.nullcontext() as draw_frame,
    ):
        every = follow(clip, landmarker, follower)
        for frame, time_s, image, faces in progress(every, name, "frames", clip.frames):
            write(Picture(name, image.shape[1::-1], faces, frame, time_s))
            if draw:
                draw_frame(draw_on(image, faces, enlarge=False))
            uneven_s = max(uneven_s, abs(time_s - frame / clip.frames_per_s))
            count += 1
        if not count:
            raise video.UnreadableError("no frame of the video can be read")
    if draw and uneven_s * clip.frames_per_s > _UNEVEN_FRAMES:
        logging.warning("%s: frames vary in length, drawn ones do not: %.2f s off", name, uneven_s)
    rate = count / (time.monotonic() - started)
    expected = {"frames_expected": clip.frames} if count < clip.frames else {}
    return {"frames": count} | expected | {"frames_per_s": round(rate, 2)} | follower.figures


def outputs(name: str) -> list[str]:
    """Returns the files that are written for a video of a name: table, listing, and an MP4 file."""
    drawn = name if name.lower().endswith(".mp4") else f"{name}.mp4"
    return [f"{name}.csv", f"{name}.json", drawn]


@contextlib.contextmanager
def _drawn(path: Path, frames_per_s: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields what adds a frame to the drawn video."""
    with atomic_write(path) as partial, video.writer(partial, frames_per_s) as write:
        yield write
