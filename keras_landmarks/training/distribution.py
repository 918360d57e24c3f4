"""Data-parallel training over all devices of all processes.

JAX's runtime connects the processes and keras.distribution spreads what they compute: every device
holds all the weights and takes an equal share of each batch. All processes run the same command on
the same folders. The first one alone writes the work directory, and makes what is prepared of the
data before the others read it. One process with one device needs none of this, and gets none.
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
from keras_landmarks.training.settings import ProcessSettings
from keras_landmarks.utils.errors import InputError

_SLURM_TASKS_STARTED = "SLURM_STEP_NUM_TASKS"
# What JAX says where there is no cluster, and in a notebook that has computed with it before.
_NOT_IN_A_CLUSTER = ("coordinator_address should be defined", "must be called before any JAX calls")
# How long the processes wait for each other at the start; a cluster starts them one by one.
_CONNECT_TIMEOUT_S = 300
# How soon they say so: the environment may name others that never come.
_SILENT_S = 5
# A process that says nothing for so long is taken for dead: JAX ends the others.
_HEARTBEAT_TIMEOUT_S = 30
# The first process holds what connects them; without it JAX aborts the others amid their words.
_FIRST_LINGERS_S = 3


@contextlib.contextmanager
def runtime(settings: ProcessSettings) -> Iterator[None]:
    """Within, the processes that the flags or the cluster name are connected.

    It must come before anything is computed.

    Raises:
        InputError: the flags do not fit together, the others did not come, or one was lost.
    """
    _start(settings)
    if count() == 1:
        yield
        return
    if not is_first():
        logging.set_verbosity(logging.WARNING)
    try:
        wait_for_all("start")  # connects; JAX allows half a minute for that
        yield
        jax.distributed.shutdown()
    except KeyboardInterrupt as how_to_go_on:
        if how_to_go_on.args:  # from training, in all processes after the same step
            jax.distributed.shutdown()
        raise
    except Exception as error:
        if is_first():
            time.sleep(_FIRST_LINGERS_S)
        if _is_of_connection(error):
            raise InputError(
                f"process {rank()} of {count()} cannot go on, most likely because another one ended"
                f" ({str(error).splitlines()[0]}); start all of them again: they go on from the"
                " state saved last"
            ) from None
        raise


def _is_of_connection(error: Exception) -> bool:
    # Of the CPU's connections JAX tells with a ValueError, too.
    return isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)


def _start(settings: ProcessSettings) -> None:
    """Connects to the processes named by the flags or, without, to those of the cluster."""
    flags = (settings.coordinator, settings.num_processes, settings.process_id)
    if settings.num_processes == 1:
        return
    found = all(flag is None for flag in flags)
    if not found:
        _check(settings)
    elif _is_alone_in_slurm():
        return
    # It would take SIGTERM for itself, and does not know Ctrl-C.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with warnings.catch_warnings():
            # JAX finds no cluster in a pod whose processes it cannot ask for.
            warnings.filterwarnings("ignore", "Kubernetes environment detected")
            _connect(*flags)
    except TimeoutError:
        raise InputError(
            f"the other processes did not come within {_CONNECT_TIMEOUT_S} s: were all of them"
            " started, and does --coordinator name process 0's machine and a port open to them?"
        ) from None
    except Exception as error:  # a cluster's environment may lack anything
        if found and any(text in str(error) for text in _NOT_IN_A_CLUSTER):
            return
        remedy = "--num_processes=1 trains without the others" if found else "see --coordinator"
        raise InputError(f"no connection to the other processes: {error}; {remedy}") from None


def _is_alone_in_slurm() -> bool:
    """Whether srun did not start this process together with others, though it is in a Slurm job.

    A shell on a node of the job, and what is started from there, inherits the number of the job's
    tasks, and JAX would wait for them. srun tells those that it starts together how many they are.
    """
    job, tasks = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_NTASKS", "1")
    if not job or os.environ.get(_SLURM_TASKS_STARTED, "1") != "1":
        return False
    if "OMPI_COMM_WORLD_SIZE" in os.environ:  # started by mpirun
        return False
    if tasks != "1":
        what = "Slurm's job %s has %s tasks, but srun did not start them together: training alone"
        logging.info(what, job, tasks)
    return True


def _connect(*flags: str | int | None) -> None:
    """JAX's `initialize`, but heeding signals, and a TimeoutError where it would abort."""
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

    # A daemon, or it would keep this process from ending for as long as it waits.
    threading.Thread(target=connect, daemon=True).start()
    wait([connected], min(_SILENT_S, _CONNECT_TIMEOUT_S))
    if not connected.done():
        logging.info(
            "waiting up to %g s for the others of %s; --num_processes=1 trains without them",
            _CONNECT_TIMEOUT_S,
            _all_processes(*flags),
        )
    connected.result(_CONNECT_TIMEOUT_S)


def _all_processes(coordinator: str | None, count: int | None, _rank: int | None) -> str:
    """Returns in words which processes are to train together."""
    if count is not None:
        return f"--num_processes={count}, by way of --coordinator={coordinator}"
    if _SLURM_TASKS_STARTED in os.environ:
        tasks, job, nodes = map(
            os.environ.get, (_SLURM_TASKS_STARTED, "SLURM_JOB_ID", "SLURM_STEP_NODELIST")
        )
        return f"{tasks} tasks of Slurm's job {job} on {nodes}"
    return "the cluster's processes that its environment variables tell of"


def _check(settings: ProcessSettings) -> None:
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
        _require_free(settings.coordinator, int(port))


def _require_free(coordinator: str, port: int) -> None:
    """JAX crashes at a port that another program has."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise InputError(
            f"--coordinator={coordinator}: {os.strerror(error.errno)}; try another port"
        ) from None


def rank() -> int:
    """This process's number, from 0."""
    return jax.process_index()


def count() -> int:
    """Number of processes."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def devices() -> int:
    """Number of devices of all processes."""
    return jax.device_count()


@contextlib.contextmanager
def data_parallel() -> Iterator[None]:
    """Within, models are made on all devices and batches are spread over them.

    Each process hands in its own share of a batch, in order: see `pipeline.Share`.
    """
    if devices() == 1:
        yield
        return
    # By process: a TPU's devices are numbered by place, across the hosts.
    ordered = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    with keras.distribution.DataParallel(devices=ordered, auto_shard_dataset=False).scope():
        yield


@contextlib.contextmanager
def by_itself() -> Iterator[None]:
    """Within, what Keras makes is on this process's own device: no other has to make it, too."""
    everywhere = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(everywhere)


def check_batch_size(batch_size: int) -> None:
    """Raises InputError unless all devices get equal shares of a batch."""
    if batch_size % devices():
        raise InputError(
            f"--batch_size={batch_size}: it is shared out to {devices()} devices; give a multiple"
        )


@contextlib.contextmanager
def first_process_first(step: str) -> Iterator[None]:
    """The first process runs the block alone, then the others do and find what it made."""
    if not is_first():
        wait_for_all(step)
    yield
    if is_first():
        wait_for_all(step)


def wait_for_all(step: str) -> None:
    """Returns when every process has come to the step of this name."""
    if count() > 1:
        multihost_utils.sync_global_devices(step)


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask together."""
    if count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def from_first(arrays: tuple) -> tuple:
    """Returns the first process's arrays in every process; all must ask together."""
    return multihost_utils.broadcast_one_to_all(arrays) if count() > 1 else arrays


def check_agreement(values: Sequence[int], what: str) -> None:
    """Raises InputError, in all processes, unless all have the same values."""
    everyones = multihost_utils.process_allgather(np.array(values, np.int32)).reshape(count(), -1)
    if np.any(everyones != everyones[0]):
        raise InputError(
            f"{what}: not the same for all processes ({everyones.tolist()}); give them the same"
            " flags, and folders that they share"
        )
