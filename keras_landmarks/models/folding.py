"""Batch normalisation folded into the convolutions before it, for prediction."""

import keras
import numpy as np

from keras_landmarks.models.layers import BatchNormalization, Convolution


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model that predicts the same (to rounding) with no batch normalisation left.

    Each convolution takes over the scale of the normalisation that follows it, and its offset as a
    bias. The model is for prediction only; the given one stays as it is.
    """
    folded = keras.models.clone_model(model, clone_function=_clone)
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            convolution = layer.input._keras_history.operation
            folded.get_layer(convolution.name).set_weights(_folded_weights(convolution, layer))
        elif not isinstance(layer, Convolution):
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def _folded_weights(convolution: Convolution, norm: BatchNormalization) -> list[np.ndarray]:
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    (kernel,) = convolution.get_weights()
    return [kernel * scale, beta - mean * scale]


def _clone(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, BatchNormalization):
        return keras.layers.Identity(name=layer.name)
    changes = {"use_bias": True} if isinstance(layer, Convolution) else {}
    return type(layer).from_config(layer.get_config() | changes)
