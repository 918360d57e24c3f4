"""Data-parallel training over all devices of all processes.

JAX's multi-process runtime connects the processes, and keras.distribution spreads the computation:
every device holds all weights and takes an equal share of each batch. All processes run the same
command on the same folders. Process 0 alone writes the work directory, and it prepares the data
before the others read them. With one process and one device none of this is used.
"""

import contextlib
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.settings import ClusterSettings
from keras_landmarks.utils.errors import InputError

_SLURM_STEP_TASKS = "SLURM_STEP_NUM_TASKS"
# JAX's errors where there is no cluster, and in a notebook that has already computed with it.
_NO_CLUSTER_MESSAGES = (
    "coordinator_address should be defined",
    "must be called before any JAX calls",
)
# How long processes wait for each other at the start, because a cluster starts them one by one.
_CONNECT_TIMEOUT_S = 300
# How soon they log that they wait: the environment may name processes that never come.
_SILENT_S = 5
# If a process is silent for this long, JAX takes it for dead and ends the others.
_HEARTBEAT_TIMEOUT_S = 30
# Process 0 hosts the coordinator. It waits for this long after an error, because JAX aborts the
# others when the coordinator ends, perhaps before they have printed their message.
_SHUTDOWN_DELAY_S = 3


@contextlib.contextmanager
def runtime(settings: ClusterSettings) -> Iterator[None]:
    """Within the context the processes named by the flags, or by the cluster, are connected.

    Enter it before JAX computes anything.

    Args:
        settings: the flags. If none is given, JAX detects the cluster, if there is one.

    Raises:
        InputError: the flags contradict each other, another process did not connect in time, or the
            connection to one was lost.
    """
    _connect_processes(settings)
    if num_processes() == 1:
        yield
        return
    if not is_first():
        logging.set_verbosity(logging.WARNING)
    try:
        wait_for_all("start")  # opens the connections now; JAX allows 30 s for that
        yield
        jax.distributed.shutdown()
    except KeyboardInterrupt as interrupt:
        if interrupt.args:  # raised by the training, in all processes after the same step
            jax.distributed.shutdown()
        raise
    except Exception as error:
        if is_first():
            time.sleep(_SHUTDOWN_DELAY_S)
        if _is_connection_error(error):
            raise InputError(
                f"process {process_index()} of {num_processes()} cannot go on, most likely because"
                f" another one ended ({str(error).splitlines()[0]}); start all of them again: they"
                " go on from the state saved last"
            ) from None
        raise


def _is_connection_error(error: Exception) -> bool:
    # JAX raises a ValueError for Gloo, which connects CPUs.
    return isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)


def _connect_processes(settings: ClusterSettings) -> None:
    """Connects to the processes named by the flags or, without flags, to those of the cluster."""
    flags = (settings.coordinator, settings.num_processes, settings.process_id)
    if settings.num_processes == 1:
        return
    is_detected = all(flag is None for flag in flags)
    if not is_detected:
        _validate_settings(settings)
    elif _is_alone_in_slurm():
        return
    # JAX's service would take over SIGTERM, and it does not handle Ctrl-C.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with warnings.catch_warnings():
            # JAX warns in a Kubernetes pod where it cannot ask which processes there are.
            warnings.filterwarnings("ignore", "Kubernetes environment detected")
            _initialize_jax(*flags)
    except TimeoutError:
        raise InputError(
            f"the other processes did not come within {_CONNECT_TIMEOUT_S} s: were all of them"
            " started, and does --coordinator name process 0's machine and a port open to them?"
        ) from None
    except Exception as error:  # JAX's cluster detection raises errors of many types
        if is_detected and any(text in str(error) for text in _NO_CLUSTER_MESSAGES):
            return
        remedy = (
            "--num_processes=1 trains without the others" if is_detected else "see --coordinator"
        )
        raise InputError(f"no connection to the other processes: {error}; {remedy}") from None


def _is_alone_in_slurm() -> bool:
    """Whether this process is part of a Slurm job, but srun did not start it together with others.

    A shell on a node of the job, and what is started there, inherits the job's number of tasks, and
    JAX would wait for those. srun tells the processes that it starts together how many they are.
    """
    job, tasks = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_NTASKS", "1")
    if not job or os.environ.get(_SLURM_STEP_TASKS, "1") != "1":
        return False
    if "OMPI_COMM_WORLD_SIZE" in os.environ:  # started by mpirun
        return False
    if tasks != "1":
        logging.info(
            "Slurm's job %s has %s tasks, but srun did not start them together: training alone",
            job,
            tasks,
        )
    return True


def _initialize_jax(*flags: str | int | None) -> None:
    """Calls `jax.distributed.initialize` in a thread, so that signals are handled meanwhile.

    Raises:
        TimeoutError: the other processes did not connect in time; JAX itself would abort.
    """
    connected: Future[None] = Future()

    def connect() -> None:
        try:
            jax.distributed.initialize(
                *flags,
                heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT_S,
                initialization_timeout=2 * _CONNECT_TIMEOUT_S,
            )
            connected.set_result(None)
        except Exception as error:
            connected.set_exception(error)

    # A daemon thread, so that the process can end while it waits.
    threading.Thread(target=connect, daemon=True).start()
    wait([connected], min(_SILENT_S, _CONNECT_TIMEOUT_S))
    if not connected.done():
        logging.info(
            "waiting up to %g s for the others of %s; --num_processes=1 trains without them",
            _CONNECT_TIMEOUT_S,
            _describe_processes(*flags),
        )
    connected.result(_CONNECT_TIMEOUT_S)


def _describe_processes(
    coordinator: str | None, num_processes: int | None, _process_id: int | None
) -> str:
    """Returns a description of the processes that are to train together, for the log."""
    if num_processes is not None:
        return f"--num_processes={num_processes}, by way of --coordinator={coordinator}"
    if _SLURM_STEP_TASKS in os.environ:
        tasks, job, nodes = map(
            os.environ.get, (_SLURM_STEP_TASKS, "SLURM_JOB_ID", "SLURM_STEP_NODELIST")
        )
        return f"{tasks} tasks of Slurm's job {job} on {nodes}"
    return "the cluster's processes that its environment variables tell of"


def _validate_settings(settings: ClusterSettings) -> None:
    """Raises InputError if the three flags are incomplete or wrong."""
    if None in (settings.coordinator, settings.num_processes, settings.process_id):
        raise InputError("--coordinator, --num_processes and --process_id need each other")
    if settings.process_id >= settings.num_processes:
        raise InputError(
            f"--process_id={settings.process_id}: counted from 0, and --num_processes is"
            f" {settings.num_processes}"
        )
    _, colon, port = settings.coordinator.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"--coordinator={settings.coordinator}: not host:port of process 0")
    if settings.process_id == 0:
        _validate_port(settings.coordinator, int(port))


def _validate_port(coordinator: str, port: int) -> None:
    """Raises InputError if another program uses the port; JAX would crash."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise InputError(
            f"--coordinator={coordinator}: {os.strerror(error.errno)}; try another port"
        ) from None


def process_index() -> int:
    """Returns the number of this process, from 0."""
    return jax.process_index()


def num_processes() -> int:
    """Returns the number of processes."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this is process 0, which alone writes."""
    return process_index() == 0


def num_devices() -> int:
    """Returns the number of devices of all processes together."""
    return jax.device_count()


@contextlib.contextmanager
def data_parallel() -> Iterator[None]:
    """Within the context models are replicated on all devices and batches are spread over them.

    Each process passes its own part of a batch: see `pipeline.HostShard`.
    """
    if num_devices() == 1:
        yield
        return
    # Sorted by process, because TPU devices are numbered by position across the hosts.
    ordered = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    with keras.distribution.DataParallel(devices=ordered, auto_shard_dataset=False).scope():
        yield


@contextlib.contextmanager
def on_local_device() -> Iterator[None]:
    """Within the context Keras creates arrays on this process's own device only.

    Otherwise all processes would have to create them together.
    """
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def check_batch_size(batch_size: int) -> None:
    """Raises InputError if a batch cannot be divided equally among all devices."""
    if batch_size % num_devices():
        raise InputError(
            f"--batch_size={batch_size}: it is shared out to {num_devices()} devices; give a"
            " multiple of that"
        )


@contextlib.contextmanager
def main_process_first(step: str) -> Iterator[None]:
    """Process 0 runs the block before all others, which find its files.

    Args:
        step: a name for the block, the same in all processes.
    """
    if not is_first():
        wait_for_all(step)
    yield
    if is_first():
        wait_for_all(step)


def wait_for_all(step: str) -> None:
    """Blocks until all processes have called this with the same name of a step."""
    if num_processes() > 1:
        multihost_utils.sync_global_devices(step)


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all processes must call this together."""
    if num_processes() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def broadcast_from_first(arrays: tuple) -> tuple:
    """Returns process 0's arrays in every process; all processes must call this together."""
    return multihost_utils.broadcast_one_to_all(arrays) if num_processes() > 1 else arrays


def check_agreement(values: Sequence[int], what: str) -> None:
    """Raises InputError in all processes if the values differ between them.

    Args:
        values: int32 values of this process.
        what: what they are, to begin the message with.
    """
    all_values = multihost_utils.process_allgather(np.array(values, np.int32)).reshape(
        num_processes(), -1
    )
    if np.any(all_values != all_values[0]):
        raise InputError(
            f"{what}: not the same for all processes ({all_values.tolist()}); give them the same"
            " flags, and folders that they share"
        )
