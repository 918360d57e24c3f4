"""3x3 convolutions at stride 1 by Winograd's F(2x2, 3x3): 16 products where the direct way has 36.

Each block of 2x2 output pixels comes from a 4x4 window d of the image and the 3x3 kernel g:

    A^T [sum over channels of (G g G^T) * (B^T d B)] A

where * multiplies place by place. The sums over the channels are 16 matrix products, one for each
place. In float32 the result differs from the direct one by some 3e-6.

Eigen's direct convolution already runs as fast as the processor multiplies, so that only fewer
products help. Forward at 32x32x64, 16x16x128 and 8x8x256, batch 16: 6.7 -> 4.5, 5.9 -> 3.4 and
5.9 -> 3.5 ms. F(4x4, 3x3) is faster at 32x32 only, and its error is ten times as large.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_A_T = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
_MIN_CHANNELS = 64  # with fewer, the transforms take longer than the saved products


def is_faster(x, kernel, strides: int) -> bool:
    """Whether a convolution has this form and is faster in it than in XLA's own."""
    size, _, inputs, outputs = kernel.shape
    n, height, width, _ = x.shape
    windows = n * height * width // 4
    return (
        (size, strides) == (3, 1)
        and height % 2 == width % 2 == 0
        and x.dtype == jnp.float32
        and min(inputs, outputs) >= _MIN_CHANNELS
        and windows >= max(inputs, outputs)  # else transforming the kernel takes too long
    )


@jax.custom_vjp
def convolve(x, kernel):
    """(N, H, W, in), (3, 3, in, out) → (N, H, W, out), padded by 1. H and W must be even."""
    return _convolve(x, kernel, contracted_axis=0)


def _forward(x, kernel):
    return convolve(x, kernel), (x, kernel)


def _backward(saved, gradient):
    x, kernel = saved
    # Sums over the kernel's output channels: swapping its channel axes would take longer.
    image_gradient = _convolve(gradient, kernel[::-1, ::-1], contracted_axis=1)
    return image_gradient, _kernel_gradient(x, gradient)


convolve.defvjp(_forward, _backward)


def _convolve(x, kernel, contracted_axis: int):
    """Convolves; sums over axis 0 (in) or 1 (out) of the kernel's two channel axes."""
    n, height, width, _ = x.shape
    axes = (((1,), (contracted_axis,)), ((), ()))
    sums = [
        [
            lax.dot_general(part, weights, axes).reshape(n, height // 2, width // 2, -1)
            for part, weights in pairs
        ]
        for pairs in _zip_squares(_transformed_windows(x), _transform(_G, kernel))
    ]
    blocks = _transform(_A_T, sums)
    rows = [jnp.stack(row, axis=3) for row in blocks]  # (N, H/2, W/2, 2, out) each
    return lax.optimization_barrier(jnp.stack(rows, axis=2).reshape(n, height, width, -1))


def _kernel_gradient(x, gradient):
    blocks = [[gradient[:, row::2, column::2] for column in (0, 1)] for row in (0, 1)]
    sums = [
        [
            part.T @ lax.optimization_barrier(share.reshape(-1, share.shape[-1]))
            for part, share in pairs
        ]
        for pairs in _zip_squares(_transformed_windows(x), _transform(_A_T.T, blocks))
    ]
    return jnp.stack([jnp.stack(row) for row in _transform(_G.T, sums)])


def _transformed_windows(x):
    """B^T d B of every 4x4 window d: 4 x 4 arrays, each (windows, in)."""
    _, height, width, channels = x.shape
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    rows = [x[:, place : place + height - 1 : 2] for place in range(4)]
    # Without the barrier, XLA would transform each row again for each of the columns.
    rows = [lax.optimization_barrier(row) for row in _combine(_B_T, rows)]
    return [
        [
            part.reshape(-1, channels)
            for part in _combine(
                _B_T, [row[:, :, place : place + width - 1 : 2] for place in range(4)]
            )
        ]
        for row in rows
    ]


def _transform(matrix, square):
    """matrix · square · matrixᵀ, for a square of arrays (or an array with two leading axes)."""
    columns = zip(*square, strict=True)
    rows = zip(*[_combine(matrix, column) for column in columns], strict=True)
    return [_combine(matrix, row) for row in rows]


def _combine(matrix, arrays) -> list:
    """matrix · arrays, for a column of arrays."""
    return [
        sum(array if factor == 1 else float(factor) * array for factor, array in terms if factor)
        for terms in (list(zip(row, arrays, strict=True)) for row in matrix)
    ]


def _zip_squares(left, right):
    """Pairs the elements at the same place of two squares, row by row."""
    return [zip(*rows, strict=True) for rows in zip(left, right, strict=True)]
