"""How long things take, and a process of one's own to find out in."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

_ROUNDS, _ROUND_S, _ROUND_STEPS = 3, 1.0, 5


def time_calls(function: Callable[[], Any], count: int) -> list[float]:
    """Returns the seconds that each of `count` calls takes."""
    moments = [time.perf_counter()]
    for _ in range(count):
        function()
        moments.append(time.perf_counter())
    return np.diff(moments).tolist()


def calls_per_second(function: Callable[[], Any], seconds: float) -> float:
    """Calls for at least so many seconds, once before that to warm up; returns the mean rate."""
    function()
    started, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() < started + seconds:
        function()
        calls += 1
    return calls / (time.perf_counter() - started)


def take_turns(runners: Sequence[Callable[[int], list[float]]], seconds: float) -> np.ndarray:
    """Lets runners run in turns, round by round, for at least so many seconds and three rounds.

    What disturbs a machine for a while disturbs all the runners alike. A turn has some steps, as
    the first after a pause is slow: memory has to come back from the system, data to the caches.

    Args:
        runners: from a number of steps to the seconds that each took, as `time_calls`.
        seconds: for all of them together, at the least, warming up aside.

    Returns:
        (rounds, runners): median seconds of a step.
    """
    for runner in runners:
        runner(1)
    steps = max(_ROUND_STEPS, round(_ROUND_S / max(*runners[0](2), 1e-6)))
    until, rounds = time.perf_counter() + seconds, []
    while len(rounds) < _ROUNDS or time.perf_counter() < until:
        rounds.append([np.median(runner(steps)) for runner in runners])
    return np.array(rounds)


def fresh_process(**arguments) -> ProcessPoolExecutor:
    """Returns an executor of one process that shares no library's threads or caches with this."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), **arguments)


def in_fresh_process(function: Callable, *arguments) -> Any:
    """Returns function(*arguments), called in a process started for it."""
    with fresh_process() as process:
        return process.submit(function, *arguments).result()
