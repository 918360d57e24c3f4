"""Batch normalisation folded into the convolutions before it, for prediction."""

import numpy as np

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.keras_settings import own_settings
from keras_landmarks.models.layers import Convolution

_CONVOLUTIONS = (Convolution, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


@own_settings()
def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model that predicts the same (to rounding) with no batch normalisation left.

    Each convolution takes over the scale of the normalisation that follows it, and its offset as a
    bias. A normalisation that follows something else stays. The model is for prediction only; the
    given one stays as it is.
    """
    norms = _norms_by_convolution(model)
    folding = {norm.name for norm in norms.values()}

    def clone(layer):
        changes = {"use_bias": True} if layer.name in norms else {}
        return type(layer).from_config(layer.get_config() | changes)

    def call(layer, *inputs, **options):
        return inputs[0] if layer.name in folding else layer(*inputs, **options)

    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in model.layers:
        if layer.name in norms:
            folded.get_layer(layer.name).set_weights(_folded_weights(layer, norms[layer.name]))
        elif layer.name not in folding:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def _norms_by_convolution(model: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [norm.input._keras_history.operation for norm in norms]
    return {
        layer.name: norm
        for layer, norm in zip(before, norms, strict=True)
        if isinstance(layer, _CONVOLUTIONS)
    }


def _folded_weights(convolution: keras.Layer, norm: keras.Layer) -> list[np.ndarray]:
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    kernel, *bias = convolution.get_weights()
    if isinstance(convolution, keras.layers.DepthwiseConv2D):  # its kernel is (k, k, in, each)
        kernel = kernel * scale.reshape(kernel.shape[2:])
    else:
        kernel = kernel * scale
    return [kernel, beta + (sum(bias) - mean) * scale]
