"""Combines the predictions of several models, which often beats the best of them.

By default it takes the mean. Predictions (.npz) are combined into files like those of `predict`:

    python -m keras_landmarks.ensemble --inputs=a.npz,b.npz,c.npz --predictions=mean.npz \\
        --submission=mean.csv --data=contest

--combine=median takes the median of each coordinate. --combine=weights takes a weighted mean, with
--weights=0.5,0.3,0.2 or with fitted weights: the weights, none below 0 and with sum 1, that have
the least MSE on the --held_out predictions of the same models in the same order:

    python -m keras_landmarks.ensemble --inputs=a.npz,b.npz,c.npz --predictions=weighted.npz \\
        --combine=weights --held_out=a_held_out.npz,b_held_out.npz,c_held_out.npz \\
        --truth=contest/train/landmarks.csv

Submissions (CSV) are combined into a --submission in the same ways; each of their rows must be
valid. If files do not match row for row, an error names the first difference. If all models have
standard deviations, so does the result; these include the spread between the models.

With --truth a table shows the scores of each model, of the ensemble, and its difference from the
best model, with intervals. They are computed on the --held_out images if there are any, otherwise
on --inputs, without images whose row of the truth is invalid. Points that are missing in the truth
count neither there nor for the fitted weights; every image weighs alike.

Time: the mean of four models' predictions of 20,000 images takes 2.0 s and 289 MB, the median 6.1
s. flags/README.md has the gain of ensembles.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_landmarks import flags
from keras_landmarks.contest import landmark_tables, locations, prediction_files, requested_points
from keras_landmarks.contest.requested_points import RequestedPointsTable
from keras_landmarks.evaluation import ensembles
from keras_landmarks.evaluation.ensembles import ModelPredictions
from keras_landmarks.evaluation.formatting import round_floats
from keras_landmarks.evaluation.result_tables import format_ensemble
from keras_landmarks.inference.contest_splits.submission import (
    requested_landmarks,
    to_whole_px,
    validate_requested_landmarks,
)
from keras_landmarks.settings import EnsembleSettings
from keras_landmarks.utils.errors import InputError

FLAGS = flags.use(
    *("data", "split", "predictions", "submission", "rounding"),
    *("truth", "test_points", "groups", "seed"),
    EnsembleSettings,
)


def main(_) -> dict[str, Any]:
    """Combines what the flags name, prints a table if there is a truth, returns the results."""
    flags.require("inputs")
    names = ("held_out", "truth", "test_points", "groups", "predictions", "submission", "data")
    results = ensemble(
        [Path(path) for path in FLAGS.inputs],
        FLAGS.combine,
        weights=_parse_weights(FLAGS.weights) if FLAGS.weights else None,
        **flags.read_paths(*names),
        split=FLAGS.split,
        rounding=FLAGS.rounding,
        seed=FLAGS.seed,
    )
    if "mse" in results:
        print(format_ensemble(results))
    return round_floats(results)


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

    Args:
        inputs: two files or more.
        combine: `mean`, `median` or `weights`.
        weights: of the models, for `weights`: at least 0 each, with sum 1.
        held_out: instead of `weights`, the models' predictions to fit them on.
        truth: table of true landmarks of the held-out images or, without those, of the inputs.
        test_points: table of the points to score; None for all.
        groups: tables of file name and group.
        predictions: .npz to write.
        submission: CSV to write.
        data: a folder in the contest's form; its test points define a submission made of .npz.
        split: of `data`.
        rounding: of a submission's coordinates, `round` or `truncate`.
        seed: of the bootstrap.

    Returns:
        `models`, `images`, `combine`, `weights` (None unless by weights), `submission` and
        `predictions` (the files); with `truth` the results of `ensembles.score_models`.

    Raises:
        InputError: options contradict each other, or a file is malformed or does not match the
            others; both files and the first difference are named.
    """
    ensembles.validate_weighting(combine, len(inputs), weights, held_out, truth)
    ensembles.validate_outputs(inputs, predictions, submission, data)
    models = ensembles.match_models(inputs)
    requested = None
    if submission and not models.are_submissions:
        requested = _read_requested_points(locations.find_test_points(data, split), models)
    scored = ensembles.match_models(held_out) if held_out else models
    true = ensembles.read_truth(truth, test_points, scored) if truth else None
    if held_out:
        weights = ensembles.fit_weights(scored, true)
    combine_points = ensembles.make_combine(combine, weights)
    scores = ensembles.score_models(scored, true, combine_points, groups, seed) if true else {}
    landmarks_px, sigmas_px = ensembles.combine_models(models, combine_points, weights)
    if predictions:
        prediction_files.write(
            *(predictions, models.file_names, landmarks_px, sigmas_px),
            *(models.point_names, models.imputed),
        )
    if submission:
        if requested:
            whole = requested_landmarks(landmarks_px, requested, rounding)
        else:
            whole = to_whole_px(landmarks_px, rounding)
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


def _parse_weights(texts: list[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError:
        raise InputError(f"--weights={','.join(texts)}: not numbers") from None


def _read_requested_points(path: Path, models: ModelPredictions) -> RequestedPointsTable:
    requested = requested_points.read_test_points(path)
    ensembles.validate_same_names(
        "row", models.paths[0], models.file_names, path, requested.file_names
    )
    validate_requested_landmarks(requested, models.num_landmarks)
    return requested


if __name__ == "__main__":
    flags.run(main)
