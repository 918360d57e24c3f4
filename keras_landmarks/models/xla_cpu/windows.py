"""What the convolutions and max-pooling share: windows of an image, and images from blocks."""

import itertools

import jax.numpy as jnp
from jax import lax


def convolve_by_xla(x, kernel, strides, padding):
    """XLA's own convolution, channels last, without groups."""
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def output_sides(x, strides: int) -> list[int]:
    """Height and width of a convolution's output."""
    return [(side - 1) // strides + 1 for side in x.shape[1:3]]


def shifted_images(x, size: int, strides: int, padding_value: float) -> list:
    """Returns, for each place in a `size` x `size` window, the pixels that windows have there.

    Each array is (N, H', W', C), with one pixel per window; the places are in row-major order.
    """
    half = (size // 2, size // 2)
    x = jnp.pad(x, [(0, 0), half, half] + [(0, 0)] * (x.ndim - 3), constant_values=padding_value)
    rows, columns = x.shape[1] - size + 1, x.shape[2] - size + 1
    return [
        x[:, i : i + rows : strides, j : j + columns : strides]
        for i, j in itertools.product(range(size), repeat=2)
    ]


def merge_blocks(blocks, shape):
    """Merges blocks of 2 x 2 pixels, (N, H/2, W/2, 2, 2, C), into an image; crops it to `shape`."""
    n, rows, columns, *_, channels = blocks.shape
    image = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * rows, 2 * columns, channels)
    return image[:, : shape[1], : shape[2]]
