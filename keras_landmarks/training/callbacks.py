"""Keras callbacks of training."""

import csv
import io
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
from keras import ops

from keras_landmarks import interruption
from keras_landmarks.files import write_whole
from keras_landmarks.training.state import save_state


class ResetOptimizer(keras.callbacks.Callback):
    """Starts every epoch with the optimiser as if built anew; only the learning rate stays."""

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        for variable in optimizer.variables:
            if variable is not optimizer.learning_rate:
                variable.assign(ops.zeros(variable.shape, variable.dtype))


class BestWeights(keras.callbacks.ModelCheckpoint):
    """Keeps the weights of the epoch with the lowest training loss, written whole."""

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
        try:
            super().on_epoch_end(epoch, logs)
            if self._partial.exists():
                self._partial.replace(self._path)
        finally:  # the disk may be full
            self._partial.unlink(missing_ok=True)


class Interruptible(keras.callbacks.Callback):
    """Ends training after the step in which Ctrl-C or SIGTERM came; for within `deferred`."""

    def on_train_batch_end(self, batch, logs=None):
        interruption.check()

    def on_test_batch_end(self, batch, logs=None):
        interruption.check()


class SaveState(keras.callbacks.Callback):
    """Writes the run's state after every epoch, so that it can be taken up again."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def on_epoch_end(self, epoch, logs=None):
        save_state(self._path, self.model, epochs_done=epoch + 1)


class Waiting(keras.callbacks.Callback):
    """Adds `waiting` to every epoch's figures: the share of its time, 0 to 1, spent on waiting for
    data. It must come before the callbacks that write the figures.

    Keras fetches a step's loss before it asks for another batch (LogLines and TensorBoard want it),
    so the device is idle meanwhile. What was prefetched in time costs nothing here.
    """

    def __init__(self):
        super().__init__()
        self._waited_s = 0.0

    def timed(self, batches: Iterable) -> Iterator:
        """Yields the batches, and adds up the time that they were waited for."""
        batches = iter(batches)
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self._waited_s += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._waited_s, self._share = time.monotonic(), 0.0, None

    def on_test_begin(self, logs=None):  # validation is not training time
        self._share = self._waited_s / (time.monotonic() - self._start)

    def on_epoch_end(self, epoch, logs=None):
        if self._share is None:
            self.on_test_begin()
        logs["waiting"] = self._share


class History(keras.callbacks.Callback):
    """Keeps a CSV of every epoch's figures, across restarts.

    Columns: epoch (from 0), the epoch's figures from Keras and the callbacks before this one,
    seconds and images_per_s of training.
    """

    def __init__(self, path: Path, images_per_epoch: int, epochs_done: int):
        """Takes up what `path` says of the first `epochs_done` epochs."""
        super().__init__()
        self._path = path
        self._images_per_epoch = images_per_epoch
        self.rows = _read_rows(path)[:epochs_done]

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
            "best_epoch": int(best["epoch"]),
            "best_loss": round(best["loss"], 5),
            "best_val_loss": round(best["val_loss"], 5) if "val_loss" in best else None,
            "images_per_s": round(rate, 2),
        }

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.monotonic()
        self._seconds = None

    def on_test_begin(self, logs=None):  # validation is not training time
        self._seconds = time.monotonic() - self._start

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._seconds or time.monotonic() - self._start
        figures = {name: float(value) for name, value in logs.items()}
        rate = self._images_per_epoch / seconds
        self.rows.append({"epoch": epoch, **figures, "seconds": seconds, "images_per_s": rate})
        self._write()

    def _write(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[-1], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self.rows)
        write_whole(self._path, text.getvalue())


class LogLines(keras.callbacks.Callback):
    """Plain lines about the training on standard error, where no terminal can show a bar."""

    def __init__(self, seconds_between_lines: float = 30):
        super().__init__()
        self._seconds_between_lines = seconds_between_lines

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._last = epoch, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() - self._last > self._seconds_between_lines:
            self._last = time.monotonic()
            self._print(f"step {batch + 1} of {self.params['steps']}", logs)

    def on_epoch_end(self, epoch, logs=None):
        self._print("done", logs)

    def _print(self, where: str, logs: dict):
        figures = ", ".join(f"{name} {float(value):.4g}" for name, value in logs.items())
        epoch = f"epoch {self._epoch + 1} of {self.params['epochs']}"
        print(f"{epoch}, {where}: {figures}", file=sys.stderr, flush=True)


def _read_rows(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return [{name: float(value) for name, value in row.items() if value} for row in rows]
