"""Light modern networks from `keras.applications`, up to their last feature map.

Their layers are Keras's own: quick on an accelerator, slow on a CPU, where XLA has no good form of
depthwise convolution.
"""

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.registry import LIBRARY
from keras_landmarks.utils.errors import InputError


def features(name: str, x):
    """Returns the last feature map (N, height / 32, width / 32, channels) of normalised pixels."""
    model = _maker(name)(
        include_top=False, weights=None, include_preprocessing=False, input_tensor=x
    )
    return model.output


def set_imagenet_weights(model: keras.Model, name: str) -> None:
    """Gives a model of that name the weights that Keras publishes, downloaded once; not the head.

    Raises:
        InputError: they cannot be downloaded.
    """
    try:
        source = _maker(name)(include_top=False, weights="imagenet", include_preprocessing=False)
    except Exception as error:  # urllib's, and Keras's own for a broken file
        reason = " ".join(str(error).split())
        raise InputError(
            f"cannot download Keras's weights of {name} ({reason}): pass --init_weights=none"
        ) from error
    for layer in source.layers[1:]:  # the first is the input
        model.get_layer(layer.name).set_weights(layer.get_weights())


def _maker(name: str):
    return getattr(keras.applications, LIBRARY[name])
