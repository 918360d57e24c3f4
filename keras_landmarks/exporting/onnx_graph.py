"""A network of stock Keras layers as an ONNX graph, layer by layer.

A few kinds of layer make up all our networks, so each is written down here once, as one or two
nodes; a general converter would go by way of other frameworks' graphs. Images are (N, H, W, C) to
Keras and to the graph's input, (N, C, H, W) within the graph.
"""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

from keras_landmarks.models.keras_on_jax import keras

# HardSwish came with 14. The IR version is the one of that time: older runtimes read it, too.
_OPSET, _IR_VERSION = 17, 8
INPUT, OUTPUT = "image", "landmarks"


def onnx_model(model: keras.Model, halved: Sequence[str] = ()) -> onnx.ModelProto:
    """Returns the model, of one image input and one output, as ONNX.

    Kernels of the nodes `halved` (Conv, Gemm) are kept in float16 and cast to float32 when the
    model is loaded; biases and all that is computed stay float32.

    Raises:
        NotImplementedError: the model has a layer of another kind.
    """
    graph = _Graph(halved)
    _, *image = model.inputs[0].shape
    first = graph.add("Transpose", [INPUT], "channels_first", perm=[0, 3, 1, 2])
    # The walk that Keras makes itself: each layer once, after those that it reads.
    last = model._run_through_graph([first], call_fn=graph.add_layer)
    graph.nodes.append(helper.make_node("Identity", [last], [OUTPUT]))
    shapes = {INPUT: ["N", *image], OUTPUT: ["N", *model.outputs[0].shape[1:]]}
    described = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    proto = helper.make_graph(
        graph.nodes, "landmarks", [described[INPUT]], [described[OUTPUT]], graph.constants
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    made = helper.make_model(
        proto, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="keras_landmarks"
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def quantised(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """Returns the model with its convolutions in int8; ranges are those of images (N, H, W, 3).

    What comes after them stays float32: 256 steps over an image are half a pixel each.
    """
    with tempfile.TemporaryDirectory() as folder, _no_advice():
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            path,
            _Images(images),
            op_types_to_quantize=["Add", "Conv", "MaxPool", "Mul", "Relu"],
            activation_type=quantization.QuantType.QUInt8,
            per_channel=True,
        )
        return onnx.load(path)


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Within, ONNX Runtime does not recommend steps that are done already."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class _Images(quantization.CalibrationDataReader):
    """Images, one by one, as ONNX Runtime asks for them."""

    def __init__(self, images: np.ndarray):
        self._left = iter(images)

    def get_next(self) -> dict | None:
        image = next(self._left, None)
        return None if image is None else {INPUT: image[None]}


@dataclass
class _Padded:
    """A value that the next layer is to read with zeros around: ONNX pads where it convolves."""

    name: str
    pads: list[int]


class _Graph:
    """The nodes and constants written so far. A value is known by its name."""

    def __init__(self, halved: Sequence[str]):
        self.nodes, self.constants, self._halved = [], [], halved

    def add(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        """Adds a node of that name and returns its one output."""
        output = f"{name}.out"
        self.nodes.append(helper.make_node(kind, inputs, [output], name, **attributes))
        return output

    def constant(self, array: np.ndarray, name: str, dtype=np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def kernel(self, array: np.ndarray, name: str, kind: str) -> str:
        """Adds the kernel of a node of that kind."""
        if kind not in self._halved:
            return self.constant(array, name)
        stored = self.constant(array, f"{name}.half", np.float16)
        return self.add("Cast", [stored], name, to=TensorProto.FLOAT)

    def add_layer(self, layer: keras.Operation, *inputs, **_):
        """Adds a Keras layer's nodes; returns its output. Options are training's and masks."""
        kind = type(layer).__name__
        if kind not in _LAYERS:
            raise NotImplementedError(f"{layer.name}: a {kind} has no ONNX form here")
        return _LAYERS[kind](self, layer, *inputs)


# ── each kind of layer ──


def _rescaling(graph: _Graph, layer, x: str) -> str:
    scale, offset = (np.reshape(value, (-1, 1, 1)) for value in (layer.scale, layer.offset))
    scaled = graph.add("Mul", [x, graph.constant(scale, f"{layer.name}.scale")], "scaled")
    return graph.add("Add", [scaled, graph.constant(offset, f"{layer.name}.offset")], layer.name)


def _zero_padding(graph: _Graph, layer, x: str) -> _Padded:
    (top, bottom), (left, right) = layer.padding
    return _Padded(x, [top, left, bottom, right])


def _window(layer, x: str | _Padded) -> tuple[str, dict]:
    """Returns what a window slides over, and where it stops."""
    strides = list(layer.strides) if isinstance(layer.strides, tuple) else [layer.strides] * 2
    if isinstance(x, _Padded):
        return x.name, {"strides": strides, "pads": x.pads}
    return x, {
        "strides": strides,
        "auto_pad": {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding],
    }


def _convolution(graph: _Graph, layer, x: str | _Padded) -> str:
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


def _max_pooling(graph: _Graph, layer, x: str | _Padded) -> str:
    x, window = _window(layer, x)
    return graph.add("MaxPool", [x], layer.name, kernel_shape=list(layer.pool_size), **window)


def _relu(graph: _Graph, layer, x: str) -> str:
    if layer.max_value is None:
        return graph.add("Relu", [x], layer.name)
    bounds = {"zero": 0, "most": layer.max_value}
    named = [graph.constant(value, f"{layer.name}.{name}") for name, value in bounds.items()]
    return graph.add("Clip", [x, *named], layer.name)


def _activate(graph: _Graph, layer, x: str) -> str:
    """Adds the activation function that a layer ends with."""
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
    def add(graph: _Graph, layer, *inputs) -> str:
        """A layer's inputs are one list; an operation's are two values, numbers among them."""
        values = inputs[0] if isinstance(inputs[0], list) else inputs
        names = [
            value if isinstance(value, str) else graph.constant(value, f"{layer.name}.number")
            for value in values
        ]
        return graph.add(kind, names, layer.name)

    return add


def _global_average(graph: _Graph, layer, x: str) -> str:
    if layer.keepdims:
        return graph.add("GlobalAveragePool", [x], layer.name)
    mean = graph.add("GlobalAveragePool", [x], f"{layer.name}.map")
    return graph.add("Flatten", [mean], layer.name)


def _flatten(graph: _Graph, layer, x: str) -> str:
    channels_last = graph.add("Transpose", [x], f"{layer.name}.channels_last", perm=[0, 2, 3, 1])
    return graph.add("Flatten", [channels_last], layer.name)


def _dense(graph: _Graph, layer, x: str) -> str:
    kernel, bias = layer.get_weights()
    named = graph.kernel(kernel, f"{layer.name}.kernel", "Gemm")
    y = graph.add("Gemm", [x, named, graph.constant(bias, f"{layer.name}.bias")], layer.name)
    return _activate(graph, layer, y)


def _reshape(graph: _Graph, layer, x: str) -> str:
    *image, last = layer.target_shape
    # What becomes an image of one pixel; others are points, (k, 2).
    target = [last, 1, 1] if image == [1, 1] else layer.target_shape
    return graph.add(
        "Reshape", [x, graph.constant([0, *target], f"{layer.name}.shape", np.int64)], layer.name
    )


def _concatenate(graph: _Graph, layer, inputs: list[str]) -> str:
    return graph.add("Concat", inputs, layer.name, axis=-1)  # points with their variance


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
