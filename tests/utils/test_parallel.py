import itertools
import operator
import os
import signal
import subprocess
import sys

import pytest

from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.parallel import parallel_map


def one_over(number):
    return 1 / number


def number_of_process(_):
    return os.getpid()


def be_killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("processes", [1, 2])
def test_results_are_in_order(processes):
    results = parallel_map(operator.neg, range(2000), processes)
    assert list(results) == [-number for number in range(2000)]


@pytest.mark.parametrize("processes", [1, 2])
def test_items_may_be_endless(processes):
    results = parallel_map(operator.neg, itertools.count(), processes)
    assert list(itertools.islice(results, 20)) == [-number for number in range(20)]
    results.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_exceptions_are_passed_on(processes):
    with pytest.raises(ZeroDivisionError):
        list(parallel_map(one_over, [1, 0], processes))


@pytest.mark.parametrize(("count", "workers"), [(4, 1), (40, 3)])
def test_workers_are_no_more_than_tasks(count, workers):
    assert len(set(parallel_map(number_of_process, range(count), 32))) <= workers


def test_little_work_starts_no_worker(monkeypatch):
    monkeypatch.setattr(cores, "usable", lambda: 4)
    assert set(parallel_map(number_of_process, range(16), None)) == {os.getpid()}
    assert os.getpid() not in parallel_map(number_of_process, range(17), None)


def test_killed_worker_is_an_error():
    with pytest.raises(InputError, match="--processes"):
        list(parallel_map(be_killed, range(4), processes=2))


# Says when its workers have begun with tasks that take hours.
WORK = """
import time
from keras_landmarks.utils.parallel import parallel_map

if __name__ == "__main__":
    for _ in parallel_map(time.sleep, [0] * 16 + [3600] * 64, 2):
        print("ready", flush=True)
"""


def test_workers_end_with_a_killed_parent():
    """Workers hold the parent's output open: it ends when all of them have ended."""
    command = [sys.executable, "-c", WORK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.communicate()
