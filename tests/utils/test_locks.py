import errno
import fcntl
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keras_landmarks.utils.locks import exclusive_lock

USE = """
import sys
from pathlib import Path
from keras_landmarks.utils.locks import exclusive_lock

with exclusive_lock(Path(sys.argv[1])):
    print("in use", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def user(tmp_path):
    """A process that uses the folder `run`."""
    command = [sys.executable, "-c", USE, tmp_path / "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"in use\n"
        yield process
        process.kill()


@pytest.fixture
def no_locks(monkeypatch):
    """Has this process see a file system without locks."""

    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)


@pytest.fixture(params=["locks", "no_locks"])
def with_and_without_locks(request):
    if request.param == "no_locks":
        request.getfixturevalue("no_locks")


def use(folder):
    with exclusive_lock(folder):
        pass


@pytest.mark.usefixtures("with_and_without_locks")
def test_folder_in_use_is_refused(user, tmp_path):
    owner = f"/run: process {user.pid} on {socket.gethostname()}"
    with pytest.raises(BlockingIOError, match=re.escape(owner)) as refused:
        use(tmp_path / "run")
    assert "delete" not in str(refused.value)


@pytest.mark.usefixtures("with_and_without_locks")
def test_folder_of_a_killed_process_is_free(user, tmp_path):
    user.kill()
    user.wait()
    assert list((tmp_path / "run").iterdir())  # the file that names it
    use(tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_folder_of_an_ended_process_is_free(user, tmp_path):
    user.communicate(b"")
    assert user.returncode == 0
    use(tmp_path / "run")


@pytest.mark.usefixtures("no_locks")
def test_without_locks_another_host_counts_until_deleted(user, tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(BlockingIOError, match=r"delete \S+$") as refused:
        use(tmp_path / "run")
    Path(str(refused.value).rpartition("delete ")[2]).unlink()
    use(tmp_path / "run")


@pytest.mark.usefixtures("with_and_without_locks")
def test_reused_process_number_is_free(tmp_path):
    with exclusive_lock(tmp_path):
        (path,) = tmp_path.iterdir()
        content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"started": "long ago"}))
    use(tmp_path)


@pytest.mark.usefixtures("with_and_without_locks")
def test_broken_owner_file_is_ignored(tmp_path):
    with exclusive_lock(tmp_path):
        (path,) = tmp_path.iterdir()
    path.write_text("{")
    use(tmp_path)


def test_new_folder_is_removed_if_empty(tmp_path):
    use(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    use(tmp_path / "empty")
    with exclusive_lock(tmp_path / "full"):
        (tmp_path / "full" / "notes").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "full"}
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes"]
