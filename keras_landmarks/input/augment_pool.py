"""Online augmentation in worker processes.

Because of Python's global lock a process augments in one thread at a time, so several cores need
several processes. Images and landmarks are in shared memory; pipes carry only the numbers of the
images to augment and their seeds.

`utils.parallel` would pickle images and results, and yield them in order, which suits files. Here
each worker has a pipe, and processes share no lock: a killed worker is noticed by the end of its
pipe, and workers notice a killed parent in the same way.
"""

import contextlib
import multiprocessing
import queue
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError

BATCHES_AT_ONCE = 3  # one is copied in, one augmented, one copied out
_TASKS_PER_WORKER = 4  # per batch: fewer have less overhead, more keep all workers busy
_LEAST_IMAGES_PER_TASK = 8

# From image, landmarks and seed to augmented image and landmarks: an Augmenter.
Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]

# Not fork, because a lock of JAX or TensorFlow could stay locked forever in the copied process.
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class _Memory:
    """An array in anonymous shared memory, freed when the last process that holds it ends.

    It can only be passed to a process when that is started.
    """

    shape: tuple[int, ...]
    type_code: str
    raw: Any  # a ctypes array

    @classmethod
    def allocate(cls, type_code: str, *shape: int) -> "_Memory":
        return cls(shape, type_code, _SPAWN.RawArray(type_code, int(np.prod(shape))))

    def array(self) -> np.ndarray:
        return np.frombuffer(self.raw, self.type_code).reshape(self.shape)


class AugmentPool:
    """Augments batches in worker processes; the result does not depend on their number.

    Threads may call it concurrently: up to BATCHES_AT_ONCE batches are processed, further calls
    wait. The workers end with `close`, or when this process ends for any reason.
    """

    def __init__(
        self,
        make_augmenter: Callable[[], Augment],
        crop_spec: CropSpec,
        num_landmarks: int,
        batch_size: int,
        processes: int | None = None,
    ):
        """Starts the workers.

        Args:
            make_augmenter: called once in each worker; it is pickled.
            crop_spec: gives the shape of the images.
            num_landmarks: the number of landmarks of a face.
            batch_size: the maximum number of images in a call.
            processes: the maximum number of workers; None for one per usable core. There are never
                more than there are simultaneous tasks.
        """
        most_tasks = BATCHES_AT_ONCE * -(-batch_size // _LEAST_IMAGES_PER_TASK)
        processes = min(processes or cores.usable(), most_tasks)
        images = _Memory.allocate("B", BATCHES_AT_ONCE, batch_size, *crop_spec.shape)
        landmarks = _Memory.allocate("f", BATCHES_AT_ONCE, batch_size, num_landmarks, 2)
        self._images, self._landmarks_px = images.array(), landmarks.array()
        self._slots = _queue_of(range(BATCHES_AT_ONCE))
        started = [_start_worker(make_augmenter, images, landmarks) for _ in range(processes)]
        self._workers = [worker for worker, _ in started]
        self._idle = _queue_of(connection for _, connection in started)
        self._threads = ThreadPoolExecutor(processes)  # each waits for a worker
        share = batch_size // (processes * _TASKS_PER_WORKER)
        self._images_per_task = max(_LEAST_IMAGES_PER_TASK, share)

    def __enter__(self) -> "AugmentPool":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; calls in progress fail."""
        for worker in self._workers:
            worker.terminate()
            worker.join()
        self._threads.shutdown()

    def __call__(
        self, images: np.ndarray, landmarks_px: np.ndarray, seeds: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns augmented images (n, height, width, 3) uint8 and landmarks (n, k, 2) float32.

        Image i becomes what `make_augmenter()(images[i], landmarks_px[i], seeds[i])` gives.

        Raises:
            InputError: a worker was killed, most likely because memory ran out.
            RuntimeError: the augmenter failed; the message holds the worker's traceback.
        """
        count = len(images)
        slot = self._slots.get()
        try:
            self._images[slot, :count] = images
            self._landmarks_px[slot, :count] = landmarks_px
            starts = range(0, count, self._images_per_task)
            tasks = [(slot, i, seeds[i : i + self._images_per_task]) for i in starts]
            # Raised only when all tasks are done, so that no worker still writes to the slot.
            for error in list(self._threads.map(self._do, tasks)):
                if error:
                    raise error
            return self._images[slot, :count].copy(), self._landmarks_px[slot, :count].copy()
        finally:
            self._slots.put(slot)

    def _do(self, task: tuple) -> Exception | None:
        """Lets a worker do a task; returns the error, if there is one."""
        connection = self._idle.get()
        try:
            connection.send(task)
            return connection.recv()
        except (EOFError, OSError):
            return InputError(
                "an augmentation worker was killed; if memory ran out, lower --processes"
            )
        finally:
            self._idle.put(connection)


def _start_worker(
    make_augmenter: Callable[[], Augment], images: _Memory, landmarks: _Memory
) -> tuple[multiprocessing.Process, Connection]:
    ours, theirs = _SPAWN.Pipe()
    arguments = (theirs, make_augmenter, images, landmarks)
    worker = _SPAWN.Process(target=_work, args=arguments, daemon=True)
    with _ctrl_c_blocked():
        worker.start()
    theirs.close()  # then the pipe breaks when the worker ends
    return worker, ours


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Processes started within ignore Ctrl-C: this process decides what it means."""
    resource_tracker.ensure_running()  # otherwise the first process starts it, and unblocks
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _queue_of(items: Iterable) -> queue.SimpleQueue:
    items_queue = queue.SimpleQueue()
    for item in items:
        items_queue.put(item)
    return items_queue


# ── in a worker ──


def _work(
    connection: Connection,
    make_augmenter: Callable[[], Augment],
    images: _Memory,
    landmarks: _Memory,
) -> None:
    """Does tasks until the other end of the connection closes."""
    cv2.setNumThreads(1)  # the workers share the cores
    augmenter = make_augmenter()
    images, landmarks_px = images.array(), landmarks.array()
    with contextlib.suppress(EOFError, OSError):
        while True:
            slot, start, seeds = connection.recv()
            batch = images[slot, start:], landmarks_px[slot, start:]
            connection.send(_augment(augmenter, *batch, seeds))


def _augment(
    augmenter: Augment, images: np.ndarray, landmarks_px: np.ndarray, seeds: Sequence[int]
) -> Exception | None:
    """Augments the first images in place, one for each seed; returns the error, if any."""
    try:
        for image, landmarks, seed in zip(images, landmarks_px, seeds, strict=False):
            image[:], landmarks[:] = augmenter(image, landmarks, int(seed))
    except Exception:
        return RuntimeError(f"in an augmentation worker: {traceback.format_exc()}")
