"""Weight files: safetensors with torchvision's names, and the `.weights.h5` that Keras writes.

Both are read by our own code. Keras's `load_weights` ignores layers that only the file has, and has
already changed part of the model when it finds the first mismatch. Here all mismatches are reported
in one error, and the model is changed only if there are none.
"""

import os
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy
from absl import logging

from keras_landmarks.models import heads
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

BEST_WEIGHTS = "best.weights.h5"

_PICKLE_SUFFIXES = {".pth", ".pt", ".bin", ".ckpt", ".pkl"}
# PyTorch's names for the weights of a layer, in Keras's order. The number of weights tells the kind
# of layer: one without weights, a convolution, a linear layer, a batch normalisation.
_WEIGHT_NAMES = {
    0: (),
    1: ("weight",),
    2: ("weight", "bias"),
    4: ("weight", "bias", "running_mean", "running_var"),
}


def load_weights(
    model: keras.Model, path: str | os.PathLike, skip_mismatched_head: bool = False
) -> list[str]:
    """Sets all weights of a model from a file, or none of them.

    Args:
        model: the model to change.
        path: a `.safetensors` file with torchvision's names, a `.weights.h5` file of Keras, or a
            work directory, which holds `best.weights.h5`.
        skip_mismatched_head: keep the model's head as it is if the file's head is of another kind
            or has another number of outputs.

    Returns:
        The names of the weights that were skipped.

    Raises:
        InputError: the file is missing or broken, may contain code (a pickle), or its names or
            shapes differ from the model's.
    """
    path = _weight_file(Path(path))
    arrays = _read_safetensors(path) if path.suffix == ".safetensors" else _read_h5(path)
    variables = named_variables(model)

    skipped = []
    if skip_mismatched_head and _head_shapes(arrays) != _head_shapes(variables):
        skipped = list(_head_shapes(variables))
        for name in _head_shapes(arrays):
            del arrays[name]
        for name in skipped:
            del variables[name]
        logging.info("%s: its head does not fit and is not loaded", path)

    if mismatches := _mismatches(variables, arrays):
        raise InputError(f"{path}: not weights of this model: {mismatches}")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return skipped


def save_safetensors(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the weights with torchvision's names and memory layout, atomically."""
    arrays = {name: _to_torch(np.asarray(v.value)) for name, v in named_variables(model).items()}
    write_atomically(Path(path), safetensors.numpy.save(arrays))


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns all weights of a model by torchvision's name. The state of dropout is no weight."""
    return {
        f"{layer.name}.{name}": variable
        for layer in model.layers
        for name, variable in zip(_WEIGHT_NAMES[len(layer.weights)], layer.weights, strict=True)
    }


def _weight_file(path: Path) -> Path:
    """Returns the file that `path` means; InputError if it is missing or of another format."""
    if path.suffix in _PICKLE_SUFFIXES:
        raise InputError(f"{path}: a pickle can run code: convert it to .safetensors first")
    if path.is_dir():
        path /= BEST_WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: no such file: give a .safetensors or .weights.h5 file")
    if not path.name.endswith((".safetensors", ".weights.h5")):
        raise InputError(f"{path}: not a weight file: give a .safetensors or .weights.h5 file")
    return path


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays by torchvision's name, in Keras's memory layout."""
    try:
        arrays = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: broken ({_one_line(error)}): fetch it again") from error
    return {
        name: _to_keras(array)
        for name, array in arrays.items()
        if not name.endswith(".num_batches_tracked")
    }


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays by torchvision's name, in Keras's memory layout."""
    arrays = {}
    try:
        with h5py.File(path) as file:
            for layer in file["layers"].values():
                weights = layer["vars"]
                for index, name in enumerate(_WEIGHT_NAMES[len(weights)]):
                    dataset = weights[str(index)]
                    _check_dataset(dataset, file, path.stat().st_size)
                    arrays[f"{weights.attrs['name']}.{name}"] = dataset[()]
    except Exception as error:  # h5py raises a dozen kinds for a broken file
        raise InputError(
            f"{path}: broken, or not written by this package ({_one_line(error)}): use another"
        ) from error
    return arrays


def _check_dataset(dataset: h5py.Dataset, file: h5py.File, file_bytes: int) -> None:
    """Raises ValueError unless the values of a dataset are stored in this file.

    An HDF5 file can refer to other files, and can declare huge arrays that were never written.
    """
    is_elsewhere = dataset.file != file or dataset.is_virtual or dataset.external
    if is_elsewhere or dataset.nbytes > file_bytes:
        raise ValueError(f"{dataset.name} is not stored in this file")


def _to_keras(array: np.ndarray) -> np.ndarray:
    """OIHW → HWIO and (outputs, inputs) → (inputs, outputs)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _to_torch(array: np.ndarray) -> np.ndarray:
    """The inverse of `_to_keras`; contiguous, because safetensors writes the buffer as it is."""
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def _head_shapes(values) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of those values, by name, that belong to the head."""
    return {
        name: tuple(value.shape)
        for name, value in values.items()
        if name.partition(".")[0] in heads.LAYER_NAMES
    }


def _mismatches(variables, arrays) -> str:
    """Describes why `arrays` are not values for `variables`; empty if they are."""
    wrong_shapes = [
        f"{name} {arrays[name].shape}, not {tuple(variable.shape)}"
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape != tuple(variable.shape)
    ]
    wrong_dtypes = [
        f"{name} {array.dtype}"
        for name, array in arrays.items()
        if not np.issubdtype(array.dtype, np.floating)
    ]
    kinds = {
        "missing": [name for name in variables if name not in arrays],
        "unexpected": [name for name in arrays if name not in variables],
        "wrong shape": wrong_shapes,
        "not floating-point": wrong_dtypes,
    }
    return "; ".join(f"{kind}: {_abbreviate(names)}" for kind, names in kinds.items() if names)


def _abbreviate(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
