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

from keras_landmarks.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
_ITEMS_PER_PROCESS_AT_ONCE = 512


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int | None
) -> Iterator[Result]:
    """Yields function(item) for each item, in order, from `processes` workers (None: all cores).

    Items are taken as they are needed, so there may be endlessly many.

    Raises:
        InputError: a worker was killed, by want of memory most likely.
    """
    processes = processes or os.cpu_count() or 1
    if processes == 1:
        yield from map(function, items)
        return
    # Fresh processes: a copy of this one could hold a lock of JAX or TensorFlow for ever.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, spawn, initializer=_start_worker)
    items = iter(items)
    try:
        while piece := list(itertools.islice(items, processes * _ITEMS_PER_PROCESS_AT_ONCE)):
            yield from pool.map(function, piece, chunksize=16)
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
