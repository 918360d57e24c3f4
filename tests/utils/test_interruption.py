"""Signals in a process of their own, as they come to a command."""

import signal
import subprocess
import sys

import pytest

# Swallows exceptions as a destructor does, says when it is ready, then waits for its signals.
SCRIPT = """
import sys, time
from keras_landmarks.utils import interruption

interruption.listen()

class Swallows:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(0.5)

def work():
    Swallows()
    for _ in range(100):
        time.sleep(0.1)
        interruption.check()

try:
    if sys.argv[1] == "deferred":
        with interruption.deferred():
            work()
    else:
        print("ready", flush=True)
        time.sleep(10)
except KeyboardInterrupt:
    print("left in order", flush=True)
    print("ready", flush=True)
    time.sleep(10)
"""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    return request.param


def start(mode):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("mode", ["deferred", "at once"])
def test_the_first_signal_leaves_in_order_and_the_second_at_once(mode, number):
    process = start(mode)
    process.send_signal(number)
    assert process.stdout.readline() == "left in order\n"
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=9)
    assert (process.returncode, output, errors) == (130, "", "")
