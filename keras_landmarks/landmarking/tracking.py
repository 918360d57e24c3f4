"""Faces followed from frame to frame of a video, and their points steadied."""

import math

import numpy as np

_SAME_FACE = 0.3  # of two boxes: what both cover, over what either covers
_SPEED_CUTOFF_HZ = 1.0  # the paper's choice


class Tracks:
    """Numbers the faces of a video: a face keeps its number while its boxes overlap."""

    def __init__(self, remembered_frames: int):
        """Takes for how many frames a face may be out of sight and keep its number."""
        self._remembered_frames = remembered_frames
        self._last: dict[int, tuple[int, np.ndarray]] = {}  # number -> frame, box
        self._frame = self.count = 0

    def follow(self, boxes: list[np.ndarray]) -> list[int]:
        """Returns the numbers of the next frame's faces by their boxes, (4,) px each."""
        self._frame += 1
        oldest = self._frame - self._remembered_frames - 1
        self._last = {n: seen for n, seen in self._last.items() if seen[0] >= oldest}
        pairs = [
            (_overlap(box, seen), index, number)
            for index, box in enumerate(boxes)
            for number, (_, seen) in self._last.items()
        ]
        numbers: dict[int, int] = {}  # index of a box -> number
        for overlap, index, number in sorted(pairs, reverse=True):
            if overlap >= _SAME_FACE and index not in numbers and number not in numbers.values():
                numbers[index] = number
        for index, box in enumerate(boxes):
            if index not in numbers:
                numbers[index] = self.count
                self.count += 1
            self._last[numbers[index]] = self._frame, box
        return [numbers[index] for index in range(len(boxes))]


class OneEuroFilter:
    """Steadies points: slow ones a lot, fast ones little, so that they do not lag behind.

    A low-pass filter whose cutoff frequency rises with a point's speed: Casiez, Roussel and Vogel,
    "1 € Filter", CHI 2012, algorithm 1. Speeds are in sizes of the face per second, so that one
    choice of numbers serves near and far faces.
    """

    def __init__(self, min_cutoff_hz: float, beta: float):
        """Takes the cutoff of points at rest, and how much it rises with their speed."""
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._points = self._velocity = None

    def __call__(self, points_px: np.ndarray, size_px: float, elapsed_s: float) -> np.ndarray:
        """Returns the next points (k, 2), steadied.

        Args:
            points_px: as they were found.
            size_px: of the face.
            elapsed_s: since the last ones.
        """
        if self._points is None:
            self._points, self._velocity = points_px, np.zeros_like(points_px)
            return points_px
        velocity = (points_px - self._points) / elapsed_s
        weight = _weight(_SPEED_CUTOFF_HZ, elapsed_s)
        self._velocity = weight * velocity + (1 - weight) * self._velocity
        speed = np.linalg.norm(self._velocity, axis=-1, keepdims=True) / size_px
        weight = _weight(self._min_cutoff_hz + self._beta * speed, elapsed_s)
        self._points = weight * points_px + (1 - weight) * self._points
        return self._points


def _weight(cutoff_hz: np.ndarray | float, elapsed_s: float) -> np.ndarray | float:
    """Returns the weight of a new value in exponential smoothing of this cutoff."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * elapsed_s))


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Returns what both boxes cover over what either covers."""
    common = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    both = common.clip(0).prod()
    return both / ((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - both)


class Jitter:
    """How much the points of a video's faces shake: noise of which deviation would shake them so.

    From second differences over three frames in a row: points that move steadily have none, and
    noise of deviation s gives them the deviation √6 s.
    """

    def __init__(self):
        """Begins without any frame."""
        self._squares, self._count = 0.0, 0
        self._last: dict[int, list[tuple[int, np.ndarray]]] = {}  # face -> frame, points

    def add(self, face: int, frame: int, points_px: np.ndarray, size_px: float) -> None:
        """Adds a face's points (k, 2) in a frame; its frames rise, some may be missing."""
        last = self._last[face] = [*self._last.get(face, [])[-2:], (frame, points_px)]
        frames, points = zip(*last, strict=True)
        if frames == (frame - 2, frame - 1, frame):
            difference = (points[0] - 2 * points[1] + points[2]) / size_px
            self._squares += np.square(difference).sum()
            self._count += difference.size

    @property
    def share(self) -> float | None:
        """The deviation of a coordinate over the face's size; None without three frames."""
        return math.sqrt(self._squares / self._count / 6) if self._count else None
