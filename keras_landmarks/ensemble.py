"""Combines the predictions of several models, which is better than the best of them.

The mean of .npz predictions, written as `predict` writes one model's:

    python -m keras_landmarks.ensemble --inputs=a.npz,b.npz,c.npz --predictions=mean.npz \\
        --submission=mean.csv --data=contest

--combine=median takes the median of each coordinate, --combine=weights a weighted mean, by the
--weights given or by those that would have had the least MSE on images no model was trained on:

    python -m keras_landmarks.ensemble --inputs=a.npz,b.npz,c.npz --predictions=weighted.npz \\
        --combine=weights --held_out=a_held_out.npz,b_held_out.npz,c_held_out.npz \\
        --truth=contest/train/landmarks.csv

Submissions (CSV) combine to a --submission in the same ways; each of their rows must be sound. With
--truth the models and what became of them are scored, on the --held_out images if there are such,
otherwise on --inputs, without images whose row of the truth is broken.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from keras_landmarks import config
from keras_landmarks.contest import (
    grouping,
    landmark_tables,
    locations,
    prediction_files,
    requested_points,
)
from keras_landmarks.contest.requested_points import TestPoints
from keras_landmarks.evaluation import bootstrap, matching, metrics
from keras_landmarks.evaluation.formatting import (
    align_columns,
    describe_intervals,
    describe_invalid_rows,
    format_interval,
    round_floats,
)
from keras_landmarks.evaluation.matching import Truth
from keras_landmarks.predict import asked_points, check_indices, whole_px
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.progress import progress

_ROWS = 256  # images whose points by all models are in memory at a time

Combine = Callable[[np.ndarray], np.ndarray]  # (models, ...) -> (...)

FLAGS = config.use(
    "inputs",
    "combine",
    "weights",
    "held_out",
    "truth",
    "test_points",
    "groups",
    "predictions",
    "submission",
    "data",
    "split",
    "rounding",
    "seed",
)


def main(_) -> dict[str, Any]:
    """Reads the flags, combines, prints a table where there is truth, returns the figures."""
    config.require("inputs")
    names = ("held_out", "truth", "test_points", "groups", "predictions", "submission", "data")
    figures = ensemble(
        [Path(path) for path in FLAGS.inputs],
        FLAGS.combine,
        weights=_parse_weights(FLAGS.weights) if FLAGS.weights else None,
        **config.read_paths(*names),
        split=FLAGS.split,
        rounding=FLAGS.rounding,
        seed=FLAGS.seed,
    )
    if "mse" in figures:
        print(table(figures))
    return round_floats(figures)


def ensemble(
    inputs: Sequence[Path],
    combine: str = "mean",
    weights: Sequence[float] | None = None,
    held_out: Sequence[Path] = (),
    truth: Path | None = None,
    test_points: Path | None = None,
    groups: Sequence[Path] = (),
    predictions: Path | None = None,
    submission: Path | None = None,
    data: Path | None = None,
    split: str = "test",
    rounding: str = "round",
    seed: int = 0,
) -> dict[str, Any]:
    """Combines predictions (.npz) or submissions (CSV) of the same images, row for row.

    `combine` is `mean`, `median` or `weights`. `data` and `split` say which points a submission
    made of predictions has; `test_points` which ones are scored of `truth` (otherwise all).

    Returns:
        `models`, `images`, `combine`, `weights` (None unless by weights), `submission` and
        `predictions`; with `truth` the figures of `score`, before rounding.

    Raises:
        InputError: options that do not go together, or a file that is broken or does not match the
            others; both files and the first difference are named.
    """
    _check_weighting(combine, len(inputs), weights, held_out, truth)
    _check_outputs(inputs, predictions, submission, data)
    models = match(inputs)
    asked = None
    if submission and not models.are_submissions:
        asked = _read_asked(locations.find_test_points(data, split), models)
    scored = match(held_out) if held_out else models
    true = _read_truth(truth, test_points, scored) if truth else None
    if held_out:
        weights = fit_weights(scored, true)
    combined = partial(np.average, axis=0, weights=weights)
    if combine == "median":
        combined = partial(np.median, axis=0)
    scores = score(scored, true, combined, groups, seed) if true else {}
    landmarks, sigmas = _combine(models, combined, weights)
    if predictions:
        prediction_files.write(predictions, models.file_names, landmarks, sigmas)
    if submission:
        whole = asked_points(landmarks, asked, rounding) if asked else whole_px(landmarks, rounding)
        landmark_tables.write_submission(submission, models.file_names, whole)
    return {
        "models": len(inputs),
        "images": len(models.file_names),
        "combine": combine,
        "weights": None if weights is None else [float(weight) for weight in weights],
        "predictions": predictions and str(predictions),
        "submission": submission and str(submission),
        **scores,
    }


# ── options that go together ──


def _parse_weights(texts: list[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError:
        raise InputError(f"--weights={','.join(texts)}: not numbers") from None


def _check_weighting(
    combine: str,
    models: int,
    weights: Sequence[float] | None,
    held_out: Sequence[Path],
    truth: Path | None,
) -> None:
    if models < 2:
        raise InputError("--inputs: two files or more can be combined")
    given = (weights is not None) + bool(held_out)
    if given != (combine == "weights"):
        raise InputError("--combine=weights, and no other, takes either --weights or --held_out")
    if held_out and len(held_out) != models:
        raise InputError(f"--held_out has {len(held_out)} files, --inputs {models}: one a model")
    if held_out and not truth:
        raise InputError("--held_out needs --truth to fit the weights to")
    if weights is not None and not (
        len(weights) == models and min(weights) >= 0 and abs(sum(weights) - 1) < 1e-3
    ):
        raise InputError(f"--weights: {models} numbers of 0 or more that add up to 1 are needed")


def _check_outputs(
    inputs: Sequence[Path], predictions: Path | None, submission: Path | None, data: Path | None
) -> None:
    if not (predictions or submission):
        raise InputError("give --predictions or --submission, or both: the file to write")
    outputs = {path.resolve() for path in (predictions, submission) if path}
    for path in inputs:
        if path.resolve() in outputs:
            raise InputError(f"{path} is one of --inputs; write the result to another file")
    if _is_submission(inputs[0]):
        if predictions:
            raise InputError(f"{inputs[0]}: submissions do not have all points; give --submission")
    elif submission and not data:
        raise InputError("--submission needs --data: its test_points.csv says what is asked")


# ── files that match row for row ──


@dataclasses.dataclass(frozen=True)
class Models:
    """Predictions of the same images by several models, in as many files: all .npz or all CSV.

    `submitted` has the points of each CSV, few of an image; those of an .npz (None) stay in it.
    """

    paths: Sequence[Path]
    file_names: list[str]
    points: int  # an image
    submitted: Sequence[np.ndarray | None]

    @property
    def are_submissions(self) -> bool:
        """Whether they have only the points that are asked."""
        return _is_submission(self.paths[0])

    def pieces(self) -> Iterator[np.ndarray]:
        """Yields the points of some images after others: (models, rows, k, 2), photo pixels.

        (models, rows, k, 3) if every model tells a point's standard deviation, too.

        Raises:
            InputError: a file is broken, or a point is not a finite number.
        """
        start = 0
        for pieces in zip(*map(_iterate_points, self.paths, self.submitted), strict=True):
            names = self.file_names[start : start + len(pieces[0])]
            for path, points in zip(self.paths, pieces, strict=True):
                matching.check_finite(points, names, path)
            numbers = min(points.shape[-1] for points in pieces)
            yield np.stack([points[..., :numbers] for points in pieces])
            start += len(names)


def match(paths: Sequence[Path]) -> Models:
    """Returns the models of files that match; InputError names two that do not, and where."""
    first, *others = paths
    names, columns, points = _read(first)
    submitted = [points]
    for other in others:
        if _is_submission(first) != _is_submission(other):
            raise InputError(f"{first} and {other}: either all are .npz or all are submissions")
        other_names, other_columns, points = _read(other)
        submitted.append(points)
        if len(columns) != len(other_columns):
            raise InputError(
                f"{first} and {other} do not match: {len(columns)} points an image"
                f" in the first and {len(other_columns)} in the second"
            )
        _check_same("point", first, columns, other, other_columns)
        _check_same("row", first, names, other, other_names)
    if not names:
        raise InputError(f"{first}: there are no predictions in it")
    return Models(paths, names, len(columns), submitted)


def _is_submission(path: Path) -> bool:
    return path.suffix != ".npz"


def _read(path: Path) -> tuple[list[str], list[str], np.ndarray | None]:
    """Returns the names of rows and of the points in each, and a submission's points."""
    if _is_submission(path):
        table = landmark_tables.read_landmarks(path)
        return table.file_names, landmark_tables.read_point_names(path), table.points
    names, points = prediction_files.read_names(path)
    return names, landmark_tables.point_names(points), None


def _iterate_points(path: Path, submitted: np.ndarray | None) -> Iterator[np.ndarray]:
    if submitted is None:
        return prediction_files.iterate(path, _ROWS)
    return (submitted[start : start + _ROWS] for start in range(0, len(submitted), _ROWS))


def _read_asked(path: Path, models: Models) -> TestPoints:
    asked = requested_points.read_test_points(path)
    _check_same("row", models.paths[0], models.file_names, path, asked.file_names)
    check_indices(asked, models.points)
    return asked


def _read_truth(path: Path, test_points: Path | None, models: Models) -> Truth:
    """Reads the truth of the models' images, in their order, without those that have none sound."""
    true = matching.read_truth(path, test_points, models.file_names)
    matching.check_none_missing(true.listed, models.file_names, path)
    true.check_points(models.paths[0], models.points, models.are_submissions)
    row_of = {name: row for row, name in enumerate(true.file_names)}
    rows = [row_of[name] for name in models.file_names if name in row_of]
    return dataclasses.replace(
        true,
        file_names=[true.file_names[row] for row in rows],
        points=true.points[rows],
        asked=true.asked and [true.asked[row] for row in rows],
    )


def _check_same(unit: str, a: Path, of_a: list[str], b: Path, of_b: list[str]) -> None:
    """Raises InputError at the first difference between the names of rows or of columns."""
    pairs = itertools.zip_longest(of_a, of_b, fillvalue="missing")
    for number, (name_a, name_b) in enumerate(pairs, start=1):
        if name_a != name_b:
            raise InputError(
                f"{a} and {b} do not match:"
                f" {unit} {number} is {name_a} in the first and {name_b} in the second"
            )


# ── combining, fitting, scoring ──


def _combine(
    models: Models, combined: Combine, weights: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the combined points of all images, (n, k, 2) float32, photo pixels.

    Besides, if every model tells them, the standard deviations, (n, k), of what all say together:
    how sure each is, and how far they are apart.
    """
    landmarks = np.empty((len(models.file_names), models.points, 2), np.float32)
    sigmas = []
    total = math.ceil(len(landmarks) / _ROWS)
    pieces = progress(models.pieces(), "combining", "pieces", total)
    for start, piece in zip(itertools.count(step=_ROWS), pieces, strict=False):
        points = landmarks[start : start + _ROWS]
        points[:] = combined(piece[..., :2])
        if piece.shape[-1] == 3:
            variances = piece[..., 2] ** 2 + np.square(piece[..., :2] - points).mean(axis=-1)
            sigmas.append(np.sqrt(np.average(variances, axis=0, weights=weights)))
    return landmarks, np.concatenate(sigmas) if sigmas else None


def errors(models: Models, true: Truth) -> Iterator[np.ndarray]:
    """Yields predicted - true of each image, (models, p, 2) float64, of the p points that count."""
    faces = itertools.chain.from_iterable(
        piece[..., :2].swapaxes(0, 1) for piece in models.pieces()
    )
    has_truth = set(true.file_names)
    scored = (
        face for name, face in zip(models.file_names, faces, strict=True) if name in has_truth
    )
    for row, predicted_px in enumerate(scored):
        which = true.asked[row] if true.asked else slice(None)
        if not models.are_submissions:
            predicted_px = predicted_px[:, which]
        yield np.subtract(predicted_px, true.points[row][which], dtype=np.float64)


def fit_weights(models: Models, true: Truth) -> np.ndarray:
    """Returns the weights, none below 0, sum 1, of the models' mean with the least MSE: (m,)."""
    products = np.zeros((len(models.paths),) * 2)
    for error_px in errors(models, true):
        of_models = error_px.reshape(len(error_px), -1)
        products += of_models @ of_models.T / of_models.shape[1]
    return least_error_weights(products / len(true.file_names))


def least_error_weights(products: np.ndarray) -> np.ndarray:
    """Returns the w, none below 0, sum 1, with the least w' G w, where G is `products`.

    G (m, m) holds the mean products of the models' errors, so w' G w is the MSE of their mean.
    """
    values, vectors = np.linalg.eigh(products)
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T  # root' root = G
    # Least squares with one more equation, sum = 1, finds the direction of the exact solution:
    # for any direction the best length follows, and the less w' G w at sum 1, the less remains.
    unit = np.sqrt(products.trace()) or 1
    equations = np.vstack([root / unit, np.ones(len(products))])
    weights, _ = nnls(equations, np.append(np.zeros(len(products)), 1))
    return weights / weights.sum()


def score(
    models: Models, true: Truth, combined: Combine, groups: Sequence[Path] = (), seed: int = 0
) -> dict[str, Any]:
    """Returns the MSE, in photo pixels, of each model and of what they combine to.

    `scored_images`, `groups`, rows of the truth `rejected`, `mse`, `mse_of_models` (a list), each
    with its interval, and `against_best`: `bootstrap.paired` of the best model and the combination.
    """
    group_of_each = grouping.read_groups(groups, true.file_names)
    resamples = bootstrap.resample(group_of_each, seed)
    # Errors combine as points do: the weights add up to 1, and a median moves with its numbers.
    mse = [
        np.square([*error_px, combined(error_px)]).mean(axis=(1, 2))
        for error_px in errors(models, true)
    ]
    *of_models, of_all = np.transpose(mse)
    figures = {
        "scored_images": len(mse),
        "groups": len(set(group_of_each)),
        "rejected": true.rejected,
        **metrics.mean_with_interval("mse", of_all, resamples),
        "mse_of_models": [
            {"file": str(path), **metrics.mean_with_interval("mse", of_model, resamples)}
            for path, of_model in zip(models.paths, of_models, strict=True)
        ],
    }
    if resamples:
        best = min(of_models, key=np.mean)
        figures["against_best"] = bootstrap.paired(best, of_all, resamples)
    return figures


def table(figures: dict[str, Any]) -> str:
    """Lays out what `ensemble` returns, where it has scores, as aligned lines."""
    lines = [
        f"{figures['scored_images']:,} images scored",
        describe_intervals(figures["scored_images"], figures["groups"]),
        *describe_invalid_rows(figures["rejected"]),
        "",
    ]
    weights = figures["weights"] or [None] * figures["models"]
    rows = [("", "weight", "MSE, px²", "interval")]
    for model, weight in [
        *zip(figures["mse_of_models"], weights, strict=True),
        (figures | {"file": figures["combine"]}, None),
    ]:
        weight = "" if weight is None else f"{weight:.3f}"
        ends = format_interval(model.get("mse_interval"))
        rows.append((Path(model["file"]).name, weight, f"{model['mse']:.3f}", ends))
    if best := figures.get("against_best"):
        ends = format_interval(best["difference_interval"])
        rows.append(("difference from the best model", "", f"{best['difference']:.3f}", ends))
    return "\n".join([*lines, *align_columns(rows, (28, 8, 10, 22))])


if __name__ == "__main__":
    config.run(main)
