"""The state of a training run on disk: one file, written whole, without pickle."""

import json
from pathlib import Path

import keras
import safetensors
import safetensors.numpy

from keras_landmarks.errors import InputError
from keras_landmarks.files import write_whole


def save_state(path: Path, model: keras.Model, epochs_done: int) -> None:
    """Writes the model's and its optimiser's variables and the epochs that made them."""
    arrays = {name: variable.numpy() for name, variable in _variables(model).items()}
    write_whole(path, safetensors.numpy.save(arrays, {"epochs_done": json.dumps(epochs_done)}))


def restore_state(path: Path, model: keras.Model) -> int:
    """Fills the compiled model from `path`; returns the epochs done, 0 if there is no such file.

    Raises:
        InputError: the file is damaged or another model's.
    """
    if not path.exists():
        return 0
    try:
        with safetensors.safe_open(path, "numpy") as file:
            epochs_done = int(file.metadata()["epochs_done"])
        if epochs_done < 0:
            raise ValueError(f"{epochs_done} epochs done")
        arrays = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it to start over") from None
    model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    if {name: (array.shape, array.dtype.name) for name, array in arrays.items()} != {
        name: (tuple(variable.shape), variable.dtype) for name, variable in variables.items()
    }:
        raise InputError(f"{path}: the state of another model; give another --workdir")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return epochs_done


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    return {variable.path: variable for variable in model.variables + model.optimizer.variables}
