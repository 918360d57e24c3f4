"""Keras's global settings, kept from the package's models and from the program around them.

A user's ~/.keras/keras.json or the program that imports this package may have chosen channels
first, float16 or another precision for its own models. Built or traced under such settings, ours
would compute something else without a word.
"""

import contextlib
from collections.abc import Iterator

from keras_landmarks.models.keras_on_jax import keras

_DEFAULTS = {
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
    "max_epochs": None,  # these two cut a training short
    "max_steps_per_epoch": None,
}


@contextlib.contextmanager
def own_settings(precision: str = "float32") -> Iterator[None]:
    """Within, Keras's global settings are those that this package is written for.

    Models must be built, traced (called for the first time with a shape) and trained within. The
    settings that were there come back afterwards. Also a decorator: `@own_settings()`.

    Args:
        precision: the dtype policy of layers that are made within.
    """
    policy = keras.config.dtype_policy()
    before = {name: getattr(keras.config, name)() for name in _DEFAULTS}
    try:
        _set(_DEFAULTS)
        if policy.name != precision:
            keras.config.set_dtype_policy(precision)
        yield
    finally:
        _set(before)
        keras.config.set_dtype_policy(policy)


def _set(values: dict) -> None:
    # What is the same is left alone: other threads may be building models of their own.
    for name, value in values.items():
        if getattr(keras.config, name)() != value:
            getattr(keras.config, f"set_{name}")(value)
