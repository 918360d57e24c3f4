"""Convolution: chooses the fastest form for the shapes of an image and a kernel.

Times are forward / forward + backward in ms, batch 16.

- Grouped: see `grouped`.
- 1x1: one matrix product of (N * H * W, in) with (in, out). For 64 to 128 channels at 32x32, 2.0 /
  7.2 in place of XLA's 4.0 / 49.
- Outputs of at most 3x3 pixels, where the padding outweighs the image: one matrix product with the
  windows written out. XLA takes up to 50 times as long (3x3x512 at 2x2: 1,073 in place of 21, with
  YNNPACK).
- 3x3 at stride 1 with enough channels: see `winograd`.
- Everything else: XLA's own. The stem, 7x7 at stride 2, takes 10.1 / 10.8 (PyTorch 6.5 / 44); as a
  4x4 convolution of 2x2 blocks it is no faster. At stride 2 XLA's own gradient stays, because
  swapping the channel axes of a 512x512 kernel takes 7 to 10 ms per step (strides of a power of two
  share few lines of the cache). A dense gradient as nine matrix products is slower, too: 7.2 in
  place of 5.9 at 16x16x128.
"""

import functools
import math

import jax
import jax.numpy as jnp

from keras_landmarks.models.xla_cpu import grouped, winograd
from keras_landmarks.models.xla_cpu.windows import convolve_by_xla, output_sides, shifted_images

_CHUNKS, _MIN_CHUNKED_ROWS = 8, 2048


# Under jax.jit, JAX traces the function once for all layers of the same shapes.
@functools.partial(jax.jit, static_argnums=(2, 3))
def convolve(x, kernel, strides: int, groups: int = 1):
    """Convolves (N, H, W, in) with a (k, k, in / groups, out) kernel."""
    if groups > 1:
        return grouped.convolve(x, kernel, strides, groups)
    if kernel.shape[0] == 1 or max(output_sides(x, strides)) <= 3:
        return _convolve_by_matmul(x, kernel, strides)
    if winograd.is_faster(x, kernel, strides):
        return winograd.convolve(x, kernel)
    half = kernel.shape[0] // 2
    return convolve_by_xla(x, kernel, (strides, strides), [(half, half)] * 2)


def _convolve_by_matmul(x, kernel, strides: int):
    """One matrix product with the window around each output pixel (im2col)."""
    windows = jnp.concatenate(shifted_images(x, kernel.shape[0], strides, 0), axis=-1)
    product = _matmul(windows.reshape(-1, windows.shape[-1]), kernel.reshape(-1, kernel.shape[-1]))
    return product.reshape(*windows.shape[:-1], -1)


@jax.custom_vjp
def _matmul(rows, kernel):
    """rows @ kernel, for many more rows than columns."""
    return rows @ kernel


def _matmul_forward(rows, kernel):
    return rows @ kernel, (rows, kernel)


def _matmul_backward(saved, gradient):
    """Computes the kernel's gradient, a sum over all rows, as a sum over chunks of rows.

    One product over all rows keeps a single core busy; products over chunks keep all cores busy:
    132 in place of 85 GFLOP/s for 16,384 rows and a 128 x 256 kernel.
    """
    rows, kernel = saved
    chunks = math.gcd(len(rows), _CHUNKS) if len(rows) >= _MIN_CHUNKED_ROWS else 1
    rows, gradient_chunks = (a.reshape(chunks, -1, a.shape[-1]) for a in (rows, gradient))
    kernel_gradient = jnp.einsum("cri,cro->cio", rows, gradient_chunks).sum(0)
    return gradient @ kernel.T, kernel_gradient


_matmul.defvjp(_matmul_forward, _matmul_backward)
