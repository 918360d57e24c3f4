import errno
import os
import subprocess
import sys

import pytest
from folders import contents

from keras_landmarks.utils import files


def fail_halfway(path, error):
    with files.atomic_write(path) as partial:
        partial.write_text("half")
        raise error


def test_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "notes.json"
    with files.atomic_write(path) as partial:
        partial.write_text("all")
        assert not path.exists()
        assert partial.suffix == ".json"
    assert contents(tmp_path) == {"new/notes.json": b"all"}


@pytest.mark.parametrize("earlier", [{}, {"notes.txt": b"earlier"}])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_failed_write_changes_nothing(tmp_path, earlier, error):
    for name, content in earlier.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error):
        fail_halfway(tmp_path / "notes.txt", error)
    assert contents(tmp_path) == earlier


def test_file_of_a_killed_process_is_overwritten(tmp_path, hold):
    path = tmp_path / "notes.txt"
    hold("atomic_write", path).kill()
    assert len(contents(tmp_path)) == 1
    with files.atomic_write(path) as partial:
        assert partial.read_text() == ""
        partial.write_text("all")
    assert contents(tmp_path) == {"notes.txt": b"all"}


def test_writers_of_one_file_take_turns(tmp_path):
    """Four at once: the file is always one of theirs, complete, and nothing is left beside it."""
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


def test_temporary_name_is_short(tmp_path):
    name = "ü" * 120 + "2345" + ".weights.h5"  # 255 bytes, as many as a name may have
    assert len(name.encode()) == 255
    with files.atomic_write(tmp_path / name) as partial:
        assert partial.name.endswith(".weights.h5")
        assert len(partial.name) < 40
        partial.write_text("all")
    assert contents(tmp_path) == {name: b"all"}


def test_too_long_name_is_an_error(tmp_path):
    name = "ü" * 120 + "12345" + ".weights.h5"
    with pytest.raises(files.NameTooLongError, match=r"12345\.weights\.h5"):
        files.write_atomically(tmp_path / name, "all")
    assert contents(tmp_path) == {}


def test_folder_in_place_of_a_file_is_an_error(tmp_path):
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        files.atomic_write(tmp_path).__enter__()


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "EBADF"])
def test_file_system_without_flush_is_accepted(tmp_path, monkeypatch, code):
    def fail(_):
        raise OSError(getattr(errno, code), "no")

    monkeypatch.setattr(os, "fsync", fail)
    files.write_atomically(tmp_path / "notes.txt", "all")
    assert contents(tmp_path) == {"notes.txt": b"all"}


def test_failed_flush_is_an_error(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        files.write_atomically(tmp_path / "notes.txt", "all")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "written"), [("größer\n", "größer\n".encode()), (b"\x00\xff", b"\x00\xff")]
)
def test_text_and_bytes_are_written(tmp_path, content, written):
    files.write_atomically(tmp_path / "notes", content)
    assert contents(tmp_path) == {"notes": written}


def test_fingerprint_changes_with_facts_and_files(tmp_path):
    path = tmp_path / "photo.jpg"
    seen = {files.fingerprint([path], 1), files.fingerprint([path], 2)}
    path.write_text("one")
    seen.add(files.fingerprint([path], 1))
    assert files.fingerprint([path], 1) in seen
    os.utime(path, ns=(0, 0))
    seen.add(files.fingerprint([path], 1))
    assert len(seen) == 4
