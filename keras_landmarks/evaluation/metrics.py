"""Landmark metrics: MSE, NME, area under the error curve, failure rate, PCK, calibration.

All metrics but the calibration are computed from two arrays:

    distances_px   (n, k), or (k,) of one image, float64: from predicted to true points, photo px;
                   NaN where the true point is missing
    face_sizes_px  (n,): the size of each true face, by which NME is divided, photo px; NaN for a
                   face without one. `normalisers` has the ways to measure it

MSE is the contest's score: the sum of squares over the points' x and y / (2 x points), averaged
over the images. NME (normalised mean error) is the mean distance of a face's points / its size. PCK
(percentage of correct keypoints) is the share of points within a fraction of the face's size.

An image's figures are means over its points that are there, so that every image weighs alike. An
image without any, or without a size, has none: NaN, which the means over the images leave out. A
mean over no image at all is None.
"""

from collections.abc import Sequence

import numpy as np

from keras_landmarks.evaluation.bootstrap import Resamples
from keras_landmarks.images.geometry import bounding_boxes
from keras_landmarks.layouts import layout

NME_THRESHOLD = 0.07  # the usual failure threshold for an NME by the face's box
PERCENTILES = (50, 90, 95, 99)
_POINTS_AT_ONCE = 64


def point_distances(predicted_px: np.ndarray, true_px: np.ndarray) -> np.ndarray:
    """Returns the distance of each predicted point from its true one: (n, k) float64, pixels.

    Both arguments are (n, k, 2) in the same frame, of any numeric dtype. The distance from a
    missing point is NaN.
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
    return np.sqrt(np.prod(box_sides(landmarks_px), axis=-1))


def box_sides(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns width and height of the box around the points that each face has: (n, 2) float64.

    `landmarks_px` is (n, k, 2) pixels.
    """
    # float64 before the subtraction, which would overflow int16.
    boxes = bounding_boxes(landmarks_px).astype(np.float64)
    return boxes[:, 2:] - boxes[:, :2]


def image_mse(distances_px: np.ndarray) -> np.ndarray:
    """Returns the mean squared error of each image, over the last axis: pixels squared."""
    # A squared distance is the sum of two squared errors, that of x and that of y.
    if np.isnan(distances_px).any():
        return mean_over_known(distances_px**2) / 2
    squares = np.einsum("...k,...k->...", distances_px, distances_px)
    return squares / (2 * distances_px.shape[-1])


def image_nme(distances_px: np.ndarray, face_sizes_px: np.ndarray) -> np.ndarray:
    """Returns the normalised mean error of each image, over the last axis."""
    return mean_over_known(distances_px) / face_sizes_px


def image_pck(distances_px: np.ndarray, face_sizes_px: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the share of each image's points within `threshold` x its face size: (n,)."""
    within = distances_px <= threshold * face_sizes_px[:, None]  # False for a missing point
    num_known = (~np.isnan(distances_px)).sum(axis=-1)
    has_share = (num_known > 0) & ~np.isnan(face_sizes_px)
    return np.where(has_share, within.sum(axis=-1) / np.maximum(num_known, 1), np.nan)


def mean_over_known(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the last axis of the values that are not NaN; NaN if there are none."""
    is_known = ~np.isnan(values)
    if is_known.all() and values.shape[-1]:
        return values.mean(axis=-1)
    counts = is_known.sum(axis=-1)
    sums = np.where(is_known, values, 0).sum(axis=-1)
    return np.where(counts, sums / np.maximum(counts, 1), np.nan)


def known(per_image: np.ndarray) -> np.ndarray:
    """Returns the values of the images (n,) that have one."""
    return per_image[~np.isnan(per_image)]


def area_under_curve(nme: np.ndarray, threshold: float = NME_THRESHOLD) -> float:
    """Returns the area under the cumulative error curve from 0 to `threshold`, over `threshold`.

    The curve is the share of images with an NME of at most x. It is a step function, so the area
    is exact: each image adds the part of the axis to the right of its NME. 1 is perfect. `nme` is
    (n,), of images that have one.
    """
    return float(np.maximum(1 - nme / threshold, 0).mean())


def failure_rate(nme: np.ndarray, threshold: float = NME_THRESHOLD) -> float:
    """Returns the share of images with an NME over `threshold`, not at it, as papers count them.

    `nme` is (n,), of images that have one.
    """
    return float(np.mean(nme > threshold))


def percentiles(errors: np.ndarray) -> dict[str, float]:
    """Returns the percentiles 50, 90, 95 and 99 of the errors (n,): {"50": ..., ...}."""
    return {str(q): float(np.percentile(errors, q)) for q in PERCENTILES}


def mean_with_interval(name: str, per_image: np.ndarray, resamples: Resamples | None) -> dict:
    """Returns the mean over the images (n,) as `name` and, with draws, its `<name>_interval`.

    Either is None if it cannot be computed: if no image has a value, or only one group has some.
    """
    values = known(per_image)
    result = {name: float(values.mean()) if len(values) else None}
    if resamples:
        result[f"{name}_interval"] = resamples.interval(per_image)
    return result


def summary(
    distances_px: np.ndarray,
    face_sizes_px: np.ndarray | None,
    resamples: Resamples | None = None,
    regions: dict[str, slice] | None = None,
    thresholds: Sequence[float] = (NME_THRESHOLD,),
) -> dict:
    """Returns the metrics over all points, under the names that `evaluate` prints.

    Args:
        distances_px: (n, k).
        face_sizes_px: (n,); None for faces of one or two points, which have no NME.
        resamples: draws of the images. With them each MSE and NME has its 95 % interval beside it:
            `mse` and `mse_interval`, a list of low and high.
        regions: named ranges of points; `layout.regions_of` if None.
        thresholds: fractions of the face's size.

    Returns:
        `mse`, `nme`, their percentiles; for each threshold `auc_at_0.07` (area under the curve),
        `failure_rate_at_0.07` and `pck_at_0.07`; if there are regions, `regions` with the MSE and
        the NME of each, divided by the size of the whole face.
    """
    if regions is None:
        regions = layout.regions_of(distances_px.shape[1])
    errors = _errors(distances_px, face_sizes_px)
    results = _mean_metrics(errors, resamples)
    if face_sizes_px is not None:
        nme = known(errors["nme"])
        for threshold in thresholds:
            results[f"auc_at_{threshold:g}"] = area_under_curve(nme, threshold)
            results[f"failure_rate_at_{threshold:g}"] = failure_rate(nme, threshold)
        results |= _pck(distances_px, face_sizes_px, thresholds)
    results |= _percentile_metrics(errors, resamples)
    if regions:
        results["regions"] = {
            name: _mean_metrics(_errors(distances_px[:, region], face_sizes_px), resamples)
            for name, region in regions.items()
        }
    return results


def by_point(
    names: Sequence[str],
    distances_px: np.ndarray,
    face_sizes_px: np.ndarray | None,
    resamples: Resamples | None = None,
    thresholds: Sequence[float] = (NME_THRESHOLD,),
) -> dict[str, dict]:
    """Returns each point's metrics by its name; the arguments are those of `summary`.

    They are `images`, the number of images in which the point is there, `mse` and `nme`, with
    their intervals if there are draws, and `pck_at_0.07` for each threshold.
    """
    results = {}
    for start in range(0, len(names), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        figures = {"mse": distances_px[:, part] ** 2 / 2}
        if face_sizes_px is not None:
            figures["nme"] = distances_px[:, part] / face_sizes_px[:, None]
        intervals = {name: resamples.intervals(of) for name, of in figures.items() if resamples}
        for point, name in enumerate(names[part]):
            of_point_px = distances_px[:, start + point, None]
            results[name] = {"images": len(known(of_point_px[:, 0]))}
            for figure, values in figures.items():
                results[name] |= mean_with_interval(figure, values[:, point], resamples=None)
                if resamples:
                    results[name][f"{figure}_interval"] = intervals[figure][point]
            if face_sizes_px is not None:
                results[name] |= _pck(of_point_px, face_sizes_px, thresholds)
    return results


def _pck(
    distances_px: np.ndarray, face_sizes_px: np.ndarray, thresholds: Sequence[float]
) -> dict[str, float | None]:
    results = {}
    for threshold in thresholds:
        shares = image_pck(distances_px, face_sizes_px, threshold)
        results |= mean_with_interval(f"pck_at_{threshold:g}", shares, resamples=None)
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
        if not len(known(per_image)):
            results[f"{name}_percentiles"] = dict.fromkeys(map(str, PERCENTILES))
            continue
        results[f"{name}_percentiles"] = percentiles(known(per_image))
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
        means = np.array([mean_over_known(requested) for requested in distances_px])
        errors["nme_asked"] = means / face_sizes_px
    return _mean_metrics(errors, resamples) | _percentile_metrics(errors, resamples)


def calibration(predicted_px: np.ndarray, true_px: np.ndarray, sigmas_px: np.ndarray) -> dict:
    """Returns how well predicted standard deviations match the errors of the coordinates.

    Args:
        predicted_px: (n, k, 2).
        true_px: (n, k, 2); NaN where a point is missing.
        sigmas_px: (n, k), the standard deviation of a point's x and of its y.

    Returns:
        `within_1_sigma` and `within_2_sigma`, shares of the coordinates: 0.683 and 0.954 for normal
        errors and well-calibrated deviations; `error_by_sigma`, the root mean square of error /
        deviation: 1 if well calibrated, above 1 if the model is overconfident.
    """
    within, total = np.zeros(2), 0.0
    for predicted, true, sigmas in zip(predicted_px, true_px, sigmas_px, strict=True):
        ratios = np.abs(np.subtract(predicted, true, dtype=np.float64)) / sigmas[:, None]
        if np.isnan(ratios).any():
            ratios = ratios[~np.isnan(ratios).any(axis=1)]
        within += [np.mean(ratios <= 1), np.mean(ratios <= 2)]
        total += np.mean(ratios**2)
    within_1, within_2 = (within / len(true_px)).tolist()
    return {
        "within_1_sigma": within_1,
        "within_2_sigma": within_2,
        "error_by_sigma": float(np.sqrt(total / len(true_px))),
    }
