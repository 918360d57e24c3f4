"""Combines the predictions of several models: mean, median, or a fitted weighted mean."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from keras_landmarks.contest import grouping, landmark_tables, prediction_files
from keras_landmarks.contest.prediction_files import PredictionsHeader
from keras_landmarks.evaluation import bootstrap, matching, metrics
from keras_landmarks.evaluation.matching import Truth
from keras_landmarks.utils.chunks import in_chunks
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.progress import progress

_ROWS = 256  # images whose points by all models are in memory at a time

Combine = Callable[[np.ndarray], np.ndarray]  # (models, ...) -> (...)


# ── options ──


def validate_weighting(
    combine: str,
    num_models: int,
    weights: Sequence[float] | None,
    held_out: Sequence[Path],
    truth: Path | None,
) -> None:
    """Raises InputError unless the options for weights go together; see `ensemble`."""
    if num_models < 2:
        raise InputError("--inputs: an ensemble needs two files or more")
    given = (weights is not None) + bool(held_out)
    if given != (combine == "weights"):
        raise InputError(
            "--combine=weights needs either --weights or --held_out; other ways take neither"
        )
    if held_out and len(held_out) != num_models:
        raise InputError(
            f"--held_out has {len(held_out)} files, --inputs {num_models}; give one for each model"
        )
    if held_out and not truth:
        raise InputError("--held_out needs --truth to fit the weights to")
    if weights is not None and not (
        len(weights) == num_models and min(weights) >= 0 and abs(sum(weights) - 1) < 1e-3
    ):
        raise InputError(f"--weights: give {num_models} numbers of 0 or more that add up to 1")


def validate_outputs(
    inputs: Sequence[Path], predictions: Path | None, submission: Path | None, data: Path | None
) -> None:
    """Raises InputError unless the files to write suit the inputs and are none of them."""
    if not (predictions or submission):
        raise InputError("give --predictions or --submission, or both: the file to write")
    outputs = {path.resolve() for path in (predictions, submission) if path}
    for path in inputs:
        if path.resolve() in outputs:
            raise InputError(f"{path} is one of --inputs; write the result to another file")
    if is_submission(inputs[0]):
        if predictions:
            raise InputError(f"{inputs[0]}: submissions do not have all points; give --submission")
    elif submission and not data:
        raise InputError("--submission needs --data, whose test_points.csv lists its points")


# ── files that match row for row ──


@dataclasses.dataclass(frozen=True)
class ModelPredictions:
    """Predictions of the same images by several models, a file each: all .npz or all CSV.

    Attributes:
        paths: the files.
        file_names: the names of the n images, the same in every file.
        num_landmarks: points per image.
        point_names: names of the points, of submissions their columns; None if no file has them.
        imputed: names of images that one of the models could not read.
        submitted_px: the points (n, k, 2) of each submission. None for an .npz, whose points are
            read from the file when they are needed: a submission has few points, an .npz many.
    """

    paths: Sequence[Path]
    file_names: list[str]
    num_landmarks: int
    point_names: list[str] | None
    imputed: frozenset[str]
    submitted_px: Sequence[np.ndarray | None]

    @property
    def are_submissions(self) -> bool:
        """Whether they have only the points that the contest requests."""
        return is_submission(self.paths[0])

    def iterate(self) -> Iterator[np.ndarray]:
        """Yields the points of successive images: (models, rows, k, 2), photo pixels.

        The last axis has length 3 if every model predicted standard deviations: x, y, sigma.

        Raises:
            InputError: a file is malformed, or a coordinate is not finite.
        """
        start = 0
        for chunks in zip(*map(_iterate_points, self.paths, self.submitted_px), strict=True):
            names = self.file_names[start : start + len(chunks[0])]
            for path, chunk in zip(self.paths, chunks, strict=True):
                matching.validate_finite(chunk, names, path)
            num_values = min(chunk.shape[-1] for chunk in chunks)
            yield np.stack([chunk[..., :num_values] for chunk in chunks])
            start += len(names)


def is_submission(path: Path) -> bool:
    """Returns whether a file of predictions is a submission (CSV) rather than an .npz."""
    return path.suffix != ".npz"


def match_models(paths: Sequence[Path]) -> ModelPredictions:
    """Reads predictions that must list the same images and points in the same order.

    Raises:
        InputError: two files differ; both and the first difference are named.
    """
    first, *others = paths
    for other in others:
        if is_submission(first) != is_submission(other):
            raise InputError(f"{first} and {other}: either all are .npz or all are submissions")
    headers, submitted_px = zip(*map(_read, paths), strict=True)
    header = headers[0]
    for other, (names, num_landmarks, point_names, _) in zip(others, headers[1:], strict=True):
        if num_landmarks != header.num_landmarks:
            raise InputError(
                f"{first} and {other} do not match: {header.num_landmarks} points an image"
                f" in the first and {num_landmarks} in the second"
            )
        if header.point_names and point_names:
            validate_same_names("point", first, header.point_names, other, point_names)
        validate_same_names("row", first, header.file_names, other, names)
    if not header.file_names:
        raise InputError(f"{first}: there are no predictions in it")
    imputed = frozenset().union(*(header.imputed for header in headers))
    return ModelPredictions(
        paths, header.file_names, header.num_landmarks, header.point_names, imputed, submitted_px
    )


def validate_same_names(
    unit: str, a: Path, names_a: Sequence[str], b: Path, names_b: Sequence[str]
) -> None:
    """Raises InputError at the first difference between the rows or columns (`unit`) of files."""
    pairs = itertools.zip_longest(names_a, names_b, fillvalue="missing")
    for number, (name_a, name_b) in enumerate(pairs, start=1):
        if name_a != name_b:
            raise InputError(
                f"{a} and {b} do not match:"
                f" {unit} {number} is {name_a} in the first and {name_b} in the second"
            )


def read_truth(path: Path, test_points: Path | None, models: ModelPredictions) -> Truth:
    """Reads the truth of the models' images, in their order, without images of invalid rows.

    Raises:
        InputError: as `matching.read_truth`, or the truth does not list an image, or has other
            points.
    """
    true = matching.read_truth(path, test_points, models.file_names)
    matching.validate_none_missing(true.listed_names, models.file_names, path)
    true.validate_num_landmarks(models.paths[0], models.num_landmarks, models.are_submissions)
    row_of = {name: row for row, name in enumerate(true.file_names)}
    rows = [row_of[name] for name in models.file_names if name in row_of]
    return dataclasses.replace(
        true,
        file_names=[true.file_names[row] for row in rows],
        landmarks_px=true.landmarks_px[rows],
        requested=true.requested and [true.requested[row] for row in rows],
    )


def _read(path: Path) -> tuple[PredictionsHeader, np.ndarray | None]:
    """Returns the names in a file and, of a submission, whose columns are names, its points."""
    if not is_submission(path):
        return prediction_files.read_header(path), None
    table, columns = landmark_tables.read_landmarks(path), landmark_tables.read_point_names(path)
    header = PredictionsHeader(table.file_names, len(columns), columns, frozenset())
    return header, table.landmarks_photo_px


def _iterate_points(path: Path, submitted_px: np.ndarray | None) -> Iterator[np.ndarray]:
    if submitted_px is None:
        return prediction_files.iterate(path, _ROWS)
    return iter(in_chunks(submitted_px, _ROWS))


# ── combining ──


def make_combine(how: str, weights: Sequence[float] | None = None) -> Combine:
    """Returns the function that combines the models' points over the first axis.

    `how` is `mean`, `median` or `weights`, a mean by the `weights`.
    """
    if how == "median":
        return partial(np.median, axis=0)
    return partial(np.average, axis=0, weights=weights)


def combine_models(
    models: ModelPredictions, combine: Combine, weights: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Combines the predictions of all images.

    Args:
        models: the predictions.
        combine: see `make_combine`.
        weights: of the models, for the standard deviations; None for equal weights.

    Returns:
        landmarks_px: (n, k, 2) float32, photo pixels.
        sigmas_px: (n, k), if every model predicted standard deviations, else None: those of the
            mixture of the models' distributions. They grow with each model's uncertainty and with
            the models' disagreement.
    """
    landmarks_px = np.empty((len(models.file_names), models.num_landmarks, 2), np.float32)
    sigmas_px = []
    total = math.ceil(len(landmarks_px) / _ROWS)
    chunks = progress(models.iterate(), "combining", "pieces", total)
    for start, chunk in zip(itertools.count(step=_ROWS), chunks, strict=False):
        combined_px = landmarks_px[start : start + _ROWS]
        combined_px[:] = combine(chunk[..., :2])
        if chunk.shape[-1] == 3:
            variances = chunk[..., 2] ** 2 + np.square(chunk[..., :2] - combined_px).mean(axis=-1)
            sigmas_px.append(np.sqrt(np.average(variances, axis=0, weights=weights)))
    return landmarks_px, np.concatenate(sigmas_px) if sigmas_px else None


# ── fitting and scoring ──


def fit_weights(models: ModelPredictions, true: Truth) -> np.ndarray:
    """Returns the weights (models,) of the mean with the least MSE; see `solve_weights`.

    Raises:
        InputError: the truth has none of the points to score.
    """
    products, num_images = np.zeros((len(models.paths),) * 2), 0
    for errors_px in iterate_errors(models, true):
        if errors_px.size:
            by_model = errors_px.reshape(len(errors_px), -1)
            products += by_model @ by_model.T / by_model.shape[1]
            num_images += 1
    if not num_images:
        raise InputError(f"{true.path}: there is none of the points to fit the weights to")
    return solve_weights(products / num_images)


def solve_weights(products: np.ndarray) -> np.ndarray:
    """Returns the w >= 0 with sum 1 that minimises w' G w, where G is `products`.

    G (m, m) holds the mean products of the models' errors, so w' G w is the MSE of their weighted
    mean.
    """
    values, vectors = np.linalg.eigh(products)
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T  # root' root = G
    # Non-negative least squares with the additional equation sum(w) = 1. For any direction of w
    # the best length is known, and the residual grows with w' G w at sum 1: so the direction of the
    # solution is exact, and normalising it gives w.
    unit = np.sqrt(products.trace()) or 1
    equations = np.vstack([root / unit, np.ones(len(products))])
    weights, _ = nnls(equations, np.append(np.zeros(len(products)), 1))
    return weights / weights.sum()


def iterate_errors(models: ModelPredictions, true: Truth) -> Iterator[np.ndarray]:
    """Yields predicted - true of each image: (models, p, 2) float64.

    Its p points are those to score that the truth has; there may be none.
    """
    faces = itertools.chain.from_iterable(
        chunk[..., :2].swapaxes(0, 1) for chunk in models.iterate()
    )
    has_truth = set(true.file_names)
    scored = (
        face for name, face in zip(models.file_names, faces, strict=True) if name in has_truth
    )
    for row, predicted_px in enumerate(scored):
        indices = true.requested[row] if true.requested else slice(None)
        if not models.are_submissions:
            predicted_px = predicted_px[:, indices]
        true_px = true.landmarks_px[row][indices]
        if (is_missing := np.isnan(true_px[:, 0])).any():
            predicted_px, true_px = predicted_px[:, ~is_missing], true_px[~is_missing]
        yield np.subtract(predicted_px, true_px, dtype=np.float64)


def score_models(
    models: ModelPredictions,
    true: Truth,
    combine: Combine,
    groups: Sequence[Path] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Scores each model and their combination, before any rounding.

    Args:
        models: the predictions.
        true: the truth of their images.
        combine: see `make_combine`.
        groups: tables of file name and group.
        seed: of the bootstrap.

    Returns:
        `scored_images`, their `groups`, how many of the true points are `missing_points`, rows of
        the truth `rejected`, `mse` (photo px²) and
        `mse_of_models`, a list, each with its interval; `against_best`, the results of
        `bootstrap.paired` for the best model and the combination.
    """
    group_of_each = grouping.read_groups(groups, true.file_names)
    resamples = bootstrap.resample(group_of_each, seed)
    # Errors combine like points: weights add up to 1, and a median shifts with its values.
    no_mse = np.full(len(models.paths) + 1, np.nan)
    mse = [
        np.square([*errors_px, combine(errors_px)]).mean(axis=(1, 2)) if errors_px.size else no_mse
        for errors_px in iterate_errors(models, true)
    ]
    *by_model, combined = np.transpose(mse)
    results = {
        "scored_images": len(mse),
        "groups": len(set(group_of_each)),
        "missing_points": true.count_missing_points(),
        "rejected": true.num_rejected,
        **metrics.mean_with_interval("mse", combined, resamples),
        "mse_of_models": [
            {"file": str(path), **metrics.mean_with_interval("mse", model, resamples)}
            for path, model in zip(models.paths, by_model, strict=True)
        ],
    }
    if resamples and resamples.interval(combined):
        best = min(by_model, key=lambda errors: metrics.known(errors).mean())
        results["against_best"] = bootstrap.paired(best, combined, resamples)
    return results
