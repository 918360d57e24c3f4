"""The layers of ResNet, each computed in the form that is fast on the platform.

On a CPU the layers take the forms of `xla_cpu`. Accelerators take XLA's own operations: for TPU v5e
the compiler estimates 7.0 GFLOP for a grouped convolution of 32x32x128 and its gradient, and 28 in
slices. Several devices take XLA's own operations as well, even CPUs: the forms of `xla_cpu` merge
the axes of images and pixels, for which the batch would have to be moved between devices.
tests/training/test_distribution.py checks that a compiled step exchanges nothing but sums.

The form is no property of a model: the weights are the same for all forms.
"""

import contextlib
import contextvars

import jax
import jax.numpy as jnp
from jax import lax

from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.models.registry import BATCH_NORM_EPSILON
from keras_landmarks.models.xla_cpu import activation, convolution, normalisation, pooling

# The platform that code being traced is for; None: the one that JAX runs on. It is a context
# variable and no argument of the layers, because Keras calls them and passes inputs only. As it is
# read when a layer is traced, it does not change functions that have been compiled before.
_target_platform = contextvars.ContextVar("target_platform", default=None)


@contextlib.contextmanager
def lowering_for(platform: str):
    """Within, layers are traced in the form for `platform` ("cpu", "cuda", "gpu", "tpu", ...).

    For tests, and for compilation ahead (tests/benchmarks/compile_for_tpu.py).
    """
    token = _target_platform.set(platform)
    try:
        yield
    finally:
        _target_platform.reset(token)


def _use_cpu_forms() -> bool:
    """Whether a layer that is traced now takes its form for the CPU."""
    if keras.distribution.distribution() is not None:
        return False
    return (_target_platform.get() or jax.default_backend()) == "cpu"


def _convolve(x, kernel, strides: int, groups: int):
    if _use_cpu_forms():
        return convolution.convolve(x, kernel, strides, groups)
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
    if _use_cpu_forms():
        return pooling.max_pool(x)
    padding = [(0, 0), (1, 1), (1, 1), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


def _batch_norm(x, gamma, beta, epsilon: float):
    if _use_cpu_forms():
        return normalisation.batch_norm(x, gamma, beta, epsilon)
    # With plain sums each device adds up its part of the batch, and only the sums are exchanged.
    mean, variance = normalisation.batch_statistics(x, lambda x: x.sum(tuple(range(x.ndim - 1))))
    return _scale_and_shift(x, gamma, beta, mean, variance, epsilon), mean, variance


def _scale_and_shift(x, gamma, beta, mean, variance, epsilon: float):
    scale = gamma * lax.rsqrt(variance + epsilon)
    return x * scale + (beta - mean * scale)


def _output_size(size: int, window: int, strides: int) -> int:
    return (size + 2 * (window // 2) - window) // strides + 1


@keras.saving.register_keras_serializable(package="keras_landmarks")
class Convolution(keras.layers.Layer):
    """A 2-D convolution, channels last, padded equally on all sides.

    (N, H, W, in) → (N, H', W', filters) in the compute dtype. The padding is kernel_size // 2 at
    any stride, as in PyTorch; "same" in Keras pads unevenly at stride 2. The kernel has the layout
    of `keras.layers.Conv2D(groups=groups)`, (k, k, in / groups, filters), and the initial values of
    torchvision's ResNet: He et al., "Delving deep into rectifiers", 2015, fan-out.

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
        """Creates the kernel for the input channels, the last number of `input_shape`."""
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
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "groups": self.groups,
            "use_bias": self.use_bias,
        }


@keras.saving.register_keras_serializable(package="keras_landmarks")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation over the last axis, in one pass and with PyTorch's defaults.

    (N, H, W, C) → the same in the compute dtype; the statistics are float32 even under mixed
    precision. The variables and their names and order are those of Keras's layer, and so is the
    meaning of `momentum` (PyTorch's 0.1 is 0.9 here). The running variance is the biased one, as in
    Keras. PyTorch's is larger by n / (n - 1) for n = N * H * W, which is negligible.

    With several devices the statistics are those of the whole batch. In PyTorch each device has the
    statistics of its own part.

    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """

    def __init__(self, momentum=0.9, epsilon=BATCH_NORM_EPSILON, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=False):
        """Normalises by the batch's statistics in training, else by the running ones."""
        x = ops.cast(inputs, "float32")
        gamma, beta = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        if training and self.trainable:
            y, mean, variance = _batch_norm(x, gamma, beta, self.epsilon)
            self._update(self.moving_mean, mean)
            self._update(self.moving_variance, variance)
        else:
            moments = (self.moving_mean.value, self.moving_variance.value)
            y = _scale_and_shift(x, gamma, beta, *moments, self.epsilon)
        return ops.cast(y, self.compute_dtype)

    def _update(self, moving, value):
        moving.assign(moving * self.momentum + value * (1.0 - self.momentum))


@keras.saving.register_keras_serializable(package="keras_landmarks")
class MaxPooling(keras.layers.Layer):
    """The maximum of each 3 x 3 window at stride 2, padded by 1 on every side as in PyTorch.

    (N, H, W, C) → (N, H', W', C) in the compute dtype. The padding, minus infinity, never wins.
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
    """max(x, 0) of any shape, in the compute dtype."""

    def call(self, inputs):
        """Rectifies in the platform's form."""
        return activation.relu(inputs) if _use_cpu_forms() else ops.relu(inputs)

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape
