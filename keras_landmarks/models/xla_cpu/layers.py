"""Convolution, pooling, activation and normalisation as XLA's CPU backend is quick at them.

Each function gives what XLA's own operation gives, gradient included (tests/test_layers.py holds
them against each other); only the way there differs. WORKSPACE.md has the measurements that chose
these forms. `jax.jit` has a form traced once for all layers of one shape. Images are (N, H, W, C);
windows are padded by their half on every side, as in PyTorch.
"""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from keras_landmarks.models.xla_cpu import winograd

_SLICE_WIDTH, _COLUMNS = 16, 32  # a slice's channels and, with neighbouring pixels, its columns
_PIECES, _MANY_ROWS = 8, 2048  # a product's gradient over that many rows is split


# ── convolution ──


@functools.partial(jax.jit, static_argnums=(2, 3))
def convolve(x, kernel, strides: int, groups: int = 1):
    """Convolves with a (k, k, in / groups, out) kernel in the form that suits the shapes."""
    if groups > 1:
        return _convolve_grouped(x, kernel, strides, groups)
    # Where the padding outweighs the image, XLA's convolution takes 50 times as long.
    if kernel.shape[0] == 1 or max(_output_sides(x, strides)) <= 3:
        return _convolve_patches(x, kernel, strides)
    if winograd.suits(x, kernel, strides):
        return winograd.convolve(x, kernel)
    half = kernel.shape[0] // 2
    return _convolve(x, kernel, (strides, strides), [(half, half)] * 2)


def _convolve(x, kernel, strides, padding):
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _output_sides(x, strides: int) -> list[int]:
    return [(side - 1) // strides + 1 for side in x.shape[1:3]]


def _convolve_patches(x, kernel, strides: int):
    """A convolution as one matrix product with the window around each output pixel."""
    patches = jnp.concatenate(_shifted(x, kernel.shape[0], strides, 0), axis=-1)
    product = _product(patches.reshape(-1, patches.shape[-1]), kernel.reshape(-1, kernel.shape[-1]))
    return product.reshape(*patches.shape[:-1], -1)


@jax.custom_vjp
def _product(rows, kernel):
    """rows @ kernel, where there are many more rows than columns."""
    return rows @ kernel


def _product_forward(rows, kernel):
    return rows @ kernel, (rows, kernel)


def _product_backward(saved, gradient):
    rows, kernel = saved
    # The product over all rows at once keeps one core busy; over pieces of them, all cores.
    pieces = math.gcd(len(rows), _PIECES) if len(rows) >= _MANY_ROWS else 1
    rows, gradient_pieces = (a.reshape(pieces, -1, a.shape[-1]) for a in (rows, gradient))
    kernel_gradient = jnp.einsum("pri,pro->pio", rows, gradient_pieces).sum(0)
    return gradient @ kernel.T, kernel_gradient


_product.defvjp(_product_forward, _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve_grouped(x, kernel, strides: int, groups: int):
    return _convolve_sliced(x, kernel, strides, groups)


def _grouped_forward(x, kernel, strides, groups):
    return _convolve_sliced(x, kernel, strides, groups), (x, kernel)


def _grouped_backward(strides, groups, saved, gradient):
    x, kernel = saved
    if strides == 1:
        image_gradient = _convolve_sliced(gradient, _turned(kernel, groups), 1, groups)
    elif strides == 2 and kernel.shape[0] == 3:
        image_gradient = _upsampling_gradient(gradient, kernel, groups, x.shape)
    else:
        _, image_vjp = jax.vjp(lambda x: _convolve_sliced(x, kernel, strides, groups), x)
        (image_gradient,) = image_vjp(gradient)
    return image_gradient, _kernel_gradient(x, gradient, kernel.shape, strides, groups)


_convolve_grouped.defvjp(_grouped_forward, _grouped_backward)


def _convolve_sliced(x, kernel, strides: int, groups: int):
    """A grouped convolution as ordinary ones, each on a slice of some groups' channels.

    Eigen wants some dozens of columns to fill the processor; so a slice's kernel is block-diagonal
    over its groups, and it gives some neighbouring pixels of a row at once.
    """
    half, (rows, columns) = kernel.shape[0] // 2, _output_sides(x, strides)
    slices, kernel = _sliced(kernel, groups)
    pixels = math.gcd(columns, max(1, _COLUMNS * slices // kernel.shape[-1]))
    kernel = _for_neighbours(kernel, pixels, strides)
    steps = (strides, strides * pixels)
    places = (rows, columns // pixels)
    padding = [
        (half, (count - 1) * step + window - side - half)
        for count, step, window, side in zip(
            places, steps, kernel.shape[:2], x.shape[1:3], strict=True
        )
    ]
    outputs = []
    for part, weights in zip(
        jnp.split(x, slices, axis=-1), jnp.split(kernel, slices, axis=-1), strict=True
    ):
        weights = weights.reshape(*weights.shape[:3], -1)
        output = _convolve(part, weights, steps, padding)
        outputs.append(output.reshape(len(x), rows, columns, -1))
    return lax.optimization_barrier(jnp.concatenate(outputs, axis=-1))


def _for_neighbours(kernel, pixels: int, strides: int):
    """The kernel at its place for each of some neighbours: (k, wide k, in, pixels, out)."""
    reach = strides * (pixels - 1)
    widths = [(place, reach - place) for place in range(0, reach + 1, strides)]
    return jnp.stack([jnp.pad(kernel, [(0, 0), w, (0, 0), (0, 0)]) for w in widths], axis=3)


def _kernel_gradient(x, gradient, shape, strides: int, groups: int):
    """A grouped kernel's gradient: the image convolved by the output's, channels as images.

    Left to itself XLA turns the image slice by slice, which takes longer than turning it whole.
    """
    size, _, inputs, _ = shape
    n, *sides, channels = x.shape
    x = lax.optimization_barrier(x.reshape(n, -1).T.reshape(*sides, channels, n))
    gradient = lax.optimization_barrier(gradient.transpose(1, 2, 0, 3))
    groups_per_slice = _groups_per_slice(inputs, groups)
    slices = groups // groups_per_slice
    outputs = [
        lax.conv_general_dilated(
            part,
            part_gradient,
            window_strides=(1, 1),
            padding=[
                (size // 2, size - size // 2 - side + (count - 1) * strides)
                for side, count in zip(sides, gradient.shape[:2], strict=True)
            ],
            rhs_dilation=(strides, strides),
            dimension_numbers=("HWNC", "HWIO", "NHWC"),
        )
        for part, part_gradient in zip(
            jnp.split(x, slices, axis=2), jnp.split(gradient, slices, axis=3), strict=True
        )
    ]
    # Of a slice's (in, k, k, out) the blocks on the diagonal are its groups'.
    blocks = jnp.stack(outputs).reshape(
        slices, groups_per_slice, inputs, size, size, groups_per_slice, -1
    )
    diagonal = jnp.eye(groups_per_slice, dtype=x.dtype)[:, None, None, None, :, None]
    return (blocks * diagonal).sum(5).transpose(3, 4, 2, 0, 1, 5).reshape(shape)


def _upsampling_gradient(gradient, kernel, groups: int, shape):
    """The image's gradient of a 3x3 convolution of stride 2.

    An even pixel was seen by the window's middle, an odd one by its two sides; so each of the four
    kinds of pixel is a convolution of the gradient by at most 2x2, and the four run as one.
    """
    slices, kernel = _sliced(_swapped(kernel, groups), groups)
    # Taps of the gradient pixels at and after an even pixel, then an odd one; 3 stands for none.
    taps = jnp.array([[1, 3], [2, 0]])
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))[taps][:, :, taps]
    kernel = kernel.transpose(1, 3, 4, 5, 0, 2)  # (2, 2, in, slices * out, row kind, column kind)
    outputs = []
    for part, weights in zip(
        jnp.split(gradient, slices, axis=-1), jnp.split(kernel, slices, axis=3), strict=True
    ):
        weights = weights.transpose(0, 1, 2, 4, 5, 3).reshape(*weights.shape[:3], -1)
        outputs.append(_convolve(part, weights, (1, 1), [(0, 1), (0, 1)]))
    pixels = [out.reshape(*out.shape[:3], 2, 2, -1) for out in outputs]
    return _interleaved(jnp.concatenate(pixels, axis=-1), shape)


def _interleaved(pixels, shape):
    """(N, H/2, W/2, 2, 2, C), each pixel's block of 2x2, to an image of `shape`."""
    n, rows, columns, *_, channels = pixels.shape
    image = pixels.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * rows, 2 * columns, channels)
    return image[:, : shape[1], : shape[2]]


def _sliced(kernel, groups: int) -> tuple[int, jax.Array]:
    """The number of slices and the kernel with some groups in each: (k, k, in / slices, out)."""
    height, width, inputs, outputs = kernel.shape
    groups_per_slice = _groups_per_slice(inputs, groups)
    kernel = kernel.reshape(height, width, 1, inputs, -1, groups_per_slice, outputs // groups)
    diagonal = jnp.eye(groups_per_slice, dtype=kernel.dtype)[:, None, None, :, None]
    kernel = (kernel * diagonal).reshape(height, width, groups_per_slice * inputs, outputs)
    return groups // groups_per_slice, kernel


def _groups_per_slice(group_inputs: int, groups: int) -> int:
    return math.gcd(groups, max(1, _SLICE_WIDTH // group_inputs))


def _turned(kernel, groups: int):
    """The kernel that takes an output's gradient back to the input, at stride 1."""
    return _swapped(kernel, groups)[::-1, ::-1]


def _swapped(kernel, groups: int):
    """Inputs and outputs exchanged within each group."""
    height, width, inputs, outputs = kernel.shape
    kernel = kernel.reshape(height, width, inputs, groups, outputs // groups)
    return kernel.transpose(0, 1, 4, 3, 2).reshape(height, width, -1, inputs * groups)


# ── max-pooling ──


@jax.custom_vjp
def max_pool(x):
    """The maximum of each 3 x 3 window at stride 2."""
    return functools.reduce(jnp.maximum, _shifted(x, 3, 2, -jnp.inf))


def _max_pool_forward(x):
    pooled = max_pool(x)
    return pooled, (x, pooled)


def _max_pool_backward(saved, gradient):
    """Gives each window's gradient to the first pixel that holds its maximum, as XLA's own does."""
    x, pooled = saved
    first = jnp.zeros(pooled.shape, jnp.uint8)
    for place, shifted in reversed(list(enumerate(_shifted(x, 3, 2, -jnp.inf)))):
        first = jnp.where(shifted == pooled, jnp.uint8(place), first)
    first = lax.optimization_barrier(first)  # or each of the nine below would find it anew
    shares = {}
    for place in range(9):
        # Where in its window, from -1 to 1: that tells an even pixel from an odd one.
        row, column = place // 3 - 1, place % 3 - 1
        share = jnp.where(first == place, gradient, 0)
        moved = _moved_up(_moved_up(share, row == -1, axis=1), column == -1, axis=2)
        shares.setdefault((row % 2, column % 2), []).append(moved)
    pixels = jnp.stack([sum(shares[kind]) for kind in itertools.product((0, 1), repeat=2)], axis=3)
    return (_interleaved(pixels.reshape(*pixels.shape[:3], 2, 2, -1), x.shape),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _moved_up(image, move: bool, axis: int):
    """The image moved by one pixel towards the axis' start, or not; a zero comes in at its end."""
    if not move:
        return image
    zero = jnp.zeros_like(lax.slice_in_dim(image, 0, 1, axis=axis))
    return jnp.concatenate([lax.slice_in_dim(image, 1, None, axis=axis), zero], axis)


# ── activation and normalisation ──


@jax.custom_vjp
def relu(x):
    """max(x, 0)."""
    return jnp.maximum(x, 0)


def _relu_forward(x):
    output = lax.optimization_barrier(relu(x))  # it has several readers
    return output, output


def _relu_backward(output, gradient):
    return (lax.optimization_barrier(jnp.where(output > 0, gradient, 0)),)


relu.defvjp(_relu_forward, _relu_backward)


@functools.partial(jax.jit, static_argnums=3)
def batch_norm(x, gamma, beta, epsilon: float):
    """Normalises each channel by its own statistics; also returns mean and (biased) variance.

    No gradient flows through the two statistics that are returned.
    """
    return _batch_norm(x, gamma, beta, epsilon)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _batch_norm(x, gamma, beta, epsilon: float):
    return _batch_norm_forward(x, gamma, beta, epsilon)[0]


def _batch_norm_forward(x, gamma, beta, epsilon):
    mean, variance = batch_statistics(x, channel_sums)
    rate = lax.rsqrt(variance + epsilon)
    scale = gamma * rate
    return (x * scale + (beta - mean * scale), mean, variance), (x, gamma, mean, rate)


def _batch_norm_backward(epsilon, saved, gradients):
    x, gamma, mean, rate = saved
    gradient, _, _ = gradients
    count = x.size // x.shape[-1]
    beta_gradient = channel_sums(gradient)
    gamma_gradient = channel_sums(gradient * (x - mean)) * rate
    scale = gamma * rate
    slope = -scale * rate * gamma_gradient / count
    offset = -scale * beta_gradient / count - slope * mean
    return gradient * scale + x * slope + offset, gamma_gradient, beta_gradient


_batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


def batch_statistics(x, sums: Callable):
    """Mean and biased variance of each channel; `sums` adds up channels, as `channel_sums` does."""
    count = x.size // x.shape[-1]
    mean = sums(x) / count
    variance = sums(jnp.square(x)) / count - jnp.square(mean)
    return mean, jnp.maximum(variance, 0.0)  # rounding can take it below zero


def channel_sums(x):
    """The sum of each channel, halving the rows (or more) at every step.

    XLA sums number by number, in doing so working out once more all that led to them; adding pieces
    of an image to each other it takes whole vectors, and what led to them is worked out on the way.
    """
    x = x.reshape(-1, x.shape[-1])
    while pieces := next((k for k in (8, 7, 6, 5, 4, 3, 2) if len(x) % k == 0), 0):
        x = lax.optimization_barrier(sum(x.reshape(pieces, -1, x.shape[-1])))
    return x.sum(0)


def _shifted(x, size: int, strides: int, padding_value: float) -> list:
    """The padded image shifted to each place in a window, every stride-th pixel."""
    half = (size // 2, size // 2)
    x = jnp.pad(x, [(0, 0), half, half] + [(0, 0)] * (x.ndim - 3), constant_values=padding_value)
    rows, columns = x.shape[1] - size + 1, x.shape[2] - size + 1
    return [
        x[:, i : i + rows : strides, j : j + columns : strides]
        for i, j in itertools.product(range(size), repeat=2)
    ]
