"""Converts a network of stock Keras layers to ONNX, layer by layer.

Our networks have 15 kinds of layer, and each becomes one or two nodes; the results are within 2e-5
px. Keras 3.15's own export from JAX goes through jax2tf and tf2onnx, two converters of a deprecated
path.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.onnx.graph import INPUT, OnnxGraph


def keras_to_onnx(model: keras.Model, float16_kinds: Sequence[str] = ()) -> onnx.ModelProto:
    """Converts a model with one image as input and one output.

    Args:
        model: a network of stock layers.
        float16_kinds: the kinds of nodes (Conv, Gemm) whose kernels are stored in float16 and cast
            to float32 when the model is loaded. Biases and all computation stay float32.

    Raises:
        NotImplementedError: the model has a kind of layer that is not in `_LAYERS`.
    """
    graph = _KerasGraph(float16_kinds)
    first = graph.add("Transpose", [INPUT], "channels_first", perm=[0, 3, 1, 2])
    # Visits each layer once, after those that it reads. The method is not public; Keras is pinned.
    last = model._run_through_graph([first], call_fn=graph.add_layer)
    converted = graph.finish(last, model.inputs[0].shape[1:], model.outputs[0].shape[1:])
    onnx.checker.check_model(converted, full_check=True)
    return converted


@dataclass
class _PaddedValue:
    """A value and the padding that the next node applies; Keras pads in a layer of its own."""

    name: str
    pads: list[int]


class _KerasGraph(OnnxGraph):
    def add_layer(self, layer: keras.Operation, *inputs, **_):
        """Adds a Keras layer's nodes and returns its output; `training` and masks are ignored."""
        kind = type(layer).__name__
        if kind not in _LAYERS:
            raise NotImplementedError(f"{layer.name}: a {kind} has no ONNX form here")
        return _LAYERS[kind](self, layer, *inputs)


# ── one function for each kind of layer ──


def _rescaling(graph: _KerasGraph, layer, x: str) -> str:
    return graph.normalise(x, layer.scale, layer.offset, layer.name)


def _zero_padding(graph: _KerasGraph, layer, x: str) -> _PaddedValue:
    (top, bottom), (left, right) = layer.padding
    return _PaddedValue(x, [top, left, bottom, right])


def _window(layer, x: str | _PaddedValue) -> tuple[str, dict]:
    """Returns the input of a convolution or pooling, and its strides and padding."""
    strides = list(layer.strides) if isinstance(layer.strides, tuple) else [layer.strides] * 2
    if isinstance(x, _PaddedValue):
        return x.name, {"strides": strides, "pads": x.pads}
    return x, {
        "strides": strides,
        "auto_pad": {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding],
    }


def _convolution(graph: _KerasGraph, layer, x: str | _PaddedValue) -> str:
    kernel, *bias = layer.get_weights()
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        groups = kernel.shape[2]
        kernel = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
    else:
        groups = layer.groups
        kernel = kernel.transpose(3, 2, 0, 1)
    x, window = _window(layer, x)
    inputs = [x, graph.kernel(kernel, f"{layer.name}.kernel", "Conv")]
    inputs += [graph.constant(values, f"{layer.name}.bias") for values in bias]
    y = graph.add("Conv", inputs, layer.name, group=groups, **window)
    return _activate(graph, layer, y)


def _max_pooling(graph: _KerasGraph, layer, x: str | _PaddedValue) -> str:
    x, window = _window(layer, x)
    return graph.add("MaxPool", [x], layer.name, kernel_shape=list(layer.pool_size), **window)


def _relu(graph: _KerasGraph, layer, x: str) -> str:
    if layer.max_value is None:
        return graph.add("Relu", [x], layer.name)
    bounds = {"zero": 0, "most": layer.max_value}
    named = [graph.constant(value, f"{layer.name}.{name}") for name, value in bounds.items()]
    return graph.add("Clip", [x, *named], layer.name)


def _activate(graph: _KerasGraph, layer, x: str) -> str:
    """Adds the activation function at a layer's end."""
    name = f"{layer.name}.activation"
    match layer.activation.__name__:
        case "linear":
            return x
        case "hard_silu":
            return graph.add("HardSwish", [x], name)
        case "sigmoid":
            return graph.add("Sigmoid", [x], name)
        case "silu":
            gate = graph.add("Sigmoid", [x], f"{layer.name}.gate")
            return graph.add("Mul", [x, gate], name)
    raise NotImplementedError(f"{layer.name}: {layer.activation.__name__} has no ONNX form here")


def _arithmetic(kind: str) -> Callable:
    def add(graph: _KerasGraph, layer, *inputs) -> str:
        # The inputs of a layer are one list; those of an operation are two values or numbers.
        values = inputs[0] if isinstance(inputs[0], list) else inputs
        names = [
            value if isinstance(value, str) else graph.constant(value, f"{layer.name}.number")
            for value in values
        ]
        return graph.add(kind, names, layer.name)

    return add


def _global_average(graph: _KerasGraph, layer, x: str) -> str:
    if layer.keepdims:
        return graph.add("GlobalAveragePool", [x], layer.name)
    mean = graph.add("GlobalAveragePool", [x], f"{layer.name}.map")
    return graph.add("Flatten", [mean], layer.name)


def _flatten(graph: _KerasGraph, layer, x: str) -> str:
    channels_last = graph.add("Transpose", [x], f"{layer.name}.channels_last", perm=[0, 2, 3, 1])
    return graph.add("Flatten", [channels_last], layer.name)


def _dense(graph: _KerasGraph, layer, x: str) -> str:
    kernel, bias = layer.get_weights()
    named = graph.kernel(kernel, f"{layer.name}.kernel", "Gemm")
    y = graph.add("Gemm", [x, named, graph.constant(bias, f"{layer.name}.bias")], layer.name)
    return _activate(graph, layer, y)


def _reshape(graph: _KerasGraph, layer, x: str) -> str:
    *image, last = layer.target_shape
    # Either an image of one pixel, whose channels come first here, or landmarks, (k, 2).
    target = [last, 1, 1] if image == [1, 1] else layer.target_shape
    return graph.reshape(x, target, layer.name)


def _concatenate(graph: _KerasGraph, layer, inputs: list[str]) -> str:
    return graph.add("Concat", inputs, layer.name, axis=-1)  # landmarks and their log variances


_LAYERS = {
    "Activation": lambda graph, layer, x: _activate(graph, layer, x),
    "Add": _arithmetic("Add"),
    "Concatenate": _concatenate,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": lambda graph, layer, x: x,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_average,
    "MaxPooling2D": _max_pooling,
    "Multiply": _arithmetic("Mul"),
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "ZeroPadding2D": _zero_padding,
}
