import os
import sys
import time

import pytest

# Imported by a command at its start: after the checkpoint of a position it waits for the test.
WAIT = """
import time
from pathlib import Path

from keras_landmarks.training import callbacks
from keras_landmarks.training.checkpoint import Position

save_checkpoint, reached, go_on = callbacks.save_checkpoint, Path({reached!r}), Path({go_on!r})


def save_and_wait(path, model, position, *rest):
    save_checkpoint(path, model, position, *rest)
    if position == Position({epoch}, {step}) and not go_on.exists():
        reached.touch()
        while not go_on.exists():
            time.sleep(0.01)


callbacks.save_checkpoint = save_and_wait
"""


class Pause:
    """A moment in a training, in a process of its own, at which a test can do something to it."""

    def __init__(self, folder):
        self._reached, self._go_on = folder / "reached", folder / "go_on"

    def script(self, position):
        files = {"reached": str(self._reached), "go_on": str(self._go_on)}
        return WAIT.format(epoch=position.epoch, step=position.step, **files)

    def wait_for(self, *processes):
        """Waits until the processes are there."""
        while not self._reached.exists():
            ended = [process.communicate() for process in processes if process.poll() is not None]
            assert not ended
            time.sleep(0.01)

    def go_on(self):
        self._go_on.touch()


@pytest.fixture
def pause_at(tmp_path, monkeypatch):
    """Returns a function that has trainings which are started later pause at a position."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
    # Otherwise the command restarts itself first.
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")

    pause = Pause(folder)

    def pause_at(position):
        (folder / "sitecustomize.py").write_text(pause.script(position))
        return pause

    yield pause_at
    pause.go_on()  # so that no training waits for a test that has failed
