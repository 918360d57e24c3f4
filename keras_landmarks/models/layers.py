"""Convolution, batch normalisation and max-pooling, each computed in the form its platform likes.

XLA's CPU backend is slow at grouped and 1x1 convolutions, at the gradient of max-pooling and at
batch normalisation in two passes, so there the layers are written out in operations it is quick at.
Accelerators get XLA's own. The form changes no weight: both read the same kernel.
"""

import contextlib
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import keras
from jax import lax
from keras import ops

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
    return (_platform or jax.default_backend()) in SPLIT_PLATFORMS


def _convolve(x, kernel, strides: int, groups: int = 1):
    padding = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(strides, strides),
        padding=[(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _convolve_patches(x, kernel, strides: int):
    """A convolution as one matrix product with the window around each output pixel."""
    patches = jnp.concatenate(_shifted(x, kernel.shape[0], strides, 0), axis=-1)
    product = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1])
    return product.reshape(*patches.shape[:-1], -1)


def _convolve_sliced(x, kernel, strides: int, groups: int):
    """A grouped convolution as ordinary ones, each on a slice of several groups' channels.

    The gradient of XLA's grouped convolution runs naively on the CPU, and a group of its own is too
    narrow to fill the processor: a slice takes several, its kernel block-diagonal over them.
    """
    channels = x.shape[-1]
    group_width = channels // groups
    groups_per_slice = math.gcd(groups, max(1, max(16, channels // 32) // group_width))
    slices = groups // groups_per_slice
    kernels = jnp.split(_block_diagonal(kernel, groups, groups_per_slice), slices, axis=-1)
    parts = jnp.split(x, slices, axis=-1)
    outputs = [_convolve(*part, strides) for part in zip(parts, kernels, strict=True)]
    return jnp.concatenate(outputs, axis=-1)


def _block_diagonal(kernel, groups: int, groups_per_slice: int):
    """(k, k, in/groups, out) → (k, k, in/slices, out), zero between different groups."""
    height, width, inputs, outputs = kernel.shape
    kernel = kernel.reshape(height, width, 1, inputs, -1, groups_per_slice, outputs // groups)
    diagonal = jnp.eye(groups_per_slice, dtype=kernel.dtype)[:, None, None, :, None]
    return (kernel * diagonal).reshape(height, width, groups_per_slice * inputs, outputs)


def _max_pool(x, size: int, strides: int):
    return lax.reduce_window(
        x, -jnp.inf, lax.max, (1, size, size, 1), (1, strides, strides, 1), _window_padding(size)
    )


def _max_pool_shifted(x, size: int, strides: int):
    return functools.reduce(jnp.maximum, _shifted(x, size, strides, -jnp.inf))


def _shifted(x, size: int, strides: int, padding_value: float) -> list:
    """The padded image shifted to each place in a window, every stride-th pixel."""
    x = jnp.pad(x, _window_padding(size), constant_values=padding_value)
    rows, columns = x.shape[1] - size + 1, x.shape[2] - size + 1
    return [
        x[:, i : i + rows : strides, j : j + columns : strides]
        for i, j in itertools.product(range(size), repeat=2)
    ]


def _window_padding(size: int):
    return [(0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)]


def _output_size(size: int, window: int, strides: int) -> int:
    return (size + 2 * (window // 2) - window) // strides + 1


@keras.saving.register_keras_serializable(package="keras_landmarks")
class Convolution(keras.layers.Layer):
    """A 2-D convolution without bias, channels last, padded alike on every side.

    (N, H, W, in) → (N, H', W', filters) in the compute dtype. The padding is kernel_size // 2 at
    any stride, as in PyTorch (Keras' "same" pads unevenly at stride 2). The kernel has the layout
    of `keras.layers.Conv2D(groups=groups)`, (k, k, in / groups, filters), and the initial values
    of torchvision's ResNet: He et al., "Delving deep into rectifiers", 2015, fan-out.

    Raises:
        ValueError: `groups` does not divide both the input channels and `filters`.
    """

    def __init__(self, filters, kernel_size, strides=1, groups=1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.groups = groups

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

    def call(self, inputs):
        """Convolves in the platform's form."""
        kernel = ops.convert_to_tensor(self.kernel)
        if not _splits():
            return _convolve(inputs, kernel, self.strides, self.groups)
        if self.groups > 1:
            return _convolve_sliced(inputs, kernel, self.strides, self.groups)
        # Where the padding outweighs the image, XLA's convolution takes 50 times as long.
        tiny = max(self.compute_output_shape(inputs.shape)[1:3]) <= 3
        if self.kernel_size == 1 or tiny:
            return _convolve_patches(inputs, kernel, self.strides)
        return _convolve(inputs, kernel, self.strides)

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
        }


@keras.saving.register_keras_serializable(package="keras_landmarks")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation over the last axis, in one pass and with PyTorch's defaults.

    (N, H, W, C) → the same in the compute dtype; the statistics are float32 under mixed precision
    too. Variables, names and order are those of Keras' layer; `momentum` is Keras' (PyTorch's 0.1
    is 0.9 here). The running variance is the biased one, as Keras keeps it: PyTorch's is larger by
    n / (n - 1) for n = N·H·W values a channel, which is negligible, and the difference is on
    purpose.

    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=False):
        """Normalises by the batch's statistics in training, by the running ones otherwise."""
        x = ops.cast(inputs, "float32")
        if training and self.trainable:
            mean, variance = self._batch_statistics(x)
            self._update(self.moving_mean, mean)
            self._update(self.moving_variance, variance)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        offset = self.beta - mean * scale
        return ops.cast(x * scale + offset, self.compute_dtype)

    def _batch_statistics(self, x):
        """Mean and variance of each channel; both sums come from one pass over `x`."""
        axes = tuple(range(x.ndim - 1))
        mean = ops.mean(x, axes)
        variance = ops.mean(ops.square(x), axes) - ops.square(mean)
        return mean, ops.maximum(variance, 0.0)  # rounding can take it below zero

    def _update(self, moving, value):
        moving.assign(moving * self.momentum + value * (1.0 - self.momentum))


@keras.saving.register_keras_serializable(package="keras_landmarks")
class MaxPooling(keras.layers.Layer):
    """The maximum of each window, padded by pool_size // 2 on every side as PyTorch's.

    (N, H, W, C) → (N, H', W', C) in the compute dtype. The padding never wins: it is minus
    infinity.
    """

    def __init__(self, pool_size=3, strides=2, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = pool_size
        self.strides = strides

    def call(self, inputs):
        """Pools in the platform's form."""
        pool = _max_pool_shifted if _splits() else _max_pool
        return pool(inputs, self.pool_size, self.strides)

    def compute_output_shape(self, input_shape):
        """(N, H, W, C) → (N, H', W', C)."""
        batch, *sizes, channels = input_shape
        sizes = [_output_size(size, self.pool_size, self.strides) for size in sizes]
        return (batch, *sizes, channels)

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {"pool_size": self.pool_size, "strides": self.strides}
