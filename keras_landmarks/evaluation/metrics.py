"""Landmark metrics: MSE, NME, area under the error curve, calibration.

All metrics but the calibration are computed from two arrays:

    distances_px   (n, k), or (k,) of one image, float64: from predicted to true points, photo px
    face_sizes_px  (n,): the size of each true face, by which NME is divided, photo px

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

    Both arguments are (n, k, 2) in the same frame, of any numeric dtype.
    """
    distances_px = np.empty(true_px.shape[:2])
    # One image at a time: the differences of the contest's whole train set would take 6 GB.
    for row, (predicted, true) in enumerate(zip(predicted_px, true_px, strict=True)):
        distances_px[row] = np.linalg.norm(np.subtract(predicted, true, dtype=np.float64), axis=-1)
    return distances_px


def face_sizes(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns sqrt(width x height) of the box around each face's points: (n,) float64, pixels.

    `landmarks_px` is (n, k, 2). The size is 0 if all points lie on one row or column of pixels.
    """
    # Converted before the subtraction, which would overflow int16.
    low = landmarks_px.min(axis=1).astype(np.float64)
    high = landmarks_px.max(axis=1).astype(np.float64)
    return np.sqrt(np.prod(high - low, axis=-1))


def image_mse(distances_px: np.ndarray) -> np.ndarray:
    """Returns the mean squared error of each image, over the last axis: pixels squared."""
    # A squared distance is the sum of two squared errors, that of x and that of y.
    squares = np.einsum("...k,...k->...", distances_px, distances_px)
    return squares / (2 * distances_px.shape[-1])


def image_nme(distances_px: np.ndarray, face_sizes_px: np.ndarray) -> np.ndarray:
    """Returns the normalised mean error of each image, over the last axis."""
    return distances_px.mean(axis=-1) / face_sizes_px


def area_under_curve(nme: np.ndarray, threshold: float = NME_THRESHOLD) -> float:
    """Returns the area under the cumulative error curve from 0 to `threshold`, over `threshold`.

    The curve is the share of images with an NME of at most x. It is a step function, so the area
    is exact: each image adds the part of the axis to the right of its NME. 1 is perfect.
    """
    return float(np.maximum(1 - nme / threshold, 0).mean())


def failure_rate(nme: np.ndarray, threshold: float = NME_THRESHOLD) -> float:
    """Returns the share of images with an NME over `threshold`."""
    return float(np.mean(nme > threshold))


def percentiles(errors: np.ndarray) -> dict[str, float]:
    """Returns the percentiles 50, 90, 95 and 99 of the errors (n,): {"50": ..., ...}."""
    return {str(q): float(np.percentile(errors, q)) for q in PERCENTILES}


def mean_with_interval(name: str, per_image: np.ndarray, resamples: Resamples | None) -> dict:
    """Returns the mean over the images (n,) as `name` and, with draws, its `<name>_interval`."""
    result = {name: float(per_image.mean())}
    if resamples:
        result[f"{name}_interval"] = resamples.interval(per_image)
    return result


def summary(
    distances_px: np.ndarray,
    face_sizes_px: np.ndarray | None,
    resamples: Resamples | None = None,
    regions: dict[str, slice] | None = None,
) -> dict:
    """Returns the metrics over all points, under the names that `evaluate` prints.

    Args:
        distances_px: (n, k).
        face_sizes_px: (n,); None for faces of one or two points, which have no NME.
        resamples: draws of the images. With them each MSE and NME has its 95 % interval beside it:
            `mse` and `mse_interval`, a list of low and high.
        regions: named ranges of points; `layout.regions_of` if None.

    Returns:
        `mse`, `nme`, their percentiles, area under the curve, failure rate; if there are regions,
        `regions` with the MSE and the NME of each, divided by the size of the whole face.
    """
    if regions is None:
        regions = layout.regions_of(distances_px.shape[1])
    errors = _errors(distances_px, face_sizes_px)
    results = _mean_metrics(errors, resamples)
    if "nme" in errors:
        results["auc_at_0.07"] = area_under_curve(errors["nme"])
        results["failure_rate_at_0.07"] = failure_rate(errors["nme"])
    results |= _percentile_metrics(errors, resamples)
    if regions:
        results["regions"] = {
            name: _mean_metrics(_errors(distances_px[:, region], face_sizes_px), resamples)
            for name, region in regions.items()
        }
    return results


def _errors(distances_px: np.ndarray, face_sizes_px: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns each image's MSE and, if faces have a size, its NME."""
    errors = {"mse": image_mse(distances_px)}
    if face_sizes_px is not None:
        errors["nme"] = image_nme(distances_px, face_sizes_px)
    return errors


def _mean_metrics(errors: dict[str, np.ndarray], resamples: Resamples | None) -> dict:
    results = {}
    for name, per_image in errors.items():
        results |= mean_with_interval(name, per_image, resamples)
    return results


def _percentile_metrics(errors: dict[str, np.ndarray], resamples: Resamples | None) -> dict:
    results = {}
    for name, per_image in errors.items():
        results[f"{name}_percentiles"] = percentiles(per_image)
        if resamples:
            results[f"{name}_percentiles_interval"] = {
                str(q): resamples.percentile_interval(per_image, q) for q in PERCENTILES
            }
    return results


def requested_points_summary(
    distances_px: list[np.ndarray],
    face_sizes_px: np.ndarray | None,
    resamples: Resamples | None = None,
) -> dict:
    """Returns the metrics over the requested points only; `distances_px` has an array per image."""
    errors = {"mse_asked": np.array([image_mse(requested) for requested in distances_px])}
    if face_sizes_px is not None:
        errors["nme_asked"] = (
            np.array([requested.mean() for requested in distances_px]) / face_sizes_px
        )
    return _mean_metrics(errors, resamples) | _percentile_metrics(errors, resamples)


def calibration(predicted_px: np.ndarray, true_px: np.ndarray, sigmas_px: np.ndarray) -> dict:
    """Returns how well predicted standard deviations match the errors of the coordinates.

    Args:
        predicted_px: (n, k, 2).
        true_px: (n, k, 2).
        sigmas_px: (n, k), the standard deviation of a point's x and of its y.

    Returns:
        `within_1_sigma` and `within_2_sigma`, shares of the coordinates: 0.683 and 0.954 for normal
        errors and well-calibrated deviations; `error_by_sigma`, the root mean square of error /
        deviation: 1 if well calibrated, above 1 if the model is overconfident.
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
