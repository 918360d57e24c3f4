"""3x3 max-pooling at stride 2, as the maximum of nine shifted images.

With a gradient to match it takes 2.0 / 11 ms forward / forward + backward, for 64x64x64 and batch
16; XLA's `reduce_window` takes 5.0 / 80.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax

from keras_landmarks.models.xla_cpu.windows import merge_blocks, shifted_images


@jax.custom_vjp
def max_pool(x):
    """The maximum of each 3x3 window at stride 2; the padding is minus infinity."""
    return functools.reduce(jnp.maximum, shifted_images(x, 3, 2, -jnp.inf))


def _forward(x):
    pooled = max_pool(x)
    return pooled, (x, pooled)


def _backward(saved, gradient):
    """Gives each window's gradient to the first pixel that holds its maximum, as XLA does."""
    x, pooled = saved
    first = jnp.zeros(pooled.shape, jnp.uint8)
    for place, shifted in reversed(list(enumerate(shifted_images(x, 3, 2, -jnp.inf)))):
        first = jnp.where(shifted == pooled, jnp.uint8(place), first)
    first = lax.optimization_barrier(first)  # else each of the nine reads below computes it again
    shares = {}
    for place in range(9):
        # A window's middle is an even pixel; the pixels beside it, at -1 and 1, are odd ones. The
        # one at -1 belongs to the 2x2 block before, so its share moves up by one block.
        row, column = place // 3 - 1, place % 3 - 1
        share = jnp.where(first == place, gradient, 0)
        share = _shift_up(_shift_up(share, row == -1, axis=1), column == -1, axis=2)
        shares.setdefault((row % 2, column % 2), []).append(share)
    pixels = jnp.stack([sum(shares[kind]) for kind in itertools.product((0, 1), repeat=2)], axis=3)
    return (merge_blocks(pixels.reshape(*pixels.shape[:3], 2, 2, -1), x.shape),)


max_pool.defvjp(_forward, _backward)


def _shift_up(image, condition: bool, axis: int):
    """If `condition`, shifts by one towards the start of the axis; a zero enters at its end."""
    if not condition:
        return image
    zero = jnp.zeros_like(lax.slice_in_dim(image, 0, 1, axis=axis))
    return jnp.concatenate([lax.slice_in_dim(image, 1, None, axis=axis), zero], axis)
