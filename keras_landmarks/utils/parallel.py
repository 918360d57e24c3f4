"""One function over many items in worker processes, with the results in order."""

import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
_ITEMS_PER_TASK = 16
_PENDING_ITEMS_PER_WORKER = 512


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int | None
) -> Iterator[Result]:
    """Yields function(item) for each item, in order, computed in worker processes.

    Args:
        function: pickled, and called in the workers.
        items: read only as far as they are needed, so they may be endless.
        processes: the largest number of workers; 1 works in this process. None for the number of
            usable cores, and for no worker at all if a single task of 16 items is all there is,
            which is done before a worker has started. There are no more workers than tasks.

    Raises:
        InputError: a worker was killed, most likely because memory ran out.
    """
    limit, items = processes or cores.usable(), iter(items)
    first = list(itertools.islice(items, limit * _ITEMS_PER_TASK))
    workers = max(1, min(limit, -(-len(first) // _ITEMS_PER_TASK)))
    items = itertools.chain(first, items)
    if limit == 1 or (workers == 1 and processes is None):
        yield from map(function, items)
        return
    # Spawned, not forked: a copy of this process could hold a lock of JAX or TensorFlow for ever.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_start_worker)
    try:
        while batch := list(itertools.islice(items, workers * _PENDING_ITEMS_PER_WORKER)):
            yield from pool.map(function, batch, chunksize=_ITEMS_PER_TASK)
    except BrokenProcessPool:
        raise InputError(
            "a worker process was killed; if memory ran out, ask for fewer with --processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # With more threads of OpenCV than one, the workers would compete for the cores.
    cv2.setNumThreads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    # A parent that is killed closes no queue, and its workers would wait for work for ever.
    multiprocessing.parent_process().join()
    os._exit(1)
