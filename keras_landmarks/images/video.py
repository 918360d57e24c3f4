"""Video files, read and written frame by frame by OpenCV's FFmpeg; sound is not kept."""

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
_USUAL_RATE = 25.0  # where a file does not tell its own
_HIGHEST_RATE = 1000.0
_CODEC = cv2.VideoWriter.fourcc(*"mp4v")  # the one that OpenCV's wheel has for MP4


class UnreadableError(ValueError):
    """A file is no video, or not one that can be read; the message is the reason alone."""


class Video:
    """A video file to read.

    Attributes:
        frames_per_s: its rate.
        frames: how many it says it has; 0 if it does not say.
    """

    def __init__(self, path: Path):
        """Opens the file; UnreadableError if it is no video that FFmpeg knows."""
        with _silence():
            self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise UnreadableError("not a video that can be read")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_s = rate if 0 < rate <= _HIGHEST_RATE else _USUAL_RATE
        self.frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yields the frames up to what is broken, and their times, s, from 0, rising.

        (H, W, 3) uint8 RGB, turned as the file says.
        """
        first_s = last_s = None
        while True:
            with _silence():
                is_there, frame = self._capture.read()
            if not is_there:
                return
            time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if first_s is None:  # some files count from the end of the first frame
                first_s = last_s = time_s
            elif time_s > last_s:
                last_s = time_s
            else:  # not every file tells times, and some tell wrong ones
                last_s += 1 / self.frames_per_s
            yield last_s - first_s, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


@contextlib.contextmanager
def writer(path: Path, frames_per_s: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields what adds a frame, (H, W, 3) uint8 RGB, all of one size, to an MP4 file.

    The codec wants even sides: the last row or column is there twice where they are odd.

    Raises:
        OSError: not all frames are in the file at the end, as on a full disk.
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
    if written and not _holds(path, written):  # OpenCV itself does not tell
        raise OSError(f"{path}: the video could not be written; is the disk full?")


def _holds(path: Path, frames: int) -> bool:
    try:
        return Video(path).frames == frames
    except UnreadableError:
        return False


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Within, OpenCV and its FFmpeg do not say on standard error what is wrong with a file."""
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    quiet = os.environ.get(_FFMPEG_LEVEL, "-8")  # read when the first file is opened, or written
    try:
        with process.environment(**{_FFMPEG_LEVEL: quiet}):
            yield
    finally:
        log.setLogLevel(level)
