"""`train` in a process of its own, ended amid an epoch and started again."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from keras_landmarks import config
from keras_landmarks.augment import AugmentSettings
from keras_landmarks.models.spec import load_trained
from keras_landmarks.train import train
from keras_landmarks.utils.errors import InputError

EPOCHS, STEPS = 8, 10


@pytest.fixture(scope="module")
def short_steps(tiny_settings):
    return dataclasses.replace(
        tiny_settings, batch_size=2, epochs=EPOCHS, learning_rates="0:1e-2,3:1e-3"
    )


@pytest.fixture(scope="module")
def never_stopped(short_steps, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    train(dataclasses.replace(short_steps, workdir=str(workdir)), AugmentSettings(0))
    return workdir


def start(settings, folder):
    flagfile = folder / "flags.cfg"
    config.write_flagfile(flagfile, dataclasses.asdict(settings))
    command = [sys.executable, "-m", "keras_landmarks.train", f"--flagfile={flagfile}"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def saved_step(workdir):
    """The step, from the start of all, at which the state was saved last; None if it was not."""
    try:
        with safetensors.safe_open(workdir / "last.safetensors", "numpy") as file:
            facts = json.loads(file.metadata()["run"])
    except FileNotFoundError:
        return None
    return facts["epoch"] * STEPS + facts["step"]


def wait_for_a_step_amid_an_epoch(process, workdir):
    while process.poll() is None:
        step = saved_step(workdir)
        if step and step % STEPS not in (0, STEPS - 1):
            return
        time.sleep(0.01)
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_ended_amid_an_epoch_comes_to_the_same_bits(
    short_steps, never_stopped, tmp_path, number
):
    workdir = tmp_path / "work"
    settings = dataclasses.replace(short_steps, workdir=str(workdir))
    process = start(settings, tmp_path)
    wait_for_a_step_amid_an_epoch(process, workdir)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if number == signal.SIGTERM:
        epochs, steps = divmod(saved_step(workdir), STEPS)
        assert process.returncode == 130
        words = f"the same command goes on with epoch {epochs + 1}, step {steps + 1}"
        assert said.endswith(f"stopped: {words}\n")
    assert saved_step(workdir) < EPOCHS * STEPS
    train(settings, AugmentSettings(0))
    last = "last.safetensors"
    assert (workdir / last).read_bytes() == (never_stopped / last).read_bytes()
    for ours, theirs in zip(best_weights(workdir), best_weights(never_stopped), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert losses(workdir) == losses(never_stopped)


def best_weights(workdir):
    _, model = load_trained(workdir)
    return model.get_weights()


def losses(workdir):
    rows = (Path(workdir) / "history.csv").read_text().splitlines()
    return [row.split(",")[:2] for row in rows]


def test_a_second_training_in_the_work_directory_is_refused(short_steps, tmp_path):
    workdir = tmp_path / "work"
    settings = dataclasses.replace(short_steps, workdir=str(workdir), epochs=10_000)
    process = start(settings, tmp_path)
    wait_for_a_step_amid_an_epoch(process, workdir)
    other = dataclasses.replace(settings, seed=1, resume=False)
    with pytest.raises(OSError, match=rf"work: process {process.pid} on \S+ is using it"):
        train(other, AugmentSettings(0))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert saved_step(workdir) is not None
    assert not list(workdir.glob(".in-use"))


def test_a_state_amid_an_epoch_of_another_length_is_refused(short_steps, tmp_path):
    settings = dataclasses.replace(short_steps, workdir=str(tmp_path / "work"))
    process = start(settings, tmp_path)
    wait_for_a_step_amid_an_epoch(process, tmp_path / "work")
    process.kill()
    process.communicate(timeout=60)
    state = tmp_path / "work" / "last.safetensors"
    with safetensors.safe_open(state, "numpy") as file:
        facts = json.loads(file.metadata()["run"])
    facts["settings"] = {}  # an earlier version did not note the batch size
    arrays = safetensors.numpy.load_file(state)
    safetensors.numpy.save_file(arrays, state, {"run": json.dumps(facts)})
    with pytest.raises(InputError, match="amid an epoch of 10 steps; now there are 5"):
        train(dataclasses.replace(settings, batch_size=4), AugmentSettings(0))
