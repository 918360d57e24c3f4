import errno
import os
import subprocess
import sys

import pytest
from folders import contents

from keras_landmarks.utils.files import write_atomically
from keras_landmarks.utils.folders import atomic_folder


def fail_halfway(path, error, key=""):
    with atomic_folder(path, key) as partial:
        (partial / "new.txt").write_text("half")
        raise error


@pytest.mark.parametrize("earlier", ["nothing", "empty", "full"])
def test_folder_replaces_an_earlier_one(tmp_path, earlier):
    path = tmp_path / "photos"
    if earlier != "nothing":
        path.mkdir()
    if earlier == "full":
        (path / "old.txt").write_text("earlier")
    with atomic_folder(path) as partial:
        (partial / "new.txt").write_text("all")
    assert contents(tmp_path) == {"photos/new.txt": b"all"}
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_flushed_before_it_appears(tmp_path, monkeypatch):
    """Otherwise a power cut might leave files of it empty."""
    path, synced = tmp_path / "photos", set()
    fsync = os.fsync

    def note(descriptor):
        assert not path.exists()
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    with atomic_folder(path) as partial:
        (partial / "inner").mkdir()
        (partial / "a.txt").write_text("all")
        (partial / "inner" / "b.txt").write_text("all")
    assert synced == {item.stat().st_ino for item in [path, *path.rglob("*")]}


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "EBADF"])
def test_file_system_without_flush_may_hold_folders(tmp_path, monkeypatch, code):
    def fail(_):
        raise OSError(getattr(errno, code), "no")

    monkeypatch.setattr(os, "fsync", fail)
    with atomic_folder(tmp_path / "photos") as partial:
        (partial / "a.txt").write_text("all")
    assert contents(tmp_path) == {"photos/a.txt": b"all"}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_failed_folder_changes_nothing(tmp_path, error):
    path = tmp_path / "photos"
    write_atomically(path / "old.txt", "earlier")
    with pytest.raises(error):
        fail_halfway(path, error)
    assert contents(tmp_path) == {"photos/old.txt": b"earlier"}
    assert list(tmp_path.iterdir()) == [path]


def test_failed_folder_with_a_key_is_continued(tmp_path):
    path = tmp_path / "photos"
    with pytest.raises(KeyboardInterrupt):
        fail_halfway(path, KeyboardInterrupt, "ten photos")
    assert not path.exists()
    with atomic_folder(path, "ten photos"):
        pass
    assert contents(tmp_path) == {"photos/new.txt": b"half"}


def test_folder_of_a_killed_process_is_removed(tmp_path, hold):
    path = tmp_path / "photos"
    hold("atomic_folder", path).kill()
    with atomic_folder(path) as partial:
        assert contents(partial) == {}
        (partial / "new.txt").write_text("all")
    assert contents(tmp_path) == {"photos/new.txt": b"all"}


def test_killed_folder_with_a_key_is_continued(tmp_path, hold):
    path = tmp_path / "photos"
    hold("atomic_folder", path, "ten photos").kill()
    with atomic_folder(path, "ten photos") as partial:
        (partial / "new.txt").write_text("all")
    assert contents(tmp_path) == {"photos/half": b"half", "photos/new.txt": b"all"}
    assert list(tmp_path.iterdir()) == [path]


def test_other_keys_are_removed_unless_in_use(tmp_path, hold):
    path = tmp_path / "photos"
    running = hold("atomic_folder", path, "ten photos")
    hold("atomic_folder", path, "nine photos").kill()
    with atomic_folder(path, "eight photos") as partial:
        (partial / "new.txt").write_text("all")
    assert sorted(contents(tmp_path).values()) == [b"all", b"half"]
    running.kill()
    with atomic_folder(path):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_folder_whose_name_ends_alike_is_spared(tmp_path, hold):
    hold("atomic_folder", tmp_path / "0123456789abcdef-photos", "x").kill()
    with atomic_folder(tmp_path / "photos", "x"):
        pass
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("key", ["", "ten photos"])
def test_second_process_is_refused(tmp_path, hold, key):
    path = tmp_path / "photos"
    running = hold("atomic_folder", path, key)
    with pytest.raises(OSError, match="/photos: another process"):
        atomic_folder(path, key).__enter__()
    running.kill()
    with atomic_folder(path, key):
        pass
    assert list(tmp_path.iterdir()) == [path]


# Makes a folder in place of an earlier one, killed before its first change of the file system, then
# before its second, and so on. Prints after each kill what `finish_replacing` brings back.
KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from keras_landmarks.utils import folders

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
path, key = Path(sys.argv[1]) / "photos", sys.argv[2]

def make(content):
    with folders.atomic_folder(path, key) as partial:
        (partial / "a.txt").write_text(content)
        (partial / "b.txt").write_text(content)

def read():
    (content,) = {(path / name).read_text() for name in ("a.txt", "b.txt")}
    return content

def is_killed_before(number):
    process = os.fork()
    if not process:
        calls = itertools.count(1)
        def kill(event, _):
            if event in CHANGES and next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(kill)
        make("new")
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL

for number in itertools.count(1):
    make("old")
    killed = is_killed_before(number)
    folders.finish_replacing(path)
    print(read())
    make("newest")
    assert read() == "newest"
    assert list(path.parent.iterdir()) == [path], list(path.parent.iterdir())
    if not killed:
        break
"""


@pytest.mark.parametrize("key", ["", "ten photos"])
def test_kill_at_any_moment_loses_no_folder(tmp_path, key):
    command = [sys.executable, "-c", KILLED, tmp_path, key]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = done.stdout.split()
    assert len(states) >= 5
    assert states == sorted(states, key=["old", "new"].index)
    assert states.count("new") >= 4  # once it is complete it is never lost


def test_folder_put_in_place_meanwhile_is_replaced(tmp_path):
    path = tmp_path / "photos"
    write_atomically(path / "old.txt", "earlier")
    with atomic_folder(path, "ten photos") as outer:
        with atomic_folder(path, "nine photos") as inner:
            (inner / "nine.txt").write_text("all")
        (outer / "ten.txt").write_text("all")
    assert contents(tmp_path) == {"photos/ten.txt": b"all"}


def test_temporary_folder_name_is_short(tmp_path):
    name = "ü" * 127
    with atomic_folder(tmp_path / name, "ten photos") as partial:
        assert len(partial.name) < 50
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_file_in_place_of_a_folder_is_an_error(tmp_path):
    write_atomically(tmp_path / "photos", "x")
    with pytest.raises(NotADirectoryError, match="/photos"):
        atomic_folder(tmp_path / "photos").__enter__()


def test_mounted_disk_is_not_replaced(small_disk):
    with pytest.raises(OSError, match="/disk: a mounted disk"):
        atomic_folder(small_disk).__enter__()
    assert list(small_disk.parent.iterdir()) == [small_disk]
