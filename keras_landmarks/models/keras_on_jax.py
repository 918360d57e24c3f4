"""Keras with JAX as its backend. All modules of the package import Keras from here.

A process has one backend, chosen when Keras is first imported.

Raises:
    InputError: Keras already runs on another backend, or the user has chosen another one.
"""

import sys

from keras_landmarks.utils import process, runtime
from keras_landmarks.utils.errors import InputError

process.choose_jax()
if "jax" not in sys.modules:  # else they would change how the program's own code is compiled
    runtime.set_xla_cpu_flags()

import keras  # noqa: E402 -- the backend must be chosen first
from keras import ops  # noqa: E402

if keras.backend.backend() != "jax":
    raise InputError(
        f"Keras runs on {keras.backend.backend()}, but keras_landmarks needs JAX: in a new process"
        " set KERAS_BACKEND=jax before Keras is imported"
    )

__all__ = ["keras", "ops"]
