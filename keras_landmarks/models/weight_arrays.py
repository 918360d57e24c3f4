"""Reads weight files into arrays, without Keras, which takes seconds to start.

The files are safetensors with torchvision's names and the `.weights.h5` that Keras writes. Both are
read by our own code: Keras's `load_weights` ignores layers that only the file has, and has already
changed part of the model when it finds the first mismatch.
"""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy

from keras_landmarks.models import packaged
from keras_landmarks.utils.errors import InputError

BEST_WEIGHTS = "best.weights.h5"
CHECKSUM = "sha256"  # in a .safetensors file's metadata: of everything after its header

# PyTorch's names for the weights of a layer, in Keras's order. The number of weights tells the kind
# of layer: one without weights, a convolution, a linear layer, a batch normalisation.
WEIGHT_NAMES = {
    0: (),
    1: ("weight",),
    2: ("weight", "bias"),
    4: ("weight", "bias", "running_mean", "running_var"),
}
_PICKLE_SUFFIXES = {".pth", ".pt", ".bin", ".ckpt", ".pkl"}


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a weight file by torchvision's names, in Keras's memory layout.

    Args:
        path: a `.safetensors` file with torchvision's names, a `.weights.h5` file of Keras, a work
            directory, which holds `best.weights.h5`, or the name of a packaged model.

    Raises:
        InputError: the file is missing or broken, or may contain code (a pickle).
    """
    path = find_weight_file(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_h5(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Returns the texts in the header of a `.safetensors` file; InputError if it is broken."""
    try:
        header, _ = _split(path.read_bytes())
        return json.loads(header).get("__metadata__", {})
    except (AttributeError, OSError, RecursionError, ValueError) as error:
        raise _broken(path, error) from error


def checksum(safetensors_content: bytes) -> str:
    """Returns the checksum of the arrays in a `.safetensors` file's content."""
    return hashlib.sha256(_split(safetensors_content)[1]).hexdigest()


def find_weight_file(path: str | Path) -> Path:
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
    content = path.read_bytes()
    try:
        arrays = safetensors.numpy.load(content)
        expected = read_metadata(path).get(CHECKSUM)
        if expected not in (None, checksum(content)):
            raise ValueError("its checksum differs")
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _broken(path, error) from error
    return {
        name: _to_keras(array)
        for name, array in arrays.items()
        if not name.endswith(".num_batches_tracked")
    }


def _split(safetensors_content: bytes) -> tuple[bytes, bytes]:
    """Returns the header, which is JSON, and the arrays' bytes."""
    length = int.from_bytes(safetensors_content[:8], "little")
    return safetensors_content[8 : 8 + length], safetensors_content[8 + length :]


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


def _broken(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: broken ({_one_line(error)}): fetch it again")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
