"""The train step as a pure function, for those who run or compile it without `fit`."""

from collections.abc import Callable
from typing import Any

from keras_landmarks.models.keras_on_jax import keras


def train_step(model: keras.Model) -> tuple[Callable, Any]:
    """Returns what `fit` compiles for a compiled model, and the state to begin with.

    The function takes (state, batch), the batch as `fit` gets it, to (logs, state): forward,
    backward, update of the weights, of the optimiser and of the batch norms' statistics. The
    state's arrays are the model's own: whoever donates them can't use the model afterwards.
    """
    model.optimizer.build(model.trainable_variables)
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )

    # Not the bound method: JAX would take it for the one it may have traced for another platform.
    def step(state, batch):
        return model.train_step(state, batch)

    return step, tuple([variable.value for variable in group] for group in variables)
