"""The state of a training run on disk: one file, written whole, without pickle."""

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
from keras_landmarks.training import distribution
from keras_landmarks.training.optimizer import AVERAGED_STEPS, averages_of
from keras_landmarks.training.settings import as_flag
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically


class Position(NamedTuple):
    """How far a run has come: whole epochs, and steps of the one after them."""

    epoch: int
    step: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epoch + 1}, step {self.step + 1}"  # the next ones, counted from 1


def save_checkpoint(
    path: Path,
    model: keras.Model,
    position: Position,
    steps_per_epoch: int,
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Writes the variables of the model, of its optimiser and of its metrics, and how far it is.

    `notes` are of `run_notes`.
    """
    variables = _variables(model) | _metrics(model)
    arrays = {name: variable.numpy() for name, variable in variables.items()}
    facts = position._asdict() | {"steps_per_epoch": steps_per_epoch, **notes}
    # One entry: several would be written in an order that changes from run to run.
    write_atomically(path, safetensors.numpy.save(arrays, {"run": json.dumps(facts)}))


def run_notes(images: str, settings: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Returns what a run's state says of how it is trained, to compare with when it goes on.

    Args:
        images: the fingerprint of the training images.
        settings: those of `settings.fixed_settings`.
        epochs: how many were asked for.
    """
    return {"images": images, "settings": settings, "epochs": epochs}


def read_position(path: Path) -> Position:
    """Returns how far the run had come; the start if there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return Position(0)
    with _input_errors(path):
        return _read_position(_read_facts(path))[0]


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Raises InputError if `path` is the state of a run that was begun with other settings.

    A state that tells none, of an earlier version of this program, goes with any.
    """
    if not path.exists():
        return
    with _input_errors(path):
        theirs = dict(_read_facts(path).get("settings", {}))
    different = [name for name in settings if theirs.get(name, settings[name]) != settings[name]]
    if different:
        has, asked = (
            " ".join(as_flag(name, values[name]) for name in different)
            for values in (theirs, settings)
        )
        raise InputError(
            f"{path.parent} holds a run with {has}, not {asked}: go on with the former, start over"
            f" with --noresume, or give another --workdir and --init_weights={path.parent} to train"
            " on from its weights"
        )


def read_epochs_asked(path: Path) -> int | None:
    """Returns how many epochs the run was last asked for; None if the state does not tell."""
    with _input_errors(path):
        return _read_facts(path).get("epochs") if path.exists() else None


def check_images(path: Path, images: str) -> None:
    """Raises InputError if `path` is the state of a run on images of another fingerprint.

    A state that tells none, of an earlier version of this program, goes with any.
    """
    if path.exists() and _read_facts(path).get("images") not in (None, images):
        raise InputError(
            f"{path.parent} was trained on other images (--data, their points, or which of them to"
            " train on); give another --workdir, or --noresume to start over, or"
            f" --init_weights={path.parent} to train on from it in another"
        )


def restore_checkpoint(
    path: Path, model: keras.Model, steps_per_epoch: int
) -> tuple[Position, list[np.ndarray]]:
    """Fills the compiled model and its optimiser from `path`.

    Returns:
        How far the run had come, the start if there is no such file, and the values of the model's
        metrics there: `fit` empties those at an epoch's start.

    Raises:
        InputError: the file is damaged, another model's, amid an epoch of another length, or not
            the same for all processes.
    """
    position, arrays = _read(path, steps_per_epoch)
    distribution.check_agreement([*position, steps_per_epoch], f"{path} and the data's epochs")
    return position, [] if arrays is None else _fill(path, model, arrays)


def _read(path: Path, steps_per_epoch: int) -> tuple[Position, dict[str, np.ndarray] | None]:
    """Returns how far the run had come and its arrays, by name; None if there is no file."""
    if not path.exists():
        return Position(0), None
    with _input_errors(path):
        position, steps = _read_position(_read_facts(path))
        arrays = safetensors.numpy.load_file(path)
    if position.step and steps != steps_per_epoch:
        raise InputError(
            f"{path}: amid an epoch of {steps} steps; now there are {steps_per_epoch}: give the"
            " flags and the data that it began with, or --noresume"
        )
    return position, arrays


def _fill(path: Path, model: keras.Model, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Assigns the model's and the optimiser's variables; returns the metrics' values."""
    model.optimizer.build(model.trainable_variables)
    variables, metrics = _variables(model), _metrics(model)
    if averages_of(model.optimizer):
        count = model.optimizer.averaged_steps.path
        earlier = count.replace(AVERAGED_STEPS, "iteration")  # did for both in earlier versions
        if count not in arrays and earlier in arrays:
            arrays[count] = arrays[earlier]
    if {name: (array.shape, array.dtype.name) for name, array in arrays.items()} != {
        name: (tuple(v.shape), v.dtype) for name, v in (variables | metrics).items()
    }:
        raise InputError(f"{path}: the state of another model; give another --workdir")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return [arrays[name] for name in metrics]


@contextlib.contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); --noresume starts over") from None


def _read_facts(path: Path) -> dict[str, Any]:
    """Returns what a state tells of itself."""
    with _input_errors(path), safetensors.safe_open(path, "numpy") as file:
        return dict(json.loads(file.metadata()["run"]))


def _read_position(facts: dict[str, Any]) -> tuple[Position, int]:
    """Returns how far the run had come, and the steps of an epoch; ValueError if that is absurd."""
    numbers = [facts[name] for name in (*Position._fields, "steps_per_epoch")]
    *position, steps = numbers
    if any(type(number) is not int or number < 0 for number in numbers) or position[1] >= steps:
        raise ValueError(f"it says {str(facts)[:80]}")
    return Position(*position), steps


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    return {variable.path: variable for variable in model.variables + model.optimizer.variables}


def _metrics(model: keras.Model) -> dict[str, keras.Variable]:
    return {f"metrics/{index}": v for index, v in enumerate(model.metrics_variables)}
