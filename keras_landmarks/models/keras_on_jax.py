"""Keras on JAX, from where every module of the package imports it.

Keras has one backend in a process, chosen when it is imported first.

Raises:
    InputError: Keras runs on another backend already, or the user has chosen another.
"""

import sys

from keras_landmarks.utils import process, xla_flags
from keras_landmarks.utils.errors import InputError

process.choose_jax()
if "jax" not in sys.modules:  # else what the program itself compiles would change as well
    xla_flags.set_cpu_flags()

import keras  # noqa: E402 -- by then the backend must be chosen
from keras import ops  # noqa: E402

if keras.backend.backend() != "jax":
    raise InputError(
        f"Keras runs on {keras.backend.backend()}, and keras_landmarks on JAX alone: in a new"
        " process set KERAS_BACKEND=jax, or import Landmarker from keras_landmarks before keras"
    )

__all__ = ["keras", "ops"]
