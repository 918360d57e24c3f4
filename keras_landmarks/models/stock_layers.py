"""Rebuilds a trained network from stock Keras layers, for export.

Exporters know these layers, and a `.keras` file of them loads without this package. Convolutions
are XLA's own then, whatever the platform.
"""

from keras_landmarks.models.folding import fold_batch_norm
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.keras_settings import pinned_settings
from keras_landmarks.models.layers import Convolution, MaxPooling, ReLU


@pinned_settings()
def stock_model(model: keras.Model) -> keras.Model:
    """Returns a copy for prediction, of stock Keras layers, with batch normalisation folded."""
    folded = fold_batch_norm(model)
    paddings = {layer.name: _padding(layer) for layer in folded.layers}

    def call(layer, *inputs, **options):
        if width := paddings.get(layer.name):
            inputs = [keras.layers.ZeroPadding2D(width, name=f"{layer.name}.padding")(*inputs)]
        return layer(*inputs, **options)

    stock = keras.models.clone_model(folded, clone_function=_clone, call_function=call)
    for layer in folded.layers:
        if layer.weights:
            stock.get_layer(layer.name).set_weights(layer.get_weights())
    return stock


def _padding(layer: keras.Layer) -> int:
    """Returns how many pixels of zeros a layer needs around its input.

    Padding is a layer of its own because Keras's "same" pads unevenly at stride 2. Our max-pooling
    pads with minus infinity. Zeros do as well: its input comes from a ReLU.
    """
    if isinstance(layer, Convolution):
        return layer.kernel_size // 2
    return 1 if isinstance(layer, MaxPooling) else 0


def _clone(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, Convolution):
        return keras.layers.Conv2D(
            layer.filters,
            layer.kernel_size,
            layer.strides,
            padding="valid",
            groups=layer.groups,
            use_bias=layer.use_bias,
            name=layer.name,
        )
    if isinstance(layer, MaxPooling):
        return keras.layers.MaxPooling2D(3, 2, padding="valid", name=layer.name)
    if isinstance(layer, ReLU):
        return keras.layers.ReLU(name=layer.name)
    return type(layer).from_config(layer.get_config())
