"""Sets the weights of a Keras model from files, and writes them to files.

All mismatches between a model and a file are reported in one error, and the model is changed only
if there are none.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import safetensors.numpy
from absl import logging

from keras_landmarks.models import heads, weight_files
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.weight_files import WEIGHT_NAMES, to_torch
from keras_landmarks.utils.files import write_atomically


def load_weights(
    model: keras.Model,
    path: str | os.PathLike,
    skip_mismatched_head: bool = False,
    skip_head: bool = False,
) -> list[str]:
    """Sets all weights of a model from a file, or none of them.

    Args:
        model: the model to change.
        path: a weight file as `weight_files.read_arrays` takes it.
        skip_mismatched_head: keep those layers of the model's head as they are that the file does
            not have, or has for another number of landmarks, components or pixels.
        skip_head: keep the whole head as it is.

    Returns:
        The names of the weights that were skipped.

    Raises:
        InputError: the file is missing or broken, may contain code (a pickle), or its names or
            shapes differ from the model's.
    """
    arrays = weight_files.read_arrays(path)
    variables = named_variables(model)

    skipped = []
    if skip_mismatched_head or skip_head:
        for layers in heads.LAYER_NAMES:
            theirs, ours = (_of_layers(layers, values) for values in (arrays, variables))
            if skip_head or _shapes(theirs) != _shapes(ours):
                skipped += ours
                arrays = {name: arrays[name] for name in arrays if name not in theirs}
                variables = {name: variables[name] for name in variables if name not in ours}
    if skipped:
        names = ", ".join(skipped)
        logging.info("%s: the head is not taken as it is: %s", path, names)

    weight_files.check_shapes(arrays, _shapes(variables), path)
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return skipped


def save_safetensors(
    model: keras.Model,
    path: str | os.PathLike,
    half_precision: bool = False,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes the weights with torchvision's names and memory layout, atomically.

    Args:
        model: the model.
        path: the file.
        half_precision: store kernels in float16. All else stays float32: the mean shape of a head
            is as large as the image, where float16 has steps of a tenth of a pixel.
        metadata: texts for the file's header. If there are any, a checksum is added to them.
    """
    arrays = {name: to_torch(np.asarray(v.value)) for name, v in named_variables(model).items()}
    if half_precision:
        arrays = {n: np.float16(a) if a.ndim > 1 else a for n, a in arrays.items()}
    texts = dict(metadata)
    if texts:
        texts[weight_files.CHECKSUM] = weight_files.checksum(arrays, texts)
    write_atomically(Path(path), safetensors.numpy.save(arrays, texts))


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns all weights of a model by torchvision's name. The state of dropout is no weight."""
    return {
        f"{layer.name}.{name}": variable
        for layer in model.layers
        for name, variable in zip(WEIGHT_NAMES[len(layer.weights)], layer.weights, strict=True)
    }


def _of_layers(layers: tuple[str, ...], values: Mapping) -> dict:
    """Returns the values of these layers."""
    return {name: values[name] for name in values if name.rpartition(".")[0] in layers}


def _shapes(values: Mapping) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in values.items()}
