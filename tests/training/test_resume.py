"""`train` stopped in the middle of an epoch, most often in a process of its own."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.numpy
from training_runs import assert_same_weights, interrupt_at

from keras_landmarks.train import train
from keras_landmarks.training.checkpoint import Position
from keras_landmarks.training.work_directory import write_flagfile
from keras_landmarks.utils.errors import InputError

EPOCHS, STEPS = 4, 10


@pytest.fixture(scope="module")
def short_steps(tiny_settings):
    return tiny_settings.replace(batch_size=2, epochs=EPOCHS, learning_rates="0:1e-2,2:1e-3")


@pytest.fixture(scope="module")
def uninterrupted(short_steps, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    train(short_steps.replace(workdir=str(workdir)))
    return workdir


def start(settings, folder):
    flagfile = folder / "flags.cfg"
    write_flagfile(flagfile, settings)
    command = [sys.executable, "-m", "keras_landmarks.train", f"--flagfile={flagfile}"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def saved_step(workdir):
    """Returns the steps trained at the last checkpoint; None if there is no checkpoint."""
    try:
        with safetensors.safe_open(workdir / "last.safetensors", "numpy") as file:
            record = json.loads(file.metadata()["run"])
    except FileNotFoundError:
        return None
    return record["epoch"] * STEPS + record["step"]


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_killed_run_resumes_bit_exactly(short_steps, uninterrupted, pause_at, tmp_path, number):
    pause, workdir = pause_at(Position(1, 3)), tmp_path / "work"
    settings = short_steps.replace(workdir=str(workdir))
    process = start(settings, tmp_path)
    pause.wait_for(process)
    process.send_signal(number)
    pause.go_on()
    _, log = process.communicate(timeout=600)
    if number == signal.SIGTERM:
        epochs, steps = divmod(saved_step(workdir), STEPS)
        assert process.returncode == 130
        assert re.search(
            rf"^stopped: .*epoch {epochs + 1}, step {steps + 1}\n\Z", log, re.MULTILINE
        )
    assert saved_step(workdir) < EPOCHS * STEPS
    train(settings)
    last = "last.safetensors"
    assert (workdir / last).read_bytes() == (uninterrupted / last).read_bytes()
    assert_same_weights(workdir, uninterrupted)
    assert losses(workdir) == losses(uninterrupted)


def losses(workdir):
    rows = (Path(workdir) / "history.csv").read_text().splitlines()
    return [row.split(",")[:2] for row in rows]


@pytest.mark.slow
def test_second_run_in_the_folder_is_refused(short_steps, pause_at, tmp_path):
    pause, workdir = pause_at(Position(0, 3)), tmp_path / "work"
    settings = short_steps.replace(workdir=str(workdir))
    process = start(settings, tmp_path)
    pause.wait_for(process)
    other = settings.replace(seed=1, resume=False)
    with pytest.raises(OSError, match=rf"/work: .*\b{process.pid}\b"):
        train(other)
    process.send_signal(signal.SIGTERM)
    pause.go_on()
    _, log = process.communicate(timeout=600)
    assert process.returncode == 130, log
    assert saved_step(workdir) is not None
    assert not list(workdir.glob(".in-use"))


def test_epoch_of_another_length_is_refused(short_steps, tmp_path, monkeypatch):
    settings = short_steps.replace(workdir=str(tmp_path / "work"))
    interrupt_at(Position(0, 3), settings, monkeypatch)
    state = tmp_path / "work" / "last.safetensors"
    with safetensors.safe_open(state, "numpy") as file:
        record = json.loads(file.metadata()["run"])
    record["settings"] = {}  # as written by an earlier version, which recorded no batch size
    arrays = safetensors.numpy.load_file(state)
    safetensors.numpy.save_file(arrays, state, {"run": json.dumps(record)})
    with pytest.raises(InputError, match=r"last\.safetensors: .* 10 .* 5\b"):
        train(settings.replace(batch_size=4))
