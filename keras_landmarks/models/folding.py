"""Folds batch normalisation into the convolution before it, for prediction.

With running statistics, normalisation scales and shifts each channel by constants, which the kernel
and bias of the convolution can absorb.
"""

import numpy as np

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.keras_settings import pinned_settings
from keras_landmarks.models.layers import Convolution

_CONVOLUTIONS = (Convolution, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


@pinned_settings()
def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a copy for prediction, with each batch normalisation folded into its convolution.

    The predictions are the same but for rounding. A normalisation that does not follow a
    convolution stays.
    """
    norms = _norms_by_convolution(model)
    folded_norms = {norm.name for norm in norms.values()}

    def clone(layer):
        changes = {"use_bias": True} if layer.name in norms else {}
        return type(layer).from_config(layer.get_config() | changes)

    def call(layer, *inputs, **options):
        return inputs[0] if layer.name in folded_norms else layer(*inputs, **options)

    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in model.layers:
        if layer.name in norms:
            folded.get_layer(layer.name).set_weights(_folded_weights(layer, norms[layer.name]))
        elif layer.name not in folded_norms:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def _norms_by_convolution(model: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """Returns the normalisations that follow a convolution, by the convolution's name."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    inputs = [norm.input._keras_history.operation for norm in norms]
    return {
        layer.name: norm
        for layer, norm in zip(inputs, norms, strict=True)
        if isinstance(layer, _CONVOLUTIONS)
    }


def _folded_weights(convolution: keras.Layer, norm: keras.Layer) -> list[np.ndarray]:
    """Returns the kernel and bias of a convolution that includes the normalisation after it."""
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    kernel, *bias = convolution.get_weights()
    is_depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    # A depthwise kernel is (k, k, in, multiplier).
    kernel = kernel * (scale.reshape(kernel.shape[2:]) if is_depthwise else scale)
    return [kernel, beta + (sum(bias) - mean) * scale]
