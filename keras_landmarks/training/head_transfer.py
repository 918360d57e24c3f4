"""Begins the head for other landmarks, or for another size of crops, as a trained model's head.

For other landmarks a few labelled photos tell how to turn those of the trained model into the new
ones. Each new landmark follows the trained one that moves most like it, and ridge regression on all
trained landmarks explains the rest. Heads are linear functions of the last feature map, and so is
the new head that this makes. Without it the new head would begin at the mean shape, and the first
steps of the training would spoil the features. A new landmark's variance begins as that of the
landmark that it follows, scaled to the error of the fit.

Measured with `@faces` and 30 of the contest's points, NME on other people, without any training:
20 photos 2.1 %, 100 photos 2.0 %, 300 photos 1.9 %; ridge regression alone 2.6, 2.0 and 1.9 %.
"""

from typing import NamedTuple

import cv2
import numpy as np

from keras_landmarks.images import geometry
from keras_landmarks.layouts.gaps import fill_gaps
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.spec import ModelSpec

MAX_PHOTOS = 1000  # more do not improve the fit
_PHOTOS_AT_ONCE = 16
_LEAST_DEVIATION_PX = 0.1
_SAME_ASPECT = 0.02
_PENALTIES = 10.0 ** np.arange(-2, 9, 0.5)


class LinearFit(NamedTuple):
    """Targets as inputs @ matrix + offset.

    Attributes:
        matrix: (a, b).
        offset: (b,).
        error: the root mean square error of targets that were left out of the fit, one by one.
    """

    matrix: np.ndarray
    offset: np.ndarray
    error: float


def is_possible(trained: ModelSpec, new: ModelSpec) -> bool:
    """Whether a head can begin from the head of this trained model."""
    return all(
        getattr(trained, name) == getattr(new, name) for name in ("model", "normalisation", "head")
    )


def is_for_same_views(trained: ModelSpec, new: ModelSpec) -> bool:
    """Whether both predict the same landmarks in crops that show the same part of a photo."""
    ours, theirs = new.crop_spec, trained.crop_spec
    same_framing = (ours.framing, ours.trim_bands) == (theirs.framing, theirs.trim_bands)
    same_aspect = abs(ours.width * theirs.height / (ours.height * theirs.width) - 1) < _SAME_ASPECT
    same_part = same_framing and (ours.framing == "stretch" or same_aspect)
    return trained.has_points_of(new) and same_part


def take_head(network: keras.Model, trained: keras.Model) -> None:
    """Sets the head's weights so that it predicts the same landmarks in crops of another size.

    Args:
        network: a new model with the trained one's layers up to the last feature map, and with its
            shape basis if its head has one.
        trained: the trained model, which `is_for_same_views`.
    """
    _set_coordinates(network, trained)
    if _have_log_variance(network, trained):
        more = np.log(_scales(network, trained)).sum()  # of a variance
        _set_log_variance(network, trained, slice(None), more)


def fit_head(
    network: keras.Model, trained: keras.Model, crops: np.ndarray, landmarks_crop_px: np.ndarray
) -> float:
    """Sets the head's weights so that it predicts a linear function of the trained landmarks.

    Args:
        network: a new model with the trained one's layers up to the last feature map, and with its
            shape basis if its head has one. Its crops may have another size.
        trained: the trained model.
        crops: (n, height, width, 3) uint8, of the training photos.
        landmarks_crop_px: (n, k, 2), NaN where a landmark has no place.

    Returns:
        The root mean square error of a coordinate of photos that were left out, crop px.
    """
    size = np.array(trained.input_shape[2:0:-1])
    seen = np.array([geometry.resize(crop, size) for crop in crops])
    predicted = np.concatenate([trained.predict_on_batch(some) for some in _in_batches(seen)])
    scales = _scales(network, trained)
    trained_px = (predicted[..., :2] + 0.5) * scales - 0.5
    new_px = fill_gaps(landmarks_crop_px)
    leaders = find_leaders(trained_px, new_px)
    fit = fit_landmarks(trained_px, new_px, leaders)
    _set_coordinates(network, trained, fit)
    if _have_log_variance(network, trained):
        log_variance = predicted[:, leaders, 2].astype(np.float64)
        error_px = max(fit.error, _LEAST_DEVIATION_PX)
        more = 2 * np.log(error_px) - np.log(np.exp(log_variance).mean())
        _set_log_variance(network, trained, leaders, more)
    return fit.error


def _have_log_variance(*models: keras.Model) -> bool:
    return all(model.output_shape[-1] == 3 for model in models)


def _set_log_variance(
    network: keras.Model, trained: keras.Model, points: list[int] | slice, more: float
) -> None:
    """Sets the log variances to those of the trained model's `points`, plus `more`."""
    kernel, bias = trained.get_layer("log_variance").get_weights()
    network.get_layer("log_variance").set_weights([kernel[:, points], bias[points] + more])


def _scales(network: keras.Model, trained: keras.Model) -> np.ndarray:
    """Returns new px per px of the trained model's crops, x before y."""
    return np.divide(network.input_shape[2:0:-1], trained.input_shape[2:0:-1])


def _set_coordinates(
    network: keras.Model, trained: keras.Model, fit: LinearFit | None = None
) -> None:
    """Sets the layers of the coordinates.

    `fit` leads from the trained model's landmarks, in px of the new crops, to the new landmarks;
    None if they are the same.
    """
    is_linear = any(layer.name == "fc" for layer in network.layers)
    kernel, bias = trained.get_layer("fc" if is_linear else "basis").get_weights()
    scales = np.resize(_scales(network, trained), bias.shape)  # x and y in turn
    matrix, offset = kernel * scales, (bias + 0.5) * scales - 0.5
    if fit:
        matrix, offset = matrix @ fit.matrix, offset @ fit.matrix + fit.offset
    if is_linear:
        network.get_layer("fc").set_weights([matrix, offset])
        return
    new_components, new_mean = network.get_layer("basis").get_weights()
    to_coefficients = np.linalg.pinv(new_components)
    matrix = matrix @ to_coefficients
    offset = (offset - new_mean) @ to_coefficients
    kernel, bias = trained.get_layer("coefficients").get_weights()
    maps = (model.get_layer("flatten").input.shape[1:] for model in (trained, network))
    kernel = _resize_kernel(kernel, *maps)
    network.get_layer("coefficients").set_weights([kernel @ matrix, bias @ matrix + offset])


def _resize_kernel(
    kernel: np.ndarray, from_map: tuple[int, int, int], to_map: tuple[int, int, int]
) -> np.ndarray:
    """Returns a linear layer's kernel (height * width * channels, c) for a map of another size.

    Each value of the old kernel is shared out among the new ones near its place, so that a map of
    one colour gives the same outputs.
    """
    planes = kernel.reshape(*from_map, -1)
    for axis, (before, after) in enumerate(zip(from_map[:2], to_map[:2], strict=True)):
        method = cv2.INTER_AREA if after < before else cv2.INTER_LINEAR
        weights = cv2.resize(np.eye(before), (before, after), interpolation=method)
        weights /= weights.sum(axis=0)
        planes = np.moveaxis(np.tensordot(weights, planes, (1, axis)), 0, axis)
    return planes.reshape(-1, kernel.shape[-1])


def find_leaders(trained_px: np.ndarray, new_px: np.ndarray) -> list[int]:
    """Returns for each new landmark the trained one that moves most like it.

    Args:
        trained_px: (n, k, 2), the trained model's landmarks of n faces.
        new_px: (n, m, 2), the new landmarks of the same faces.
    """
    trained_px = np.asarray(trained_px, np.float64)
    return [
        int((point_px[:, None] - trained_px).var(axis=0).sum(axis=-1).argmin())
        for point_px in new_px.swapaxes(0, 1)
    ]


def fit_landmarks(trained_px: np.ndarray, new_px: np.ndarray, leaders: list[int]) -> LinearFit:
    """Fits x and y of each new landmark by its leader's and those of all trained landmarks.

    Args:
        trained_px: (n, k, 2), the trained model's landmarks of n faces.
        new_px: (n, m, 2), the new landmarks of the same faces.
        leaders: for each new landmark the trained one that it follows.
    """
    trained_px, new_px = (np.asarray(points, np.float64) for points in (trained_px, new_px))
    fit = fit_ridge(_flat(trained_px), _flat(new_px - trained_px[:, leaders]))
    follows = np.zeros_like(fit.matrix)
    for point, leader in enumerate(leaders):
        for axis in (0, 1):
            follows[2 * leader + axis, 2 * point + axis] = 1
    return fit._replace(matrix=fit.matrix + follows)


def fit_ridge(inputs: np.ndarray, targets: np.ndarray) -> LinearFit:
    """Fits targets (n, b) by inputs (n, a) with the penalty of the least leave-one-out error.

    Hoerl and Kennard, "Ridge regression", 1970; the error of a left-out row is its residual divided
    by one minus its leverage (Allen's PRESS, 1974).
    """
    mean, target_mean = inputs.mean(axis=0), targets.mean(axis=0)
    u, lengths, v = np.linalg.svd(inputs - mean, full_matrices=False)
    projected = u.T @ (targets - target_mean)
    best = None
    for penalty in _PENALTIES:
        shrunk = lengths**2 / (lengths**2 + penalty)
        leverages = (u**2 @ shrunk) + 1 / len(inputs)
        residuals = targets - target_mean - u @ (shrunk[:, None] * projected)
        error = np.sqrt(np.mean((residuals / np.maximum(1 - leverages, 1e-6)[:, None]) ** 2))
        if best is None or error < best[0]:
            best = error, penalty
    error, penalty = best
    matrix = v.T @ ((lengths / (lengths**2 + penalty))[:, None] * projected)
    return LinearFit(matrix, target_mean - mean @ matrix, float(error))


def _in_batches(crops: np.ndarray) -> list[np.ndarray]:
    return np.split(crops, range(_PHOTOS_AT_ONCE, len(crops), _PHOTOS_AT_ONCE))


def _flat(points: np.ndarray) -> np.ndarray:
    return points.reshape(len(points), -1)
