"""Files and folders that appear whole or not at all, whenever the process is killed.

They are written under a temporary name in the same folder and renamed at the end. A temporary name
is short, is the same for the same target every time, and is locked by the process that writes to
it. So the next process finds what a killed one left: a file is begun anew, a folder with a `key` is
continued, and a finished folder takes its place.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a file system says that has no locks, or cannot flush this kind of file: shares of CIFS and
# NFS, FUSE, virtual machines.
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
_NO_LOCKS_HERE = (*_UNSUPPORTED, errno.ENOLCK)
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)
_LONGEST_ENDING = 16
_FLUSHED_AT_ONCE = 32
_USER_FILE = ".in-use"  # names the process that uses a folder


class NameTooLongError(OSError):
    """A file's name or path is longer than the file system takes."""


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there becomes `path` at the end.

    If the block fails, the temporary file is removed and an earlier `path` stays as it was. Another
    process that writes the same file waits.

    Raises:
        NameTooLongError: the file system takes no name as long as that of `path`.
        OSError: the disk is full, or `path` is a folder; the message names it.
    """
    _check_name(path)
    partial = _beside(path, "partial", _ending(path.name))
    with explained(path), _locked_file(partial):
        try:
            yield partial
            _flush_one(partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_folder(path: Path, key: str = "") -> Iterator[Path]:
    """Yields a temporary folder beside `path`; at the end, flushed, it takes the place of `path`.

    With a `key` the folder is a `resumable_folder`. Without, it is empty at first, and gone if the
    block fails. Either way an earlier `path` stays as it was until the end. A process that is
    killed while the folders change places loses neither: see `finish_replacing`.

    Raises:
        OSError: the disk is full, another process makes the folder, or `path` is a file or a
            mounted disk; the message names the folder.
    """
    path = path.resolve()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path}: it is a file; give a folder")
    if path.is_mount():
        raise OSError(f"{path}: a mounted disk cannot be replaced; give a folder on it")
    finish_replacing(path)
    with resumable_folder(path, key) as partial:
        yield partial
        flush(partial)
        try:
            partial.rename(path)  # if nothing is there, or an empty folder
        except OSError as error:
            if error.errno not in _NOT_EMPTY:
                raise
            # By its name it is known to be complete, and is never removed.
            complete = partial.with_name(partial.name.replace("partial", "complete"))
            partial.rename(complete)
            _replace(path, complete)


def finish_replacing(path: Path) -> None:
    """Finishes what a process that was killed at the very end of `atomic_folder` left undone.

    Afterwards `path` is a complete folder, if there was one. `atomic_folder` begins with it; call
    it before looking at a folder that is only made if it is not there.
    """
    for complete in _all_beside(path, "complete"):
        # A living process that has the lock does it itself.
        with contextlib.suppress(OSError), _locked_folder(complete, path):
            _replace(path, complete)
    for earlier in _all_beside(path, "earlier"):
        if path.exists():
            shutil.rmtree(earlier, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                earlier.rename(path)


def _replace(path: Path, complete: Path) -> None:
    """Moves the earlier folder `path` away, the complete one to its place, removes the earlier."""
    earlier = complete.with_name(complete.name.replace("complete", "earlier"))
    while True:
        shutil.rmtree(earlier, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            path.rename(earlier)
        try:
            complete.rename(path)
            break
        except OSError as error:  # another process has put its own there meanwhile
            if error.errno not in _NOT_EMPTY:
                raise
    shutil.rmtree(earlier, ignore_errors=True)


def flush(folder: Path) -> None:
    """Returns when the disk has all that is in the folder: then a power cut takes nothing of it."""
    # Many at once: the file system commits them together, and one by one they take 5 ms each.
    with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
        for _ in pool.map(_flush_one, [folder, *folder.rglob("*")]):
            pass


@contextlib.contextmanager
def resumable_folder(path: Path, key: str) -> Iterator[Path]:
    """Yields a folder beside `path` for the pieces that `path` is made of; removed at the end.

    If the block fails or the process is killed, the folder stays, and the next call with the same
    `key`, which says all that the pieces depend on, finds it again. Those of other keys are
    removed, unless a living process uses them. An empty key finds nothing and leaves nothing.

    Raises:
        OSError: the disk is full, or another process uses it; the message names `path`.
    """
    folder = _beside(path, "partial", f"-{_digest(key)}")
    for stale in _all_beside(path, "partial"):
        if not key or stale != folder:
            with contextlib.suppress(OSError), _locked_folder(stale, path):
                shutil.rmtree(stale)
    with explained(path):
        folder.mkdir(parents=True, exist_ok=True)
    with explained(path), _locked_folder(folder, path) as descriptor:
        try:
            yield folder
        except BaseException:
            if not key or not any(path.is_file() for path in folder.rglob("*")):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if _is_open(descriptor, folder):  # not renamed
            shutil.rmtree(folder)


class Journal:
    """A file of equally long records, written one by one, of which a kill costs only the last."""

    def __init__(self, path: Path, record: np.dtype):
        """Opens or makes the file; cuts off what is less than a record."""
        self._path, self.record = path, record
        self._file = path.open("ab", buffering=0)
        self.keep(len(self))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._path.stat().st_size // self.record.itemsize

    def append(self, record: np.ndarray) -> None:
        """Adds a record."""
        rest = memoryview(record.tobytes())
        while rest:  # a disk that fills up takes a part, and tells with the next one
            rest = rest[self._file.write(rest) :]

    def keep(self, count: int) -> None:
        """Forgets all records but the first `count`."""
        self._file.truncate(count * self.record.itemsize)

    def read(self) -> np.ndarray:
        """Returns all records, from the first on."""
        return np.fromfile(self._path, self.record)


def fingerprint(paths: Iterable[str | Path], *facts: Any) -> str:
    """Returns what changes when one of the facts does, or a file's size or times.

    The time of the last change of status counts, too: archives set the time of modification.
    """
    known = hashlib.sha256(repr(facts).encode())
    for path in paths:
        try:
            status = os.stat(path)
            times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
            known.update(f"{path} {status.st_size} {times}\n".encode())
        except FileNotFoundError:
            known.update(f"{path} is missing\n".encode())
    return known.hexdigest()


def require_room(path: Path, size: int) -> None:
    """Raises OSError if the disk has no room for a file of so many bytes."""
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes `content` (text as UTF-8) to `path` whole."""
    with atomic_write(path) as partial:
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogateescape")  # of paths that are not UTF-8
        partial.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path` whole."""
    write_atomically(path, json.dumps(value, indent=1) + "\n")


def _check_name(path: Path) -> None:
    """Raises OSError, before the work is done, if no file of this name can be written."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise IsADirectoryError(f"{path}: it is a folder; give a file")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise NameTooLongError(f"{path}: the name is too long for a file") from None
        raise


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def _beside(path: Path, kind: str, rest: str) -> Path:
    """Returns a temporary name beside `path`, short however long the name of `path` is."""
    return path.with_name(f".{kind}-{_digest(path.name)}{rest}")


def _all_beside(path: Path, kind: str) -> list[Path]:
    """Returns the folders of this kind beside `path`, whatever their keys."""
    return sorted(path.parent.glob(f".{kind}-{_digest(path.name)}-*"))


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def _ending(name: str) -> str:
    """Returns .weights.h5 or the like: writers choose a format by it."""
    return "".join(Path(name).suffixes[-2:])[-_LONGEST_ENDING:]


@contextlib.contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    """Makes the file `path`, empty and this process's own; waits while another one has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, fcntl.LOCK_EX)
            if _is_open(descriptor, path):  # not renamed by the one that had it
                os.truncate(descriptor, 0)
                yield
                return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _locked_folder(path: Path, target: Path) -> Iterator[int]:
    """Makes the folder `path` this process's own; OSError if another one has it, or it is gone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        locked = _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not locked or not _is_open(descriptor, path):
            raise BlockingIOError(
                f"{target}: another process is making it; start again when it is done"
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, operation: int) -> bool:
    # The system unlocks when the process ends, however it does.
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
    return True


def _is_open(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Within, the error of a full disk names the file or folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        reason = error.strerror or os.strerror(error.errno)
        if "errno = " in reason:  # HDF5 has the system's words amid many of its own
            reason = os.strerror(error.errno)
        raise OSError(f"{path}: {reason}; make room and start again") from None


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Within, this process is the only one that uses the folder, which is made if need be.

    A file in the folder names the process, and is locked for as long as it runs: a killed process
    leaves nothing in the way of the next one. On a file system without locks, the process that the
    file names is in the way for as long as it runs, one of another host until the file is deleted.

    Raises:
        BlockingIOError: another process uses the folder; the message names it.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _USER_FILE
    with explained(path):
        descriptor = _claim(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        if is_new:
            with contextlib.suppress(OSError):  # something was written
                folder.rmdir()


def _claim(path: Path) -> int:
    """Writes this process into the file and locks it; returns the descriptor that holds the lock.

    Raises BlockingIOError if another process has it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            user = _parse_user(os.read(descriptor, 4096))
            if _is_taken(descriptor, user):
                raise BlockingIOError(
                    f"{path.parent}: {_in_words(user)} is using it; wait until that has ended, or"
                    " give another folder" + _way_out(path, user)
                )
            if _is_open(descriptor, path):  # not deleted by the process that had it
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_taken(descriptor: int, user: dict | None) -> bool:
    """Whether another process has the file, whose content names `user`; otherwise locks it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        return user is not None and _may_run(user)
    return False


def _in_words(user: dict | None) -> str:
    return "another process" if user is None else f"process {user['pid']} on {user['host']}"


def _way_out(path: Path, user: dict | None) -> str:
    if user is None or user["host"] == socket.gethostname():
        return ""
    return f"; if that process no longer runs, delete {path}"


def _this_process() -> dict:
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _start_time(pid)}


def _parse_user(content: bytes) -> dict | None:
    """Returns what `_this_process` gave the writer of the file; None if this is something else."""
    try:
        user = json.loads(content)
        is_one = user.keys() == _this_process().keys() and type(user["pid"]) is int
    except (ValueError, AttributeError):
        return None
    return user if is_one else None


def _may_run(user: dict) -> bool:
    """Whether a process may still run: one of another host always may."""
    if user["host"] != socket.gethostname():
        return True
    try:
        os.kill(user["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return user["started"] == _start_time(user["pid"])  # not another process of the same number


def _start_time(pid: int) -> str | None:
    """Returns when a process started, in the system's own unit; None where that is not told."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return status.rpartition(")")[2].split()[19]  # field 22; the name before may hold anything
