"""A ResNet or ResNeXt as an ONNX graph, made of its weights alone.

It computes what `models.resnet` with a head of `models.heads` does, batch normalisation folded into
the convolutions. Keras, which takes seconds to start, is not needed.
"""

import math
from collections.abc import Mapping

import numpy as np
import onnx

from keras_landmarks.models import resnet_plan
from keras_landmarks.models.onnx.graph import INPUT, OnnxGraph
from keras_landmarks.models.registry import BATCH_NORM_EPSILON, NORMALISATIONS, RESNETS
from keras_landmarks.models.resnet_plan import ConvolutionPlan
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
    x = graph.relu(graph.convolve(x, resnet_plan.stem(config)))
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    x = graph.add("MaxPool", [x], "maxpool", **window)
    for block in resnet_plan.blocks(config):
        *inner, last = block.convolutions
        y = x
        for plan in inner:
            y = graph.relu(graph.convolve(y, plan))
        y = graph.convolve(y, last)
        shortcut = graph.convolve(x, block.projection) if block.projection else x
        x = graph.relu(graph.add("Add", [y, shortcut], f"{last.name}.sum"))
    points = _head(graph, x, spec)
    image = crop.height, crop.width, 3
    return graph.finish(points, image, (spec.num_landmarks, 3 if spec.uncertainty else 2))


def weight_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every weight by its name, in Keras's memory layout.

    Args:
        spec: the network's description; its model is one of `registry.RESNETS`.
    """
    shapes = {}

    def dense(name: str, inputs: int, outputs: int):
        shapes.update({f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)})

    for plan in resnet_plan.convolutions(RESNETS[spec.model]):
        channels = plan.inputs // plan.groups, plan.filters
        shapes[f"{plan.name}.weight"] = (plan.size, plan.size, *channels)
        shapes.update({f"{plan.norm}.{part}": (plan.filters,) for part in NORM_WEIGHTS})
    *_, last = resnet_plan.blocks(RESNETS[spec.model])
    features = last.convolutions[-1].filters
    if spec.head == "linear":
        dense("fc", features, 2 * spec.num_landmarks)
    else:
        dense("coefficients", math.prod(_feature_map(spec)) * features, spec.shape_components)
        dense("basis", spec.shape_components, 2 * spec.num_landmarks)
    if spec.uncertainty:
        dense("log_variance", features, spec.num_landmarks)
    return shapes


class _ResNetGraph(OnnxGraph):
    """Adds a ResNet's layers, with their weights, by torchvision's names."""

    def __init__(self, weights: Mapping[str, np.ndarray]):
        super().__init__()
        self.weights = weights

    def convolve(self, x: str, plan: ConvolutionPlan) -> str:
        """Adds a convolution that includes the batch normalisation after it."""
        name = plan.name
        kernel = np.float32(self.weights[f"{name}.weight"])
        gamma, beta, mean, variance = (self.weights[f"{plan.norm}.{part}"] for part in NORM_WEIGHTS)
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        inputs = [
            x,
            self.constant((kernel * scale).transpose(3, 2, 0, 1), f"{name}.kernel"),
            self.constant(beta - mean * scale, f"{name}.bias"),
        ]
        window = {"strides": [plan.strides] * 2, "pads": [plan.size // 2] * 4}
        return self.add("Conv", inputs, name, group=plan.groups, **window)

    def relu(self, x: str) -> str:
        """Adds max(x, 0)."""
        return self.add("Relu", [x], f"{x}.relu")

    def dense(self, x: str, name: str, kernel: np.ndarray | None = None) -> str:
        """Adds a linear layer; `kernel` replaces the stored one."""
        kernel = self.weights[f"{name}.weight"] if kernel is None else kernel
        constants = {"kernel": kernel, "bias": self.weights[f"{name}.bias"]}
        named = [self.constant(array, f"{name}.{part}") for part, array in constants.items()]
        return self.add("Gemm", [x, *named], name)


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
