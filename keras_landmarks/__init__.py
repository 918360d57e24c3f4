"""Dense facial landmarks: train, predict and evaluate with Keras 3 on JAX.

    from keras_landmarks import Landmarker

    faces_by_photo = Landmarker.load("work")(["photo.jpg"])

Importing the package leaves the process as it is, unless the process was started for one of its
commands. Import `Landmarker` before Keras, or set KERAS_BACKEND=jax.
"""

from typing import TYPE_CHECKING, Any

from keras_landmarks.utils import interruption, process, xla_flags

process.check_system()
if process.is_command():  # before anything else is imported, which takes a second
    interruption.leave_at_once()
    process.set_up()
    xla_flags.set_cpu_flags()

if TYPE_CHECKING:
    from keras_landmarks.inference.landmarker import Face, Landmarker, VideoFrame

__all__ = ["Face", "Landmarker", "VideoFrame"]


def __getattr__(name: str) -> Any:
    """Imports what the package offers only when it is used: commands do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    process.choose_jax()
    from keras_landmarks.inference import landmarker

    return getattr(landmarker, name)
