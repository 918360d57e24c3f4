"""Checkpoints: the whole state of a training in one safetensors file, written atomically.

It holds the weights, the optimiser, the sums of the metrics, the position, and a record of what
must not change. The order of the images and their augmentation are functions of seed, epoch and
row, so nothing else is needed to resume bit for bit. Safetensors is one file without pickle; the
best weights are in a .weights.h5 file, which Keras reads. Orbax would be worth using if several
hosts each held a part of the weights.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.settings import TrainSettings, as_flag, fixed_settings, with_new_names
from keras_landmarks.training import distribution
from keras_landmarks.training.optimizer import AVERAGED_STEPS, averages_of
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

_IMAGES = "training_images"  # earlier versions recorded another fingerprint, as "images"


class Position(NamedTuple):
    """How far a training has come: finished epochs, and finished steps of the next one."""

    epoch: int
    step: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epoch + 1}, step {self.step + 1}"  # counted from 1


def save_checkpoint(
    path: Path,
    model: keras.Model,
    position: Position,
    steps_per_epoch: int,
    record: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Writes the variables of the model, its optimiser and its metrics, and the position.

    Args:
        path: the file to write.
        model: the compiled model.
        position: how far the training has come.
        steps_per_epoch: steps of a whole epoch.
        record: the training's record, from `training_record`.
    """
    variables = _variables(model) | _metrics(model)
    arrays = {name: variable.numpy() for name, variable in variables.items()}
    run = position._asdict() | {"steps_per_epoch": steps_per_epoch, **record}
    # One entry: safetensors writes several in an order that changes from run to run.
    write_atomically(path, safetensors.numpy.save(arrays, {"run": json.dumps(run)}))


def training_record(images: str, settings: TrainSettings) -> dict[str, Any]:
    """Returns the record of a training in its checkpoint, which is compared when it resumes.

    Args:
        images: the fingerprint of the training images.
        settings: of the training.
    """
    return {
        _IMAGES: images,
        "settings": fixed_settings(settings.by_name()),
        "epochs": settings.schedule.epochs,
    }


def read_position(path: Path) -> Position:
    """Returns how far the training had come; the start if there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    with _input_errors(path):
        run = _read_run(path)
        return _read_position(run)[0] if run else Position(0)


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Raises InputError if `path` is the checkpoint of a training with other settings.

    A checkpoint of an earlier version, which records no settings, fits any.
    """
    with _input_errors(path):
        recorded = with_new_names(_read_run(path).get("settings", {}))
    different = [name for name in settings if recorded.get(name, settings[name]) != settings[name]]
    if different:
        before, now = (
            " ".join(as_flag(name, values[name]) for name in different)
            for values in (recorded, settings)
        )
        raise InputError(
            f"{path.parent} holds a training with {before}, not {now}: resume it with the former,"
            " start over with --noresume, or give another --workdir and"
            f" --init_weights={path.parent} to continue from its weights"
        )


def read_epochs(path: Path) -> int | None:
    """Returns the `--epochs` of the last start; None if the checkpoint does not record it."""
    return _read_run(path).get("epochs")


def check_images(path: Path, images: str) -> None:
    """Raises InputError if `path` is the checkpoint of a training on other images.

    A checkpoint of an earlier version, which records no fingerprint, fits any.
    """
    if _read_run(path).get(_IMAGES) not in (None, images):
        raise InputError(
            f"{path.parent} was trained on other images (--data, their points, which of them to"
            " train on, or the 'head' in layout.json); give another --workdir, start over with"
            f" --noresume, or give --init_weights={path.parent} and another --workdir to continue"
            " from its weights"
        )


def restore_checkpoint(
    path: Path, model: keras.Model, steps_per_epoch: int
) -> tuple[Position, list[np.ndarray]]:
    """Fills the compiled model and its optimiser from the checkpoint.

    Returns:
        How far the training had come, the start if there is no such file, and the values of the
        model's metrics there, which `fit` resets at the start of an epoch.

    Raises:
        InputError: the file is damaged or another model's, was written in an epoch of another
            length, or is not the same for all processes.
    """
    position, arrays = _read(path, steps_per_epoch)
    distribution.check_agreement([*position, steps_per_epoch], f"{path} and the data's epochs")
    return position, [] if arrays is None else _fill(path, model, arrays)


def _read(path: Path, steps_per_epoch: int) -> tuple[Position, dict[str, np.ndarray] | None]:
    """Returns the position and the arrays by name, which are None if there is no file."""
    if not path.exists():
        return Position(0), None
    with _input_errors(path):
        position, steps = _read_position(_read_run(path))
        arrays = safetensors.numpy.load_file(path)
    if position.step and steps != steps_per_epoch:
        raise InputError(
            f"{path}: written in an epoch of {steps} steps; now an epoch has {steps_per_epoch}:"
            " give the same flags and data, or start over with --noresume"
        )
    return position, arrays


def _fill(path: Path, model: keras.Model, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Assigns the model's and the optimiser's variables; returns the metrics' values."""
    model.optimizer.build(model.trainable_variables)
    variables, metrics = _variables(model), _metrics(model)
    if averages_of(model.optimizer):
        count = model.optimizer.averaged_steps.path
        earlier = count.replace(AVERAGED_STEPS, "iteration")  # served both in earlier versions
        if count not in arrays and earlier in arrays:
            arrays[count] = arrays[earlier]
    if {name: (array.shape, array.dtype.name) for name, array in arrays.items()} != {
        name: (tuple(v.shape), v.dtype) for name, v in (variables | metrics).items()
    }:
        raise InputError(f"{path}: the checkpoint of another model; give another --workdir")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return [arrays[name] for name in metrics]


@contextlib.contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); --noresume starts over") from None


def _read_run(path: Path) -> dict[str, Any]:
    """Returns the position and the record of a checkpoint; nothing if there is no such file."""
    if not path.exists():
        return {}
    with _input_errors(path), safetensors.safe_open(path, "numpy") as file:
        return dict(json.loads(file.metadata()["run"]))


def _read_position(run: dict[str, Any]) -> tuple[Position, int]:
    """Returns the position and the steps of an epoch; ValueError if they make no sense."""
    numbers = [run[name] for name in (*Position._fields, "steps_per_epoch")]
    *position, steps = numbers
    if any(type(number) is not int or number < 0 for number in numbers) or position[1] >= steps:
        raise ValueError(f"it holds {str(run)[:80]}")
    return Position(*position), steps


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    return {variable.path: variable for variable in model.variables + model.optimizer.variables}


def _metrics(model: keras.Model) -> dict[str, keras.Variable]:
    return {f"metrics/{index}": v for index, v in enumerate(model.metrics_variables)}
