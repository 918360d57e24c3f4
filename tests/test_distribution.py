"""`train` in several processes, and on several devices of one, beside one process with one."""

import contextlib
import csv
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import keras
import numpy as np
import pytest
import safetensors

from keras_landmarks import config
from keras_landmarks.augment import AugmentSettings
from keras_landmarks.benchmarks.aot import collectives
from keras_landmarks.benchmarks.timing import fresh_process
from keras_landmarks.data import pipeline
from keras_landmarks.data.geometry import Frame
from keras_landmarks.data.photos import Photos
from keras_landmarks.data.pipeline import ImageSet, Share
from keras_landmarks.data.samples import load_samples
from keras_landmarks.errors import InputError
from keras_landmarks.models import networks
from keras_landmarks.train import train
from keras_landmarks.training import distribution
from keras_landmarks.training.objective import Objective
from keras_landmarks.training.optimizer import recipe
from keras_landmarks.training.settings import ProcessSettings
from keras_landmarks.training.step import train_step

EPOCHS = 10
TOLERANCE = 1e-5
CROP = 32


# ── several processes ──


@pytest.fixture(scope="module")
def steps20(tiny_settings):
    """20 steps of 8 images; 20 images to train on and 4 for validation.

    At a higher rate the last bits of a sum, whose order differs, grow with every step.
    """
    return dataclasses.replace(
        tiny_settings,
        batch_size=8,
        epochs=EPOCHS,
        learning_rates="0:1e-4",
        reset_optimizer_each_epoch=False,
        train_fraction=0.84,
    )


@pytest.fixture(scope="module")
def losses(steps20, tmp_path_factory):
    """Every epoch's losses of one process with one device."""
    settings = dataclasses.replace(steps20, workdir=str(tmp_path_factory.mktemp("alone")))
    train(settings, AugmentSettings(0))
    return read_losses(settings.workdir)


def read_losses(workdir):
    with open(f"{workdir}/history.csv", newline="") as file:
        return [[float(row[name]) for name in ("loss", "val_loss")] for row in csv.DictReader(file)]


def start(settings, folder, processes):
    """Starts `train` in so many processes."""
    flagfile = folder / "flags.cfg"
    config.write_flagfile(flagfile, dataclasses.asdict(settings))
    command = [sys.executable, "-m", "keras_landmarks.train", f"--flagfile={flagfile}"]
    command += [f"--coordinator=localhost:{free_port()}", f"--num_processes={processes}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen([*command, f"--process_id={number}"], **pipes)
        for number in range(processes)
    ]


def free_port():
    with socket.socket() as chosen:
        chosen.bind(("", 0))
        return chosen.getsockname()[1]


def finish(processes):
    """Returns exit status, standard output and standard error of each process."""
    said = [process.communicate(timeout=150) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def finish_well(processes):
    ends = finish(processes)
    assert [status for status, _, _ in ends] == [0] * len(processes), ends
    return [json.loads(output.splitlines()[-1]) for _, output, _ in ends]


def wait_for_a_step_amid_an_epoch(processes, workdir):
    state = workdir / "last.safetensors"
    while all(process.poll() is None for process in processes):
        with contextlib.suppress(FileNotFoundError), safetensors.safe_open(state, "numpy") as file:
            if json.loads(file.metadata()["run"])["step"]:
                return
        time.sleep(0.01)
    raise AssertionError(finish(processes))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_the_losses_of_several_processes_are_those_of_one(losses, steps20, tmp_path, processes):
    settings = dataclasses.replace(steps20, workdir=str(tmp_path / "work"))
    figures = finish_well(start(settings, tmp_path, processes))
    assert len(losses) == EPOCHS
    mine = np.array(read_losses(settings.workdir))
    np.testing.assert_allclose(mine, losses, rtol=TOLERANCE)
    print(f"\n{processes} processes: losses differ by {np.max(np.abs(mine / losses - 1)):.1e}")
    assert {entry["best_loss"] for entry in figures} == {figures[0]["best_loss"]}


def test_a_killed_process_ends_the_others_and_a_restart_goes_on(losses, steps20, tmp_path):
    workdir = tmp_path / "work"
    settings = dataclasses.replace(steps20, workdir=str(workdir))
    first, second = start(settings, tmp_path, 2)
    wait_for_a_step_amid_an_epoch([first, second], workdir)
    second.kill()
    (status, _, said), _ = finish([first, second])
    assert status == 1
    line = said.splitlines()[-1]
    assert line.startswith("error: process 0 of 2 cannot go on, most likely because another one")
    assert line.endswith("start all of them again: they go on from the state saved last")
    finish_well(start(settings, tmp_path, 2))
    np.testing.assert_allclose(read_losses(workdir), losses, rtol=TOLERANCE)


@pytest.mark.slow
def test_without_process_0_the_others_end(steps20, tmp_path):
    settings = dataclasses.replace(steps20, workdir=str(tmp_path / "work"))
    first, second = start(settings, tmp_path, 2)
    wait_for_a_step_amid_an_epoch([first, second], tmp_path / "work")
    first.kill()
    _, (status, _, said) = finish([first, second])
    # JAX may notice before we do, and aborts.
    assert status in (1, -signal.SIGABRT)
    assert "most likely because another one ended" in said or "another task died" in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_has_all_leave_after_the_same_step(losses, steps20, tmp_path, number):
    workdir = tmp_path / "work"
    settings = dataclasses.replace(steps20, workdir=str(workdir))
    processes = start(settings, tmp_path, 2)
    wait_for_a_step_amid_an_epoch(processes, workdir)
    processes[1].send_signal(number)
    ends = finish(processes)
    assert [status for status, _, _ in ends] == [130, 130]
    last_lines = {said.splitlines()[-1] for _, _, said in ends}
    assert len(last_lines) == 1
    assert last_lines.pop().startswith("stopped: the same command goes on with")
    finish_well(start(settings, tmp_path, 2))
    np.testing.assert_allclose(read_losses(workdir), losses, rtol=TOLERANCE)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("localhost:65536", 2, 1), "--coordinator=localhost:65536: not host:port of process 0"),
        (("localhost:1", None, None), "--coordinator, --num_processes and --process_id need each"),
        ((None, 2, 0), "--coordinator, --num_processes and --process_id need each other"),
        (("localhost:1", 2, 2), "--process_id=2: counted from 0, and --num_processes is 2"),
        (("localhost", 2, 0), "--coordinator=localhost: not host:port of process 0"),
    ],
)
def test_flags_that_do_not_fit_together_are_refused(given, says):
    with pytest.raises(InputError, match=says), distribution.runtime(ProcessSettings(*given)):
        pass


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("", 0)) as taken:
        coordinator = f"localhost:{taken.getsockname()[1]}"
        settings = ProcessSettings(coordinator, 2, 0)
        says = f"--coordinator={coordinator}: Address already in use; try another port"
        with pytest.raises(InputError, match=says), distribution.runtime(settings):
            pass


ALONE = """
import sys
from keras_landmarks import config
from keras_landmarks.training import distribution
from keras_landmarks.training.settings import ProcessSettings

def main(_):
    distribution._CONNECT_TIMEOUT_S = int(sys.argv.pop())
    print("waiting", flush=True)
    with distribution.runtime(ProcessSettings(sys.argv.pop(), 2, 1)):
        pass

sys.argv, given = sys.argv[:1], sys.argv[1:]
config.run(lambda _: (sys.argv.extend(given), main(_)))
"""


@pytest.mark.parametrize(
    ("timeout_s", "number", "status", "says"),
    [
        (1, 0, 1, "error: the other processes did not come within 1 s: were all of them started,"),
        (100, signal.SIGTERM, 130, "stopped"),
    ],
)
def test_who_waits_for_the_others_in_vain_says_so_and_heeds_signals(
    timeout_s, number, status, says
):
    command = [sys.executable, "-c", ALONE, f"localhost:{free_port()}", str(timeout_s)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert errors.splitlines()[-1].startswith(says)


# ── shares ──


@pytest.fixture(scope="module")
def images(faces, tmp_path_factory):
    samples = load_samples(faces, "train", tmp_path_factory.mktemp("prepared"))
    return ImageSet([(Photos(samples, Frame(CROP, CROP)), np.arange(24))])


def read_batches(batches, count):
    return list(batches.take(count).as_numpy_iterator())


def joined(shares):
    """Returns the batches of which the processes read these shares."""
    for parts in zip(*shares, strict=True):
        yield [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def add_seeds(images, landmarks, seeds):
    """Stands for the pool: what it makes of an image depends on the image's seed."""
    return images, landmarks + (seeds[:, None, None] % 1000).astype(np.float32)


@pytest.mark.parametrize("augment", [None, add_seeds])
def test_the_shares_of_a_batch_are_the_batch(images, augment):
    def batches(share):
        return read_batches(pipeline.train_batches(images, 8, 3, augment, 1, 1, share), 4)

    shares = [batches(Share(process, 2)) for process in range(2)]
    for mine, whole in zip(joined(shares), batches(Share()), strict=True):
        for array, expected in zip(mine, whole, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_the_shares_of_validation_are_all_of_it_but_the_last_few(images):
    def batches(count, share):
        return read_batches(pipeline.validation_batches(images, 9, count, share), 4)

    shares = [batches(21, Share(process, 3)) for process in range(3)]
    assert [len(landmarks) for _, landmarks, _ in shares[0]] == [3, 3, 1]
    for mine, whole in zip(joined(shares), batches(21, Share()), strict=True):
        for array, expected in zip(mine, whole, strict=True):
            np.testing.assert_array_equal(array, expected)


# ── several devices ──


@pytest.fixture(scope="module")
def on_eight_devices():
    """Calls a function in a process that has eight devices."""
    jax.devices()  # this process has read its own flags before they change
    eight = "--xla_force_host_platform_device_count=8"
    with pytest.MonkeyPatch.context() as patch, fresh_process() as pool:
        patch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {eight}")
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def small_model():
    keras.utils.set_random_seed(0)
    model = Objective(networks.build("tiny", 5, CROP), "mse", in_photo_px=True)
    model.compile(recipe())
    return model


def one_batch():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, CROP, CROP, 3), np.uint8)
    landmarks = rng.normal(16, 4, (16, 5, 2)).astype(np.float32)
    return images, landmarks, rng.uniform(0.5, 2, (16, 2)).astype(np.float32)


def step_on_all_devices():
    """Returns the collectives of the compiled step, and the statistics after it."""
    with distribution.data_parallel():
        model = small_model()
        step, state = train_step(model)
        spread = keras.distribution.distribution()
        batch = [
            jax.device_put(array, spread.get_data_layout(array.shape).backend_layout)
            for array in one_batch()
        ]
        compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
        _, (_, statistics, *_) = compiled(state, batch)
    names = [variable.path for variable in model.non_trainable_variables]
    arrays = [np.asarray(array) for array in statistics]
    return collectives(compiled.as_text()), dict(zip(names, arrays, strict=True))


def test_devices_exchange_sums_alone_and_the_statistics_are_the_whole_batchs(on_eight_devices):
    sent, statistics = on_eight_devices(step_on_all_devices)
    assert {entry["op"] for entry in sent} == {"all-reduce"}
    model = small_model()
    model.train_on_batch(*one_batch())
    assert any("moving_variance" in name for name in statistics)
    for variable in model.non_trainable_variables:
        mine, expected = statistics[variable.path], variable.numpy()
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-6, err_msg=variable.path)


def test_a_batch_that_the_devices_cannot_share_is_refused(on_eight_devices):
    with pytest.raises(InputError, match="--batch_size=12: it is shared out to 8 devices"):
        on_eight_devices(distribution.check_batch_size, 12)


@pytest.mark.slow
def test_training_on_eight_devices_has_the_losses_of_one(
    on_eight_devices, losses, steps20, tmp_path
):
    # The four images of validation are fewer than the devices.
    settings = dataclasses.replace(steps20, workdir=str(tmp_path / "work"))
    figures = on_eight_devices(train, settings, AugmentSettings(0))
    assert figures["best_val_loss"] is None
    with open(tmp_path / "work" / "history.csv", newline="") as file:
        mine = [float(row["loss"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(mine, [loss for loss, _ in losses], rtol=TOLERANCE)
