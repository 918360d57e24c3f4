"""The records of a training in its work directory; reading them does not import Keras."""

import csv
import importlib.metadata
import platform
from pathlib import Path

from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError

FLAGS_FILE = "flags.cfg"
HISTORY_FILE = "history.csv"  # the metrics of every epoch
VALIDATION_FILE = "validation.csv"  # the names of the images that were held out
VERSIONS_FILE = "versions.json"  # packages and devices
_PACKAGES = (
    *["keras_landmarks", "keras", "jax", "jaxlib", "tensorflow", "tensorflow-cpu", "numpy"],
    *["opencv-python-headless", "albumentations"],
)


def read_history(path: Path) -> list[dict[str, float]]:
    """Returns the metrics of every epoch by column; an empty list if there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            return [{name: float(value) for name, value in row.items() if value} for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: damaged ({error})") from None


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that matter, the machine, the devices."""
    import jax

    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # only one of the two TensorFlows is there
            continue
    found["machine"] = f"{platform.system()} {platform.machine()}, {cores.usable()} cores"
    devices = jax.devices()
    return found | {"devices": f"{len(devices)} x {devices[0].device_kind}"}
