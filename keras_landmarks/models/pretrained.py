"""Weights from files: torchvision's and timm's as safetensors, our own as Keras writes them."""

import os
from pathlib import Path

import h5py
import huggingface_hub
import numpy as np
import safetensors.numpy
from absl import logging

from keras_landmarks.models import heads, keras_applications, registry
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

# PyTorch's names of a layer's variables, by how many Keras keeps of it and in Keras' order: a layer
# without any, a convolution, the linear head, a batch normalisation.
VARIABLE_NAMES = {
    0: (),
    1: ("weight",),
    2: ("weight", "bias"),
    4: ("weight", "bias", "running_mean", "running_var"),
}
PICKLE_SUFFIXES = {".pth", ".pt", ".bin", ".ckpt", ".pkl"}
_ONLY_HERE = {"tiny", "resnet18_half"}
BEST_WEIGHTS = "best.weights.h5"


def initialise(model: keras.Model, name: str, source: str) -> None:
    """Gives a new network of that name its first weights.

    `source` is "imagenet" (fetched), "none" (stays random) or a path as `load_weights` takes it. A
    head of another kind or number of outputs stays random.

    Raises:
        InputError: the weights cannot be fetched, read or do not fit.
    """
    if source == "none":
        return
    if source == "imagenet" and name in registry.LIBRARY:
        keras_applications.set_imagenet_weights(model, name)
        return
    path = fetch_imagenet(name) if source == "imagenet" else source
    load_weights(model, path, any_head=True)


def fetch_imagenet(name: str) -> str:
    """The path of torchvision's ImageNet weights of member `name`, downloaded once and cached.

    Source: the first torchvision weights ("tv_in1k") as timm keeps them on the Hugging Face hub.

    Raises:
        InputError: the member has none, or the hub cannot be reached.
    """
    if name in _ONLY_HERE:
        raise InputError(f"model {name!r} has no ImageNet weights: pass --init_weights=none")
    repository, filename = f"timm/{name}.tv_in1k", "model.safetensors"
    try:
        return huggingface_hub.hf_hub_download(repository, filename)
    except Exception as error:  # the hub's client lets errors of several libraries through
        raise InputError(
            f"cannot download {filename} of {repository} from the Hugging Face hub "
            f"({_one_line(error)}): fetch it by hand and pass --init_weights=PATH"
        ) from error


def load_weights(model: keras.Model, path: str | os.PathLike, any_head: bool = False) -> list[str]:
    """Sets every variable of `model` from a file, or none of them.

    `path` is a `.safetensors` file with torchvision's names, a `.weights.h5` file of Keras, or a
    work directory, which holds `best.weights.h5`. With `any_head`, a head of another kind or number
    of outputs is left alone. Returns the names of the variables left alone.

    Raises:
        InputError: the file is missing or broken, could run code (a pickle), or holds other names
            or shapes than the model's; all of them are named at once.
    """
    path = _weights_file(Path(path))
    arrays = _read_safetensors(path) if path.suffix == ".safetensors" else _read_h5(path)
    variables = _variables(model)

    left_alone = []
    if any_head and _shapes_of_head(arrays) != _shapes_of_head(variables):
        left_alone = list(_shapes_of_head(variables))
        for name in _shapes_of_head(arrays):
            del arrays[name]
        for name in left_alone:
            del variables[name]
        logging.info("%s: its head is not used, ours keeps its initial values", path)

    if problems := _problems(variables, arrays):
        raise InputError(f"{path}: not weights of this model: {problems}")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return left_alone


def save_safetensors(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the weights with torchvision's names and layout, whole or not at all."""
    arrays = {name: _to_torch(np.asarray(v.value)) for name, v in _variables(model).items()}
    write_atomically(Path(path), safetensors.numpy.save(arrays))


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Every weight of the model by torchvision's name; the seeds of dropout are none."""
    return {
        f"{layer.name}.{name}": variable
        for layer in model.layers
        for name, variable in zip(VARIABLE_NAMES[len(layer.weights)], layer.weights, strict=True)
    }


def _weights_file(path: Path) -> Path:
    if path.suffix in PICKLE_SUFFIXES:
        raise InputError(f"{path}: a pickle can run code: convert it to .safetensors first")
    if path.is_dir():
        path /= BEST_WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: no such file: give a .safetensors or .weights.h5 file")
    if not path.name.endswith((".safetensors", ".weights.h5")):
        raise InputError(f"{path}: not weights: give a .safetensors or .weights.h5 file")
    return path


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Arrays by torchvision's name, in Keras' layout."""
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
    """Arrays by torchvision's name, in Keras' layout.

    Keras' own `load_weights` overlooks layers left over in the file and has changed the model by
    the time it finds another mistake. HDF5 takes values from other files and makes arrays of what
    was never written, if a file says so; neither is done here.
    """
    arrays = {}
    try:
        with h5py.File(path) as file:
            for layer in file["layers"].values():
                stored = layer["vars"]
                for index, name in enumerate(VARIABLE_NAMES[len(stored)]):
                    data = stored[str(index)]
                    elsewhere = data.file != file or data.is_virtual or data.external
                    if elsewhere or data.nbytes > path.stat().st_size:
                        raise ValueError(f"{data.name} lies in another file or is not there")
                    arrays[f"{stored.attrs['name']}.{name}"] = data[()]
    except Exception as error:  # h5py raises a dozen kinds for a broken file
        raise InputError(
            f"{path}: broken or not of this package ({_one_line(error)}): use another"
        ) from error
    return arrays


def _to_keras(array: np.ndarray) -> np.ndarray:
    """OIHW → HWIO and (outputs, inputs) → (inputs, outputs)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _to_torch(array: np.ndarray) -> np.ndarray:
    """The inverse of `_to_keras`; contiguous, because safetensors writes memory as it lies."""
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def _shapes_of_head(values) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape)
        for name, value in values.items()
        if name.partition(".")[0] in heads.LAYERS
    }


def _problems(variables, arrays) -> str:
    """What keeps `arrays` from being the values of `variables`; empty if nothing does."""
    misshapen = [
        f"{name} {arrays[name].shape}, not {tuple(variable.shape)}"
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape != tuple(variable.shape)
    ]
    no_floats = [
        f"{name} {array.dtype}"
        for name, array in arrays.items()
        if not np.issubdtype(array.dtype, np.floating)
    ]
    kinds = {
        "missing": [name for name in variables if name not in arrays],
        "left over": [name for name in arrays if name not in variables],
        "of another shape": misshapen,
        "of another type": no_floats,
    }
    return "; ".join(f"{kind}: {_first(names)}" for kind, names in kinds.items() if names)


def _first(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
