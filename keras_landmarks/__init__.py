"""Dense facial landmarks: train, predict and evaluate with Keras 3 on JAX.

    from keras_landmarks import Landmarker

    faces_by_photo = Landmarker.load("work")(["photo.jpg"])

Importing the package chooses Keras's JAX backend; it must come before `import keras`.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

from keras_landmarks import interruption, xla_flags

if sys.argv[:1] == ["-m"]:  # `python -m keras_landmarks.train`: a command, whose process is ours
    interruption.leave_at_once()
xla_flags.set_cpu_flags()
os.environ["KERAS_BACKEND"] = "jax"
# TensorFlow only feeds data here: its start-up notes would bury our own lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# albumentations asks the network for news of itself at every import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# The plugin of a TPU that is not there would explain at length that it is not.
os.environ.setdefault("TPU_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from keras_landmarks.landmarking.landmarker import Face, Landmarker, VideoFrame

__all__ = ["Face", "Landmarker", "VideoFrame"]


def __getattr__(name: str) -> Any:
    """Imports what the package offers when it is asked for: commands do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from keras_landmarks.landmarking import landmarker

    return getattr(landmarker, name)
