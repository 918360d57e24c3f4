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
import threading
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
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input import pipeline
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.pipeline import HostShard, ImageSet
from keras_landmarks.input.samples import load_samples
from keras_landmarks.models import networks
from keras_landmarks.train import train
from keras_landmarks.training import distribution
from keras_landmarks.training.optimizer import recipe
from keras_landmarks.training.settings import ProcessSettings
from keras_landmarks.training.step import train_step
from keras_landmarks.training.training_model import TrainingModel
from keras_landmarks.utils.errors import InputError

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


# As long as a test may take.
IMPATIENT = """
from keras_landmarks.training import distribution

distribution._CONNECT_TIMEOUT_S, distribution._SILENT_S = {timeout_s}, 0.1
"""


@pytest.fixture
def alone(faces, tmp_path, monkeypatch):
    """Starts process 1 of 2, the other of which never comes; stopped when the test ends."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")  # or it starts anew first
    processes = []

    def start(timeout_s):
        (tmp_path / "sitecustomize.py").write_text(IMPATIENT.format(timeout_s=timeout_s))
        flags = [f"--data={faces}", f"--coordinator=localhost:{free_port()}"]
        flags += ["--num_processes=2", "--process_id=1"]
        command = [sys.executable, "-m", "keras_landmarks.train", *flags]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def test_who_waits_for_the_others_in_vain_says_so(alone):
    process = alone(timeout_s=1)
    waiting, end = process.stderr.read().splitlines()
    assert waiting.startswith("waiting up to 1 s for the others of --num_processes=2, by way of")
    assert end.startswith("error: the other processes did not come within 1 s: were all of them")
    assert process.wait() == 1


def test_who_waits_for_the_others_heeds_signals(alone):
    process = alone(timeout_s=100)
    assert process.stderr.readline().startswith("waiting up to 100 s for the others")
    process.send_signal(signal.SIGTERM)
    assert process.stderr.read() == "stopped\n"
    assert process.wait() == 130


# ── clusters that JAX finds in the environment ──

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "node[1-2]",
}


@pytest.fixture
def connections(monkeypatch):
    """What JAX would have been connected with, and what was logged."""
    tried = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *flags, **_: tried.append(flags))
    return tried


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, ["Slurm's job 7 has 2 tasks, but srun did not start them together: training alone"]),
        (
            {"SLURM_STEP_NUM_TASKS": "1"},
            ["Slurm's job 7 has 2 tasks, but srun did not start them together: training alone"],
        ),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"}, []),
    ],
)
def test_a_shell_in_a_slurm_job_waits_for_nobody(connections, monkeypatch, caplog, variables, says):
    caplog.set_level("INFO", "absl")
    for name, value in (SLURM | variables).items():
        monkeypatch.setenv(name, value)
    with distribution.runtime(ProcessSettings(None, None, None)):
        pass
    assert not connections
    assert caplog.messages == says


def test_a_task_of_a_slurm_job_says_for_whom_it_waits(monkeypatch, caplog):
    caplog.set_level("INFO", "absl")
    for name, value in (SLURM | {"SLURM_STEP_NUM_TASKS": "2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distribution, "_CONNECT_TIMEOUT_S", 0.1)
    released = threading.Event()
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: released.wait())
    says = "the other processes did not come within 0.1 s"
    with (
        pytest.raises(InputError, match=says),
        distribution.runtime(ProcessSettings(None, None, None)),
    ):
        pass
    released.set()
    assert "for the others of 2 tasks of Slurm's job 7 on node[1-2]; --num_proc" in caplog.text


def test_an_environment_that_jax_cannot_read_is_one_line(monkeypatch):
    def initialize(*_, **__):
        raise KeyError("OMPI_COMM_WORLD_SIZE")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    says = "no connection to the other processes: 'OMPI_COMM_WORLD_SIZE'; --num_processes=1 trains"
    with (
        pytest.raises(InputError, match=says),
        distribution.runtime(ProcessSettings(None, None, None)),
    ):
        pass


def test_a_pod_that_is_no_cluster_trains_alone_without_a_word(tmp_path):
    program = """
from keras_landmarks.training import distribution
from keras_landmarks.training.settings import ProcessSettings
with distribution.runtime(ProcessSettings(None, None, None)):
    print(distribution.count())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_program_that_has_computed_before_trains_alone():
    jax.devices()
    with distribution.runtime(ProcessSettings(None, None, None)):
        assert distribution.count() == 1


# ── shares ──


@pytest.fixture(scope="module")
def images(faces, tmp_path_factory):
    samples = load_samples(faces, "train", tmp_path_factory.mktemp("prepared"))
    return ImageSet([(Photos(samples, CropSpec(CROP, CROP)), np.arange(24))])


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

    shares = [batches(HostShard(process, 2)) for process in range(2)]
    for mine, whole in zip(joined(shares), batches(HostShard()), strict=True):
        for array, expected in zip(mine, whole, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_the_shares_of_validation_are_all_of_it_but_the_last_few(images):
    def batches(count, share):
        return read_batches(pipeline.validation_batches(images, 9, count, share), 4)

    shares = [batches(21, HostShard(process, 3)) for process in range(3)]
    assert [len(landmarks) for _, landmarks, _ in shares[0]] == [3, 3, 1]
    for mine, whole in zip(joined(shares), batches(21, HostShard()), strict=True):
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
    model = TrainingModel(networks.build("tiny", 5, CROP), "mse", in_photo_px=True)
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
