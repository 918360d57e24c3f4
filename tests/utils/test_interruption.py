"""Signals sent to a process of their own, as a command receives them."""

import signal
import subprocess
import sys

import pytest

# Says when it is ready for a signal: in a destructor, which swallows exceptions, or outside of one.
SCRIPT = """
import sys, time
from keras_landmarks.utils import interruption

interruption.install_handlers()

class Swallows:
    def __del__(self):
        print("ready", flush=True)
        while not interruption.is_requested():
            time.sleep(0.01)

def work():
    Swallows()
    interruption.raise_if_requested()
    print("not raised", flush=True)

try:
    if sys.argv[1] == "deferred":
        with interruption.deferred():
            work()
    else:
        print("ready", flush=True)
        time.sleep(3600)
except KeyboardInterrupt:
    print("stopped in good order", flush=True)
    time.sleep(3600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["deferred", "at once"])
def test_second_signal_exits_at_once(mode, number):
    command = [sys.executable, "-c", SCRIPT, mode]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stopped in good order\n"
        process.send_signal(number)
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (130, "", "")


EARLY = """
import time
from keras_landmarks.utils import interruption

interruption.exit_on_signal()
print("ready", flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_exits_while_importing(number):
    command = [sys.executable, "-c", EARLY]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (130, "", "stopped\n")
