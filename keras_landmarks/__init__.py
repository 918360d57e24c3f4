"""Dense facial landmarks: train, predict and evaluate with Keras 3 on JAX.

    from keras_landmarks import Landmarker

    faces_by_photo = Landmarker.load()(["photo.jpg"])

Importing the package does not change the process, unless the process was started for one of the
package's commands.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_landmarks.utils import interruption, process, runtime

process.check_system()
if process.is_command():  # Before other imports, which take a second.
    interruption.exit_on_signal()
    process.set_up()
    runtime.set_xla_cpu_flags()

if TYPE_CHECKING:
    from keras_landmarks.inference.face import Face, faces_to_dataframe
    from keras_landmarks.inference.landmarker import Landmarker
    from keras_landmarks.inference.videos.video_tracking import VideoFrame

__all__ = ["Face", "Landmarker", "VideoFrame", "faces_to_dataframe"]

_MODULES = {
    "Face": "face",
    "Landmarker": "landmarker",
    "VideoFrame": "videos.video_tracking",
    "faces_to_dataframe": "face",
}


def __getattr__(name: str) -> Any:
    """Imports the public names on first use, because the commands do not need them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.inference.{_MODULES[name]}"), name)
