import io
import re
import sys
import threading
import time

import keras
import numpy as np
import pytest

from keras_landmarks.training import progress_callbacks
from keras_landmarks.training.callbacks import LazyLogs, SaveCheckpoint, StopAtNaN
from keras_landmarks.training.checkpoint import Position
from keras_landmarks.training.progress_callbacks import LogLines, Pace, ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time that `time.monotonic` returns; a test sets it."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def watched_clock(monkeypatch):
    """Like `clock`, and tells when the thread that watches the device has looked at it."""
    watcher_has_looked = threading.Event()

    class Clock:
        now = 0.0

        @staticmethod
        def wait_for_watcher():
            watcher_has_looked.wait()
            watcher_has_looked.clear()

    def monotonic():
        time_s = Clock.now
        if threading.current_thread() is not threading.main_thread():
            watcher_has_looked.set()
        return time_s

    monkeypatch.setattr(time, "monotonic", monotonic)
    return Clock


@pytest.fixture
def step(clock):
    """Ends a step of the given duration for the callbacks."""

    def step(callbacks, seconds, logs=None):
        clock.now += seconds
        for callback in callbacks:
            callback.on_train_batch_end(0, logs)

    return step


def begin(callbacks, steps, epoch=0):
    for callback in callbacks:
        callback.set_params({"steps": steps})
        callback.on_epoch_begin(epoch)


class StepsOfOneSecond(keras.callbacks.Callback):
    """Lets a step last a second, and the device be idle when the next batch is read."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def on_train_batch_end(self, batch, logs=None):
        self._clock.wait_for_watcher()
        self._clock.now += 1


def test_waiting_is_the_fraction_without_data(watched_clock):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    pace = Pace(batch_size=4)
    delays = [0] * 4 + [10] * 4 + [0] * 4

    def batches():
        for delay in delays:
            watched_clock.now += delay
            yield np.ones((4, 2)), np.ones((4, 1))

    history = model.fit(
        pace.timed(batches()),
        steps_per_epoch=4,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[pace, StepsOfOneSecond(watched_clock)],
    )
    _, slow, fast = history.history["waiting"]
    assert 0.5 < slow <= 1
    assert fast == 0


def test_compiled_first_step_is_not_measured(clock, step):
    pace = Pace(batch_size=32)
    begin([pace], steps=4)
    step([pace], 100)
    assert pace.seconds_per_step is None
    step([pace], 2)
    step([pace], 4)
    assert (pace.seconds_per_step, pace.images_per_s) == (3, 32 / 3)
    begin([pace], steps=4, epoch=1)
    step([pace], 5)
    assert pace.seconds_per_step == 5


def test_first_of_few_steps_is_measured(clock, step):
    pace = Pace(batch_size=32)
    begin([pace], steps=2)
    step([pace], 8)
    assert pace.images_per_s == 4


def test_validation_is_not_training_time(clock, step):
    pace, logs = Pace(batch_size=32), {}
    begin([pace], steps=2)
    step([pace], 8)
    pace.on_test_begin()
    clock.now = 1000
    pace.on_epoch_end(0, logs)
    assert (pace.images_per_s, logs) == (4, {"waiting": 0})


def test_log_lines_of_a_resumed_run(clock, step, capsys):
    pace = Pace(batch_size=32)
    callbacks = [pace, LogLines(pace, 3, 60, Position(1, 34), seconds_between_lines=1)]
    begin(callbacks, steps=26, epoch=1)
    step(callbacks, 50, {"loss": 2.0})
    step(callbacks, 2, {"mse": 3.0, "loss": 1.0})
    callbacks[1].on_epoch_end(1, {"val_loss": 1.5, "loss": 1.0, "waiting": 0.1})
    assert capsys.readouterr().err.splitlines() == [
        "epoch 2 of 3, step 35 of 60: loss 2",
        "epoch 2 of 3, step 36 of 60: loss 1, mse 3, 3 min left, 16 images/s, waiting 0 %",
        "epoch 2 of 3, done: loss 1, val_loss 1.5, 3 min left, 16 images/s, waiting 0 %",
    ]


@pytest.mark.parametrize(
    ("columns", "shows"),
    [
        (20, ["epoch 2 of 3: "]),
        (40, ["| loss 1"]),
        (60, ["| loss 1, 3 min left"]),
        (100, ["| loss 1, 3 min left, 16 images/s, waiting 0 %, 36/60 steps, mse 3"]),
        (200, ["#" * 60, "36/60 steps, mse 3"]),
    ],
)
def test_progress_bar_fits_the_terminal(clock, step, monkeypatch, columns, shows):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress_callbacks, "terminal_width", lambda: columns)
    pace = Pace(batch_size=32)
    bar = ProgressBar(pace, 3, 60, Position(1, 34))
    begin([pace, bar], steps=26, epoch=1)
    step([pace, bar], 50, {"loss": 2.0})
    step([pace, bar], 2, {"mse": 3.0, "loss": 1.0})
    bar._bar.refresh()
    lines = re.split(r"[\r\n]+", sys.stderr.getvalue())
    assert all(text in lines[-1] for text in shows)
    assert max(map(len, lines)) < columns
    assert "\033" not in sys.stderr.getvalue()
    bar.on_test_begin()
    bar.on_epoch_end(1, {"loss": 1.0})
    last = sys.stderr.getvalue().splitlines()[-1]
    assert last.startswith("epoch 2 of 3, done: loss 1, 3 min left")


# ── the host ahead of the device ──


class PendingMetric:
    """A metric that the device has not computed yet; it is computed once the host waits for it."""

    def __init__(self):
        self.is_waited_for, self.times_read = False, 0
        self.finished = threading.Event()

    def is_ready(self):
        return self.finished.is_set()

    def block_until_ready(self):
        if threading.current_thread() is threading.main_thread():
            self.is_waited_for = True
            self.finished.set()
        self.finished.wait()
        return self

    def __float__(self):
        self.times_read += 1
        return 1.0


@pytest.fixture
def make_metrics():
    """Makes metrics, which the device computes at the end of the test at the latest."""
    made = []

    def make(count):
        made.extend(PendingMetric() for _ in range(count))
        return made[-count:]

    yield make
    for metric in made:
        metric.finished.set()


def test_host_is_at_most_two_steps_ahead(make_metrics):
    pace, metrics = Pace(batch_size=32), make_metrics(6)
    begin([pace], steps=6)
    waited_for = []
    for batch, metric in enumerate(metrics):
        pace.on_train_batch_end(batch, {"loss": metric})
        waited_for.append(sum(metric.is_waited_for for metric in metrics))
    assert waited_for == [1, 1, 1, 2, 3, 6]  # the first compiles, the last ends the epoch


def test_pace_counts_finished_steps(clock, make_metrics):
    pace, metrics = Pace(batch_size=32), make_metrics(4)
    begin([pace], steps=9)
    for batch, metric in enumerate(metrics[:3]):
        pace.on_train_batch_end(batch, {"loss": metric})
    assert pace.seconds_per_step is None
    clock.now = 5
    metrics[1].finished.set()
    pace.on_train_batch_end(3, {"loss": metrics[3]})
    assert (pace.seconds_per_step, pace.last_logs) == (5, {"loss": metrics[1]})


def test_waiting_is_the_devices_idle_time(watched_clock, make_metrics):
    metrics = make_metrics(2)

    def batches():
        yield "while the device computes the first step"
        watched_clock.now += 4
        yield "the second batch is ready before the device is idle"
        watched_clock.now += 1
        metrics[1].finished.set()
        watched_clock.wait_for_watcher()
        watched_clock.now += 3
        yield "the third batch is ready three seconds late"

    pace = Pace(batch_size=32)
    begin([pace], steps=2)
    timed = pace.timed(batches())
    next(timed)
    pace.on_train_batch_end(0, {"loss": metrics[0]})
    watched_clock.wait_for_watcher()
    begin([pace], steps=9, epoch=1)
    pace.on_train_batch_end(0, {"loss": metrics[1]})
    next(timed)
    assert pace.waiting == 0
    next(timed)
    assert pace.waiting == 3 / 8


def test_step_metrics_are_rarely_read(clock, tmp_path, make_metrics):
    pace, metrics = Pace(batch_size=32), make_metrics(120)
    chosen = [
        pace,
        StopAtNaN(),
        LogLines(pace, 2, 200, Position(0)),
        SaveCheckpoint(tmp_path / "last.safetensors", 500, 200, 0, {}),
    ]
    callbacks = LazyLogs(chosen, steps=200)
    callbacks.on_epoch_begin(0)
    for batch, metric in enumerate(metrics):
        callbacks.on_train_batch_end(batch, {"loss": metric})
    assert sum(metric.times_read for metric in metrics) == 2  # one step in fifty
    clock.now = 31
    callbacks.on_train_batch_end(120, {"loss": metrics[0]})
    assert metrics[0].times_read == 1  # for a log line
