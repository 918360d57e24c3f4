"""Convolution, batch normalisation and max-pooling, each computed in the form its platform likes.

XLA's CPU backend is slow at grouped and 1x1 convolutions and at the gradients of max-pooling and of
batch normalisation, so there `cpu_forms` writes them out in operations it is quick at. Accelerators
get XLA's own, and so do several devices: `cpu_forms` joins images and pixels, which would move the
batch among them. The form changes no weight: both read the same kernel.
"""

import contextlib

import jax
import jax.numpy as jnp
from jax import lax

from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.models.xla_cpu import layers as cpu_layers

SPLIT_PLATFORMS = {"cpu"}
_platform = None  # None: the platform that JAX runs on


@contextlib.contextmanager
def lowering_for(platform: str):
    """Traces made within take the form of `platform` ("cpu", "cuda", "gpu", "tpu", ...).

    For `jax.export` to another platform and for tests. A function compiled before keeps its form.
    """
    global _platform
    previous, _platform = _platform, platform
    try:
        yield
    finally:
        _platform = previous


def _splits() -> bool:
    if keras.distribution.distribution() is not None:
        return False
    return (_platform or jax.default_backend()) in SPLIT_PLATFORMS


def _convolve(x, kernel, strides: int, groups: int):
    if _splits():
        return cpu_layers.convolve(x, kernel, strides, groups)
    half = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(strides, strides),
        padding=[(half, half)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _max_pool(x):
    if _splits():
        return cpu_layers.max_pool(x)
    padding = [(0, 0), (1, 1), (1, 1), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


def _batch_norm(x, gamma, beta, epsilon: float):
    if _splits():
        return cpu_layers.batch_norm(x, gamma, beta, epsilon)
    # Plain sums: each device adds up its share of the batch, and only those sums are exchanged.
    mean, variance = cpu_layers.batch_statistics(x, lambda x: x.sum(tuple(range(x.ndim - 1))))
    return _affine(x, gamma, beta, mean, variance, epsilon), mean, variance


def _affine(x, gamma, beta, mean, variance, epsilon: float):
    scale = gamma * lax.rsqrt(variance + epsilon)
    return x * scale + (beta - mean * scale)


def _output_size(size: int, window: int, strides: int) -> int:
    return (size + 2 * (window // 2) - window) // strides + 1


@keras.saving.register_keras_serializable(package="keras_landmarks")
class Convolution(keras.layers.Layer):
    """A 2-D convolution, channels last, padded alike on every side; without bias unless told.

    (N, H, W, in) → (N, H', W', filters) in the compute dtype. The padding is kernel_size // 2 at
    any stride, as in PyTorch (Keras' "same" pads unevenly at stride 2). The kernel has the layout
    of `keras.layers.Conv2D(groups=groups)`, (k, k, in / groups, filters), and the initial values
    of torchvision's ResNet: He et al., "Delving deep into rectifiers", 2015, fan-out.

    Raises:
        ValueError: `groups` does not divide both the input channels and `filters`.
    """

    def __init__(self, filters, kernel_size, strides=1, groups=1, use_bias=False, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.groups = groups
        self.use_bias = use_bias

    def build(self, input_shape):
        """Creates the kernel for as many input channels as `input_shape` ends in."""
        channels = input_shape[-1]
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"{self.name}: {self.groups} groups do not divide "
                f"{channels} input channels and {self.filters} filters"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels // self.groups, self.filters),
            initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs):
        """Convolves in the platform's form."""
        kernel = ops.convert_to_tensor(self.kernel)
        y = _convolve(inputs, kernel, self.strides, self.groups)
        return y + self.bias if self.use_bias else y

    def compute_output_shape(self, input_shape):
        """(N, H, W, in) → (N, H', W', filters)."""
        batch, *sizes, _ = input_shape
        sizes = [_output_size(size, self.kernel_size, self.strides) for size in sizes]
        return (batch, *sizes, self.filters)

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "groups": self.groups,
            "use_bias": self.use_bias,
        }


@keras.saving.register_keras_serializable(package="keras_landmarks")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation over the last axis, in one pass and with PyTorch's defaults.

    (N, H, W, C) → the same in the compute dtype; the statistics are float32 under mixed precision
    too. Variables, names and order are those of Keras' layer; `momentum` is Keras' (PyTorch's 0.1
    is 0.9 here). The running variance is the biased one, as Keras keeps it: PyTorch's is larger by
    n / (n - 1) for n = N·H·W values a channel, which is negligible, and the difference is on
    purpose.

    Over several devices the statistics are the whole batch's, as on one device, not each device's
    share's as in PyTorch: JAX computes what the program says of the batch, wherever its parts lie.

    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=False):
        """Normalises by the batch's statistics in training, by the running ones otherwise."""
        x = ops.cast(inputs, "float32")
        gamma, beta = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        if training and self.trainable:
            y, mean, variance = _batch_norm(x, gamma, beta, self.epsilon)
            self._update(self.moving_mean, mean)
            self._update(self.moving_variance, variance)
        else:
            moments = (self.moving_mean.value, self.moving_variance.value)
            y = _affine(x, gamma, beta, *moments, self.epsilon)
        return ops.cast(y, self.compute_dtype)

    def _update(self, moving, value):
        moving.assign(moving * self.momentum + value * (1.0 - self.momentum))


@keras.saving.register_keras_serializable(package="keras_landmarks")
class MaxPooling(keras.layers.Layer):
    """The maximum of each 3 x 3 window at stride 2, padded by 1 on every side as PyTorch's.

    (N, H, W, C) → (N, H', W', C) in the compute dtype. The padding never wins: it is minus
    infinity.
    """

    def call(self, inputs):
        """Pools in the platform's form."""
        return _max_pool(inputs)

    def compute_output_shape(self, input_shape):
        """(N, H, W, C) → (N, H', W', C)."""
        batch, *sizes, channels = input_shape
        return (batch, *[_output_size(size, 3, 2) for size in sizes], channels)


@keras.saving.register_keras_serializable(package="keras_landmarks")
class ReLU(keras.layers.Layer):
    """max(x, 0), of any shape, in the compute dtype."""

    def call(self, inputs):
        """Rectifies in the platform's form."""
        return cpu_layers.relu(inputs) if _splits() else ops.relu(inputs)

    def compute_output_shape(self, input_shape):
        """The input's."""
        return input_shape
