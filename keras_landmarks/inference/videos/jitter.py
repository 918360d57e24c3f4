"""Jitter of the landmarks in a video, estimated without ground truth."""

import math
from array import array

import numpy as np

# Standard deviation of a coordinate per median length of second differences, which have a
# Rayleigh distribution.
_DEVIATION_OF_DIFFERENCE = 1 / math.sqrt(6 * 2 * math.log(2))


class Jitter:
    """Estimates the standard deviation of the landmarks' noise, as a share of the face's size.

    From second differences over three consecutive frames. They are zero for points that move
    steadily. Noise of standard deviation s gives each of their coordinates the standard deviation
    √6 s, so half of them are longer than √(2 ln 2) √6 s. Medians, over the points of a frame and
    then over the frames, leave out movements that start, stop or turn.
    """

    def __init__(self):
        """Begins without any frame."""
        self._recent: dict[int, list[tuple[int, np.ndarray]]] = {}  # face -> (frame, points)
        self._deviations: dict[int, array] = {}  # face -> one value per frame

    def add(self, face: int, frame: int, points_px: np.ndarray, size_px: float) -> None:
        """Adds the points of a face in a frame.

        Args:
            face: the face's number.
            frame: the frame's number, larger than that of the face's previous call.
            points_px: (k, 2).
            size_px: the size of the face.
        """
        recent = self._recent[face] = [*self._recent.get(face, [])[-2:], (frame, points_px)]
        frames, points = zip(*recent, strict=True)
        if frames == (frame - 2, frame - 1, frame):
            difference = np.linalg.norm(points[0] - 2 * points[1] + points[2], axis=-1)
            deviation = np.median(difference) * _DEVIATION_OF_DIFFERENCE / size_px
            self._deviations.setdefault(face, array("d")).append(deviation)

    @property
    def by_face(self) -> dict[int, float]:
        """The jitter of each face that was detected in three consecutive frames."""
        return {face: float(np.median(values)) for face, values in self._deviations.items()}

    @property
    def overall(self) -> float | None:
        """The jitter of all faces; None without three consecutive frames of any."""
        deviations = list(self._deviations.values())
        return float(np.median(np.concatenate(deviations))) if deviations else None
