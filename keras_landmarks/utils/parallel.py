"""One function over many items in worker processes, results in order."""

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
_ITEMS_PER_PROCESS_AT_ONCE = 512


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int | None
) -> Iterator[Result]:
    """Yields function(item) for each item, in order, computed in worker processes.

    Args:
        function: pickled, and called in the workers.
        items: taken as they are needed, so there may be endlessly many.
        processes: workers, at most; None for as many as there are cores to use, and none for work
            that is done before a worker has started. There are no more workers than tasks.

    Raises:
        InputError: a worker was killed, by want of memory most likely.
    """
    most, items = processes or cores.usable(), iter(items)
    first = list(itertools.islice(items, most * _ITEMS_PER_TASK))
    workers = max(1, min(most, -(-len(first) // _ITEMS_PER_TASK)))
    items = itertools.chain(first, items)
    if most == 1 or (workers == 1 and processes is None):
        yield from map(function, items)
        return
    # Fresh processes: a copy of this one could hold a lock of JAX or TensorFlow for ever.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_start_worker)
    try:
        while piece := list(itertools.islice(items, workers * _ITEMS_PER_PROCESS_AT_ONCE)):
            yield from pool.map(function, piece, chunksize=_ITEMS_PER_TASK)
    except BrokenProcessPool:
        raise InputError(
            "a worker process was killed; if memory ran out, ask for fewer with --processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # One OpenCV thread each, or the workers' threads fight for the cores.
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that was killed closes no queue: its workers would wait for work for ever.
    multiprocessing.parent_process().join()
    os._exit(1)
