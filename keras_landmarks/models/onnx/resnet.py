"""A ResNet or ResNeXt as an ONNX graph, made of its weights alone.

It computes what `models.resnet` with a head of `models.heads` does, batch normalisation folded into
the convolutions. Keras, which takes seconds to start, is not needed.
"""

import math
from collections.abc import Mapping

import numpy as np
import onnx

from keras_landmarks.models.onnx.graph import INPUT, OnnxGraph
from keras_landmarks.models.registry import BATCH_NORM_EPSILON, NORMALISATIONS, RESNETS
from keras_landmarks.models.spec import ModelSpec
from keras_landmarks.models.weight_files import NORM_WEIGHTS


def resnet_to_onnx(spec: ModelSpec, weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Converts a network of the ResNet family.

    Args:
        spec: the network's description; its model is one of `registry.RESNETS`.
        weights: arrays by torchvision's names, in Keras's memory layout, with the shapes of
            `weight_shapes`.
    """
    graph = _ResNetGraph(weights)
    config, crop = RESNETS[spec.model], spec.crop_spec
    mean, std = (np.asarray(values) for values in NORMALISATIONS[spec.normalisation])
    x = graph.add("Transpose", [INPUT], "channels_first", perm=[0, 3, 1, 2])
    x = graph.normalise(x, 1 / (255 * std), -mean / std, "normalise")
    x = graph.relu(graph.convolve(x, "conv1", "bn1", strides=2))
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    x = graph.add("MaxPool", [x], "maxpool", **window)
    for stage, depth in enumerate(config.depths, 1):
        for index in range(depth):
            strides = 2 if stage > 1 and index == 0 else 1
            x = _BLOCKS[config.block](graph, x, f"layer{stage}.{index}", strides, config.groups)
    last = _head(graph, x, spec)
    image = crop.height, crop.width, 3
    return graph.finish(last, image, (spec.num_landmarks, 3 if spec.uncertainty else 2))


def weight_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every weight by its name, in Keras's memory layout.

    Args:
        spec: the network's description; its model is one of `registry.RESNETS`.
    """
    config, shapes = RESNETS[spec.model], {}

    def convolution(name: str, norm: str, size: int, inputs: int, filters: int, groups: int = 1):
        shapes[f"{name}.weight"] = (size, size, inputs // groups, filters)
        shapes.update({f"{norm}.{part}": (filters,) for part in NORM_WEIGHTS})

    def dense(name: str, inputs: int, outputs: int):
        shapes.update({f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)})

    channels = config.stem_width
    convolution("conv1", "bn1", 7, 3, channels)
    for stage, depth in enumerate(config.depths):
        planes = config.stem_width * 2**stage
        for index in range(depth):
            name, inputs = f"layer{stage + 1}.{index}", channels
            if config.block == "basic":
                channels = planes
                convolution(f"{name}.conv1", f"{name}.bn1", 3, inputs, planes)
                convolution(f"{name}.conv2", f"{name}.bn2", 3, planes, planes)
            else:
                channels, width = 4 * planes, planes * config.base_width // 64 * config.groups
                convolution(f"{name}.conv1", f"{name}.bn1", 1, inputs, width)
                convolution(f"{name}.conv2", f"{name}.bn2", 3, width, width, config.groups)
                convolution(f"{name}.conv3", f"{name}.bn3", 1, width, channels)
            if inputs != channels:
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", 1, inputs, channels)
    if spec.head == "linear":
        dense("fc", channels, 2 * spec.num_landmarks)
    else:
        dense("coefficients", math.prod(_feature_map(spec)) * channels, spec.shape_components)
        dense("basis", spec.shape_components, 2 * spec.num_landmarks)
    if spec.uncertainty:
        dense("log_variance", channels, spec.num_landmarks)
    return shapes


class _ResNetGraph(OnnxGraph):
    """Adds a ResNet's layers, with their weights, by torchvision's names."""

    def __init__(self, weights: Mapping[str, np.ndarray]):
        super().__init__()
        self.weights = weights

    def convolve(self, x: str, name: str, norm: str, strides: int = 1, groups: int = 1) -> str:
        """Adds a convolution that includes the batch normalisation after it."""
        kernel = np.float32(self.weights[f"{name}.weight"])
        gamma, beta, mean, variance = (self.weights[f"{norm}.{part}"] for part in NORM_WEIGHTS)
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        inputs = [
            x,
            self.constant((kernel * scale).transpose(3, 2, 0, 1), f"{name}.kernel"),
            self.constant(beta - mean * scale, f"{name}.bias"),
        ]
        window = {"strides": [strides] * 2, "pads": [len(kernel) // 2] * 4}
        return self.add("Conv", inputs, name, group=groups, **window)

    def relu(self, x: str) -> str:
        """Adds max(x, 0)."""
        return self.add("Relu", [x], f"{x}.relu")

    def dense(self, x: str, name: str, kernel: np.ndarray | None = None) -> str:
        """Adds a linear layer; `kernel` replaces the stored one."""
        kernel = self.weights[f"{name}.weight"] if kernel is None else kernel
        constants = {"kernel": kernel, "bias": self.weights[f"{name}.bias"]}
        named = [self.constant(array, f"{name}.{part}") for part, array in constants.items()]
        return self.add("Gemm", [x, *named], name)


def _basic(graph: _ResNetGraph, x: str, name: str, strides: int, _: int) -> str:
    y = graph.relu(graph.convolve(x, f"{name}.conv1", f"{name}.bn1", strides))
    y = graph.convolve(y, f"{name}.conv2", f"{name}.bn2")
    return _add_shortcut(graph, x, y, name, strides)


def _bottleneck(graph: _ResNetGraph, x: str, name: str, strides: int, groups: int) -> str:
    y = graph.relu(graph.convolve(x, f"{name}.conv1", f"{name}.bn1"))
    y = graph.relu(graph.convolve(y, f"{name}.conv2", f"{name}.bn2", strides, groups))
    y = graph.convolve(y, f"{name}.conv3", f"{name}.bn3")
    return _add_shortcut(graph, x, y, name, strides)


_BLOCKS = {"basic": _basic, "bottleneck": _bottleneck}


def _add_shortcut(graph: _ResNetGraph, x: str, y: str, name: str, strides: int) -> str:
    if f"{name}.downsample.0.weight" in graph.weights:
        x = graph.convolve(x, f"{name}.downsample.0", f"{name}.downsample.1", strides)
    return graph.relu(graph.add("Add", [y, x], f"{name}.sum"))


def _head(graph: _ResNetGraph, features: str, spec: ModelSpec) -> str:
    pooled = graph.add("GlobalAveragePool", [features], "avgpool")
    mean = graph.add("Flatten", [pooled], "mean")
    if spec.head == "linear":
        coordinates = graph.dense(mean, "fc")
    else:
        flat = graph.add("Flatten", [features], "flatten")
        kernel = _channels_first(graph.weights["coefficients.weight"], spec)
        coordinates = graph.dense(graph.dense(flat, "coefficients", kernel), "basis")
    landmarks = graph.reshape(coordinates, (spec.num_landmarks, 2), "points")
    if not spec.uncertainty:
        return landmarks
    log_variance = graph.dense(mean, "log_variance")
    log_variance = graph.reshape(log_variance, (spec.num_landmarks, 1), "of_each")
    return graph.add("Concat", [landmarks, log_variance], "with_variance", axis=-1)


def _feature_map(spec: ModelSpec) -> tuple[int, int]:
    """Returns the height and width of the last feature map."""
    return -(-spec.crop_spec.height // 32), -(-spec.crop_spec.width // 32)


def _channels_first(kernel: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Reorders the rows of a kernel (height * width * channels, n) to channels, height, width."""
    by_pixel = kernel.reshape(*_feature_map(spec), -1, kernel.shape[-1])
    return by_pixel.transpose(2, 0, 1, 3).reshape(kernel.shape)
