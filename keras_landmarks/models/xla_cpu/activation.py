"""ReLU that is computed once.

Its output has three readers: the next layer, that layer's gradient and its own gradient. Left to
itself, XLA repeats ReLU, and all that is fused with it, for each of them.
"""

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def relu(x):
    """max(x, 0)."""
    return jnp.maximum(x, 0)


def _forward(x):
    output = lax.optimization_barrier(relu(x))
    return output, output


def _backward(output, gradient):
    return (lax.optimization_barrier(jnp.where(output > 0, gradient, 0)),)


relu.defvjp(_forward, _backward)
