"""The state of a training run on disk: one file, written whole, without pickle."""

import json
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import safetensors
import safetensors.numpy

from keras_landmarks.errors import InputError
from keras_landmarks.files import write_whole
from keras_landmarks.training import distribution


class Position(NamedTuple):
    """How far a run has come: whole epochs, and steps of the one after them."""

    epoch: int
    step: int = 0

    def __str__(self) -> str:
        return f"{self.epoch} epochs" + (f" and {self.step} steps" if self.step else "")


def save_state(path: Path, model: keras.Model, position: Position, steps_per_epoch: int) -> None:
    """Writes the variables of the model, of its optimiser and of its metrics, and how far it is."""
    arrays = {name: variable.numpy() for name, variable in _variables(model).items()}
    arrays |= {f"metrics/{i}": v.numpy() for i, v in enumerate(model.metrics_variables)}
    facts = position._asdict() | {"steps_per_epoch": steps_per_epoch}
    # One entry: several would be written in an order that changes from run to run.
    write_whole(path, safetensors.numpy.save(arrays, {"run": json.dumps(facts)}))


def restore_state(
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
    position, metrics, arrays = _read(path, model, steps_per_epoch)
    distribution.check_agreement([*position, steps_per_epoch], f"{path} and the data's epochs")
    if arrays:
        _fill(path, model, arrays)
    return position, metrics


def _read(
    path: Path, model: keras.Model, steps_per_epoch: int
) -> tuple[Position, list[np.ndarray], dict[str, np.ndarray]]:
    """Returns how far the run had come, its metrics, and all else by name."""
    if not path.exists():
        return Position(0), [], {}
    try:
        with safetensors.safe_open(path, "numpy") as file:
            facts = json.loads(file.metadata()["run"])
        arrays = safetensors.numpy.load_file(path)
        position = Position(int(facts["epoch"]), int(facts["step"]))
        metrics = [arrays.pop(f"metrics/{i}") for i, _ in enumerate(model.metrics_variables)]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({error}); --noresume starts over") from None
    if position.step and facts.get("steps_per_epoch") != steps_per_epoch:
        raise InputError(
            f"{path}: amid an epoch of {facts.get('steps_per_epoch')} steps; now there are"
            f" {steps_per_epoch}: give the flags and the data that it began with, or --noresume"
        )
    return position, metrics, arrays


def _fill(path: Path, model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    if {name: array.shape for name, array in arrays.items()} != {
        name: tuple(variable.shape) for name, variable in variables.items()
    }:
        raise InputError(f"{path}: the state of another model; give another --workdir")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    return {variable.path: variable for variable in model.variables + model.optimizer.variables}
