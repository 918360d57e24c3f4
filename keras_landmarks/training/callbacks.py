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
from keras_landmarks.training.history import read_history
from keras_landmarks.training.optimizer import averages_of
from keras_landmarks.training.progress_callbacks import Pace
from keras_landmarks.utils import interruption
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import explained, require_room, write_atomically


class LazyLogs(keras.callbacks.CallbackList):
    """Keras's list of callbacks, but a step's figures stay on the device until one reads them.

    Keras's own list reads them after every step: the host waits until the device has finished, and
    then the device waits until the host has handed it the next step. With this one, a callback that
    does `float(logs["loss"])` after a step waits, and no other.
    """

    def on_train_batch_end(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class EpochTensorBoard(keras.callbacks.TensorBoard):
    """Logs every epoch. Keras's own reads the figures of every step as well, and drops them."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        pass


class RestoreMetrics(keras.callbacks.Callback):
    """Puts back what the metrics had added up, where a run is taken up amid an epoch.

    `fit` empties them at an epoch's start. This is for the first epoch that it trains.
    """

    def __init__(self, values: Sequence[np.ndarray]):
        super().__init__()
        self._values = values

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in zip(self.model.metrics_variables, self._values, strict=True):
            variable.assign(value)


class ResetOptimizer(keras.callbacks.Callback):
    """Starts every epoch with the optimiser as if built anew, by setting its variables to zero.

    The learning rate stays, and so do the averages of the weights: they are of the whole run.
    """

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        kept = [optimizer.learning_rate]
        if averages := averages_of(optimizer):
            kept += [*averages, optimizer.averaged_steps]
        kept = {id(variable) for variable in kept}
        for variable in optimizer.variables:
            if id(variable) not in kept:
                variable.assign(ops.zeros_like(variable.value))  # on the device where it lies


class LogLearningRate(keras.callbacks.Callback):
    """Adds the `learning_rate` of an epoch's last step to its figures."""

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Within, the model has the averages of its weights, if its optimiser keeps them."""
    weights, averages = model.trainable_variables, averages_of(model.optimizer)
    if not averages:
        yield
        return
    # As NumPy's: two variables with one buffer, of which a step frees one, would end in an error.
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

    Before those epochs it is the weights themselves. Izmailov et al., "Averaging weights leads to
    wider optima", 2018; the statistics of batch normalisation stay the last epoch's.
    """

    def __init__(self, first_epoch: int, steps: int):
        """Takes the first of those epochs, from 0, and the steps of the epochs to come."""
        super().__init__()
        self._first_epoch, self._steps = first_epoch, steps

    def on_epoch_begin(self, epoch, logs=None):
        self._epochs = max(1, epoch - self._first_epoch + 1)

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 < self._steps:  # the epoch's end would be after its validation
            return
        averages = averages_of(self.model.optimizer)
        for weight, average in zip(self.model.trainable_variables, averages, strict=True):
            average.assign(average + (weight - average) / self._epochs)


class ValidateAveragedWeights(keras.callbacks.Callback):
    """Validates the averages of the weights in place of the weights."""

    def on_test_begin(self, logs=None):
        self._averaged = averaged_weights(self.model)
        self._averaged.__enter__()

    def on_test_end(self, logs=None):
        self._averaged.__exit__(None, None, None)


class BestWeights(keras.callbacks.ModelCheckpoint):
    """Keeps the weights of the epoch with the lowest training loss, written whole.

    If the optimiser keeps averages of the weights, it is those. All processes have this callback,
    for all exchange their weights together; the first one writes.
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
            # Keras makes an optimiser, to see what need not be saved of one.
            with explained(self._path), distribution.by_itself():
                # Now: HDF5 would print a traceback for every object that it cannot write.
                require_room(self._path, sum(weight.value.nbytes for weight in self.model.weights))
                super().on_epoch_end(epoch, logs)
            if self._partial.exists():
                self._partial.replace(self._path)
        finally:  # the disk may be full
            self._partial.unlink(missing_ok=True)


def require_finite(loss: float, epoch: int) -> None:
    """Raises InputError if the loss in an epoch, from 0, is not a number."""
    if not np.isfinite(float(loss)):
        raise InputError(
            f"the loss is {float(loss)} in epoch {epoch + 1}: lower the --learning_rates, or look"
            " for wrong points in the data; the best weights so far are kept"
        )


class StopAtNaN(keras.callbacks.Callback):
    """Ends training with an error soon after the loss is no longer a number.

    Reading the loss has the host wait for the device, so it is done every some steps, and after the
    last step of an epoch, before anything is made of the epoch. It misses none: the loss is the
    mean of an epoch's steps so far, and one NaN makes it NaN for the rest. `SaveState` reads the
    loss of its own step.
    """

    _STEPS_BETWEEN_LOOKS = 50  # the same in all processes: they must end after the same step

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        step = batch + 1
        if step % self._STEPS_BETWEEN_LOOKS == 0 or step == self.params["steps"]:
            require_finite(logs["loss"], self._epoch)


class SaveState(keras.callbacks.Callback):
    """Writes the run's state after every epoch and every `every_steps` steps of one.

    Within `interruption.deferred` it also ends training, the state saved, after the step (or the
    validation) in which Ctrl-C or SIGTERM came to any process. All processes have this callback,
    for all must leave after the same step; the first one writes. A state whose loss is not a number
    is never written.
    """

    def __init__(
        self,
        path: Path,
        every_steps: int,
        steps_per_epoch: int,
        first_step: int,
        notes: Mapping[str, Any],
    ):
        """Takes where the first epoch begins, and what the state says of the run: `run_notes`."""
        super().__init__()
        self._path, self._every_steps, self._notes = path, every_steps, notes
        self._steps_per_epoch, self._first_step = steps_per_epoch, first_step

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        step = self._first_step + batch + 1
        if step == self._steps_per_epoch:  # the epoch's end comes, after validation
            self._first_step = 0
            return
        asked = distribution.any_process(interruption.is_asked())
        if asked or step % self._every_steps == 0:
            self._save(Position(self._epoch, step), logs["loss"], asked)

    def on_epoch_end(self, epoch, logs=None):
        asked = distribution.any_process(interruption.is_asked())
        self._save(Position(epoch + 1), logs["loss"], asked)

    def _save(self, position: Position, loss: float, asked: bool):
        require_finite(loss, self._epoch)
        if distribution.is_first():
            save_checkpoint(self._path, self.model, position, self._steps_per_epoch, self._notes)
        if asked:
            raise KeyboardInterrupt(f"the same command goes on with {position}")


class History(keras.callbacks.Callback):
    """Keeps every epoch's figures, across restarts, in a CSV that the first process writes.

    Columns: epoch (from 0), the epoch's figures from Keras and the callbacks before this one,
    seconds of training and, by the pace, images_per_s.
    """

    def __init__(self, path: Path, pace: Pace, epochs_done: int):
        """Takes up what `path` says of the first `epochs_done` epochs."""
        super().__init__()
        self._path, self._pace = path, pace
        self.rows = read_history(path)[:epochs_done]

    @property
    def best_loss(self) -> float | None:
        """Lowest training loss so far."""
        return min((row["loss"] for row in self.rows), default=None)

    def summary(self) -> dict[str, float]:
        """Returns the run's figures; the rate is the median epoch's."""
        best = min(self.rows, key=lambda row: row["loss"])
        rate = statistics.median(row["images_per_s"] for row in self.rows)
        return {
            "epochs": len(self.rows),
            "best_epoch": int(best["epoch"]) + 1,  # as all that is said of epochs: from 1
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
        figures = {name: float(value) for name, value in logs.items()}
        figures |= {"seconds": seconds, "images_per_s": self._pace.images_per_s}
        self.rows.append({"epoch": epoch, **figures})
        if distribution.is_first():
            self._write()

    def _write(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[-1], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self.rows)
        write_atomically(self._path, text.getvalue())
