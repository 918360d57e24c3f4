"""Measures how long functions take, if need be in a process started for it."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

_MIN_CALLS_FOR_MEDIAN = 15


def calls_per_second(function: Callable[[], Any], seconds: float) -> float:
    """Returns the mean rate of calls over at least `seconds`, after one call to warm up."""
    function()
    started, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() < started + seconds:
        function()
        calls += 1
    return calls / (time.perf_counter() - started)


def median_call_time(function: Callable[[], Any], seconds: float) -> float:
    """Returns the median duration of a call, in seconds.

    Unlike a mean, it does not count the moments in which the machine was busy with something else.

    Args:
        function: called once to warm up, then at least 15 times.
        seconds: how long to measure, at least.
    """
    function()
    durations, until = [], time.perf_counter() + seconds
    while len(durations) < _MIN_CALLS_FOR_MEDIAN or time.perf_counter() < until:
        durations += time_calls(function, 1)
    return float(np.median(durations))


def time_calls(function: Callable[[], Any], count: int) -> list[float]:
    """Returns the duration of each of `count` calls, in seconds."""
    moments = [time.perf_counter()]
    for _ in range(count):
        function()
        moments.append(time.perf_counter())
    return np.diff(moments).tolist()


def fresh_process(**arguments) -> ProcessPoolExecutor:
    """Returns an executor with one new process, which shares no threads or caches with this one.

    Args:
        **arguments: for `ProcessPoolExecutor`: an `initializer` and its `initargs`.
    """
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), **arguments)


def in_fresh_process(function: Callable, *arguments) -> Any:
    """Returns function(*arguments), called in a process started for it."""
    with fresh_process() as process:
        return process.submit(function, *arguments).result()
