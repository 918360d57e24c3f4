"""Losses: functions from the errors of all coordinates to one number per image.

An error is predicted - true, in crop px or, divided by the crop's scale, in photo px. Errors are
(N, k, 2), losses (N,). `gaussian_nll` also takes a variance for each point, which the model
predicts.

If some landmarks have no place, `present` (N, k) is 1 for those that have one and 0 for the others,
whose errors must be finite and do not count: a loss is the mean over an image's landmarks that are
there. Without `present` all count.
"""

import math
from collections.abc import Callable
from typing import Any

from keras_landmarks.models.keras_on_jax import ops

Array = Any  # an array of Keras's backend

_RMS_OFFSET_PX = 0.1
_WING_WIDTH_PX, _WING_CURVATURE_PX = 10.0, 2.0


def mean_squared(error_px: Array, present: Array | None = None) -> Array:
    """MSE of an image, the score of the contest."""
    return _mean(ops.square(error_px), present)


def mean_absolute(error_px: Array, present: Array | None = None) -> Array:
    """L1: the mean absolute error of a coordinate."""
    return _mean(ops.abs(error_px), present)


def smooth_l1(error_px: Array, present: Array | None = None) -> Array:
    """Smooth L1: e² / 2 up to 1 px and |e| - 1/2 beyond (Girshick, "Fast R-CNN", 2015)."""
    size = ops.abs(error_px)
    return _mean(ops.where(size < 1, size**2 / 2, size - 0.5), present)


def wing(error_px: Array, present: Array | None = None) -> Array:
    """Wing loss: logarithmic up to 10 px and linear beyond (Feng et al., "Wing Loss", 2018)."""
    width, curvature = _WING_WIDTH_PX, _WING_CURVATURE_PX
    gap = width - width * math.log1p(width / curvature)
    size = ops.abs(error_px)
    losses = ops.where(size < width, width * ops.log1p(size / curvature), size - gap)
    return _mean(losses, present)


def log_mean_squared(error_px: Array, present: Array | None = None) -> Array:
    """log(1 + MSE), which limits the weight of images with a large error."""
    return ops.log1p(mean_squared(error_px, present))


def root_mean_squared(error_px: Array, present: Array | None = None) -> Array:
    """RMS: sqrt(MSE + 0.1²), whose gradient does not grow with the error of an image."""
    # The offset keeps the gradient finite where the error is 0.
    return ops.sqrt(mean_squared(error_px, present) + _RMS_OFFSET_PX**2)


def gaussian_nll(error_px: Array, log_variance: Array, present: Array | None = None) -> Array:
    """Negative log-likelihood of a normal distribution, without its constant.

    Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?",
    2017.

    Args:
        error_px: (N, k, 2).
        log_variance: (N, k), the logarithm of the variance of each of a point's two coordinates, in
            the unit of the error squared.
        present: (N, k), or None if all landmarks have a place.
    """
    log_variance = log_variance[..., None]
    terms = ops.square(error_px) * ops.exp(-log_variance) + log_variance
    return _mean(terms, present) / 2


def _mean(terms: Array, present: Array | None) -> Array:
    """Returns the mean over the coordinates of each image, (N,), of terms (N, k, 2)."""
    if present is None:
        return ops.mean(terms, axis=(1, 2))
    return ops.sum(terms * present[..., None], axis=(1, 2)) / (2 * ops.sum(present, axis=1))


LOSSES: dict[str, Callable[..., Array]] = {
    "mse": mean_squared,
    "l1": mean_absolute,
    "smooth_l1": smooth_l1,
    "wing": wing,
    "rms": root_mean_squared,
    "log_mse": log_mean_squared,
    "nll": gaussian_nll,
}
