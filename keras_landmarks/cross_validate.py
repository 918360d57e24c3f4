"""Trains one model per fold, and scores each on the images that it was not trained on.

The images are divided into --folds parts; each of --validation_groups is in one part as a whole.
The parts do not depend on --seed, so models that differ only in their seed have the same folds.
Each fold is an ordinary training in its own work directory, <workdir>/fold-1 and so on. A killed
run resumes when the same command is started again, and several machines may each train one fold
with `train --fold=2/5`. Together the folds predict every image with a model that has not seen it:

    <workdir>/held_out.npz    to score, to compare with another model's predictions, to fit the
                              weights of an ensemble, and to find wrong labels

Example:

    python -m keras_landmarks.cross_validate --flagfile=flags/light.cfg --data=contest \\
        --validation_groups=persons.csv --folds=5 --workdir=folds
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks import flags
from keras_landmarks.contest import locations, prediction_files
from keras_landmarks.evaluation.formatting import round_floats
from keras_landmarks.evaluation.result_tables import format_evaluation
from keras_landmarks.evaluation.scoring import evaluate
from keras_landmarks.inference.contest_splits.contest_predictions import predict_split
from keras_landmarks.settings import PredictSettings, TrainSettings
from keras_landmarks.train import train
from keras_landmarks.training import records
from keras_landmarks.utils import runtime

_HELD_OUT = "held_out.npz"

FLAGS = flags.use(TrainSettings, PredictSettings, "folds", "compilation_cache")


def main(_) -> dict[str, Any]:
    """Reads the flags, cross-validates, prints a table of metrics, and returns the metrics."""
    flags.require("data")
    flags.use_huge_pages()
    runtime.use_compilation_cache(FLAGS.compilation_cache)
    settings, predict_settings = flags.read(TrainSettings), flags.read(PredictSettings)
    metrics = cross_validate(settings, predict_settings, FLAGS.folds)
    print(format_evaluation(metrics))
    return round_floats(metrics)


def cross_validate(
    settings: TrainSettings, predict_settings: PredictSettings, folds: int
) -> dict[str, Any]:
    """Trains and scores the folds one after the other; resumes those that were begun.

    Args:
        settings: the settings of each training; the work directory is the parent of the folds'.
        predict_settings: how to predict the held-out images.
        folds: the number of folds.

    Returns:
        The metrics of `evaluate` on all held-out images, the number of `rejected` samples as in
        `train`, and `mse_by_fold`.

    Raises:
        InputError: as `train` and `predict`.
    """
    started = time.monotonic()
    workdir = Path(settings.files.workdir)
    held_out = []
    for fold in range(1, folds + 1):
        fold_settings = settings.replace(
            fold=f"{fold}/{folds}", workdir=str(workdir / f"fold-{fold}")
        )
        rejected = train(fold_settings)["rejected"]
        held_out.append(_predict_held_out(fold_settings, predict_settings))
    predictions = workdir / _HELD_OUT
    join_predictions(held_out, predictions)
    truth = locations.find_landmarks(Path(settings.files.data), "train")
    groups = [Path(table) for table in settings.split.validation_groups]
    return {
        "workdir": settings.files.workdir,
        **evaluate(truth, predictions, groups=groups, partial=True),
        "rejected": rejected,
        "mse_by_fold": [evaluate(truth, path, partial=True)["mse"] for path in held_out],
        "predictions": str(predictions),
        "seconds": round(time.monotonic() - started, 1),
    }


def _predict_held_out(settings: TrainSettings, predict_settings: PredictSettings) -> Path:
    """Predicts a fold's held-out images with its model; returns the path of the predictions."""
    workdir, data = Path(settings.files.workdir), Path(settings.files.data)
    path, only = workdir / _HELD_OUT, workdir / records.VALIDATION_FILE
    predict_split(workdir, data, "train", None, path, predict_settings, only)
    return path


def join_predictions(parts: Sequence[Path], path: Path) -> None:
    """Writes predictions of different images into one file.

    Args:
        parts: the .npz files to join. Standard deviations are written if all of them have some.
        path: the file to write.
    """
    tables = [prediction_files.read(part) for part in parts]
    names = [name for table in tables for name in table.file_names]
    sigmas = [table.sigmas_px for table in tables if table.sigmas_px is not None]
    prediction_files.write(
        path,
        names,
        np.concatenate([table.landmarks_photo_px for table in tables]),
        np.concatenate(sigmas) if len(sigmas) == len(tables) else None,
        tables[0].point_names,
        set().union(*(table.imputed for table in tables)),
    )


if __name__ == "__main__":
    flags.run(main, PredictSettings)
