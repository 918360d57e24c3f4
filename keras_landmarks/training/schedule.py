"""Learning rate schedules: constant within an epoch, as in the recipe, or changing each step."""

from collections.abc import Callable

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.utils.errors import InputError

_ONE_CYCLE_WARMUP = 0.3  # fraction of the training
_RESTART_GROWTH = 2.0  # length of a cycle relative to the one before


def per_step_schedule(
    name: str, peak: float, steps: int, warmup_steps: int = 0, first_cycle_steps: int = 0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a schedule whose learning rate changes with every step.

    Args:
        name: `cosine`, which decays to 0 after a linear warm-up; `one_cycle`, the same with 30 % of
            the training as warm-up (Smith and Topin, "Super-Convergence", 2018); or `restarts`,
            cosine cycles, each twice as long as the one before (Loshchilov and Hutter, "SGDR",
            2017).
        peak: the highest learning rate.
        steps: the number of steps of the whole training.
        warmup_steps: the number of warm-up steps of `cosine`.
        first_cycle_steps: the number of steps of the first cycle of `restarts`.
    """
    schedules = keras.optimizers.schedules
    if name == "restarts":
        return schedules.CosineDecayRestarts(peak, first_cycle_steps, t_mul=_RESTART_GROWTH)
    if name == "one_cycle":
        warmup_steps = int(_ONE_CYCLE_WARMUP * steps)
    if not warmup_steps:
        return schedules.CosineDecay(peak, steps)
    decay_steps = max(1, steps - warmup_steps)
    return schedules.CosineDecay(0.0, decay_steps, warmup_target=peak, warmup_steps=warmup_steps)


def parse_epoch_schedule(text: str) -> Callable[[int], float]:
    """Parses the value of --learning_rates into a function from epoch to learning rate.

    Args:
        text: pairs of an epoch, counted from 0, and the learning rate from that epoch on, such as
            "0:1e-2,5:1e-3".

    Raises:
        InputError: the text has another form, a rate is not a positive number, or the epochs do not
            start at 0 and increase.
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
        raise InputError(f"--learning_rates={text}: the epochs must start at 0 and increase")
    if not all(0 < rate < float("inf") for _, rate in steps):
        raise InputError(f"--learning_rates={text}: a rate must be a number above 0")

    def learning_rate(epoch: int, _current: float | None = None) -> float:
        return [rate for first, rate in steps if first <= epoch][-1]

    return learning_rate
