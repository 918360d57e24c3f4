"""Pins Keras's global settings while the package builds, traces and trains its models.

A user's ~/.keras/keras.json, or the program that imports this package, may have chosen channels
first, float16 or another dtype policy. Under such settings our models would silently compute
something else.
"""

import contextlib
from collections.abc import Iterator

from keras_landmarks.models.keras_on_jax import keras

_DEFAULTS = {
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
    "max_epochs": None,  # this one and the next would cut training short
    "max_steps_per_epoch": None,
}


@contextlib.contextmanager
def pinned_settings(precision: str = "float32") -> Iterator[None]:
    """Within, Keras's global settings are the ones that this package is written for.

    Models must be built, traced (called with a new input shape) and trained within. The previous
    settings return afterwards. Can be used as a decorator: `@pinned_settings()`.

    Args:
        precision: the dtype policy of layers that are created within.
    """
    policy = keras.config.dtype_policy()
    previous = {name: getattr(keras.config, name)() for name in _DEFAULTS}
    try:
        _set(_DEFAULTS)
        if policy.name != precision:
            keras.config.set_dtype_policy(precision)
        yield
    finally:
        _set(previous)
        keras.config.set_dtype_policy(policy)


def _set(values: dict) -> None:
    # Equal values are not set again: other threads may be building models of their own.
    for name, value in values.items():
        if getattr(keras.config, name)() != value:
            getattr(keras.config, f"set_{name}")(value)
