"""Locks on files and folders, held by one process and released when that process ends.

They are the system's (`flock`), so a process that is killed leaves no lock behind.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from errno import ENOLCK
from pathlib import Path

from keras_landmarks.utils.disk import UNSUPPORTED, explain_full_disk

_NO_LOCKS = (*UNSUPPORTED, ENOLCK)
_OWNER_FILE = ".in-use"


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Creates the file `path`, empty and locked; waits while another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, fcntl.LOCK_EX)
            if is_same_file(descriptor, path):  # not renamed by the process that had the lock
                os.truncate(descriptor, 0)
                yield
                return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked_folder(path: Path, target: Path) -> Iterator[int]:
    """Locks the folder `path`, in which `target` is made; yields its open descriptor.

    Raises:
        OSError: another process holds the lock, or the folder is gone. The message names `target`.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        locked = _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not locked or not is_same_file(descriptor, path):
            raise BlockingIOError(
                f"{target}: another process is making it; start again when it is done"
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, operation: int) -> bool:
    """Returns False if another process has the lock; True where there are no locks."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def is_same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` is still the open file or folder, neither renamed nor removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Keeps other processes from using the folder, which is made if need be.

    A locked file in the folder names the process, for the message that a second process gets. On a
    file system without locks that file is the lock: it counts for as long as the process that it
    names runs, and if that process is on another host, until the file is deleted.

    Raises:
        BlockingIOError: another process uses the folder; the message names it.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _OWNER_FILE
    with explain_full_disk(path):
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
            owner = _parse_process(os.read(descriptor, 4096))
            if _is_taken(descriptor, owner):
                raise BlockingIOError(
                    f"{path.parent}: {_describe(owner)} is using it; wait until that has ended, or"
                    " give another folder" + _deletion_hint(path, owner)
                )
            if is_same_file(descriptor, path):  # not deleted by the process that had the lock
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_taken(descriptor: int, owner: dict | None) -> bool:
    """Whether another process has the file, whose content names `owner`; otherwise locks it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return owner is not None and _may_be_running(owner)
    return False


def _describe(owner: dict | None) -> str:
    return "another process" if owner is None else f"process {owner['pid']} on {owner['host']}"


def _deletion_hint(path: Path, owner: dict | None) -> str:
    if owner is None or owner["host"] == socket.gethostname():
        return ""
    return f"; if that process no longer runs, delete {path}"


def _this_process() -> dict:
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _start_time(pid)}


def _parse_process(content: bytes) -> dict | None:
    """Returns the `_this_process` of whoever wrote the file; None if the content is not one."""
    try:
        process = json.loads(content)
        is_valid = process.keys() == _this_process().keys() and type(process["pid"]) is int
    except (ValueError, AttributeError):
        return None
    return process if is_valid else None


def _may_be_running(process: dict) -> bool:
    """Whether a process may still run; always True for a process of another host."""
    if process["host"] != socket.gethostname():
        return True
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        pass
    return process["started"] == _start_time(process["pid"])  # the number may have been reused


def _start_time(pid: int) -> str | None:
    """Returns when a process started, in the system's own unit; None where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return status.rpartition(")")[2].split()[19]  # field 22; the name before it may hold anything
