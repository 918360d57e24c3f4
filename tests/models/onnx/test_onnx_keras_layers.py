import keras
import numpy as np
import pytest

pytest.importorskip("onnxruntime")
import onnx
import onnxruntime
from onnx import numpy_helper

from keras_landmarks.models.onnx.keras_layers import keras_to_onnx

# Every kind of layer that a network may have, besides those of `branching_model`.
LAYERS = {
    "padded convolution": [keras.layers.ZeroPadding2D(1), keras.layers.Conv2D(4, 3, 2)],
    "uneven padding": [keras.layers.ZeroPadding2D(((0, 1), (1, 2))), keras.layers.Conv2D(4, 3, 2)],
    "same, uneven": [keras.layers.Conv2D(4, 3, 2, padding="same")],
    "grouped": [keras.layers.Conv2D(6, 3, groups=3)],
    "depthwise": [keras.layers.DepthwiseConv2D(3, depth_multiplier=2)],
    "max-pooling": [
        keras.layers.ReLU(),
        keras.layers.ZeroPadding2D(1),
        keras.layers.MaxPooling2D(3, 2),
    ],
    "relu6": [keras.layers.ReLU(max_value=6.0)],
    "hard_silu": [keras.layers.Activation("hard_silu")],
    "silu": [keras.layers.Activation("silu")],
    "sigmoid in a convolution": [keras.layers.Conv2D(3, 1, activation="sigmoid")],
    "dropout": [keras.layers.Dropout(0.5)],
}


def run(proto, images):
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {"image": images})[0]


def images(count=2):
    return np.random.default_rng(0).uniform(-9, 9, (count, 9, 12, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", LAYERS)
def test_layer_computes_the_same_in_onnx(kind):
    image = keras.Input((9, 12, 3), name="image")
    x = image
    for layer in LAYERS[kind]:
        x = type(layer).from_config(layer.get_config())(x)
    model = keras.Model(image, keras.layers.Flatten()(x))
    expected = model.predict_on_batch(images())
    np.testing.assert_allclose(run(keras_to_onnx(model), images()), expected, rtol=1e-5, atol=1e-5)


def branching_model():
    """Squeeze-and-excitation as in EfficientNet and MobileNet, and a head with log variances."""
    image = keras.Input((9, 12, 3), name="image")
    x = keras.layers.Rescaling([2.0, 3.0, 4.0], [0.5, 0.0, -0.5])(image)
    mean = keras.layers.GlobalAveragePooling2D()(x)
    gate = keras.layers.Conv2D(3, 1)(keras.layers.Reshape((1, 1, 3))(mean))
    x = keras.layers.Multiply()([x, (gate + 3.0) * (1 / 6)])
    x = x + keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    points = keras.layers.Reshape((2, 2))(keras.layers.Dense(4)(keras.layers.Flatten()(x)))
    variance = keras.layers.Reshape((2, 1))(keras.layers.Dense(2)(mean))
    return keras.Model(image, keras.layers.Concatenate()([points, variance]))


def test_branches_compute_the_same_for_any_batch_size():
    model = branching_model()
    proto = keras_to_onnx(model)
    for count in (1, 3):
        got = run(proto, images(count))
        np.testing.assert_allclose(got, model.predict_on_batch(images(count)), rtol=1e-4, atol=1e-4)


def test_only_kernels_are_stored_in_float16():
    dtypes = {
        array.name: numpy_helper.to_array(array).dtype
        for array in keras_to_onnx(branching_model(), float16_kinds=["Gemm"]).graph.initializer
    }
    kernels = [dtype for name, dtype in dtypes.items() if name.endswith(".half")]
    assert kernels == [np.float16] * 2
    assert all(dtype == np.float32 for name, dtype in dtypes.items() if name.endswith(".bias"))


def test_unknown_kind_of_layer_is_named():
    image = keras.Input((9, 12, 3), name="image")
    model = keras.Model(image, keras.layers.LayerNormalization(name="odd")(image))
    with pytest.raises(NotImplementedError, match="odd: a LayerNormalization"):
        keras_to_onnx(model)


def test_file_declares_input_and_output():
    proto = keras_to_onnx(branching_model())
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*proto.graph.input, *proto.graph.output]
    }
    assert shapes == {"image": ["N", 9, 12, 3], "landmarks": ["N", 2, 3]}
    assert proto.ir_version <= 8
    onnx.checker.check_model(proto)
