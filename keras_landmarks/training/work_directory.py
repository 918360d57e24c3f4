"""The work directory of a training: its lock, whether its training may be resumed, its records.

`train --help` lists the files. The checkpoint holds the settings and the fingerprint of the
training images; model.json holds the network, its mirror map and the names of its points. The
checks here raise InputError for a start that contradicts them, before anything is written.
"""

import contextlib
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks.contest import invalid_samples, point_names, table_files
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.samples import Samples
from keras_landmarks.layouts import mirror
from keras_landmarks.models import packaged, pretrained, spec
from keras_landmarks.models.keras_models import build_model
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.settings import TrainSettings, as_flag, fixed_settings
from keras_landmarks.training import checkpoint, distribution, records
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically, write_json
from keras_landmarks.utils.locks import exclusive_lock

CHECKPOINT, LOGS = "last.safetensors", "logs"
_INVALID_SAMPLES = "rejects.csv"


def lock(settings: TrainSettings) -> AbstractContextManager:
    """Returns a context within which no other training uses the work directory.

    Where several processes train together, process 0 holds the lock for all of them.

    Raises:
        BlockingIOError: another process trains there; the message names it.
        InputError: it is no folder.
    """
    packaged.require_folder(settings.files.workdir, "a training")
    if not distribution.is_first():
        return contextlib.nullcontext()
    return exclusive_lock(Path(settings.files.workdir))


# ── may the training in the work directory be resumed? ──


def check_settings(settings: TrainSettings) -> None:
    """Raises InputError if the training there was started with other settings, or lacks a file.

    `settings.fixed_settings` lists the settings that must be the same.
    """
    if not settings.run.resume:
        return
    workdir = Path(settings.files.workdir)
    state = workdir / CHECKPOINT
    checkpoint.check_settings(state, fixed_settings(settings.by_name()))
    epochs_done = checkpoint.read_position(state).epoch
    epochs_recorded = len(records.read_history(workdir / records.HISTORY_FILE))
    if epochs_recorded < epochs_done:
        raise InputError(
            f"{workdir / records.HISTORY_FILE}: missing or incomplete, it lists {epochs_recorded}"
            f" of {epochs_done} epochs; restore it, or start over with --noresume"
        )
    if epochs_done and not (workdir / BEST_WEIGHTS).exists():
        raise InputError(
            f"{workdir / BEST_WEIGHTS}: missing after {epochs_done} epochs; restore"
            " it, or start over with --noresume"
        )


def check_images(settings: TrainSettings, images: str) -> None:
    """Raises InputError if the training there uses images of another fingerprint."""
    if settings.run.resume:
        checkpoint.check_images(Path(settings.files.workdir) / CHECKPOINT, images)


def check_model(settings: TrainSettings, num_landmarks: int, mirror_map: np.ndarray | None) -> None:
    """Raises InputError if the training there has another network, or another mirror map."""
    if not settings.run.resume:
        return
    workdir = Path(settings.files.workdir)
    requested = model_spec(settings, num_landmarks, mirror_map)
    spec.check_workdir(workdir, requested)
    mirrors = "mirror" in settings.augmentation.augment_online
    if not mirrors or not (workdir / CHECKPOINT).exists():
        return
    if spec.read_spec(workdir).mirror != requested.mirror:
        raise InputError(
            f"{workdir} holds a training with another mirror map than --mirror: give the former"
            " one or another --workdir, or start over with --noresume"
        )


# ── the first stage ──


def begin_first_stage(settings: TrainSettings, num_landmarks: int) -> TrainSettings | None:
    """Returns the settings of a training that must come before the one in the work directory.

    None if there is none, or if the work directory is beyond it. With `--noresume` the files of an
    earlier training are removed, which a resumed one would find after the first stage.

    Raises:
        InputError: with `--noresume`, the initial weights do not fit.
    """
    first = settings.first_stage()
    if first is None or _is_begun(settings):
        return None
    if not settings.run.resume:
        _new_network(first, model_spec(first, num_landmarks))  # before anything is lost
        if distribution.is_first():
            _remove_training(Path(settings.files.workdir))
    distribution.wait_for_all("first stage")
    return first


def _is_begun(settings: TrainSettings) -> bool:
    return settings.run.resume and (Path(settings.files.workdir) / CHECKPOINT).exists()


# ── the network ──


def model_spec(
    settings: TrainSettings, num_landmarks: int, mirror_map: np.ndarray | None = None
) -> spec.ModelSpec:
    """Returns the specification of the network for these settings, with the names in `data`."""
    data = settings.files.data
    table = Path(data, "train", "landmarks.csv") if data else None
    names = point_names.find_names(table, num_landmarks) if table else None
    crop_spec, network = CropSpec.of(settings.crop), settings.network
    has_components = network.head == "shape"
    return spec.ModelSpec(
        network.model,
        num_landmarks,
        crop_spec.image_size,
        crop_spec.framing,
        crop_spec.trim_bands,
        network.normalisation,
        network.head,
        min(network.shape_components, 2 * num_landmarks) if has_components else 0,
        uncertainty=settings.loss.loss == "nll",
        mirror=mirror.as_json(mirror_map),
        point_names=names,
    )


def claim(
    settings: TrainSettings, num_landmarks: int, mirror_map: np.ndarray | None = None
) -> keras.Model:
    """Returns the network with its initial weights, and writes model.json into the work directory.

    With `--noresume` the files of an earlier training there are removed first.

    Raises:
        InputError: the work directory holds another network, or the initial weights do not fit.
    """
    requested = model_spec(settings, num_landmarks, mirror_map)
    # Before anything is written, so that a corrected command finds the folder as it was.
    network = _new_network(settings, requested)
    if distribution.is_first():
        workdir = Path(settings.files.workdir)
        if not settings.run.resume:
            _remove_training(workdir)
        spec.claim_workdir(workdir, requested)
    distribution.wait_for_all("work directory")
    return network


def _new_network(settings: TrainSettings, requested: spec.ModelSpec) -> keras.Model:
    """Returns the network; with its initial weights unless a checkpoint has others."""
    keras.utils.set_random_seed(settings.run.seed)
    network = build_model(requested, settings.network.precision)
    if not _is_begun(settings):
        pretrained.initialise(network, requested, settings.initial_weights)
    return network


def _remove_training(workdir: Path) -> None:
    # The checkpoint first, so that a training of which a kill left a part cannot be resumed.
    for name in (CHECKPOINT, records.HISTORY_FILE, BEST_WEIGHTS, spec.FILE_NAME):
        (workdir / name).unlink(missing_ok=True)
    shutil.rmtree(workdir / LOGS, ignore_errors=True)


# ── records ──


def write_records(settings: TrainSettings, samples: Samples, held_out: Sequence[str]) -> None:
    """Writes the settings, the held-out images' names, the versions and the invalid samples."""
    if not distribution.is_first():
        return
    workdir = Path(settings.files.workdir)
    write_flagfile(workdir / records.FLAGS_FILE, settings)
    rows = ([name] for name in held_out)
    table_files.write_rows(workdir / records.VALIDATION_FILE, ("file_name",), rows)
    write_json(workdir / records.VERSIONS_FILE, records.versions())
    if samples.invalid_samples:
        invalid_samples.write_invalid_samples(workdir / _INVALID_SAMPLES, samples.invalid_samples)
        logging.warning(
            "skipping %d invalid samples; %s lists them",
            len(samples.invalid_samples),
            workdir / _INVALID_SAMPLES,
        )
    else:
        (workdir / _INVALID_SAMPLES).unlink(missing_ok=True)  # of an earlier start


def write_flagfile(path: Path, settings: TrainSettings) -> None:
    """Writes settings as a flagfile; those without a value are left out.

    So is `--noresume`: who gives the file to resume the training must not lose it.
    """
    values = settings.by_name()
    del values["resume"]
    given = {name: value for name, value in values.items() if value not in (None, ())}
    write_atomically(path, "".join(f"{as_flag(name, value)}\n" for name, value in given.items()))
