import shutil
import subprocess
import sys

import pytest

# Begins to write what the arguments name, says so, and waits to be killed.
HOLD = """
import sys, time
from pathlib import Path
from keras_landmarks.utils.files import atomic_write
from keras_landmarks.utils.folders import atomic_folder

kind, path, *key = sys.argv[1:]
with globals()[kind](Path(path), *key) as partial:
    (partial / "half" if partial.is_dir() else partial).write_text("half")
    print("ready", flush=True)
    time.sleep(3600)
"""


class Holder:
    """A process that has begun to write a file or folder."""

    def __init__(self, *arguments):
        command = [sys.executable, "-c", HOLD, *map(str, arguments)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def hold():
    """Starts a process that is amid `atomic_write(path)` or `atomic_folder(path, key)`."""
    holders = []

    def start(*arguments):
        holders.append(Holder(*arguments))
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with room for 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=200k", "none", folder]
    mount = shutil.which("mount")
    if not mount or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)
