"""Keras callbacks of training."""

import contextlib
import csv
import io
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_landmarks import interruption
from keras_landmarks.errors import InputError
from keras_landmarks.files import explained, require_room, write_whole
from keras_landmarks.models.keras_on_jax import keras, ops
from keras_landmarks.training import distribution
from keras_landmarks.training.history import read_history
from keras_landmarks.training.progress_callbacks import Pace
from keras_landmarks.training.state import Position, save_state


class RestoreMetrics(keras.callbacks.Callback):
    """Puts back what the metrics had added up, where a run is taken up amid an epoch.

    `fit` empties them at an epoch's start. This is for the first epoch that it trains.
    """

    def __init__(self, values: list[np.ndarray]):
        super().__init__()
        self._values = values

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in zip(self.model.metrics_variables, self._values, strict=True):
            variable.assign(value)


class ResetOptimizer(keras.callbacks.Callback):
    """Starts every epoch with the optimiser as if built anew; only the learning rate stays."""

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        for variable in optimizer.variables:
            if variable is not optimizer.learning_rate:
                variable.assign(ops.zeros_like(variable.value))  # where it lies


class LogLearningRate(keras.callbacks.Callback):
    """Adds the `learning_rate` of an epoch's last step to its figures."""

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Within, the model has the moving averages of its weights, if its optimiser keeps them."""
    weights, optimizer = model.trainable_variables, model.optimizer
    if not optimizer.use_ema:
        yield
        return
    # As NumPy's: two variables with one buffer, of which a step frees one, would end in an error.
    own = [variable.numpy() for variable in weights]
    for variable, average in zip(weights, optimizer._model_variables_moving_average, strict=True):
        variable.assign(average.numpy())
    try:
        yield
    finally:
        for variable, value in zip(weights, own, strict=True):
            variable.assign(value)


class AverageLastEpochs(keras.callbacks.Callback):
    """Keeps the mean of the weights after each of the last epochs where the moving averages are.

    Before them it is the weights themselves. Izmailov et al., "Averaging weights leads to wider
    optima", 2018; the statistics of batch normalisation stay the last epoch's.
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
        averages = self.model.optimizer._model_variables_moving_average
        for weight, average in zip(self.model.trainable_variables, averages, strict=True):
            average.assign(average + (weight - average) / self._epochs)


class ValidateAveragedWeights(keras.callbacks.Callback):
    """Validation is of the moving averages of the weights."""

    def on_test_begin(self, logs=None):
        self._averaged = averaged_weights(self.model)
        self._averaged.__enter__()

    def on_test_end(self, logs=None):
        self._averaged.__exit__(None, None, None)


class BestWeights(keras.callbacks.ModelCheckpoint):
    """Keeps the weights of the epoch with the lowest training loss, written whole.

    If the optimiser keeps moving averages, it is those. All processes have this callback, for all
    exchange their weights together; the first one writes.
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


class StopAtNaN(keras.callbacks.Callback):
    """Ends training with an error when the loss is not a number; it must come before SaveState."""

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise InputError(
                f"the loss is {float(logs['loss'])} in epoch {self._epoch + 1}: lower the"
                " --learning_rates, or look for wrong points in the data; the best weights so far"
                " are kept"
            )


class SaveState(keras.callbacks.Callback):
    """Writes the run's state after every epoch and every `every_steps` steps of one.

    Within `interruption.deferred` it also ends training, the state saved, after the step (or the
    validation) in which Ctrl-C or SIGTERM came to any process. All processes have this callback,
    for all must leave after the same step; the first one writes.
    """

    def __init__(
        self,
        path: Path,
        every_steps: int,
        steps_per_epoch: int,
        first_step: int,
        images: str | None,
    ):
        """Takes where the first epoch begins, and the fingerprint of what is trained on."""
        super().__init__()
        self._path, self._every_steps, self._images = path, every_steps, images
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
            self._save(Position(self._epoch, step), asked)

    def on_epoch_end(self, epoch, logs=None):
        self._save(Position(epoch + 1), distribution.any_process(interruption.is_asked()))

    def _save(self, position: Position, asked: bool):
        if distribution.is_first():
            save_state(self._path, self.model, position, self._steps_per_epoch, self._images)
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
        write_whole(self._path, text.getvalue())
