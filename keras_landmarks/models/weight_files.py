"""Reads weight files into arrays, without Keras, which takes seconds to start.

The files are safetensors with torchvision's names and the `.weights.h5` that Keras writes. Both are
read by our own code: Keras's `load_weights` ignores layers that only the file has, and has already
changed part of the model when it finds the first mismatch.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy

from keras_landmarks.models import packaged
from keras_landmarks.utils.errors import InputError

BEST_WEIGHTS = "best.weights.h5"
# Names of texts in the header of a .safetensors file: the description of a model whose weights the
# file holds, and the checksum of everything in the file.
EMBEDDED, CHECKSUM = "landmarks.json", "sha256"

# PyTorch's names for the weights of a layer, in Keras's order. The number of weights tells the kind
# of layer: one without weights, a convolution, a linear layer, a batch normalisation.
NORM_WEIGHTS = ("weight", "bias", "running_mean", "running_var")
WEIGHT_NAMES = {0: (), 1: ("weight",), 2: ("weight", "bias"), 4: NORM_WEIGHTS}
_PICKLE_SUFFIXES = {".pth", ".pt", ".bin", ".ckpt", ".pkl"}


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a weight file by torchvision's names, in Keras's memory layout.

    Args:
        path: a `.safetensors` file with torchvision's names, a `.weights.h5` file of Keras, a work
            directory, which holds `best.weights.h5`, or the name of a packaged model.

    Raises:
        InputError: the file is missing or broken, or may contain code (a pickle).
    """
    path = _find_weight_file(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_h5(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Returns the texts in the header of a `.safetensors` file; InputError if it is broken."""
    return _parse_safetensors(path)[1]


def checksum(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> str:
    """Returns the checksum of a `.safetensors` file's arrays and the texts in its header."""
    digest = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def check_shapes(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], path: str | Path
) -> None:
    """Raises InputError, naming the file, unless the arrays have these names and shapes."""
    wrong_shapes = [
        f"{name} {arrays[name].shape}, not {shape}"
        for name, shape in shapes.items()
        if name in arrays and arrays[name].shape != shape
    ]
    wrong_dtypes = [
        f"{name} {array.dtype}"
        for name, array in arrays.items()
        if not np.issubdtype(array.dtype, np.floating)
    ]
    kinds = {
        "missing": [name for name in shapes if name not in arrays],
        "unexpected": [name for name in arrays if name not in shapes],
        "wrong shape": wrong_shapes,
        "not floating-point": wrong_dtypes,
    }
    found = [f"{kind}: {_abbreviate(names)}" for kind, names in kinds.items() if names]
    if found:
        raise InputError(f"{path}: not weights of this model: {'; '.join(found)}")


def _find_weight_file(path: str | Path) -> Path:
    """Returns the file that a path means; InputError if it is missing or of another format."""
    path = packaged.resolve(path)
    if path.suffix in _PICKLE_SUFFIXES:
        raise InputError(f"{path}: a pickle can run code: convert it to .safetensors first")
    if path.is_dir():
        path /= BEST_WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: no such file: give a .safetensors or .weights.h5 file")
    if not path.name.endswith((".safetensors", ".weights.h5")):
        raise InputError(f"{path}: not a weight file: give a .safetensors or .weights.h5 file")
    return path


def to_torch(array: np.ndarray) -> np.ndarray:
    """Returns an array of Keras's memory layout in PyTorch's: HWIO → OIHW, (in, out) → (out, in).

    It is contiguous, because safetensors writes the buffer as it is.
    """
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def _to_keras(array: np.ndarray) -> np.ndarray:
    """The inverse of `to_torch`."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    arrays, _ = _parse_safetensors(path)
    return {
        name: _to_keras(array)
        for name, array in arrays.items()
        if not name.endswith(".num_batches_tracked")
    }


def _parse_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays and the texts of a file whose checksum, if it has one, is right."""
    content = path.read_bytes()
    try:
        arrays = safetensors.numpy.load(content)
        header = content[8 : 8 + int.from_bytes(content[:8], "little")]
        texts = json.loads(header).get("__metadata__") or {}
        described_by = {name: text for name, text in texts.items() if name != CHECKSUM}
        # A file of this package has both a description and a checksum, or neither.
        if EMBEDDED in texts and texts.get(CHECKSUM) != checksum(arrays, described_by):
            raise ValueError("its checksum differs")
    except (
        *(safetensors.SafetensorError, AttributeError, KeyError, RecursionError),
        *(TypeError, ValueError),
    ) as error:
        raise InputError(f"{path}: broken ({_one_line(error)}): fetch it again") from error
    return arrays, texts


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    try:
        with h5py.File(path) as file:
            for layer in file["layers"].values():
                weights = layer["vars"]
                for index, name in enumerate(WEIGHT_NAMES[len(weights)]):
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


def _abbreviate(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
