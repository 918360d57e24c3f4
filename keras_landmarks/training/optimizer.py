"""The optimiser of a run: the recipe's, or AdamW or SGD with a learning rate for every step."""

from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.training.schedule import step_wise
from keras_landmarks.training.settings import TrainSettings

# What decays towards nothing would only be scaled back, or has its place there.
_NOT_DECAYED = ("bias", "gamma", "beta")
_MOMENTUM = 0.9


class _WarmAverage:
    """An optimiser whose moving average of the weights begins with a short memory.

    With the whole one the first steps' weights, all but random, would count in a short training
    more than the last: 2 % of them are left after 4 / (1 - momentum) steps. The memory grows as in
    TensorFlow's ExponentialMovingAverage(num_updates=...).
    """

    @property
    def ema_momentum(self):
        """What the average keeps of itself in this step."""
        if self._most_ema_momentum == 1:  # the averages stay as they are
            return 1.0
        step = ops.cast(self.iterations, "float32")
        return ops.minimum(self._most_ema_momentum, (1 + step) / (10 + step))

    @ema_momentum.setter
    def ema_momentum(self, most: float):
        self._most_ema_momentum = most


class _Adam(_WarmAverage, keras.optimizers.Adam):
    pass


class _AdamW(_WarmAverage, keras.optimizers.AdamW):
    pass


class _SGD(_WarmAverage, keras.optimizers.SGD):
    pass


def recipe(name: str = "adam", **options) -> keras.Optimizer:
    """Returns the recipe's optimiser, Adam with AMSGrad; its learning rate comes with each epoch.

    epsilon is PyTorch's default; PyTorch adds it after the second moment's bias correction and
    Keras before: in the first steps Keras's weighs more, which shows only where gradients are as
    small as it.
    """
    return _Adam(amsgrad=True, epsilon=1e-8, name=name, **options)


def build(settings: TrainSettings, steps_per_epoch: int) -> keras.Optimizer:
    """Returns the optimiser that the settings ask for.

    With `ema_momentum` or `average_last_epochs` it keeps averages of the weights as well, which
    `callbacks.averaged_weights` puts in their place for validation and for the file.
    """
    common = {
        "name": settings.optimizer,  # its variables bear it in the state
        "learning_rate": _learning_rate(settings, steps_per_epoch),
        "global_clipnorm": settings.clip_norm or None,
        "use_ema": bool(settings.ema_momentum or settings.average_last_epochs),
        # 1: its averages stay as they are, for `callbacks.AverageLastEpochs` to set.
        "ema_momentum": settings.ema_momentum or 1.0,
        "gradient_accumulation_steps": settings.accumulate if settings.accumulate > 1 else None,
    }
    decay = {"weight_decay": settings.weight_decay}
    if settings.optimizer == "adam":
        optimizer = recipe(**common)
    elif settings.optimizer == "adamw":
        optimizer = _AdamW(**common, **decay)
    else:
        optimizer = _SGD(momentum=_MOMENTUM, nesterov=True, **common, **decay)
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    # `fit` would leave the averages in the weights' place at its end, from where no run goes on.
    optimizer.finalize_variable_values = lambda variables: None
    return optimizer


def _learning_rate(settings: TrainSettings, steps_per_epoch: int):
    if settings.schedule == "steps":
        return 1e-3  # until the first epoch's comes
    return step_wise(
        settings.schedule,
        settings.learning_rate,
        settings.epochs * steps_per_epoch,
        round(settings.warmup_epochs * steps_per_epoch),
        settings.first_cycle_epochs * steps_per_epoch,
    )
