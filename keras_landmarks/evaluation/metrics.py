"""How far predicted points lie from the true ones: MSE, NME, and the area under the error curve.

Every figure comes from the distances between predicted and true points:

    distances  (n, k) or one image's (k,), float64, photo pixels
    face_size  (n,), photo pixels: the size of each true face, by which NME is divided

MSE is the contest's score: the sum of squares over the points' x and y / (2 x points), averaged
over the images. NME (normalised mean error) is the mean distance of a face's points / its size.
"""

import numpy as np

from keras_landmarks.evaluation.bootstrap import Resamples
from keras_landmarks.layouts import layout

NME_THRESHOLD = 0.07  # the usual failure threshold for an NME by the face's box
PERCENTILES = (50, 90, 95, 99)


def point_distances(predicted_px: np.ndarray, true_px: np.ndarray) -> np.ndarray:
    """Returns the distance of each predicted point from its true one: (n, k) float64, pixels.

    Both are (n, k, 2), numbers of any kind, in the same frame.
    """
    distances = np.empty(true_px.shape[:2])
    # One image at a time: the differences of the contest's whole train set would take 6 GB.
    for row, (predicted, true) in enumerate(zip(predicted_px, true_px, strict=True)):
        distances[row] = np.linalg.norm(np.subtract(predicted, true, dtype=np.float64), axis=-1)
    return distances


def face_sizes(true_px: np.ndarray) -> np.ndarray:
    """Returns sqrt(width x height) of the box around each face's points: (n,) float64, pixels.

    `true_px` is (n, k, 2). The size is 0 where all points lie on one row or column of pixels.
    """
    # Before the subtraction: int16 would overflow.
    low, high = true_px.min(axis=1).astype(np.float64), true_px.max(axis=1).astype(np.float64)
    return np.sqrt(np.prod(high - low, axis=-1))


def image_mse(distances: np.ndarray) -> np.ndarray:
    """Returns the mean squared error of each image, over the last axis: pixels squared."""
    # A distance squared holds two squares, that of x and that of y.
    squares = np.einsum("...k,...k->...", distances, distances)
    return squares / (2 * distances.shape[-1])


def image_nme(distances: np.ndarray, face_size: np.ndarray) -> np.ndarray:
    """Returns the normalised mean error of each image, over the last axis."""
    return distances.mean(axis=-1) / face_size


def area_under_curve(nme: np.ndarray, threshold: float = NME_THRESHOLD) -> float:
    """Returns the area under the cumulative error curve from 0 to `threshold`, / `threshold`.

    The curve is the share of images with an NME of at most x. It is a staircase, so the area is
    exact: an image adds the part of the axis to the right of its NME. 1 is perfect.
    """
    return float(np.maximum(1 - nme / threshold, 0).mean())


def failure_rate(nme: np.ndarray, threshold: float = NME_THRESHOLD) -> float:
    """Returns the share of images with an NME over `threshold`."""
    return float(np.mean(nme > threshold))


def percentiles(errors: np.ndarray) -> dict[str, float]:
    """Returns the percentiles 50, 90, 95 and 99 of the images' errors: {"50": ..., ...}."""
    return {str(q): float(np.percentile(errors, q)) for q in PERCENTILES}


def mean_with_interval(name: str, per_image: np.ndarray, resamples: Resamples | None) -> dict:
    """Returns the mean over the images as `name`; with `resamples` also `<name>_interval`."""
    figures = {name: float(per_image.mean())}
    if resamples:
        figures[f"{name}_interval"] = resamples.interval(per_image)
    return figures


def summary(
    distances: np.ndarray,
    face_size: np.ndarray | None,
    resamples: Resamples | None = None,
    regions: dict[str, slice] | None = None,
) -> dict:
    """Returns the figures over all points of all images, by the names `evaluate` prints.

    Without `face_size`, for faces of one or two points, there is no NME.

    If there are regions (those of `layout.regions_of` unless given), `regions` has the MSE and the
    NME of each, the latter by the size of the whole face. With `resamples` each MSE and NME has its
    95 % interval beside it: `mse` and `mse_interval`, a list of low and high.
    """
    if regions is None:
        regions = layout.regions_of(distances.shape[1])
    errors = _errors(distances, face_size)
    figures = _mean_figures(errors, resamples)
    if "nme" in errors:
        figures["auc_at_0.07"] = area_under_curve(errors["nme"])
        figures["failure_rate_at_0.07"] = failure_rate(errors["nme"])
    for name, per_image in errors.items():
        figures |= _percentile_figures(name, per_image, resamples)
    if regions:
        figures["regions"] = {
            name: _mean_figures(_errors(distances[:, region], face_size), resamples)
            for name, region in regions.items()
        }
    return figures


def _errors(distances: np.ndarray, face_size: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns each image's MSE and, if faces have a size, its NME."""
    errors = {"mse": image_mse(distances)}
    return errors if face_size is None else errors | {"nme": image_nme(distances, face_size)}


def _mean_figures(errors: dict[str, np.ndarray], resamples: Resamples | None) -> dict:
    figures = {}
    for name, per_image in errors.items():
        figures |= mean_with_interval(name, per_image, resamples)
    return figures


def requested_points_summary(
    distances: list[np.ndarray], face_size: np.ndarray | None, resamples: Resamples | None = None
) -> dict:
    """Returns the figures over the asked points only: one array of distances an image."""
    errors = {"mse_asked": np.array([image_mse(asked) for asked in distances])}
    if face_size is not None:
        errors["nme_asked"] = np.array([asked.mean() for asked in distances]) / face_size
    figures = _mean_figures(errors, resamples)
    for name, per_image in errors.items():
        figures |= _percentile_figures(name, per_image, resamples)
    return figures


def calibration(predicted_px: np.ndarray, true_px: np.ndarray, sigmas_px: np.ndarray) -> dict:
    """Returns how well standard deviations foretell the errors of coordinates.

    Args:
        predicted_px: (n, k, 2).
        true_px: the same.
        sigmas_px: (n, k), of x and of y.

    Returns:
        `within_1_sigma` and `within_2_sigma`, shares of the coordinates: 0.683 and 0.954 if errors
        are normal and the deviations right; `error_by_sigma`, the root mean square of an error over
        its deviation: 1 if they are, more if the model is too sure of itself.
    """
    within, total = np.zeros(2), 0.0
    for predicted, true, sigmas in zip(predicted_px, true_px, sigmas_px, strict=True):
        ratios = np.abs(np.subtract(predicted, true, dtype=np.float64)) / sigmas[:, None]
        within += [np.mean(ratios <= 1), np.mean(ratios <= 2)]
        total += np.mean(ratios**2)
    within_1, within_2 = (within / len(true_px)).tolist()
    return {
        "within_1_sigma": within_1,
        "within_2_sigma": within_2,
        "error_by_sigma": float(np.sqrt(total / len(true_px))),
    }


def _percentile_figures(name: str, per_image: np.ndarray, resamples: Resamples | None) -> dict:
    figures = {f"{name}_percentiles": percentiles(per_image)}
    if resamples:
        figures[f"{name}_percentiles_interval"] = {
            str(q): resamples.percentile_interval(per_image, q) for q in PERCENTILES
        }
    return figures
