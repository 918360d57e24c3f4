"""Optimisers: the recipe's Adam, AdamW, Muon and SGD, each with averages of the weights."""

import math
from collections.abc import Sequence

from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.settings import OptimizerSettings, ScheduleSettings
from keras_landmarks.training.schedule import per_step_schedule

# No weight decay on biases and on the parameters of normalisation layers.
_NOT_DECAYED = ("bias", "gamma", "beta")
_MOMENTUM = 0.9
AVERAGED_STEPS = "averaged_steps"  # name of the variable that counts the steps of an average


class _AveragesWeights:
    """Mixin of an optimiser that keeps an exponential moving average of the weights.

    Keras's `use_ema` counts its steps by `iterations`, which `callbacks.ResetOptimizer` resets, so
    its average would start again with every epoch. Here the average has a counter of its own.

    The momentum of step t is min(momentum, (1 + t) / (10 + t)), as in TensorFlow's
    ExponentialMovingAverage(num_updates=...). With the full momentum from the start the nearly
    random weights of the first steps would weigh too much in a short training: it takes
    4 / (1 - momentum) steps until only 2 % of them are left.
    """

    def __init__(self, average_momentum: float | None = None, **options):
        """Takes the momentum: None for no average, 1 for an average that only others set."""
        super().__init__(**options)
        self._average_momentum = average_momentum

    def build(self, variables):
        """Creates the variables of the optimiser and of the average."""
        if self.built:
            return
        super().build(variables)
        if self._average_momentum is not None:
            self.averages = self.add_optimizer_variables(variables, "average")
            self.averaged_steps = self.add_variable((), dtype="int32", name=AVERAGED_STEPS)

    def apply(self, grads, trainable_variables=None):
        """Updates the weights and then their average."""
        super().apply(grads, trainable_variables)
        if self._average_momentum is not None:
            self._update_averages()

    def _update_averages(self):
        step, momentum, is_update = self.averaged_steps, self._average_momentum, True
        if self.gradient_accumulation_steps:
            # Not `iterations`, which counts updates.
            is_update = ops.equal(self._iterations % self.gradient_accumulation_steps, 0)
        if momentum < 1:
            step_as_float = ops.cast(step, "float32")
            momentum = ops.minimum(momentum, (1 + step_as_float) / (10 + step_as_float))
        momentum = ops.where(is_update, momentum, 1.0)  # other steps leave the weights alone
        # 0 at the first step, so that the average starts as the weights.
        momentum = ops.cast(ops.not_equal(step, 0), "float32") * momentum
        for weight, average in zip(self._trainable_variables, self.averages, strict=True):
            average.assign(momentum * average + (1 - momentum) * weight)
        self.averaged_steps.assign_add(ops.cast(is_update, "int32"))


class _Adam(_AveragesWeights, keras.optimizers.Adam):
    pass


class _AdamW(_AveragesWeights, keras.optimizers.AdamW):
    pass


class _Muon(_AveragesWeights, keras.optimizers.Muon):
    """Muon for the kernels of convolutions, AdamW for all other weights.

    The update of a kernel is its momentum with all singular values moved close to 1, so that every
    direction of the weights learns as fast (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/). Keras's own takes matrices only; here a kernel
    [height, width, in, out] is a matrix [height * width * in, out]. Updates are as large as AdamW's
    usually are (Liu et al. 2025, arXiv:2502.16982), so learning rates and weight decay of AdamW
    serve.
    """

    def _should_use_adamw(self, variable):
        # A depthwise convolution has one output per kernel, and so no directions to balance.
        if len(variable.shape) != 4 or variable.shape[-1] == 1:
            return True
        return any(f"{layer}/" in variable.path for layer in self.exclude_layers)

    def zeropower_via_newtonschulz5(self, x, steps: int):
        """Returns x, a kernel of rank 4, with its singular values moved close to 1.

        The polynomial's steps are multiplied on the smaller Gram matrix instead of on x itself: a
        third of the work for kernels of 3 x 3.
        """
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        matrix = matrix / (ops.norm(matrix) + 1e-7)
        is_wide = matrix.shape[0] < matrix.shape[1]
        gram = matrix @ matrix.T if is_wide else matrix.T @ matrix
        product = identity = ops.eye(gram.shape[0])
        for _ in range(steps):
            step = self.muon_a * identity + self.muon_b * gram + self.muon_c * (gram @ gram)
            product = product @ step
            gram = gram @ step @ step
        return ops.reshape(product @ matrix if is_wide else matrix @ product, x.shape)

    def lr_adjust(self, x):
        """Returns the update x scaled to a root mean square of about `rms_rate`."""
        *shared, out = x.shape
        return x * self.rms_rate * max(math.prod(shared), out) ** 0.5


class _SGD(_AveragesWeights, keras.optimizers.SGD):
    pass


def averages_of(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Returns an optimiser's averages of the weights, in their order; empty if it keeps none."""
    return getattr(optimizer, "averages", [])


def recipe(name: str = "adam", **options) -> keras.Optimizer:
    """Returns the recipe's optimiser, Adam with AMSGrad.

    epsilon is PyTorch's default. PyTorch adds it after the bias correction of the second moment and
    Keras before, so in the first steps Keras's has more effect, but only where gradients are about
    as small as epsilon.
    """
    return _Adam(amsgrad=True, epsilon=1e-8, name=name, **options)


def build(
    settings: OptimizerSettings,
    schedule: ScheduleSettings,
    steps_per_epoch: int,
    grouped_layers: Sequence[str] = (),
) -> keras.Optimizer:
    """Returns the optimiser with its learning rate.

    With `ema_momentum` or `average_last_epochs` it also keeps averages of the weights, which
    `callbacks.averaged_weights` puts in their place for validation and for the best weights. Muon
    leaves the `grouped_layers`, convolutions in several groups, to AdamW.
    """
    averages = settings.ema_momentum or settings.average_last_epochs
    accumulated = settings.grad_accum_steps
    common = {
        "name": settings.optimizer,  # part of its variables' names in the checkpoint
        "learning_rate": _learning_rate(schedule, steps_per_epoch),
        "global_clipnorm": settings.grad_clip_norm or None,
        # 1: steps leave the averages alone; `callbacks.AverageLastEpochs` sets them.
        "average_momentum": (settings.ema_momentum or 1.0) if averages else None,
        "gradient_accumulation_steps": accumulated if accumulated > 1 else None,
    }
    decay = {"weight_decay": settings.weight_decay}
    if settings.optimizer == "adam":
        optimizer = recipe(**common)
    elif settings.optimizer == "muon":
        optimizer = _Muon(
            adam_weight_decay=settings.weight_decay,
            exclude_layers=[*grouped_layers],
            **common,
            **decay,
        )
    elif settings.optimizer == "adamw":
        optimizer = _AdamW(**common, **decay)
    else:
        optimizer = _SGD(momentum=_MOMENTUM, nesterov=True, **common, **decay)
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer


def _learning_rate(schedule: ScheduleSettings, steps_per_epoch: int):
    if schedule.schedule == "steps":
        return 1e-3  # `LearningRateScheduler` sets it before the first step
    return per_step_schedule(
        schedule.schedule,
        schedule.learning_rate,
        schedule.epochs * steps_per_epoch,
        round(schedule.warmup_epochs * steps_per_epoch),
        schedule.first_cycle_epochs * steps_per_epoch,
    )
