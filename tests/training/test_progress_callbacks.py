import io
import re
import sys
import threading
import time

import jax
import keras
import numpy as np
import pytest

from keras_landmarks.training import progress_callbacks
from keras_landmarks.training.callbacks import LazyLogs, SaveState, StopAtNaN
from keras_landmarks.training.checkpoint import Position
from keras_landmarks.training.progress_callbacks import Bar, LogLines, Pace
from keras_landmarks.utils.errors import InputError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time that `time.monotonic` tells; a test sets it."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def step(clock):
    """Trains a step, for the callbacks, that takes so long."""

    def step(callbacks, seconds, logs=None):
        clock.now += seconds
        for callback in callbacks:
            callback.on_train_batch_end(0, logs)

    return step


def begin(callbacks, steps, epoch=0):
    for callback in callbacks:
        callback.set_params({"steps": steps})
        callback.on_epoch_begin(epoch)


def test_waiting_is_the_share_of_an_epoch_that_data_took_to_come():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    pace = Pace(batch_size=4)
    delays = [0.0] * 4 + [0.1] * 4 + [0.0] * 4

    def batches():
        for delay in delays:
            time.sleep(delay)
            yield np.ones((4, 2)), np.ones((4, 1))

    history = model.fit(
        pace.timed(batches()),
        steps_per_epoch=4,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[pace],
    )
    _, slow, fast = history.history["waiting"]
    assert 0 <= fast < slow <= 1
    assert slow > 0.5


def test_the_first_step_of_all_is_compiled_and_says_nothing_of_the_pace(clock, step):
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


def test_of_a_few_steps_the_first_counts(clock, step):
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


def test_a_log_has_every_epoch_and_what_is_left_of_a_run_that_was_taken_up(clock, step, capsys):
    pace = Pace(batch_size=32)
    told = [pace, LogLines(pace, 3, 60, Position(1, 34), seconds_between_lines=1)]
    begin(told, steps=26, epoch=1)
    step(told, 50, {"loss": 2.0})
    step(told, 2, {"mse": 3.0, "loss": 1.0})
    told[1].on_epoch_end(1, {"val_loss": 1.5, "loss": 1.0, "waiting": 0.1})
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
def test_a_terminal_has_one_line_that_is_never_wider(clock, step, monkeypatch, columns, shows):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress_callbacks, "terminal_width", lambda: columns)
    pace = Pace(batch_size=32)
    bar = Bar(pace, 3, 60, Position(1, 34))
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


class Figure:
    """A number that the device has not computed yet; it has as soon as the host waits for it."""

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
def make_figures():
    """Makes figures, which the device computes at the test's end at the latest."""
    made = []

    def make(count):
        made.extend(Figure() for _ in range(count))
        return made[-count:]

    yield make
    for figure in made:
        figure.finished.set()


def test_host_is_two_steps_ahead_of_the_device_at_most(make_figures):
    pace, figures = Pace(batch_size=32), make_figures(6)
    begin([pace], steps=6)
    waited_for = []
    for batch, figure in enumerate(figures):
        pace.on_train_batch_end(batch, {"loss": figure})
        waited_for.append(sum(figure.is_waited_for for figure in figures))
    assert waited_for == [1, 1, 1, 2, 3, 6]  # the first is compiled, the last ends the epoch


def test_only_finished_steps_count_for_the_pace(clock, make_figures):
    pace, figures = Pace(batch_size=32), make_figures(4)
    begin([pace], steps=9)
    for batch, figure in enumerate(figures[:3]):
        pace.on_train_batch_end(batch, {"loss": figure})
    assert pace.seconds_per_step is None
    clock.now = 5
    figures[1].finished.set()
    pace.on_train_batch_end(3, {"loss": figures[3]})
    assert (pace.seconds_per_step, pace.last_logs) == (5, {"loss": figures[1]})


def test_waiting_is_only_the_time_without_work_for_the_device(monkeypatch, make_figures):
    now, seen_by_the_watcher = [0.0], threading.Event()

    def monotonic():
        told = now[0]
        if threading.current_thread() is not threading.main_thread():
            seen_by_the_watcher.set()
        return told

    monkeypatch.setattr(time, "monotonic", monotonic)
    figures = make_figures(2)

    def batches():
        yield "the device computes the first step"
        now[0] += 4
        yield "the second batch came while it was at work"
        now[0] += 1
        figures[1].finished.set()
        seen_by_the_watcher.wait()
        now[0] += 3
        yield "the third came three seconds too late"

    pace = Pace(batch_size=32)
    begin([pace], steps=2)
    timed = pace.timed(batches())
    next(timed)
    pace.on_train_batch_end(0, {"loss": figures[0]})
    seen_by_the_watcher.wait()
    seen_by_the_watcher.clear()
    begin([pace], steps=9, epoch=1)
    pace.on_train_batch_end(0, {"loss": figures[1]})
    next(timed)
    assert pace.waiting == 0
    next(timed)
    assert pace.waiting == 3 / 8


def test_figures_of_a_step_are_read_where_they_are_needed_alone(clock, tmp_path, make_figures):
    pace, figures = Pace(batch_size=32), make_figures(120)
    chosen = [
        pace,
        StopAtNaN(),
        LogLines(pace, 2, 200, Position(0)),
        SaveState(tmp_path / "last.safetensors", 500, 200, 0, {}),
    ]
    callbacks = LazyLogs(chosen, steps=200)
    callbacks.on_epoch_begin(0)
    for batch, figure in enumerate(figures):
        callbacks.on_train_batch_end(batch, {"loss": figure})
    assert sum(figure.times_read for figure in figures) == 2  # one in fifty
    clock.now = 31
    callbacks.on_train_batch_end(120, {"loss": figures[0]})
    assert figures[0].times_read == 1  # for a line


def test_fit_hands_over_figures_as_the_device_has_them():
    kinds = set()
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: kinds.add(type(logs["loss"])),
        on_epoch_end=lambda epoch, logs: kinds.add(type(logs["loss"])),
    )
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    callbacks = LazyLogs([look], add_history=True, model=model, epochs=1, steps=2)
    model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=4, verbose=0, callbacks=callbacks)
    assert float in kinds
    assert any(issubclass(kind, jax.Array) for kind in kinds)


@pytest.mark.parametrize(("batch", "steps"), [(49, 200), (7, 8)])
def test_loss_that_is_no_number_ends_training_soon(batch, steps):
    callback = StopAtNaN()
    begin([callback], steps)
    callback.on_train_batch_end(0, {"loss": float("nan")})
    with pytest.raises(InputError, match="the loss is nan in epoch 1"):
        callback.on_train_batch_end(batch, {"loss": float("nan")})


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_state_whose_loss_is_no_number_is_never_saved(tmp_path, loss):
    callback = SaveState(tmp_path / "last.safetensors", 1, 10, 0, {})
    callback.on_epoch_begin(0)
    with pytest.raises(InputError, match="the loss is"):
        callback.on_train_batch_end(0, {"loss": loss})
    with pytest.raises(InputError, match="the loss is"):
        callback.on_epoch_end(0, {"loss": loss})
    assert not list(tmp_path.iterdir())
