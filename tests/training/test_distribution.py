"""`train` in several processes and on several devices, compared with one process on one device."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import jax
import keras
import numpy as np
import pytest
from compile_for_tpu import collectives

from keras_landmarks.benchmarks.timing import fresh_process
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input import pipeline
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.pipeline import HostShard, ImageSet
from keras_landmarks.input.samples import load_samples
from keras_landmarks.models import networks
from keras_landmarks.settings import ClusterSettings
from keras_landmarks.train import train
from keras_landmarks.training import distribution
from keras_landmarks.training.checkpoint import Position
from keras_landmarks.training.optimizer import recipe
from keras_landmarks.training.training_model import TrainingModel, train_step
from keras_landmarks.training.work_directory import write_flagfile
from keras_landmarks.utils.errors import InputError

EPOCHS = 10
TOLERANCE = 1e-5
CROP = 32


# ── several processes ──


@pytest.fixture(scope="module")
def steps20(tiny_settings):
    """20 steps of 8 images; 20 images to train on and 4 for validation.

    At a higher learning rate, differences in the last bits, from the order of sums, grow quickly.
    """
    return tiny_settings.replace(
        batch_size=8,
        epochs=EPOCHS,
        learning_rates="0:1e-4",
        reset_optimizer_each_epoch=False,
        train_fraction=0.84,
    )


@pytest.fixture(scope="module")
def losses(steps20, tmp_path_factory):
    """The losses of every epoch in one process on one device."""
    settings = steps20.replace(workdir=str(tmp_path_factory.mktemp("alone")))
    train(settings)
    return read_losses(settings.files.workdir)


def read_losses(workdir):
    with open(f"{workdir}/history.csv", newline="") as file:
        return [[float(row[name]) for name in ("loss", "val_loss")] for row in csv.DictReader(file)]


def start(settings, folder, processes):
    """Starts `train` in several processes."""
    flagfile = folder / "flags.cfg"
    write_flagfile(flagfile, settings)
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
    outputs = [process.communicate(timeout=900) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, outputs, strict=True)]


def finish_successfully(processes):
    ends = finish(processes)
    assert [status for status, _, _ in ends] == [0] * len(processes), ends
    return [json.loads(output.splitlines()[-1]) for _, output, _ in ends]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_losses_equal_those_of_one_process(losses, steps20, tmp_path, processes):
    settings = steps20.replace(workdir=str(tmp_path / "work"))
    results = finish_successfully(start(settings, tmp_path, processes))
    assert len(losses) == EPOCHS
    losses_here = np.array(read_losses(settings.files.workdir))
    np.testing.assert_allclose(losses_here, losses, rtol=TOLERANCE)
    print(
        f"\n{processes} processes: losses differ by {np.max(np.abs(losses_here / losses - 1)):.1e}"
    )
    assert {entry["best_loss"] for entry in results} == {results[0]["best_loss"]}


@pytest.mark.slow
def test_killed_process_ends_the_others(losses, steps20, pause_at, tmp_path):
    pause, workdir = pause_at(Position(2, 1)), tmp_path / "work"
    settings = steps20.replace(workdir=str(workdir))
    first, second = start(settings, tmp_path, 2)
    pause.wait_for(first, second)
    second.kill()
    pause.go_on()
    (status, _, log), _ = finish([first, second])
    assert status == 1
    assert re.match(r"error: process 0 of 2 .*again", log.splitlines()[-1])
    finish_successfully(start(settings, tmp_path, 2))
    np.testing.assert_allclose(read_losses(workdir), losses, rtol=TOLERANCE)


@pytest.mark.slow
def test_loss_of_process_0_ends_the_others(steps20, pause_at, tmp_path):
    pause = pause_at(Position(2, 1))
    settings = steps20.replace(workdir=str(tmp_path / "work"))
    first, second = start(settings, tmp_path, 2)
    pause.wait_for(first, second)
    first.kill()
    _, (status, _, log) = finish([first, second])
    # JAX aborts if it notices first.
    assert status in (1, -signal.SIGABRT)
    assert "process 1 of 2" in log or "another task died" in log


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_all_at_the_same_step(losses, steps20, pause_at, tmp_path, number):
    pause, workdir = pause_at(Position(2, 1)), tmp_path / "work"
    settings = steps20.replace(workdir=str(workdir))
    processes = start(settings, tmp_path, 2)
    pause.wait_for(*processes)
    processes[1].send_signal(number)
    pause.go_on()
    ends = finish(processes)
    assert [status for status, _, _ in ends] == [130, 130]
    (last_line,) = {log.splitlines()[-1] for _, _, log in ends}
    assert re.fullmatch(r"stopped: .*epoch \d+, step \d+", last_line)
    finish_successfully(start(settings, tmp_path, 2))
    np.testing.assert_allclose(read_losses(workdir), losses, rtol=TOLERANCE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("localhost:65536", 2, 1), "--coordinator=localhost:65536: "),
        (("localhost:1", None, None), "--coordinator.* --num_processes .*--process_id"),
        ((None, 2, 0), "--coordinator.* --num_processes .*--process_id"),
        (("localhost:1", 2, 2), r"--process_id=2: .*--num_processes\b.* 2\b"),
        (("localhost", 2, 0), "--coordinator=localhost: "),
    ],
)
def test_inconsistent_flags_are_refused(values, message):
    with pytest.raises(InputError, match=message), distribution.runtime(ClusterSettings(*values)):
        pass


def test_port_in_use_is_refused():
    with socket.create_server(("", 0)) as taken:
        coordinator = f"localhost:{taken.getsockname()[1]}"
        settings = ClusterSettings(coordinator, 2, 0)
        message = f"--coordinator={coordinator}: Address already in use"
        with pytest.raises(InputError, match=message), distribution.runtime(settings):
            pass


# Imported by the process at its start: it waits less long for the other one.
SHORT_TIMEOUTS = """
from keras_landmarks.training import distribution

distribution._CONNECT_TIMEOUT_S, distribution._SILENT_S = {timeout_s}, 0.1
"""


@pytest.fixture
def alone(faces, tmp_path, monkeypatch):
    """Starts process 1 of 2 without the other one; kills it when the test ends."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    # Otherwise the command restarts itself first.
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    processes = []

    def start(timeout_s):
        (tmp_path / "sitecustomize.py").write_text(SHORT_TIMEOUTS.format(timeout_s=timeout_s))
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


def test_missing_processes_are_reported(alone):
    process = alone(timeout_s=1)
    waiting, error = process.stderr.read().splitlines()
    assert re.search(r" 1 s .*--num_processes=2\b", waiting)
    assert re.match(r"error: .* 1 s\b.*--coordinator", error)
    assert process.wait() == 1


def test_waiting_process_heeds_signals(alone):
    process = alone(timeout_s=600)
    assert " 600 s " in process.stderr.readline()
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
    """The arguments of each call that would have connected JAX."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *flags, **_: calls.append(flags))
    return calls


@pytest.mark.parametrize(
    ("variables", "logged"),  # job and tasks in each message
    [
        ({}, [["7", "2"]]),
        ({"SLURM_STEP_NUM_TASKS": "1"}, [["7", "2"]]),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"}, []),
    ],
)
def test_shell_in_a_slurm_job_trains_alone(connections, monkeypatch, caplog, variables, logged):
    caplog.set_level("INFO", "absl")
    for name, value in (SLURM | variables).items():
        monkeypatch.setenv(name, value)
    with distribution.runtime(ClusterSettings(None, None, None)):
        pass
    assert not connections
    assert [re.findall(r"\d+", message) for message in caplog.messages] == logged


def test_waiting_message_names_the_slurm_job(monkeypatch, caplog):
    caplog.set_level("INFO", "absl")
    for name, value in (SLURM | {"SLURM_STEP_NUM_TASKS": "2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distribution, "_CONNECT_TIMEOUT_S", 0.1)
    released = threading.Event()
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: released.wait())
    with (
        pytest.raises(InputError, match=r" 0\.1 s\b"),
        distribution.runtime(ClusterSettings(None, None, None)),
    ):
        pass
    released.set()
    assert re.search(r" 2 tasks .* 7 .*node\[1-2\].*--num_processes=1", caplog.text)


def test_bad_cluster_variables_are_reported(monkeypatch):
    def initialize(*_, **__):
        raise KeyError("OMPI_COMM_WORLD_SIZE")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with (
        pytest.raises(InputError, match=r"OMPI_COMM_WORLD_SIZE.*--num_processes=1"),
        distribution.runtime(ClusterSettings(None, None, None)),
    ):
        pass


def test_kubernetes_pod_trains_alone(tmp_path):
    program = """
from keras_landmarks.training import distribution
from keras_landmarks.settings import ClusterSettings
with distribution.runtime(ClusterSettings(None, None, None)):
    print(distribution.num_processes())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_program_that_has_used_jax_trains_alone():
    jax.devices()
    with distribution.runtime(ClusterSettings(None, None, None)):
        assert distribution.num_processes() == 1


# ── shards ──


@pytest.fixture(scope="module")
def images(faces, tmp_path_factory):
    samples = load_samples(faces, "train", tmp_path_factory.mktemp("prepared"))
    return ImageSet([(Photos(samples, CropSpec(CROP, CROP)), np.arange(24))])


def read_batches(batches, count):
    return list(batches.take(count).as_numpy_iterator())


def join_shards(shards):
    """Yields the batches that the shards of the processes make together."""
    for parts in zip(*shards, strict=True):
        yield [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def add_seeds(images, landmarks, seeds):
    """Stands in for the augmentation pool: its result depends on the seed of each image."""
    return images, landmarks + (seeds[:, None, None] % 1000).astype(np.float32)


@pytest.mark.parametrize("augment", [None, add_seeds])
def test_shards_of_a_batch_make_the_batch(images, augment):
    def batches(shard):
        return read_batches(pipeline.train_batches(images, 8, 3, augment, 1, 1, shard), 4)

    shards = [batches(HostShard(process, 2)) for process in range(2)]
    for joined, whole in zip(join_shards(shards), batches(HostShard()), strict=True):
        for array, expected in zip(joined, whole, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_shards_of_validation_make_the_whole(images):
    def batches(count, shard):
        return read_batches(pipeline.validation_batches(images, 9, count, shard), 4)

    shards = [batches(21, HostShard(process, 3)) for process in range(3)]
    assert [len(landmarks) for _, landmarks, _ in shards[0]] == [3, 3, 1]
    for joined, whole in zip(join_shards(shards), batches(21, HostShard()), strict=True):
        for array, expected in zip(joined, whole, strict=True):
            np.testing.assert_array_equal(array, expected)


# ── several devices ──


@pytest.fixture(scope="module")
def on_eight_devices():
    """Calls a function in a process that has eight devices."""
    jax.devices()  # this process reads its own flags before they change
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


@pytest.mark.slow
def test_devices_only_exchange_sums(on_eight_devices):
    sent, statistics = on_eight_devices(step_on_all_devices)
    assert {entry["op"] for entry in sent} == {"all-reduce"}
    model = small_model()
    model.train_on_batch(*one_batch())
    assert any("moving_variance" in name for name in statistics)
    for variable in model.non_trainable_variables:
        on_devices, expected = statistics[variable.path], variable.numpy()
        np.testing.assert_allclose(
            on_devices, expected, rtol=1e-4, atol=1e-6, err_msg=variable.path
        )


def test_indivisible_batch_is_refused(on_eight_devices):
    with pytest.raises(InputError, match=r"--batch_size=12: .*\b8 devices"):
        on_eight_devices(distribution.check_batch_size, 12)


@pytest.mark.slow
def test_losses_equal_those_of_one_device(on_eight_devices, losses, steps20, tmp_path):
    # There is no validation: its four images are fewer than the devices.
    settings = steps20.replace(workdir=str(tmp_path / "work"))
    results = on_eight_devices(train, settings)
    assert results["best_val_loss"] is None
    with open(tmp_path / "work" / "history.csv", newline="") as file:
        losses_here = [float(row["loss"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(losses_here, [loss for loss, _ in losses], rtol=TOLERANCE)
