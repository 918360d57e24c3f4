"""Predicts video files: writes the faces of each frame into tables and draws the video."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks.images import video
from keras_landmarks.inference.face_tables import ImageFaces, face_table_writer
from keras_landmarks.inference.landmarker import Landmarker
from keras_landmarks.inference.output_paths import assign_output_names
from keras_landmarks.inference.photo_files import NO_FACE, draw_faces
from keras_landmarks.inference.videos.smoothing import Smoothing
from keras_landmarks.inference.videos.video_tracking import VideoTracker, track_video
from keras_landmarks.utils.files import NameTooLongError, atomic_write
from keras_landmarks.utils.progress import progress

_MAX_UNEVENNESS = 1.5  # frames that times may differ from those of a constant frame rate
_NAMES_TOO_LONG = "the names of what would be written are too long; give it a shorter one"


def predict_videos(
    videos: dict[str, Path],
    landmarker: Landmarker,
    out: Path,
    draw: bool,
    smoothing: Smoothing | None = None,
    point_names: Sequence[str] | None = None,
) -> tuple[dict[str, dict], dict[str, str]]:
    """Writes the tables of each video and, with `draw`, the video with its faces.

    Args:
        videos: the video files by their names in the tables.
        landmarker: predicts the faces.
        out: the folder to write into.
        draw: write each video with its faces drawn on it.
        smoothing: parameters for smoothing the faces; None for no smoothing.
        point_names: as `face_table_writer` takes them.

    Returns:
        The results of each readable video, as `predict_video`, and the reason why a video is
        without landmarks or incomplete, both by name.
    """
    results, skipped = {}, {}
    output_names = assign_output_names(videos, output_files)
    for name, path in videos.items():
        base = out / output_names[name]
        try:
            result = predict_video(name, path, landmarker, base, draw, smoothing, point_names)
        except video.UnreadableVideoError as error:
            skipped[name] = str(error)
            continue
        except NameTooLongError:
            skipped[name] = _NAMES_TOO_LONG
            continue
        results[name] = result
        if "frames_expected" in result:
            skipped[name] = f"{result['frames']} of {result['frames_expected']} frames can be read"
        elif not result["faces"]:
            skipped[name] = NO_FACE
    return results, skipped


def predict_video(
    name: str,
    path: Path,
    landmarker: Landmarker,
    base: Path,
    draw: bool,
    smoothing: Smoothing | None = None,
    point_names: Sequence[str] | None = None,
) -> dict:
    """Writes the tables of a video and, with `draw`, the video with its faces.

    Args:
        name: the video's name in the tables.
        path: the video file.
        landmarker: predicts the faces.
        base: path of the files to write, without the extensions that `output_files` adds.
        draw: write the video with its faces drawn on it.
        smoothing: parameters for smoothing the faces; None for no smoothing.
        point_names: as `face_table_writer` takes them.

    Returns:
        The number of frames, `frames_expected` if the file says that there are more, the rate,
        the number of faces and their jitter.

    Raises:
        UnreadableVideoError: the file cannot be read.
        OSError: the disk is full.
    """
    clip = video.Video(path)
    tracker = VideoTracker(clip.frames_per_s, smoothing)
    *tables, drawn = map(Path, output_files(str(base)))
    started, count, unevenness_s = time.monotonic(), 0, 0.0
    with (
        face_table_writer(*tables, landmarker.num_landmarks, True, point_names) as write,
        _frame_writer(drawn, clip.frames_per_s, enabled=draw) as write_frame,
    ):
        frames = track_video(clip, landmarker, tracker)
        for frame, time_s, image, faces in progress(frames, name, "frames", clip.frames):
            write(ImageFaces(name, image.shape[1::-1], faces, frame, time_s))
            if write_frame:
                write_frame(draw_faces(image, faces, enlarge=False))
            unevenness_s = max(unevenness_s, abs(time_s - frame / clip.frames_per_s))
            count += 1
        if not count:
            raise video.UnreadableVideoError("no frame of the video can be read")
    if draw and unevenness_s * clip.frames_per_s > _MAX_UNEVENNESS:
        logging.warning(
            "%s: the frames have varying durations, but those of the drawn video are equal;"
            " times differ by up to %.2f s",
            name,
            unevenness_s,
        )
    frames_per_s = count / (time.monotonic() - started)
    expected = {"frames_expected": clip.frames} if count < clip.frames else {}
    return {
        "frames": count,
        **expected,
        "frames_per_s": round(frames_per_s, 2),
        **tracker.results,
    }


def output_files(name: str) -> list[str]:
    """Returns the files that are written for a video of a name: table, JSON and MP4."""
    drawn = name if name.lower().endswith(".mp4") else f"{name}.mp4"
    return [f"{name}.csv", f"{name}.json", drawn]


@contextlib.contextmanager
def _frame_writer(
    path: Path, frames_per_s: float, enabled: bool
) -> Iterator[Callable[[np.ndarray], None] | None]:
    """Yields a function that adds a frame to the drawn video; None unless `enabled`."""
    if not enabled:
        yield None
        return
    with atomic_write(path) as partial, video.writer(partial, frames_per_s) as write:
        yield write
