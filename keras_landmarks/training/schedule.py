"""Learning rates: by epoch, as the recipe has them, or by step."""

from collections.abc import Callable

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.utils.errors import InputError

_ONE_CYCLE_WARMUP = 0.3  # share of the run
_RESTART_GROWTH = 2.0  # each cycle is so many times as long as the one before


def step_wise(
    name: str, peak: float, steps: int, warmup_steps: int = 0, first_cycle_steps: int = 0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a schedule that changes with every step and ends at 0.

    Args:
        name: `cosine`, after a linear warm-up; `one_cycle`, the same with nearly a third of the run
            as warm-up (Smith and Topin, "Super-convergence", 2018); or `restarts`, cosines one
            after the other, each twice as long as the last (Loshchilov and Hutter, "SGDR", 2017).
        peak: the highest learning rate.
        steps: of the whole run.
        warmup_steps: of `cosine`.
        first_cycle_steps: of `restarts`.
    """
    schedules = keras.optimizers.schedules
    if name == "restarts":
        return schedules.CosineDecayRestarts(peak, first_cycle_steps, t_mul=_RESTART_GROWTH)
    if name == "one_cycle":
        warmup_steps = int(_ONE_CYCLE_WARMUP * steps)
    if not warmup_steps:
        return schedules.CosineDecay(peak, steps)
    left = max(1, steps - warmup_steps)
    return schedules.CosineDecay(0.0, left, warmup_target=peak, warmup_steps=warmup_steps)


def step_schedule(text: str) -> Callable[[int], float]:
    """Returns epoch -> learning rate for a text such as "0:1e-2,5:1e-3".

    Each pair is the first epoch, counted from 0, that a learning rate holds for.

    Raises:
        InputError: not such a text, or the epochs do not begin with 0 and rise.
    """
    try:
        pairs = [pair.split(":") for pair in text.split(",")]
        steps = [(int(epoch), float(rate)) for epoch, rate in pairs]
    except ValueError:
        raise InputError(
            f"--learning_rates={text}: not pairs of epoch:rate such as 0:1e-2,5:1e-3"
        ) from None
    epochs = [epoch for epoch, _ in steps]
    if epochs[0] != 0 or sorted(set(epochs)) != epochs:
        raise InputError(f"--learning_rates={text}: the epochs must begin with 0 and rise")
    if not all(0 < rate < float("inf") for _, rate in steps):
        raise InputError(f"--learning_rates={text}: a rate must be a number above 0")

    def learning_rate(epoch: int, _current: float | None = None) -> float:
        return [rate for first, rate in steps if first <= epoch][-1]

    return learning_rate
