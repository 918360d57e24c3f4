"""Temporal smoothing of the landmarks in a video: the one-euro filter.

Casiez, Roussel and Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems", CHI 2012.

Measured with the noise of real predictions, added to known movements. Jitter (per mille of the
face's size) and the root mean square of all errors (%): without a filter, with a one-euro filter of
the points alone (beta 100), and with `FaceFilter` (1 Hz, beta 30):

    at rest                     1.31, 0.28    0.37, 0.20    0.32, 0.18
    gentle                      1.31, 0.28    0.93, 0.29    0.57, 0.38
    5 % of the face a frame     1.31, 0.28    1.19, 0.36    0.82, 0.52
    8 % of the face a frame     1.44, 0.30    1.46, 0.38    1.06, 0.53
    roll of +-15 degrees        1.31, 0.28    1.11, 0.44    0.61, 0.29
    nearer and away             1.31, 0.28    0.85, 0.27    0.50, 0.24
    a mouth that opens          1.59, 0.34    1.40, 0.41    0.95, 0.62
    a head that turns           1.28, 0.26    1.24, 0.46    0.88, 0.74
"""

import math
from typing import NamedTuple

import numpy as np

from keras_landmarks.settings import PhotoSettings

# The paper has 1 Hz. A mouth opens within 0.2 s, and the filter must notice it by then.
_SPEED_CUTOFF_HZ = 4.0


class Smoothing(NamedTuple):
    """Parameters of a one-euro filter.

    Attributes:
        min_cutoff_hz: the cutoff frequency of points at rest; a lower one smooths more.
        beta: how much the cutoff frequency rises, in Hz, at a speed of one face size per second;
            a higher one lags less.
    """

    min_cutoff_hz: float = PhotoSettings.min_cutoff
    beta: float = PhotoSettings.beta


class OneEuroFilter:
    """A low-pass filter of points whose cutoff frequency rises with each point's speed.

    Slow points are smoothed a lot, fast ones little, so that they do not lag behind (algorithm 1
    of the paper). Speeds are in face sizes per second, so that the same parameters suit near and
    distant faces.
    """

    def __init__(self, min_cutoff_hz: float, beta: float):
        """Takes the parameters that `Smoothing` describes."""
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._points = self._velocity = None

    def __call__(self, points_px: np.ndarray, size_px: float, elapsed_s: float) -> np.ndarray:
        """Returns the smoothed points (k, 2) of the next frame.

        Args:
            points_px: (k, 2), the points of the next frame.
            size_px: the size of the face.
            elapsed_s: the time since the previous frame.
        """
        if self._points is None:
            self._points, self._velocity = points_px, np.zeros_like(points_px)
            return points_px
        velocity = (points_px - self._points) / elapsed_s
        weight = _smoothing_weight(_SPEED_CUTOFF_HZ, elapsed_s)
        self._velocity = weight * velocity + (1 - weight) * self._velocity
        speed = np.linalg.norm(self._velocity, axis=-1, keepdims=True) / size_px
        weight = _smoothing_weight(self._min_cutoff_hz + self._beta * speed, elapsed_s)
        self._points = weight * points_px + (1 - weight) * self._points
        return self._points


class FaceFilter:
    """Smooths the motion of a face as a whole, and the motion of its points within the face.

    The motion as a whole is a similarity transform: translation, rotation in the image plane and
    scale. What remains of the points' motion is slow, so it is smoothed more than if each point
    were filtered on its own. Points are complex numbers, x + iy, so that one factor scales and
    rotates.
    """

    def __init__(self, min_cutoff_hz: float, beta: float):
        """Takes the parameters that `Smoothing` describes."""
        self._whole = OneEuroFilter(min_cutoff_hz, beta)
        self._within = OneEuroFilter(min_cutoff_hz, beta)
        self._shape = None  # points of the first frame about their mean, in face sizes

    def __call__(self, points_px: np.ndarray, size_px: float, elapsed_s: float) -> np.ndarray:
        """Returns the smoothed points (k, 2); takes the arguments of `OneEuroFilter`."""
        points = points_px[:, 0] + 1j * points_px[:, 1]
        mean = points.mean()
        if self._shape is None:
            self._shape = (points - mean) / size_px
        # The least-squares factor from the shape to the points; 1 where all points coincide.
        square = np.vdot(self._shape, self._shape).real or 1.0
        factor = np.vdot(self._shape, points - mean) / square or 1.0
        within = _to_pairs((points - mean) / factor)
        within = self._within(within, 1.0, elapsed_s) @ (1, 1j)
        mean, factor = self._whole(_to_pairs([mean, factor]), size_px, elapsed_s) @ (1, 1j)
        return _to_pairs(mean + factor * within).astype(points_px.dtype)


def _to_pairs(numbers: np.ndarray | list[complex]) -> np.ndarray:
    """Returns the real and imaginary parts of complex numbers (n,): (n, 2)."""
    return np.stack([np.real(numbers), np.imag(numbers)], axis=-1)


def _smoothing_weight(cutoff_hz: np.ndarray | float, elapsed_s: float) -> np.ndarray | float:
    """Returns the weight of a new value in exponential smoothing with this cutoff frequency."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * elapsed_s))
