"""Scores predictions and submissions against true landmarks, and compares two of them."""

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from keras_landmarks.contest import (
    grouping,
    labels,
    landmark_tables,
    listed_images,
    locations,
    point_names,
    prediction_files,
    table_files,
)
from keras_landmarks.evaluation import bootstrap, matching, metrics, normalisers
from keras_landmarks.evaluation.matching import Truth
from keras_landmarks.input.samples import (
    Samples,
    check_every_landmark,
    load_samples,
    log_invalid_samples,
)
from keras_landmarks.layouts.layout import regions_of
from keras_landmarks.settings import FigureSettings, parse_thresholds
from keras_landmarks.utils.errors import InputError

DEFAULT_FIGURES = FigureSettings()


class MatchedPredictions(NamedTuple):
    """Predictions of the n images of a truth, in its order.

    Attributes:
        landmarks_px: (n, k, 2), photo pixels. Of a submission only the k requested points.
        sigmas_px: (n, k), the standard deviations of x and of y; None if they were not predicted.
        num_without_truth: images that were predicted, but are not in the truth.
    """

    landmarks_px: np.ndarray
    sigmas_px: np.ndarray | None
    num_without_truth: int


@dataclass(frozen=True)
class ScoredPredictions:
    """Predictions of n images beside the truth, with their metrics.

    Attributes:
        metrics: see `evaluate`.
        truth: the true landmarks.
        predictions: the predicted ones.
        distances_px: (n, k), from each predicted point to the true one, NaN where that is missing;
            None for a submission.
        face_sizes_px: (n,), see `normalisers.face_sizes`; NaN for a face without a size, None if
            no face has one.
        figures: what the sizes are, and the thresholds.
        groups: the group of each image.
        resamples: bootstrap draws of the groups; None if there is only one.
        regions: named ranges of the k points.
    """

    metrics: dict[str, Any]
    truth: Truth
    predictions: MatchedPredictions
    distances_px: np.ndarray | None
    face_sizes_px: np.ndarray | None
    figures: FigureSettings
    groups: list[str]
    resamples: bootstrap.Resamples | None
    regions: dict[str, slice]

    @property
    def nme(self) -> np.ndarray:
        """The normalised mean error of each image, (n,), NaN without one; not for submissions."""
        return metrics.image_nme(self.distances_px, self.face_sizes_px)


def evaluate(
    truth: Path,
    predictions: Path | None = None,
    submission: Path | None = None,
    test_points: Path | None = None,
    groups: Sequence[Path] = (),
    layout: Path | None = None,
    data: Path | None = None,
    split: str = "test",
    prepared: Path = Path("prepared"),
    seed: int = 0,
    partial: bool = False,
    only: Path | None = None,
    figures: FigureSettings = DEFAULT_FIGURES,
) -> dict[str, Any]:
    """Scores either predictions (.npz) or a submission (CSV) against a table of true landmarks.

    Rows of the truth that `train` would skip are skipped and counted. Rows of a submission must
    all be valid if their images are scored. Predictions of images that the truth does not have are
    counted and ignored.

    Args:
        truth: table of true landmarks. All of its images must be predicted, unless `only` or
            `partial` restricts them.
        predictions: predictions to score.
        submission: submission to score instead; needs `test_points`.
        test_points: table of the points that are requested of each image.
        groups: tables of file name and group. Groups are resampled whole.
        layout: JSON file with the names and regions of the points.
        data: a folder in the contest's form. If given, the mean shape of its train table is scored
            on the images of `split`, too.
        split: the split of `data` that the truth belongs to.
        prepared: folder of the cache of `data`.
        seed: the random seed of the bootstrap.
        partial: score the images that are predicted, even if others are missing.
        only: table of the images to score.
        figures: what NME is divided by, the thresholds, and whether every point has a row.

    Returns:
        `images` scored, of the truth's `truth_images`, their `groups`, `points` predicted of each,
        how many of the true points are `missing_points`, rows of the truth `rejected`, predicted
        images `without_truth`; the `normaliser` and the number of images `without_size`; for
        predictions the metrics of `metrics.summary` and, if asked for, `by_point`; with
        `test_points` those of `metrics.requested_points_summary`; with predicted standard
        deviations those of `metrics.calibration`; with `data` `mean_shape_mse`
        and `mean_shape_images`, the number of images whose photos have a readable size. Intervals
        if there are at least two groups.

    Raises:
        InputError: a file is malformed or does not match the others, or most of the rows or photos
            that are needed are invalid; the first such image is named; or a point has a place in
            no row of the train table of `data`.
    """
    if (predictions is None) == (submission is None):
        raise InputError("give either --predictions or --submission")
    if submission and figures.by_point:
        raise InputError("--by_point needs --predictions: a submission does not have all points")
    source, is_submission = predictions or submission, submission is not None
    scored = score_predictions(
        truth, source, is_submission, test_points, groups, layout, seed, partial, only, figures
    )
    if not data:
        return scored.metrics
    _validate_split(truth, data, split)
    samples = load_samples(data, "train", prepared)
    log_invalid_samples(samples)
    images = locations.find_image_folder(data, split)
    return scored.metrics | _score_mean_shape(samples, scored, images, seed)


def score_predictions(
    truth: Path,
    source: Path,
    is_submission: bool = False,
    test_points: Path | None = None,
    groups: Sequence[Path] = (),
    layout: Path | None = None,
    seed: int = 0,
    partial: bool = False,
    only: Path | None = None,
    figures: FigureSettings = DEFAULT_FIGURES,
) -> ScoredPredictions:
    """Scores `source`, predictions (.npz) or a submission (CSV); see `evaluate`."""
    true = _read_truth(truth, test_points, only, [source], partial)
    face_sizes_px = normalisers.face_sizes(figures.normaliser, true)
    group_of_each = grouping.read_groups(groups, true.file_names)
    regions = regions_of(true.num_landmarks, layout)
    predicted = _read_predictions(source, is_submission, true)
    distances = _measure(predicted.landmarks_px, is_submission, true)
    resamples = bootstrap.resample(group_of_each, seed)
    results = {
        "images": len(true.file_names),
        "truth_images": len(true.listed_names),
        "groups": len(set(group_of_each)),
        "points": predicted.landmarks_px.shape[1],
        "missing_points": true.count_missing_points(),
        "without_truth": predicted.num_without_truth,
        "rejected": true.num_rejected,
    }
    if face_sizes_px is not None:
        results["normaliser"] = figures.normaliser
        results["without_size"] = int(np.isnan(face_sizes_px).sum())
    if distances.all_px is not None:
        thresholds = parse_thresholds(figures.threshold)
        measured = (distances.all_px, face_sizes_px, resamples)
        results |= metrics.summary(*measured, regions, thresholds)
        if figures.by_point:
            names = point_names.find_names(truth, true.num_landmarks, layout)
            names = names or landmark_tables.read_point_names(truth)
            results["by_point"] = metrics.by_point(names, *measured, thresholds)
        results |= _calibration(source, predicted, true)
    if distances.requested_px is not None:
        results |= metrics.requested_points_summary(
            distances.requested_px, face_sizes_px, resamples
        )
    return ScoredPredictions(
        metrics=results,
        truth=true,
        predictions=predicted,
        distances_px=distances.all_px,
        face_sizes_px=face_sizes_px,
        figures=figures,
        groups=group_of_each,
        resamples=resamples,
        regions=regions,
    )


def compare(
    a: Path,
    b: Path,
    truth: Path,
    test_points: Path | None = None,
    groups: Sequence[Path] = (),
    seed: int = 0,
    partial: bool = False,
    only: Path | None = None,
) -> dict[str, Any]:
    """Tests whether two predictions of the same images differ in MSE by more than chance.

    Args:
        a: predictions (.npz) or a submission (CSV).
        b: the same of another model.
        truth: table of true landmarks.
        test_points: table of the points to score; None for all.
        groups: tables of file name and group.
        seed: the random seed of the bootstrap.
        partial: compare on the images that both have, even if others are missing.
        only: table of the images to score.

    Returns:
        `a` and `b` (the files), `images`, their `groups`, how many of the true points are
        `missing_points`, rows of the truth `rejected`, `mse_a` and `mse_b` with their intervals,
        and the results of `bootstrap.paired`.

    Raises:
        InputError: as `evaluate`, or all images belong to one group.
    """
    true = _read_truth(truth, test_points, only, [a, b], partial)
    group_of_each = grouping.read_groups(groups, true.file_names)
    resamples = bootstrap.resample(group_of_each, seed)
    if resamples is None:
        tables = ", ".join(map(str, groups or [truth]))
        raise InputError(f"{tables}: a comparison needs two groups of images or more")
    mse_a, mse_b = (_image_mse(path, true) for path in (a, b))
    if resamples.interval(mse_a) is None:
        raise InputError(f"{truth}: a comparison needs true points in two groups of images or more")
    return {
        "a": str(a),
        "b": str(b),
        "images": len(true.file_names),
        "groups": resamples.groups,
        "missing_points": true.count_missing_points(),
        "rejected": true.num_rejected,
        **metrics.mean_with_interval("mse_a", mse_a, resamples),
        **metrics.mean_with_interval("mse_b", mse_b, resamples),
        **bootstrap.paired(mse_a, mse_b, resamples),
    }


# ── reading ──


def _read_truth(
    truth: Path,
    test_points: Path | None,
    only: Path | None,
    predicted: Sequence[Path],
    partial: bool,
) -> Truth:
    """Reads the truth of the images that `only` has, if given, and with `partial` all `predicted`.

    Images whose landmarks were imputed in one of `predicted` are rejected.
    """
    tables = [*([only] if only else []), *(predicted if partial else [])]
    names_of = {table: set(_read_names(table)) for table in tables}
    to_score = set.intersection(*names_of.values()) if tables else None
    imputed = set().union(*map(_read_imputed, predicted))
    if imputed:
        listed = set(table_files.read_names(truth)) if to_score is None else to_score
        imputed, to_score = listed & imputed, listed - imputed
    true = matching.read_truth(truth, test_points, to_score)
    if imputed:
        logging.warning(
            "%d images could not be read when they were predicted, and are not scored", len(imputed)
        )
        true = dataclasses.replace(true, num_rejected=true.num_rejected + len(imputed))
    remaining = set(true.listed_names)
    for table, names in names_of.items():
        remaining &= names
        if not remaining:
            raise InputError(f"{table}: none of its images is in {truth}")
    if only and (unknown := names_of[only].difference(true.listed_names)):
        counts = len(unknown), len(names_of[only])
        logging.warning("%s: %d of %d images are not in %s", only, *counts, truth)
    return true


def _read_names(table: Path) -> list[str]:
    if table.suffix == ".npz":
        return prediction_files.read_header(table).file_names
    return table_files.read_names(table)


def _read_imputed(source: Path) -> Collection[str]:
    return prediction_files.read_header(source).imputed if source.suffix == ".npz" else ()


def _read_predictions(source: Path, is_submission: bool, true: Truth) -> MatchedPredictions:
    if is_submission:
        table = labels.read(source, true.file_names, strict=True)
        num_listed, sigmas_px = len(table.listed), None
    else:
        table = prediction_files.read(source)
        num_listed, sigmas_px = len(table.file_names), table.sigmas_px
        point_names.validate_same_order(source, table.point_names, true.path, true.num_landmarks)
    true.validate_num_landmarks(source, table.landmarks_photo_px.shape[1], is_submission)
    rows = matching.find_rows(table.file_names, true.file_names, source)
    landmarks_px = table.landmarks_photo_px[rows]
    matching.validate_finite(landmarks_px, true.file_names, source)
    sigmas_px = None if sigmas_px is None else sigmas_px[rows]
    return MatchedPredictions(landmarks_px, sigmas_px, num_listed - len(rows))


# ── scoring ──


class _Distances(NamedTuple):
    """Distances from predicted to true points, photo pixels.

    Attributes:
        all_px: (n, k); None for a submission, which does not have all points.
        requested_px: an array for each image; None if no points were requested.
    """

    all_px: np.ndarray | None
    requested_px: list[np.ndarray] | None


def _measure(predicted_px: np.ndarray, is_submission: bool, true: Truth) -> _Distances:
    if is_submission:
        requested_true_px = [
            face[indices] for face, indices in zip(true.landmarks_px, true.requested, strict=True)
        ]
        distances_px = metrics.point_distances(predicted_px, np.stack(requested_true_px))
        return _Distances(None, list(distances_px))
    distances_px = metrics.point_distances(predicted_px, true.landmarks_px)
    if not true.requested:
        return _Distances(distances_px, None)
    requested_px = [row[indices] for row, indices in zip(distances_px, true.requested, strict=True)]
    return _Distances(distances_px, requested_px)


def _image_mse(source: Path, true: Truth) -> np.ndarray:
    """Returns the MSE of each image (n,), over the requested points if there are any."""
    is_submission = source.suffix != ".npz"
    predicted = _read_predictions(source, is_submission, true)
    distances = _measure(predicted.landmarks_px, is_submission, true)
    if distances.requested_px is None:
        return metrics.image_mse(distances.all_px)
    return np.array([metrics.image_mse(row) for row in distances.requested_px])


def _calibration(source: Path, predicted: MatchedPredictions, true: Truth) -> dict[str, float]:
    if predicted.sigmas_px is None:
        return {}
    if not (predicted.sigmas_px > 0).all():
        raise InputError(f"{source}: a standard deviation is not above 0")
    return metrics.calibration(predicted.landmarks_px, true.landmarks_px, predicted.sigmas_px)


# ── the mean shape: a baseline that ignores the images ──


def _validate_split(truth: Path, data: Path, split: str) -> None:
    """Raises InputError if the truth is the table of another split of `data`.

    Images of different splits may have the same names.
    """
    folder = truth.resolve().parent
    if folder.parent == data.resolve() and folder.name != split:
        raise InputError(f"{truth} belongs to --split={folder.name}, not {split}")


def _score_mean_shape(
    samples: Samples, scored: ScoredPredictions, image_folder: Path, seed: int
) -> dict[str, Any]:
    mse = mean_shape_mse(samples, scored.truth, image_folder)
    has_size = np.isfinite(mse)
    resamples = scored.resamples
    if not has_size.all():
        groups = list(itertools.compress(scored.groups, has_size))
        resamples = bootstrap.resample(groups, seed)
    result = metrics.mean_with_interval("mean_shape_mse", mse[has_size], resamples)
    return result | {"mean_shape_images": int(has_size.sum())}


def mean_shape_mse(samples: Samples, true: Truth, image_folder: Path) -> np.ndarray:
    """Returns each image's MSE of the samples' mean shape: (n,), over all points, photo px².

    The mean is taken of coordinates divided by the photo's width and height, of each point over the
    samples that have it. The result is NaN for photos whose size cannot be read; their number is
    logged.

    Raises:
        InputError: a point has a place in none of the samples, or the sizes of most photos cannot
            be read.
    """
    check_every_landmark(samples, np.arange(len(samples)))
    sizes_px = _read_sizes(image_folder, true.file_names)
    total = np.zeros(true.landmarks_px.shape[1:])
    counts = np.zeros((true.num_landmarks, 1))
    for landmarks_px, size_px in zip(samples.landmarks_photo_px, samples.sizes_px, strict=True):
        is_known = ~np.isnan(landmarks_px).any(axis=1, keepdims=True)
        total += np.where(is_known, landmarks_px, 0) / size_px
        counts += is_known
    predicted_px = total / counts * sizes_px[:, None]
    return metrics.image_mse(metrics.point_distances(predicted_px, true.landmarks_px))


def _read_sizes(image_folder: Path, file_names: Sequence[str]) -> np.ndarray:
    """Returns the width and height of each photo: (n, 2), NaN where they cannot be read."""
    sizes_px = np.full((len(file_names), 2), np.nan)
    unreadable = []
    sizes = listed_images.read_listed_sizes(image_folder, file_names)
    for row, (name, size) in enumerate(zip(file_names, sizes, strict=True)):
        if isinstance(size, str):
            unreadable.append(f"{image_folder / name}: {size}")
        else:
            sizes_px[row] = size
    if unreadable:
        count = f"{len(unreadable):,} of {len(sizes_px):,}"
        count += " photos have no size to scale the mean shape"
        if 2 * len(unreadable) > len(sizes_px):
            raise InputError(f"{unreadable[0]}; {count} to: are --data and --split right?")
        logging.warning("%s; %s to and are skipped there", unreadable[0], count)
    return sizes_px
