"""Trains a model for each of several folds, and scores it on the images that it has not seen.

The images are dealt out to --folds parts, whole --validation_groups to one part, always alike. Each
fold is a training like any other, in its own work directory, <workdir>/fold-1 and so on, which a
killed run goes on with; several machines may each train one with `train --fold=2/5`. Together their
predictions of what was held out are of every image, by a model that has not seen it:

    <workdir>/held_out.npz    to score, to compare, to fit an ensemble's weights on, and to find
                              wrong labels by

Example:

    python -m keras_landmarks.cross_validate --flagfile=flags/light.cfg --data=contest \\
        --validation_groups=persons.csv --folds=5 --workdir=folds
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks import config
from keras_landmarks.augment import AugmentSettings
from keras_landmarks.contest import locations, prediction_files
from keras_landmarks.evaluate import evaluate, table
from keras_landmarks.evaluation.formatting import round_floats
from keras_landmarks.input.samples import load_samples
from keras_landmarks.predict import PredictSettings, predict_images
from keras_landmarks.train import split, train
from keras_landmarks.training.settings import TrainSettings
from keras_landmarks.utils import compilation_cache

_HELD_OUT = "held_out.npz"

FLAGS = config.use(TrainSettings, AugmentSettings, PredictSettings, "folds", "compilation_cache")


def main(_) -> dict[str, Any]:
    """Reads the flags, trains and scores, prints the table, and returns the figures."""
    config.require("data")
    config.use_huge_pages()
    compilation_cache.use(FLAGS.compilation_cache)
    figures = cross_validate(
        config.read(TrainSettings),
        config.read(AugmentSettings),
        config.read(PredictSettings),
        FLAGS.folds,
    )
    print(table(figures))
    return round_floats(figures)


def cross_validate(
    settings: TrainSettings,
    augment_settings: AugmentSettings,
    predict_settings: PredictSettings,
    folds: int,
) -> dict[str, Any]:
    """Trains and scores every fold, in turn, or goes on with what `settings.workdir` holds.

    Returns:
        The figures of `evaluate` on all held-out images, samples `rejected` as in `train`, and
        `mse_by_fold`.

    Raises:
        InputError: as `train` and `predict` do.
    """
    started = time.monotonic()
    workdir = Path(settings.workdir)
    held_out = []
    for fold in range(1, folds + 1):
        of_fold = dataclasses.replace(
            settings, fold=f"{fold}/{folds}", workdir=str(workdir / f"fold-{fold}")
        )
        rejected = train(of_fold, augment_settings)["rejected"]
        held_out.append(_predict_held_out(of_fold, predict_settings))
    everything = workdir / _HELD_OUT
    join(held_out, everything)
    truth = locations.find_landmarks(Path(settings.data), "train")
    groups = [Path(table) for table in settings.validation_groups or []]
    return {
        "workdir": settings.workdir,
        **evaluate(truth, everything, groups=groups, partial=True),
        "rejected": rejected,
        "mse_by_fold": [evaluate(truth, path, partial=True)["mse"] for path in held_out],
        "predictions": str(everything),
        "seconds": round(time.monotonic() - started, 1),
    }


def _predict_held_out(settings: TrainSettings, predict_settings: PredictSettings) -> Path:
    """Has a fold's model predict its held-out images; returns where the predictions are."""
    samples = load_samples(
        Path(settings.data), "train", Path(settings.prepared), settings.limit, settings.strict
    )
    rows = split(samples, settings)[1]
    names, lines = [samples.file_names[row] for row in rows], samples.lines[rows].tolist()
    path = Path(settings.workdir) / _HELD_OUT
    predict_images(path.parent, samples.image_folder, names, lines, path, predict_settings)
    return path


def join(parts: Sequence[Path], path: Path) -> None:
    """Writes predictions of different images as one file; their deviations if all have them."""
    tables = [prediction_files.read(part) for part in parts]
    names = [name for table in tables for name in table.file_names]
    sigmas = [table.sigmas for table in tables if table.sigmas is not None]
    prediction_files.write(
        path,
        names,
        np.concatenate([table.points for table in tables]),
        np.concatenate(sigmas) if len(sigmas) == len(tables) else None,
    )


if __name__ == "__main__":
    config.run(main)
