"""Reads and writes video files frame by frame, with OpenCV's FFmpeg; sound is not kept."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.utils import process

SUFFIXES = {
    *[".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4"],
    *[".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"],
}
_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_DEFAULT_RATE = 25.0  # of files that do not state theirs
_MAX_RATE = 1000.0
# OpenCV's wheel has no H.264 encoder; its VP8, which browsers play, takes five times as long, VP9
# thirty.
_CODEC = cv2.VideoWriter.fourcc(*"mp4v")  # the only one for MP4 in OpenCV's wheel


class UnreadableVideoError(ValueError):
    """The file is not a video that can be read; the message is the reason alone."""


class Video:
    """A video file, open for reading.

    Attributes:
        frames_per_s: nominal frame rate.
        frames: number of frames that the file states; 0 if it states none.
    """

    def __init__(self, path: Path):
        """Opens the file; UnreadableVideoError if FFmpeg cannot read it."""
        with _silence():
            self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise UnreadableVideoError("not a video that can be read")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_s = rate if 0 < rate <= _MAX_RATE else _DEFAULT_RATE
        self.frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yields time, s, and image of each frame, up to the first that is broken.

        Times start at 0 and increase. Images are (H, W, 3) uint8 RGB, rotated as the file says.
        """
        first_s = last_s = None
        while True:
            with _silence():
                was_read, frame = self._capture.read()
            if not was_read:
                return
            time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if first_s is None:  # some files start at the end of the first frame
                first_s = last_s = time_s
            elif time_s > last_s:
                last_s = time_s
            else:  # some files state no times, or wrong ones
                last_s += 1 / self.frames_per_s
            yield last_s - first_s, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


@contextlib.contextmanager
def writer(path: Path, frames_per_s: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Opens an MP4 file for writing.

    The codec needs even sides, so the last row or column is repeated if a side is odd.

    Args:
        path: the file.
        frames_per_s: its frame rate.

    Yields:
        A function that appends a frame, (H, W, 3) uint8 RGB; all frames have the same size.

    Raises:
        OSError: at the end, frames are missing from the file, for instance because the disk is
            full.
    """
    output, written = cv2.VideoWriter(), 0

    def write(frame: np.ndarray) -> None:
        nonlocal written
        height, width = frame.shape[:2]
        edges = 0, height % 2, 0, width % 2
        frame = cv2.copyMakeBorder(frame, *edges, cv2.BORDER_REPLICATE)
        if not written:
            size = frame.shape[1::-1]
            with _silence():
                output.open(str(path), cv2.CAP_FFMPEG, _CODEC, frames_per_s, size)
        output.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        written += 1

    try:
        yield write
    finally:
        output.release()
    if written and not _has_frames(path, written):  # OpenCV reports no errors
        raise OSError(f"{path}: the video could not be written; is the disk full?")


def _has_frames(path: Path, frames: int) -> bool:
    try:
        return Video(path).frames == frames
    except UnreadableVideoError:
        return False


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Within, OpenCV and FFmpeg print nothing on standard error about broken files."""
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    quiet = os.environ.get(_FFMPEG_LEVEL, "-8")  # read when the first file is opened
    try:
        with process.environment(**{_FFMPEG_LEVEL: quiet}):
            yield
    finally:
        log.setLogLevel(level)
