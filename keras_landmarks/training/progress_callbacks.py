"""Keras callbacks that measure and show the progress and speed of training."""

import collections
import math
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
from tqdm import tqdm

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.training.checkpoint import Position
from keras_landmarks.utils.progress import format_duration, join_fitting, terminal_width

_FEW_STEPS = 3
_STEPS_AHEAD = 2


class Pace(keras.callbacks.Callback):
    """Keeps the host a little ahead of the device, and measures the rate of the steps.

    While the device computes a step, the host reads the next batch and submits it. The host is
    ahead by at most _STEPS_AHEAD steps, because every submitted batch takes memory on the device.
    After the last step of an epoch it waits for the device.

    Adds `waiting` to the metrics of every epoch: the fraction of the time in which the device was
    idle because the next batch was not ready. The first step after a start, which is compiled, is
    not measured if more than a few follow. This must be the first of the callbacks.
    """

    def __init__(self, batch_size: int):
        super().__init__()
        self._batch_size, self._compiles = batch_size, True
        self._under_way = collections.deque()  # logs of the steps that have not finished
        self.last_logs: dict = {}  # the metrics after the last finished step
        self._watcher = ThreadPoolExecutor(1)
        self._idle_since: Future | None = None  # the time when the device finished the last step
        self._begin()

    def timed(self, batches: Iterable) -> Iterator:
        """Yields the batches and adds up the time in which the device waits for them."""
        batches = iter(batches)
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self._waited_s += self._idle_s(start, time.monotonic())
            if batch is None:
                return
            yield batch

    def _idle_s(self, start: float, end: float) -> float:
        """Returns how long the device was idle between two times; `end` is now."""
        if self._under_way and not _is_finished(self._under_way[-1]):
            return 0.0
        idle_since = self._idle_since.result() if self._idle_since else start
        return max(0.0, end - max(start, idle_since))

    @property
    def waiting(self) -> float:
        """Fraction of the epoch so far in which the device was idle."""
        return self._waited_s / self._seconds

    @property
    def seconds_per_step(self) -> float | None:
        """Mean time of a step; None before the first measured step."""
        return self._seconds / self._steps if self._steps else None

    @property
    def images_per_s(self) -> float:
        """Rate of the epoch so far."""
        return self._steps * self._batch_size / self._seconds

    @property
    def _seconds(self) -> float:
        return (self._end or time.monotonic()) - self._start

    def _begin(self):
        self._start, self._end = time.monotonic(), None
        self._waited_s, self._steps = 0.0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.last_logs = {}
        self._begin()

    def on_train_batch_end(self, batch, logs=None):
        self._under_way.append(logs)
        self._idle_since = self._watcher.submit(_time_when_finished, logs)
        is_last = batch + 1 == self.params["steps"]
        self._wait(0 if is_last or self._compiles else _STEPS_AHEAD)
        if self._compiles and self.params["steps"] > _FEW_STEPS:
            self._begin()
        self._compiles = False

    def _wait(self, steps_ahead: int):
        """Waits until the device has at most that many steps left; counts the finished ones."""
        while self._under_way and (
            len(self._under_way) > steps_ahead or _is_finished(self._under_way[0])
        ):
            self.last_logs = jax.block_until_ready(self._under_way.popleft())
            self._steps += 1

    def on_test_begin(self, logs=None):  # validation is not training time
        self._end = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        self._end = self._end or time.monotonic()
        logs["waiting"] = self.waiting


def _is_finished(logs) -> bool:
    return all(value.is_ready() for value in jax.tree.leaves(logs) if hasattr(value, "is_ready"))


def _time_when_finished(logs) -> float:
    jax.block_until_ready(logs)
    return time.monotonic()


class LogLines(keras.callbacks.Callback):
    """Plain lines on standard error: the metrics of every epoch and of a step now and then.

    The time left is of the whole training without its validations.
    """

    def __init__(
        self,
        pace: Pace,
        epochs: int,
        steps_per_epoch: int,
        start: Position,
        seconds_between_lines: float = 30,
    ):
        """Takes the length of the whole training and the position at which it resumes."""
        super().__init__()
        self._pace, self._epochs, self._steps_per_epoch = pace, epochs, steps_per_epoch
        self._start, self._seconds_between_lines = start, seconds_between_lines

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._last = epoch, time.monotonic()
        self._step = self._start.step if epoch == self._start.epoch else 0

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if time.monotonic() - self._last > self._seconds_between_lines:
            self._last = time.monotonic()
            self._print(f"step {self._step} of {self._steps_per_epoch}", logs)

    def on_epoch_end(self, epoch, logs=None):
        self._print("done", logs)

    @property
    def _title(self) -> str:
        return f"epoch {self._epoch + 1} of {self._epochs}"

    def _print(self, where: str, logs: dict):
        texts = ", ".join(_metric_texts(logs) + self._pace_texts())
        print(f"{self._title}, {where}: {texts}", file=sys.stderr, flush=True)

    def _pace_texts(self) -> list[str]:
        """Returns the time left, the rate and the waiting as texts, after the first steps."""
        step_s = self._pace.seconds_per_step
        if step_s is None:
            return []
        steps_left = (self._epochs - self._epoch) * self._steps_per_epoch - self._step
        left = [f"{format_duration(steps_left * step_s)} left"] if steps_left else []
        rate, waiting = self._pace.images_per_s, 100 * self._pace.waiting
        return [*left, f"{rate:,.0f} images/s", f"waiting {waiting:.0f} %"]


# Keras's own bar does not know the terminal's width: wrapped, it wrote a line for every step.
class ProgressBar(LogLines):
    """A progress bar of the epoch on a terminal, in place of the lines about steps."""

    _LEAST_BAR_WIDTH = 5
    _SPARE_COLUMNS = 3  # for the ^C that Ctrl-C prints
    _SECONDS_BETWEEN_DRAWINGS = 0.1  # tqdm's own

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch)
        self._drawn = -math.inf
        self._bar = tqdm(
            desc=self._title,
            initial=self._step,
            total=self._steps_per_epoch,
            leave=False,
            bar_format="{desc}",
        )
        self._show(["compiling" if epoch == self._start.epoch else self._steps])

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if time.monotonic() - self._drawn > self._SECONDS_BETWEEN_DRAWINGS:
            self._drawn = time.monotonic()
            texts = _metric_texts(self._pace.last_logs)  # reading this step's would wait for it
            self._fill([*texts[:1], *self._pace_texts(), self._steps, *texts[1:]])
        self._bar.update()

    def on_test_begin(self, logs=None):
        self._show(["validating"])

    def on_epoch_end(self, epoch, logs=None):
        self._bar.close()
        super().on_epoch_end(epoch, logs)

    @property
    def _steps(self) -> str:
        return f"{self._step}/{self._steps_per_epoch} steps"

    def _show(self, texts: list[str]):
        self._fill(texts)
        self._bar.refresh()

    def _fill(self, texts: list[str]):
        """Shows as many of the texts as fit, the most important first."""
        self._bar.ncols = terminal_width() - self._SPARE_COLUMNS
        room = self._bar.ncols - len(f"{self._title}: 100 %|| ") - self._LEAST_BAR_WIDTH
        self._bar.bar_format = (
            f"{{desc}}: {{percentage:.0f}} %|{{bar}}| {join_fitting(texts, room)}"
        )


def _metric_texts(logs: dict) -> list[str]:
    """Returns Keras's metrics as texts, the loss first, without `waiting`, which `Pace` shows."""
    return [
        f"{name} {float(value):.4g}"
        for name, value in sorted(logs.items(), key=lambda item: item[0] != "loss")
        if name != "waiting"
    ]
