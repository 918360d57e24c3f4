"""Light modern networks from `keras.applications`, up to their last feature map.

They consist of Keras's own layers and are meant for accelerators. On a CPU they are slow, because
XLA has no fast depthwise convolution there.
"""

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.registry import KERAS_APPLICATIONS
from keras_landmarks.utils.errors import InputError


def features(name: str, x):
    """Returns the last feature map of a network.

    Args:
        name: a key of KERAS_APPLICATIONS.
        x: normalised images, (N, height, width, 3).

    Returns:
        (N, height / 32, width / 32, channels).
    """
    constructor = _constructor(name)
    model = constructor(
        include_top=False, weights=None, include_preprocessing=False, input_tensor=x
    )
    return model.output


def set_imagenet_weights(model: keras.Model, name: str) -> None:
    """Sets all weights but the head's to those that Keras publishes, downloaded once and cached.

    Raises:
        InputError: the weights cannot be downloaded.
    """
    constructor = _constructor(name)
    try:
        source = constructor(include_top=False, weights="imagenet", include_preprocessing=False)
    except Exception as error:  # urllib's errors, and Keras's own for a broken file
        reason = " ".join(str(error).split())
        raise InputError(
            f"cannot download Keras's weights of {name} ({reason}): pass --init_weights=none"
        ) from error
    for layer in source.layers[1:]:  # the first is the input
        model.get_layer(layer.name).set_weights(layer.get_weights())


def _constructor(name: str):
    return getattr(keras.applications, KERAS_APPLICATIONS[name])
