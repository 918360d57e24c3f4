"""Trains a model on a contest folder and keeps the weights with the lowest training loss.

Extra images that the flags ask for are made first (see `augment`). A run that was stopped goes on
when it is started again with the same flags; --epochs, the learning rates and where the data lie
may change. One process at a time trains in a work directory. It gets:

    best.weights.h5    the weights of the epoch with the lowest training loss
    last.safetensors   the state after the last epoch; a run that is started again goes on from it
    history.csv        every epoch's figures
    logs               the same for TensorBoard
    flags.cfg          the flags: --flagfile=flags.cfg repeats the run
    model.json         what `predict` needs to know of the model
    validation.csv     the images that were held out: predict, evaluate and report --only=...
    versions.json      the packages and devices that it was last started with
    rejects.csv        samples that could not be used, if there were any

Examples, the recipe on the contest's data and a first look on 2 cores:

    python -m keras_landmarks.train --flagfile=flags/best.cfg --data=contest
    python -m keras_landmarks.train --flagfile=flags/demo.cfg --data=faces --workdir=work
"""

import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.augment import AugmentSettings, augment
from keras_landmarks.contest import grouping, invalid_samples, locations, table_files
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.samples import Samples, fingerprint_rows, load_samples
from keras_landmarks.input.splits import fold_rows, leave_out, split_rows
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.training.history import VALIDATION_FILE
from keras_landmarks.training.settings import (
    ProcessSettings,
    TrainSettings,
    fixed_settings,
    parse_fold,
)
from keras_landmarks.training.versions import VERSIONS_FILE, versions
from keras_landmarks.utils import beam, compilation_cache
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_json

FLAGS = config.use(
    TrainSettings,
    AugmentSettings,
    ProcessSettings,
    "compilation_cache",
    "beam_runner",
    "beam_options",
)


def main(_) -> dict:
    """Reads the flags, trains, returns the figures."""
    config.require("data")
    locations.find_image_folder(Path(FLAGS.data), "train")  # a wrong folder need not wait for Keras
    config.use_huge_pages()
    for_each = beam.workers(FLAGS.beam_runner, FLAGS.beam_options)
    compilation_cache.use(FLAGS.compilation_cache)
    # Not at the top: see `train`.
    from keras_landmarks.training import distribution

    with distribution.runtime(config.read(ProcessSettings)):
        return train(config.read(TrainSettings), config.read(AugmentSettings), for_each)


def train(
    settings: TrainSettings,
    augment_settings: AugmentSettings,
    for_each: beam.ForEach | None = None,
) -> dict:
    """Trains, or takes up the run that `settings.workdir` holds, on all devices.

    Where several processes are connected, all call this with the same settings.

    Args:
        settings: the run.
        augment_settings: the extra images.
        for_each: workers that make crops and extra images; None for this machine's own.

    Returns:
        Figures: images, losses, rate, peak memory of this process.

    Raises:
        InputError: a flag, a file or the work directory is wrong.
        BlockingIOError: another process trains in the work directory.
    """
    # Not at the top: --help and the worker processes, which import this module, do without Keras.
    from keras_landmarks.models import keras_on_jax  # noqa: F401 -- before JAX is imported
    from keras_landmarks.training import trainer

    trainer.check(settings)
    with trainer.lock_workdir(settings):
        trainer.check_resume(settings, _flags(settings, augment_settings))
        return _train(settings, augment_settings, for_each)


def _train(
    settings: TrainSettings,
    augment_settings: AugmentSettings,
    for_each: beam.ForEach | None,
) -> dict:
    """Does what `train` does, in a work directory that is this run's alone."""
    from keras_landmarks.input.pipeline import ImageSet
    from keras_landmarks.models.keras_settings import own_settings
    from keras_landmarks.training import checkpoint, distribution, trainer

    started = time.monotonic()
    flags = _flags(settings, augment_settings)
    with distribution.first_process_first("samples"):
        samples = load_samples(
            Path(settings.data), "train", Path(settings.prepared), settings.limit, settings.strict
        )
        train_rows, validation_rows = split(samples, settings)
        images = fingerprint_rows(samples, train_rows)
        trainer.check_images(settings, images)
        mirror_map = _mirror_map(samples, train_rows, settings)
        trainer.check_model(settings, samples.points, mirror_map)
        parts = [(samples, train_rows)]
        if augment_settings.augment_count:
            trained_on = {samples.file_names[row] for row in train_rows}
            parts.append(_extra_images(samples, trained_on, settings, augment_settings, for_each))
    with distribution.data_parallel(), own_settings(settings.precision):
        model = trainer.open_workdir(settings, samples.points, mirror_map)
        if distribution.is_first():
            held_out = [samples.file_names[row] for row in validation_rows]
            _write_notes(Path(settings.workdir), samples, held_out, flags)
        with distribution.first_process_first("crops"):
            sources = [_open_images(samples, settings, for_each) for samples, _ in parts]
        training = ImageSet(
            [(source, rows) for source, (_, rows) in zip(sources, parts, strict=True)]
        )
        validation = ImageSet([(sources[0], validation_rows)])
        notes = checkpoint.run_notes(images, fixed_settings(flags), settings.epochs)
        history = trainer.fit(model, settings, training, validation, mirror_map, notes)
    return {
        "workdir": settings.workdir,
        "model": settings.model,
        "train_images": len(training),
        "validation_images": len(validation_rows),
        "rejected": len(samples.rejects),
        "excluded": len(samples) - len(train_rows) - len(validation_rows),
        **history.summary(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds": round(time.monotonic() - started, 1),
    }


def _flags(settings: TrainSettings, augment_settings: AugmentSettings) -> dict[str, Any]:
    return asdict(augment_settings) | asdict(settings)


def split(samples: Samples, settings: TrainSettings) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to train on and those held out for validation.

    Raises:
        InputError: no row is left to train on, or a table is wrong.
    """
    groups = None
    if settings.validation_groups:
        tables = [Path(table) for table in settings.validation_groups]
        groups = grouping.read_groups(tables, samples.file_names)
    if settings.fold:
        parts = fold_rows(samples.file_names, *parse_fold(settings.fold), groups)
    else:
        parts = split_rows(samples.file_names, settings.train_fraction, groups)
    if not settings.exclude:
        return parts
    excluded = set(table_files.read_names(Path(settings.exclude)))
    if unknown := excluded.difference(samples.file_names):
        logging.warning(
            "%s: %d of %d names are not in the table", settings.exclude, len(unknown), len(excluded)
        )
    training, validation = (leave_out(rows, samples.file_names, excluded) for rows in parts)
    if not len(training):
        raise InputError(f"{settings.exclude}: names every image; none is left to train on")
    return training, validation


def _mirror_map(
    samples: Samples, train_rows: np.ndarray, settings: TrainSettings
) -> np.ndarray | None:
    """Returns the mirror map, checked on some of the training faces, or None."""
    mirrors = "mirror" in settings.augment_online
    contests = mirrors and samples.points == layout.CONTEST_POINTS
    choice = settings.mirror or ("contest" if contests else "none")
    if mirrors and choice == "none":
        raise InputError(
            "--augment_online=mirror: which point becomes which? Say with --mirror=found or a file"
        )
    if choice == "found" and (known := _mirror_map_of_run(settings)) is not None:
        return known
    some = train_rows[:: -(-len(train_rows) // mirror.MOST_FACES)]
    return mirror.choose_map(choice, samples.landmarks_photo_px[some])


def _mirror_map_of_run(settings: TrainSettings) -> np.ndarray | None:
    """Returns the map of the run that is gone on with: others found now could differ in a point."""
    from keras_landmarks.models import spec

    path = Path(settings.workdir) / spec.FILE_NAME
    if not settings.resume or not path.exists():
        return None
    known = spec.read_spec(path.parent)
    return None if known.mirror is None else mirror.from_json(known.mirror, known.points, str(path))


def _extra_images(
    samples: Samples,
    trained_on: set[str],
    settings: TrainSettings,
    augment_settings: AugmentSettings,
    for_each: beam.ForEach | None,
) -> tuple[Samples, np.ndarray]:
    """Returns the extra images, made first if need be, and the rows of photos trained on."""
    prepared = Path(settings.prepared)
    figures = augment(samples, prepared, augment_settings, settings.processes, for_each)
    folder = Path(figures["folder"])
    extra = load_samples(folder, "train", prepared)
    sources = grouping.read_group_table(folder / "sources.csv")
    usable = np.array([sources[name] in trained_on for name in extra.file_names])
    logging.info(
        "extra images %s in %s: %d; %d that lost a point were dropped;"
        " %d of photos held out for validation or excluded are not used",
        "made" if figures["made"] else "found",
        folder,
        figures["written"],
        figures["dropped"],
        np.sum(~usable),
    )
    return extra, np.flatnonzero(usable)


def _open_images(samples: Samples, settings: TrainSettings, for_each: beam.ForEach | None):
    """Returns the source of the crops: the store, made first if need be, or the files."""
    from keras_landmarks.input import cache
    from keras_landmarks.input.photos import Photos

    photos = Photos(samples, CropSpec.of(settings))
    if not settings.prepare:
        return photos
    return cache.build_cache(photos, Path(settings.prepared), settings.processes, for_each)


def _write_notes(workdir: Path, samples: Samples, held_out: list[str], flags: dict) -> None:
    config.write_flagfile(workdir / "flags.cfg", flags)
    table_files.write_rows(workdir / VALIDATION_FILE, ("file_name",), ([name] for name in held_out))
    write_json(workdir / VERSIONS_FILE, versions())
    if samples.rejects:
        invalid_samples.write_invalid_samples(workdir / "rejects.csv", samples.rejects)
        logging.warning(
            "%d samples cannot be used and are skipped; %s lists them",
            len(samples.rejects),
            workdir / "rejects.csv",
        )


if __name__ == "__main__":
    config.run(main)
