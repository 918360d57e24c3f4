"""Losses: from the error of every coordinate to one number an image.

An error is predicted - true, in pixels of the crop or, divided by the crop's scale, of the photo.
A model that says how sure it is of a point gives the logarithm of the error's variance with it.
"""

import math
from collections.abc import Callable
from typing import Any

from keras_landmarks.models.keras_on_jax import ops

Array = Any  # of the backend: errors are (N, k, 2)

_ROUNDED_PX = 0.1
_WING_WIDTH_PX, _WING_CURVATURE_PX = 10.0, 2.0


def mean_squared(error_px: Array) -> Array:
    """The contest's score of an image."""
    return ops.mean(ops.square(error_px), axis=(1, 2))


def mean_absolute(error_px: Array) -> Array:
    """L1."""
    return ops.mean(ops.abs(error_px), axis=(1, 2))


def smooth_l1(error_px: Array) -> Array:
    """Half the square up to 1 px, the size less a half beyond: Girshick, "Fast R-CNN", 2015."""
    size = ops.abs(error_px)
    return ops.mean(ops.where(size < 1, size**2 / 2, size - 0.5), axis=(1, 2))


def wing(error_px: Array) -> Array:
    """A logarithm up to 10 px, linear beyond: Feng et al., "Wing loss", 2018."""
    width, curvature = _WING_WIDTH_PX, _WING_CURVATURE_PX
    gap = width - width * math.log1p(width / curvature)
    size = ops.abs(error_px)
    losses = ops.where(size < width, width * ops.log1p(size / curvature), size - gap)
    return ops.mean(losses, axis=(1, 2))


def log_mean_squared(error_px: Array) -> Array:
    """log(1 + MSE): a face that is far off weighs no more than one that is nearly right."""
    return ops.log1p(mean_squared(error_px))


def root_mean_squared(error_px: Array) -> Array:
    """The root of the MSE: how much a face is moved does not grow with how far it is off."""
    return ops.sqrt(mean_squared(error_px) + _ROUNDED_PX**2)  # no root has a slope at 0


def gaussian_nll(error_px: Array, log_variance: Array) -> Array:
    """Negative log-likelihood of a normal distribution, its constant left out.

    `log_variance` (N, k) is of each coordinate of a point, in the error's unit squared: Kendall and
    Gal, "What uncertainties do we need", 2017.
    """
    log_variance = log_variance[..., None]
    terms = ops.square(error_px) * ops.exp(-log_variance) + log_variance
    return ops.mean(terms, axis=(1, 2)) / 2


LOSSES: dict[str, Callable[..., Array]] = {
    "mse": mean_squared,
    "l1": mean_absolute,
    "smooth_l1": smooth_l1,
    "wing": wing,
    "rms": root_mean_squared,
    "log_mse": log_mean_squared,
    "nll": gaussian_nll,
}
