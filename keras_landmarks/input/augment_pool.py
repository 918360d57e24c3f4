"""Online augmentation in worker processes.

A process augments in one thread at a time, for Python's lock, so several cores need several
processes. Images and points lie in memory that all of them share; the pipes carry short notes only:
which images, with which seeds.
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

BATCHES_AT_ONCE = 3  # one is filled in, one augmented, one taken out
_TASKS_PER_WORKER = 4  # of a batch: few cost least, more keep workers even at the batch's end
_LEAST_IMAGES_PER_TASK = 8

# Image, points and seed to varied image and points: what an Augmenter does.
Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]

# Not plain fork: a copy of this process could hold a lock of JAX or TensorFlow for ever.
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class _Memory:
    """Arrays in shared memory, which has no name and so ends with the last process that holds it.

    It can be handed to a process that is being started, and to no other.
    """

    shape: tuple[int, ...]
    type_code: str
    raw: Any  # of ctypes

    @classmethod
    def allocate(cls, type_code: str, *shape: int) -> "_Memory":
        return cls(shape, type_code, _SPAWN.RawArray(type_code, int(np.prod(shape))))

    def array(self) -> np.ndarray:
        return np.frombuffer(self.raw, self.type_code).reshape(self.shape)


class AugmentPool:
    """Augments batches in worker processes; the result does not depend on how many there are.

    Threads may call it side by side: up to BATCHES_AT_ONCE batches are worked on, further calls
    wait. The workers end with `close`, or when this process ends, in whatever way.
    """

    def __init__(
        self,
        make_augmenter: Callable[[], Augment],
        frame: CropSpec,
        points: int,
        batch_size: int,
        processes: int | None = None,
    ):
        """Starts the workers.

        Args:
            make_augmenter: called in each worker; it is pickled.
            frame: of the images.
            points: landmarks on a face.
            batch_size: most images in a call.
            processes: workers, at most; None for one on each core. There are no more than the
                batches at once have tasks for.
        """
        most_tasks = BATCHES_AT_ONCE * -(-batch_size // _LEAST_IMAGES_PER_TASK)
        processes = min(processes or cores.usable(), most_tasks)
        images = _Memory.allocate("B", BATCHES_AT_ONCE, batch_size, *frame.shape)
        landmarks = _Memory.allocate("f", BATCHES_AT_ONCE, batch_size, points, 2)
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
        """Ends the workers; calls that still go on fail."""
        for worker in self._workers:
            worker.terminate()
            worker.join()
        self._threads.shutdown()

    def __call__(
        self, images: np.ndarray, landmarks_px: np.ndarray, seeds: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the varied images (n, height, width, 3) uint8 and their points (n, k, 2) float32.

        Image i becomes what `make_augmenter()(images[i], landmarks_px[i], seeds[i])` gives.

        Raises:
            InputError: a worker was killed, by want of memory most likely.
            RuntimeError: the augmenter failed; the message holds the worker's traceback.
        """
        count = len(images)
        slot = self._slots.get()
        try:
            self._images[slot, :count] = images
            self._landmarks_px[slot, :count] = landmarks_px
            starts = range(0, count, self._images_per_task)
            tasks = [(slot, i, seeds[i : i + self._images_per_task]) for i in starts]
            # Errors are looked at when all tasks are done: then nobody writes to the slot.
            for error in list(self._threads.map(self._do, tasks)):
                if error:
                    raise error
            return self._images[slot, :count].copy(), self._landmarks_px[slot, :count].copy()
        finally:
            self._slots.put(slot)

    def _do(self, task: tuple) -> Exception | None:
        """Has a worker do a task. Returns what went wrong."""
        connection = self._idle.get()
        try:
            connection.send(task)
            return connection.recv()
        except (EOFError, OSError):
            return InputError(
                "a worker process was killed; if memory ran out, ask for fewer with --processes"
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
    theirs.close()  # so that the worker's is the only one, and its end shows
    return worker, ours


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Processes started within never see Ctrl-C: what it means is this process's to decide."""
    resource_tracker.ensure_running()  # or it starts with the first process, and unblocks
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
    """Does tasks for as long as the other end of the connection is open."""
    cv2.setNumThreads(1)  # or the workers' threads fight for the cores
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
    """Augments the first images in place, one for each seed. Returns what went wrong."""
    try:
        for image, points, seed in zip(images, landmarks_px, seeds, strict=False):
            image[:], points[:] = augmenter(image, points, int(seed))
    except Exception:
        return RuntimeError(f"in an augmentation worker: {traceback.format_exc()}")
