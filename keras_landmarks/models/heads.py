"""Heads: from a network's last feature map to the landmarks.

`linear` is the recipe's: the map's mean, and every coordinate a sum over it. `shape` gives the
coefficients of a basis of shapes (`data.shape_basis`), from the whole map: where in it a feature
lies tells where the face is, which a mean forgets.

All of it is float32 under mixed precision too: half precision cannot tell pixels apart.
"""

import dataclasses
import math

import numpy as np

from keras_landmarks.models.keras_on_jax import keras

KINDS = ("linear", "shape")
LAYERS = ("fc", "coefficients", "basis", "log_variance")


@dataclasses.dataclass(frozen=True)
class Head:
    """Which head.

    Attributes:
        kind: `linear` or `shape`.
        shape_components: of `shape`, how many.
        uncertainty: whether the logarithm of the variance of a point's coordinates is given, too.
    """

    kind: str = "linear"
    shape_components: int = 0
    uncertainty: bool = False


def attach(head: Head, features, points: int):
    """Returns landmarks (N, points, 2), or (N, points, 3) with their log variance, float32.

    `features` is the feature map: (N, height, width, channels).
    """
    mean = keras.layers.GlobalAveragePooling2D(dtype="float32", name="avgpool")(features)
    if head.kind == "linear":
        coordinates = _linear(mean, "fc", 2 * points)
    else:
        whole = keras.layers.Flatten(dtype="float32", name="flatten")(features)
        # From zero: the first landmarks are the mean shape. Random ones are noise on every
        # coefficient that takes passes to unlearn.
        coefficients = keras.layers.Dense(
            head.shape_components, kernel_initializer="zeros", dtype="float32", name="coefficients"
        )(whole)
        basis = keras.layers.Dense(2 * points, trainable=False, dtype="float32", name="basis")
        coordinates = basis(coefficients)
    landmarks = keras.layers.Reshape((points, 2), dtype="float32", name="landmarks")(coordinates)
    if not head.uncertainty:
        return landmarks
    log_variance = _linear(mean, "log_variance", points)
    log_variance = keras.layers.Reshape((points, 1), dtype="float32", name="of_each")(log_variance)
    return keras.layers.Concatenate(dtype="float32", name="with_variance")(
        [landmarks, log_variance]
    )


def set_shape_basis(model: keras.Model, mean: np.ndarray, components: np.ndarray) -> None:
    """Gives a model with the head `shape` its basis, (2 k,) and (c, 2 k) float32.

    Training leaves it as it is.
    """
    model.get_layer("basis").set_weights([components, mean])


def has_shape_basis(model: keras.Model) -> bool:
    """Whether the head `shape` has got its basis, from a file or by `set_shape_basis`."""
    return bool(np.any(model.get_layer("basis").get_weights()[1]))


def _linear(x, name: str, outputs: int):
    """A linear layer with the initial values of PyTorch's: uniform within 1 / sqrt(fan in)."""
    bound = 1 / math.sqrt(x.shape[-1])
    return keras.layers.Dense(
        outputs,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        dtype="float32",
        name=name,
    )(x)
