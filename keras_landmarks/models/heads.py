"""Heads: from the last feature map to the landmarks.

The `linear` head averages the feature map over its pixels, and each coordinate is a linear function
of this mean. The `shape` head computes coefficients of a shape basis (`layouts.shape_basis`) from
the whole feature map, because the place of a feature in the map tells where the face is, and the
mean loses it.

All layers of a head are float32 even under mixed precision: half precision cannot resolve pixels.
"""

import dataclasses
import math

import numpy as np

from keras_landmarks.models.keras_on_jax import keras

# The layers with weights. Those of a row are useful together only.
LAYER_NAMES = (("fc",), ("coefficients", "basis"), ("log_variance",))


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """The kind of head.

    Attributes:
        kind: one of `registry.HEADS`.
        shape_components: number of components of the basis of a `shape` head, else 0.
        uncertainty: also predict the log variance of each landmark's coordinates.
    """

    kind: str = "linear"
    shape_components: int = 0
    uncertainty: bool = False


def attach(config: HeadConfig, features, num_landmarks: int):
    """Adds a head to a network.

    Args:
        config: the kind of head.
        features: the last feature map, (N, height, width, channels).
        num_landmarks: landmarks per face.

    Returns:
        Landmarks, (N, num_landmarks, 2) float32, or (N, num_landmarks, 3) with the log variance.
    """
    mean = keras.layers.GlobalAveragePooling2D(dtype="float32", name="avgpool")(features)
    if config.kind == "linear":
        coordinates = _linear(mean, "fc", 2 * num_landmarks)
    else:
        flat = keras.layers.Flatten(dtype="float32", name="flatten")(features)
        # Zeros make the first predictions the mean shape. Random values would add noise to every
        # coefficient, which takes epochs to unlearn.
        coefficients = keras.layers.Dense(
            config.shape_components,
            kernel_initializer="zeros",
            dtype="float32",
            name="coefficients",
        )(flat)
        basis = keras.layers.Dense(
            2 * num_landmarks, trainable=False, dtype="float32", name="basis"
        )
        coordinates = basis(coefficients)
    landmarks = keras.layers.Reshape((num_landmarks, 2), dtype="float32", name="landmarks")(
        coordinates
    )
    if not config.uncertainty:
        return landmarks
    log_variance = _linear(mean, "log_variance", num_landmarks)
    log_variance = keras.layers.Reshape((num_landmarks, 1), dtype="float32", name="of_each")(
        log_variance
    )
    return keras.layers.Concatenate(dtype="float32", name="with_variance")(
        [landmarks, log_variance]
    )


def set_shape_basis(model: keras.Model, mean: np.ndarray, components: np.ndarray) -> None:
    """Sets the basis of a model with a `shape` head; training does not change it.

    Args:
        model: the model.
        mean: the mean shape, (2 * num_landmarks,) float32, in pixels of the input image.
        components: (shape_components, 2 * num_landmarks) float32.
    """
    model.get_layer("basis").set_weights([components, mean])


def has_shape_basis(model: keras.Model) -> bool:
    """Whether the basis of a `shape` head is set; a new layer's mean is zero."""
    return bool(np.any(model.get_layer("basis").get_weights()[1]))


def _linear(x, name: str, outputs: int):
    """A linear layer with PyTorch's initial values, uniform within 1 / sqrt(fan in)."""
    bound = 1 / math.sqrt(x.shape[-1])
    return keras.layers.Dense(
        outputs,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        dtype="float32",
        name=name,
    )(x)
