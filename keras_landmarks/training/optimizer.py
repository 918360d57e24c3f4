"""The optimiser of a run: the recipe's Adam, AdamW or SGD, each with averages of the weights."""

from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.training.schedule import step_wise
from keras_landmarks.training.settings import TrainSettings

# No weight decay on biases and on the parameters of normalisation layers.
_NOT_DECAYED = ("bias", "gamma", "beta")
_MOMENTUM = 0.9
AVERAGED_STEPS = "averaged_steps"  # the name of the variable that counts an average's steps


class _AveragesWeights:
    """Mixed into an optimiser: keeps an exponential moving average of the weights beside them.

    Keras's `use_ema` counts its steps by `iterations`, which `callbacks.ResetOptimizer` sets back,
    so its average would begin anew with every epoch. Here the average has a count of its own.

    The average begins with a short memory, min(momentum, (1 + step) / (10 + step)), as
    TensorFlow's ExponentialMovingAverage(num_updates=...). With the whole one the first steps'
    weights, all but random, would count more than the last in a short training: 2 % of them are
    left after 4 / (1 - momentum) steps.
    """

    def __init__(self, average_momentum: float | None = None, **options):
        """Takes the average's momentum: None for no average, 1 for one that only others set."""
        super().__init__(**options)
        self._average_momentum = average_momentum

    def build(self, variables):
        """Creates the optimiser's variables and, where it averages, the average's."""
        if self.built:
            return
        super().build(variables)
        if self._average_momentum is not None:
            self.averages = self.add_optimizer_variables(variables, "average")
            self.averaged_steps = self.add_variable((), dtype="int32", name=AVERAGED_STEPS)

    def apply(self, grads, trainable_variables=None):
        """Updates the weights, then their average."""
        super().apply(grads, trainable_variables)
        if self._average_momentum is not None:
            self._update_averages()

    def _update_averages(self):
        step = self.averaged_steps
        if self.gradient_accumulation_steps:
            step = ops.floor_divide(step, self.gradient_accumulation_steps)
        momentum = self._average_momentum
        if momentum < 1:
            step_as_float = ops.cast(step, "float32")
            momentum = ops.minimum(momentum, (1 + step_as_float) / (10 + step_as_float))
        momentum = (
            ops.cast(ops.not_equal(step, 0), "float32") * momentum
        )  # the first is the weights
        for weight, average in zip(self._trainable_variables, self.averages, strict=True):
            average.assign(momentum * average + (1 - momentum) * weight)
        self.averaged_steps.assign_add(1)


class _Adam(_AveragesWeights, keras.optimizers.Adam):
    pass


class _AdamW(_AveragesWeights, keras.optimizers.AdamW):
    pass


class _SGD(_AveragesWeights, keras.optimizers.SGD):
    pass


def averages_of(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Returns the averages that an optimiser keeps of the weights, in their order; none if none."""
    return getattr(optimizer, "averages", [])


def recipe(name: str = "adam", **options) -> keras.Optimizer:
    """Returns the recipe's optimiser, Adam with AMSGrad; its learning rate comes with each epoch.

    epsilon is PyTorch's default; PyTorch adds it after the second moment's bias correction and
    Keras before: in the first steps Keras's weighs more, which shows only where gradients are as
    small as it.
    """
    return _Adam(amsgrad=True, epsilon=1e-8, name=name, **options)


def build(settings: TrainSettings, steps_per_epoch: int) -> keras.Optimizer:
    """Returns the optimiser that the settings ask for.

    With `ema_momentum` or `average_last_epochs` it also keeps averages of the weights, which
    `callbacks.averaged_weights` puts in their place for validation and for the file.
    """
    averages = settings.ema_momentum or settings.average_last_epochs
    common = {
        "name": settings.optimizer,  # its variables bear it in the state
        "learning_rate": _learning_rate(settings, steps_per_epoch),
        "global_clipnorm": settings.clip_norm or None,
        # 1: the averages stay as they are, for `callbacks.AverageLastEpochs` to set.
        "average_momentum": (settings.ema_momentum or 1.0) if averages else None,
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
