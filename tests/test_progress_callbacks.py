import io
import re
import sys
import time

import keras
import numpy as np
import pytest

from keras_landmarks.training import progress_callbacks
from keras_landmarks.training.progress_callbacks import Bar, LogLines, Pace
from keras_landmarks.training.state import Position


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
