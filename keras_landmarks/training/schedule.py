"""Learning rates by epoch."""

from collections.abc import Callable

from keras_landmarks.errors import InputError


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
