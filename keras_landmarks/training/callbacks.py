"""Keras callbacks of training."""

import contextlib
import csv
import io
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.training import distribution
from keras_landmarks.training.checkpoint import Position, save_checkpoint
from keras_landmarks.training.optimizer import averages_of
from keras_landmarks.training.progress_callbacks import Pace
from keras_landmarks.training.records import read_history
from keras_landmarks.utils import interruption
from keras_landmarks.utils.disk import explain_full_disk, require_free_space
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically


class LazyLogs(keras.callbacks.CallbackList):
    """Keras's list of callbacks, except that a step's metrics stay on the device until read.

    Keras's own list reads them after every step: the host waits until the device has finished, then
    the device waits until the host has submitted the next step. Here only a callback that reads
    `float(logs["loss"])` after a step waits.
    """

    def on_train_batch_end(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class EpochTensorBoard(keras.callbacks.TensorBoard):
    """Logs every epoch. Keras's own also reads the metrics of every step, only to drop them."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        pass


class RestoreMetrics(keras.callbacks.Callback):
    """Restores the running metrics where a training resumes in the middle of an epoch.

    `fit` resets them at the start of an epoch. Use it for the first epoch of that call only.
    """

    def __init__(self, values: Sequence[np.ndarray]):
        super().__init__()
        self._values = values

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in zip(self.model.metrics_variables, self._values, strict=True):
            variable.assign(value)


class ResetOptimizer(keras.callbacks.Callback):
    """Resets the optimiser at the start of every epoch by setting its variables to zero.

    The learning rate stays, and so do the averages of the weights, which span the whole training.
    """

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        kept = [optimizer.learning_rate]
        if averages := averages_of(optimizer):
            kept += [*averages, optimizer.averaged_steps]
        kept = {id(variable) for variable in kept}
        for variable in optimizer.variables:
            if id(variable) not in kept:
                variable.assign(ops.zeros_like(variable.value))  # zeros on its device


class LogLearningRate(keras.callbacks.Callback):
    """Adds the `learning_rate` of an epoch's last step to its metrics."""

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


# Keras's `use_ema` leaves the averages in the place of the weights when `fit` ends. A resumed run
# would then not be the same bit for bit.
@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Within the context, averages replace the model's weights if its optimiser keeps any."""
    weights, averages = model.trainable_variables, averages_of(model.optimizer)
    if not averages:
        yield
        return
    # Copied by way of NumPy: if two variables shared a buffer, a step would free it for both.
    own = [variable.numpy() for variable in weights]
    for variable, average in zip(weights, averages, strict=True):
        variable.assign(average.numpy())
    try:
        yield
    finally:
        for variable, value in zip(weights, own, strict=True):
            variable.assign(value)


class AverageLastEpochs(keras.callbacks.Callback):
    """Keeps the mean of the weights after each of the last epochs in the optimiser's averages.

    Before those epochs the averages equal the weights. Batch normalisation keeps the statistics of
    the last epoch. Source: Izmailov et al., "Averaging weights leads to wider optima", 2018.
    """

    def __init__(self, first_epoch: int, steps: int):
        """Takes the first of those epochs (from 0) and the steps of an epoch in this `fit`."""
        super().__init__()
        self._first_epoch, self._steps = first_epoch, steps

    def on_epoch_begin(self, epoch, logs=None):
        self._epochs = max(1, epoch - self._first_epoch + 1)

    def on_train_batch_end(self, batch, logs=None):
        # Not `on_epoch_end`, which comes after the validation that uses the averages.
        if batch + 1 < self._steps:
            return
        averages = averages_of(self.model.optimizer)
        for weight, average in zip(self.model.trainable_variables, averages, strict=True):
            average.assign(average + (weight - average) / self._epochs)


class ValidateAveragedWeights(keras.callbacks.Callback):
    """Validates with the averages of the weights instead of the weights."""

    def on_test_begin(self, logs=None):
        self._averaged = averaged_weights(self.model)
        self._averaged.__enter__()

    def on_test_end(self, logs=None):
        self._averaged.__exit__(None, None, None)


class BestWeights(keras.callbacks.ModelCheckpoint):
    """Keeps the weights of the epoch with the lowest training loss, written atomically.

    It keeps the averages of the weights if the optimiser has them. All processes need this
    callback, since they exchange their weights together; process 0 writes.
    """

    def __init__(self, path: Path, best_loss: float | None):
        """Takes the best loss of earlier epochs, if there were any."""
        self._path = path
        self._partial = path.with_name(f".partial-{path.name}")
        super().__init__(
            self._partial,
            monitor="loss",
            mode="min",
            save_best_only=True,
            save_weights_only=True,
            initial_value_threshold=best_loss,
        )

    def on_epoch_end(self, epoch, logs=None):
        with averaged_weights(self.model):
            if distribution.is_first():
                self._write(epoch, logs)

    def _write(self, epoch, logs):
        try:
            # Keras creates an optimiser to learn which of its attributes not to save.
            with explain_full_disk(self._path), distribution.on_local_device():
                # First: HDF5 prints a traceback for every object that it cannot write.
                require_free_space(
                    self._path, sum(weight.value.nbytes for weight in self.model.weights)
                )
                super().on_epoch_end(epoch, logs)
            if self._partial.exists():
                self._partial.replace(self._path)
        finally:  # the disk may be full
            self._partial.unlink(missing_ok=True)


def require_finite(loss: float, epoch: int) -> None:
    """Raises InputError if the loss of an epoch, counted from 0, is not finite."""
    if not np.isfinite(float(loss)):
        raise InputError(
            f"the loss is {float(loss)} in epoch {epoch + 1}: lower the learning rate, or look for"
            " wrong points in the data; the best weights so far are kept"
        )


class StopAtNaN(keras.callbacks.Callback):
    """Ends training with an error soon after the loss stops being a finite number.

    Reading the loss makes the host wait for the device, so it is read every 50 steps and after the
    last step of an epoch, before other callbacks use the epoch's metrics. No NaN is missed: the
    loss is the mean of an epoch's steps so far, and stays NaN once one step is. `SaveCheckpoint`
    reads the loss of its own step.
    """

    _STEPS_BETWEEN_CHECKS = 50  # all processes must end after the same step

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        step = batch + 1
        if step % self._STEPS_BETWEEN_CHECKS == 0 or step == self.params["steps"]:
            require_finite(logs["loss"], self._epoch)


class SaveCheckpoint(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch and after every `every_steps` steps of one.

    Within `interruption.deferred` it also ends training, with a checkpoint, after the step or the
    validation in which Ctrl-C or SIGTERM reached any process. All processes need this callback,
    since they must end after the same step; process 0 writes. A state whose loss is not finite is
    never written.
    """

    def __init__(
        self,
        path: Path,
        every_steps: int,
        steps_per_epoch: int,
        first_step: int,
        record: Mapping[str, Any],
    ):
        """Takes the schedule of checkpoints.

        Args:
            path: the path of the checkpoint.
            every_steps: steps between checkpoints.
            steps_per_epoch: steps of a whole epoch.
            first_step: the step of its epoch at which this `fit` starts.
            record: the training's record: `checkpoint.training_record`.
        """
        super().__init__()
        self._path, self._every_steps, self._record = path, every_steps, record
        self._steps_per_epoch, self._first_step = steps_per_epoch, first_step

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        step = self._first_step + batch + 1
        if step == self._steps_per_epoch:  # `on_epoch_end` follows, after validation
            self._first_step = 0
            return
        requested = distribution.any_process(interruption.is_requested())
        if requested or step % self._every_steps == 0:
            self._save(Position(self._epoch, step), logs["loss"], requested)

    def on_epoch_end(self, epoch, logs=None):
        requested = distribution.any_process(interruption.is_requested())
        self._save(Position(epoch + 1), logs["loss"], requested)

    def _save(self, position: Position, loss: float, interrupted: bool):
        require_finite(loss, self._epoch)
        if distribution.is_first():
            save_checkpoint(self._path, self.model, position, self._steps_per_epoch, self._record)
        if interrupted:
            raise KeyboardInterrupt(f"the same command resumes at {position}")


class History(keras.callbacks.Callback):
    """Keeps the metrics of every epoch, across restarts, in a CSV that process 0 writes.

    Columns: epoch (from 0), the metrics from Keras and from the callbacks before this one, seconds
    of training, and images_per_s.
    """

    def __init__(self, path: Path, pace: Pace, epochs_done: int):
        """Reads the first `epochs_done` epochs from `path`."""
        super().__init__()
        self._path, self._pace = path, pace
        self.rows = read_history(path)[:epochs_done]

    @property
    def best_loss(self) -> float | None:
        """The lowest training loss so far; None before the first epoch."""
        return min((row["loss"] for row in self.rows), default=None)

    def summary(self) -> dict[str, float]:
        """Returns the results of the training; the rate is the median of the epochs'."""
        best = min(self.rows, key=lambda row: row["loss"])
        rate = statistics.median(row["images_per_s"] for row in self.rows)
        return {
            "epochs": len(self.rows),
            "best_epoch": int(best["epoch"]) + 1,  # counted from 1
            "best_loss": round(best["loss"], 5),
            "best_val_loss": round(best["val_loss"], 5) if "val_loss" in best else None,
            "images_per_s": round(rate, 2),
        }

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._seconds = time.monotonic(), None

    def on_test_begin(self, logs=None):  # validation is not training time
        self._seconds = time.monotonic() - self._start

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._seconds or time.monotonic() - self._start
        metrics = {name: float(value) for name, value in logs.items()}
        metrics |= {"seconds": seconds, "images_per_s": self._pace.images_per_s}
        self.rows.append({"epoch": epoch, **metrics})
        if distribution.is_first():
            self._write()

    def _write(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[-1], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self.rows)
        write_atomically(self._path, text.getvalue())
