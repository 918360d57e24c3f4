import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import contents

from keras_landmarks.synthesize import synthesize
from keras_landmarks.utils import files


def write_half(whole, name, error):
    with whole as partial:
        (partial / name).write_text("half")
        raise error


def test_a_file_appears_whole_in_a_folder_made_for_it(tmp_path):
    path = tmp_path / "new" / "notes.json"
    with files.atomic_write(path) as partial:
        partial.write_text("all")
        assert not path.exists()
        assert partial.suffix == ".json"
    assert contents(tmp_path) == {"new/notes.json": b"all"}


@pytest.mark.parametrize("earlier", [{}, {"notes.txt": b"earlier"}])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_file_leaves_what_was_there(tmp_path, earlier, error):
    for name, content in earlier.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error):
        write_half(files.atomic_write(tmp_path / "notes.txt"), "", error)
    assert contents(tmp_path) == earlier


@pytest.mark.parametrize("earlier", ["nothing", "empty", "full"])
def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path, earlier):
    path = tmp_path / "photos"
    if earlier != "nothing":
        path.mkdir()
    if earlier == "full":
        (path / "old.txt").write_text("earlier")
    with files.atomic_folder(path) as partial:
        (partial / "new.txt").write_text("all")
    assert contents(tmp_path) == {"photos/new.txt": b"all"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_its_place_when_the_disk_has_all_of_it(tmp_path, monkeypatch):
    """Or a power cut might leave files of it empty."""
    path, synced = tmp_path / "photos", set()
    fsync = os.fsync

    def note(descriptor):
        assert not path.exists()
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    with files.atomic_folder(path) as partial:
        (partial / "inner").mkdir()
        (partial / "a.txt").write_text("all")
        (partial / "inner" / "b.txt").write_text("all")
    assert synced == {item.stat().st_ino for item in [path, *path.rglob("*")]}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_folder_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "photos"
    files.write_atomically(path / "old.txt", "earlier")
    with pytest.raises(error):
        write_half(files.atomic_folder(path), "new.txt", error)
    assert contents(tmp_path) == {"photos/old.txt": b"earlier"}
    assert list(tmp_path.iterdir()) == [path]


# Begins what the arguments say, says that it is there, and waits for its end.
HOLD = """
import sys, time
from pathlib import Path
from keras_landmarks.utils import files

make, path, *key = sys.argv[1:]
with getattr(files, make)(Path(path), *key) as partial:
    (partial / "half" if partial.is_dir() else partial).write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def hold():
    """Starts a process that makes a file or folder for ever; it is killed when the test ends."""
    processes = []

    def start(*arguments):
        command = [sys.executable, "-c", HOLD, *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout.readline() == "ready\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def kill(process):
    process.kill()
    process.wait()


def test_what_a_killed_process_left_of_a_file_is_taken_over(tmp_path, hold):
    path = tmp_path / "notes.txt"
    kill(hold("atomic_write", path))
    assert len(contents(tmp_path)) == 1
    with files.atomic_write(path) as partial:
        assert partial.read_text() == ""
        partial.write_text("all")
    assert contents(tmp_path) == {"notes.txt": b"all"}


def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path, hold):
    path = tmp_path / "photos"
    kill(hold("atomic_folder", path))
    with files.atomic_folder(path) as partial:
        assert contents(partial) == {}
        (partial / "new.txt").write_text("all")
    assert contents(tmp_path) == {"photos/new.txt": b"all"}


def test_with_a_key_a_folder_is_gone_on_with(tmp_path, hold):
    path = tmp_path / "photos"
    kill(hold("atomic_folder", path, "ten photos"))
    with files.atomic_folder(path, "ten photos") as partial:
        (partial / "new.txt").write_text("all")
    assert contents(tmp_path) == {"photos/half": b"half", "photos/new.txt": b"all"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_another_key_is_removed_but_not_a_living_process_s(tmp_path, hold):
    path = tmp_path / "photos"
    living = hold("atomic_folder", path, "ten photos")
    kill(hold("atomic_folder", path, "nine photos"))
    with files.atomic_folder(path, "eight photos") as partial:
        (partial / "new.txt").write_text("all")
    assert sorted(contents(tmp_path).values()) == [b"all", b"half"]
    kill(living)
    with files.atomic_folder(path):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_whose_name_ends_alike_is_another_one(tmp_path, hold):
    kill(hold("atomic_folder", tmp_path / "0123456789abcdef-photos", "x"))
    with files.atomic_folder(tmp_path / "photos", "x"):
        pass
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("key", ["", "ten photos"])
def test_two_processes_do_not_make_the_same_folder(tmp_path, hold, key):
    path = tmp_path / "photos"
    process = hold("atomic_folder", path, key)
    with pytest.raises(OSError, match="photos: another process is making it; start again"):
        files.atomic_folder(path, key).__enter__()
    kill(process)
    with files.atomic_folder(path, key):
        pass
    assert list(tmp_path.iterdir()) == [path]


# Makes a folder in place of an earlier one, killed before its first change of the file system, then
# before its second, and so on. Says after each kill what is there once the next start has looked.
KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from keras_landmarks.utils import files

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
path, key = Path(sys.argv[1]) / "photos", sys.argv[2]

def make(content):
    with files.atomic_folder(path, key) as partial:
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
    files.finish_replacing(path)
    print(read())
    make("newest")
    assert read() == "newest"
    assert list(path.parent.iterdir()) == [path], list(path.parent.iterdir())
    if not killed:
        break
"""


@pytest.mark.parametrize("key", ["", "ten photos"])
def test_killed_at_any_moment_an_earlier_or_the_new_folder_is_found_again(tmp_path, key):
    command = [sys.executable, "-c", KILLED, tmp_path, key]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = done.stdout.split()
    assert len(states) >= 5
    assert states == sorted(states, key=["old", "new"].index)
    assert states.count("new") >= 4  # once it is complete it is never lost


def test_a_folder_that_another_process_puts_in_place_meanwhile_is_replaced(tmp_path):
    path = tmp_path / "photos"
    files.write_atomically(path / "old.txt", "earlier")
    with files.atomic_folder(path, "ten photos") as outer:
        with files.atomic_folder(path, "nine photos") as inner:
            (inner / "nine.txt").write_text("all")
        (outer / "ten.txt").write_text("all")
    assert contents(tmp_path) == {"photos/ten.txt": b"all"}


def test_temporary_names_are_short_however_long_the_name_is(tmp_path):
    name = "ü" * 120 + "12345" + ".weights.h5"  # 256 bytes would be one too many
    assert len(name.encode()) == 256
    with pytest.raises(files.NameTooLongError, match="h5: the name is too long for a file"):
        files.write_atomically(tmp_path / name, "all")
    with files.atomic_write(tmp_path / name[1:]) as partial:
        assert partial.name.endswith(".weights.h5")
        assert len(partial.name) < 40
        partial.write_text("all")
    with files.atomic_folder(tmp_path / name[2:], "ten photos") as partial:
        assert len(partial.name) < 50
    assert {path.name for path in tmp_path.iterdir()} == {name[1:], name[2:]}


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "EBADF"])
def test_what_a_file_system_cannot_flush_is_written_all_the_same(tmp_path, monkeypatch, code):
    def refuse(_):
        raise OSError(getattr(errno, code), "no")

    monkeypatch.setattr(os, "fsync", refuse)
    files.write_atomically(tmp_path / "notes.txt", "all")
    with files.atomic_folder(tmp_path / "photos") as partial:
        (partial / "a.txt").write_text("all")
    assert contents(tmp_path) == {"notes.txt": b"all", "photos/a.txt": b"all"}


def test_a_disk_that_fails_to_flush_is_an_error(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        files.write_atomically(tmp_path / "notes.txt", "all")
    assert contents(tmp_path) == {}


def test_a_file_where_a_folder_is_to_be_is_refused_before_the_work(tmp_path):
    files.write_atomically(tmp_path / "photos", "x")
    with pytest.raises(NotADirectoryError, match="photos: it is a file; give a folder"):
        files.atomic_folder(tmp_path / "photos").__enter__()
    with pytest.raises(IsADirectoryError, match="it is a folder; give a file"):
        files.atomic_write(tmp_path).__enter__()


def test_processes_that_write_the_same_file_take_turns(tmp_path):
    """Four at once: the file is always one of theirs, whole, and nothing is left beside it."""
    path = tmp_path / "notes.txt"
    script = f"""
from pathlib import Path
from keras_landmarks.utils import files
import os
for _ in range(50):
    files.write_atomically(Path({str(path)!r}), str(os.getpid()) * 10_000)
"""
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    assert seen
    assert seen <= {str(writer.pid) * 10_000 for writer in writers}
    assert all(writer.returncode == 0 for writer in writers)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_folder_with_a_key_keeps_what_is_in_it_for_the_next_start(tmp_path):
    path = tmp_path / "photos"
    with pytest.raises(KeyboardInterrupt):
        write_half(files.atomic_folder(path, "ten photos"), "new.txt", KeyboardInterrupt)
    assert not path.exists()
    with files.atomic_folder(path, "ten photos"):
        pass
    assert contents(tmp_path) == {"photos/new.txt": b"half"}


def test_a_journal_loses_no_record_but_a_torn_one(tmp_path):
    path, record = tmp_path / "journal", np.dtype([("kept", bool), ("points", np.int16, (3, 2))])
    rows = np.zeros(3, record)
    rows["points"] = np.arange(18).reshape(3, 3, 2)
    with files.Journal(path, record) as journal:
        assert len(journal) == len(journal.read()) == 0
        for row in rows[:2]:
            journal.append(row)
    with path.open("ab") as file:
        file.write(rows[2].tobytes()[:-1])
    with files.Journal(path, record) as journal:
        assert len(journal) == 2
        journal.append(rows[2])
        np.testing.assert_array_equal(journal.read(), rows)


def test_a_journal_forgets_all_but_the_first_records(tmp_path):
    record = np.dtype((np.int16, (3,)))
    with files.Journal(tmp_path / "journal", record) as journal:
        for number in range(4):
            journal.append(np.full(3, number, np.int16))
        journal.keep(2)
        assert len(journal) == 2
        journal.append(np.full(3, 9, np.int16))
        assert journal.read()[:, 0].tolist() == [0, 1, 9]


def write_much(folder):
    with files.atomic_write(folder / "notes.txt") as partial:
        partial.write_bytes(bytes(500_000))


def fill_folder(folder):
    with files.atomic_folder(folder / "photos") as partial:
        for number in range(50):
            (partial / str(number)).write_bytes(bytes(10_000))


def fill_journal(folder):
    with (
        files.resumable_folder(folder / "points.npz", "key") as scratch,
        files.Journal(scratch / "journal", np.dtype((np.uint8, (9_999,)))) as journal,
    ):
        for _ in range(50):
            journal.append(np.zeros(9_999, np.uint8))


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


@pytest.mark.parametrize(
    ("write", "name"),
    [(write_much, "notes.txt"), (fill_folder, "photos"), (fill_journal, "points.npz")],
)
def test_a_full_disk_is_told_by_name_and_what_was_there_is_left(small_disk, write, name):
    files.write_atomically(
        small_disk / name / "earlier" if name == "photos" else small_disk / name, "x"
    )
    before = contents(small_disk)
    says = f"/{name}: No space left on device; make room and start again"
    with pytest.raises(OSError, match=says):
        write(small_disk)
    left = {path: content for path, content in contents(small_disk).items() if path[0] != "."}
    assert left == before


def test_the_words_of_hdf5_are_left_out(tmp_path):
    words = "Can't synchronously write data (file write failed: filename = 'x', errno = 28, error"
    with (
        pytest.raises(OSError, match=r"/notes: No space left on device; make room and start again"),
        files.explained(tmp_path / "notes"),
    ):
        raise OSError(errno.ENOSPC, words)


def test_room_is_asked_for_before_it_is_taken(small_disk):
    files.require_room(small_disk / "notes.txt", 100_000)
    says = "notes.txt: No space left on device; make room"
    with (
        pytest.raises(OSError, match=says),
        files.explained(small_disk / "notes.txt"),
    ):
        files.require_room(small_disk / "notes.txt", 300_000)


def test_a_mounted_disk_is_not_replaced(small_disk):
    with pytest.raises(OSError, match="disk: a mounted disk cannot be replaced; give a folder on"):
        files.atomic_folder(small_disk).__enter__()
    assert list(small_disk.parent.iterdir()) == [small_disk]


def test_synthesize_tells_of_a_full_disk_and_leaves_nothing(small_disk):
    with pytest.raises(OSError, match="/faces: No space left on device; make room"):
        synthesize(small_disk / "faces", train_images=24, test_images=8, processes=1)
    assert contents(small_disk) == {}


def test_a_fingerprint_changes_with_facts_and_files(tmp_path):
    path = tmp_path / "photo.jpg"
    seen = {files.fingerprint([path], 1), files.fingerprint([path], 2)}
    path.write_text("one")
    seen.add(files.fingerprint([path], 1))
    assert files.fingerprint([path], 1) in seen
    os.utime(path, ns=(0, 0))
    seen.add(files.fingerprint([path], 1))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("content", "written"), [("größer\n", "größer\n".encode()), (b"\x00\xff", b"\x00\xff")]
)
def test_text_and_bytes_are_written_whole(tmp_path, content, written):
    files.write_atomically(tmp_path / "notes", content)
    assert contents(tmp_path) == {"notes": written}


# ── a folder with one user ──

USE = """
import sys
from pathlib import Path
from keras_landmarks.utils import files

with files.exclusive_lock(Path(sys.argv[1])):
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


@pytest.fixture(params=[True, False], ids=["locks", "no_locks"])
def has_locks(request, monkeypatch):
    """Whether the file system that this process sees has locks."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if not request.param:
        monkeypatch.setattr(files.fcntl, "flock", refuse)
    return request.param


def use(folder):
    with files.exclusive_lock(folder):
        pass


def test_folder_in_use_is_refused_by_process_and_host(user, has_locks, tmp_path):
    says = f"run: process {user.pid} on {socket.gethostname()} is using it; wait until"
    with pytest.raises(BlockingIOError, match=re.escape(says)) as refused:
        use(tmp_path / "run")
    assert "delete" not in str(refused.value)


def test_killed_process_leaves_its_folder_to_the_next(user, has_locks, tmp_path):
    user.kill()
    user.wait()
    assert list((tmp_path / "run").iterdir())  # the file that names it
    use(tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_ended_process_leaves_its_folder_to_the_next(user, tmp_path):
    user.communicate(b"")
    assert user.returncode == 0
    use(tmp_path / "run")


def test_without_locks_a_process_elsewhere_counts_until_its_file_is_deleted(
    user, tmp_path, monkeypatch
):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(BlockingIOError, match="if that process no longer runs, delete ") as refused:
        use(tmp_path / "run")
    Path(str(refused.value).rpartition("delete ")[2]).unlink()
    use(tmp_path / "run")


def test_without_locks_another_process_of_the_same_number_is_not_in_the_way(tmp_path, has_locks):
    with files.exclusive_lock(tmp_path):
        (path,) = tmp_path.iterdir()
        content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"started": "long ago"}))
    use(tmp_path)


def test_broken_note_of_the_user_is_not_in_the_way(tmp_path, has_locks):
    with files.exclusive_lock(tmp_path):
        (path,) = tmp_path.iterdir()
    path.write_text("{")
    use(tmp_path)


def test_folder_made_for_its_user_goes_if_nothing_was_written(tmp_path):
    use(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    use(tmp_path / "empty")
    with files.exclusive_lock(tmp_path / "full"):
        (tmp_path / "full" / "notes").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "full"}
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes"]
