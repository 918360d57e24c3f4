"""3x3 convolutions at stride 1 with 16 products where the plain way takes 36.

Winograd's F(2x2, 3x3): each block of 2x2 output pixels comes from a 4x4 window of the image; window
and kernel are transformed to 16 numbers each (a channel), multiplied place by place and summed over
the channels, which is 16 matrix products, and the sums are transformed back. In float32 the result
differs from the plain one by a few units of the last place.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_IMAGE = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
_FEWEST_CHANNELS = 64  # below, transforming takes longer than is won


def suits(x, kernel, strides: int) -> bool:
    """Whether a convolution can be done in this form and is quicker for it."""
    size, _, inputs, outputs = kernel.shape
    n, height, width, _ = x.shape
    windows = n * height * width // 4
    return (
        (size, strides) == (3, 1)
        and height % 2 == width % 2 == 0
        and x.dtype == jnp.float32
        and min(inputs, outputs) >= _FEWEST_CHANNELS
        and windows >= max(inputs, outputs)  # or the kernel is what takes time to transform
    )


@jax.custom_vjp
def convolve(x, kernel):
    """(N, H, W, in), (3, 3, in, out) → (N, H, W, out), padded by 1; H and W are even."""
    return _convolve(x, kernel, contracted=0)


def _forward(x, kernel):
    return convolve(x, kernel), (x, kernel)


def _backward(saved, gradient):
    x, kernel = saved
    image_gradient = _convolve(gradient, kernel[::-1, ::-1], contracted=1)
    return image_gradient, _kernel_gradient(x, gradient)


convolve.defvjp(_forward, _backward)


def _convolve(x, kernel, contracted: int):
    """Sums over that one of the kernel's two axes of channels."""
    n, height, width, _ = x.shape
    axes = (((1,), (contracted,)), ((), ()))
    sums = [
        [
            lax.dot_general(part, weights, axes).reshape(n, height // 2, width // 2, -1)
            for part, weights in pairs
        ]
        for pairs in _paired(_image_parts(x), _transformed(_KERNEL, kernel))
    ]
    blocks = _transformed(_OUTPUT, sums)
    rows = [jnp.stack(row, axis=3) for row in blocks]  # (N, H/2, W/2, 2, out) each
    return lax.optimization_barrier(jnp.stack(rows, axis=2).reshape(n, height, width, -1))


def _kernel_gradient(x, gradient):
    blocks = [[gradient[:, row::2, column::2] for column in (0, 1)] for row in (0, 1)]
    sums = [
        [
            part.T @ lax.optimization_barrier(share.reshape(-1, share.shape[-1]))
            for part, share in pairs
        ]
        for pairs in _paired(_image_parts(x), _transformed(_OUTPUT.T, blocks))
    ]
    return jnp.stack([jnp.stack(row) for row in _transformed(_KERNEL.T, sums)])


def _image_parts(x):
    """The 4x4 numbers of each window: 4 x 4 arrays (windows, in)."""
    _, height, width, channels = x.shape
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    rows = [x[:, place : place + height - 1 : 2] for place in range(4)]
    # The barrier has each row's transform worked out once, not in each of the columns' again.
    rows = [lax.optimization_barrier(row) for row in _combined(_IMAGE, rows)]
    return [
        [
            part.reshape(-1, channels)
            for part in _combined(
                _IMAGE, [row[:, :, place : place + width - 1 : 2] for place in range(4)]
            )
        ]
        for row in rows
    ]


def _transformed(matrix, square):
    """matrix · square · matrixᵀ, for a square of arrays (or one array with two axes more)."""
    columns = zip(*square, strict=True)
    rows = zip(*[_combined(matrix, column) for column in columns], strict=True)
    return [_combined(matrix, row) for row in rows]


def _combined(matrix, arrays) -> list:
    """matrix · arrays, for a column of arrays."""
    return [
        sum(array if factor == 1 else float(factor) * array for factor, array in terms if factor)
        for terms in (list(zip(row, arrays, strict=True)) for row in matrix)
    ]


def _paired(left, right):
    """Pairs of what stands at the same place, row by row."""
    return [zip(*rows, strict=True) for rows in zip(left, right, strict=True)]
