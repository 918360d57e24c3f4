"""What a run is made with, for whoever wants to make it again."""

import importlib.metadata
import platform

from keras_landmarks.utils import cores

VERSIONS_FILE = "versions.json"
_PACKAGES = (
    *["keras_landmarks", "keras", "jax", "jaxlib", "tensorflow", "tensorflow-cpu", "numpy"],
    *["opencv-python-headless", "albumentations"],
)


def versions() -> dict[str, str]:
    """Returns the versions of Python and the packages that matter, the processor, the devices."""
    import jax

    known = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # one of the two TensorFlows
            continue
    known["machine"] = f"{platform.system()} {platform.machine()}, {cores.usable()} cores"
    devices = jax.devices()
    return known | {"devices": f"{len(devices)} x {devices[0].device_kind}"}
