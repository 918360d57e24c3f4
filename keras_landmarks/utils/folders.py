"""Folders that appear complete or not at all, even if the process is killed.

A folder is filled under a temporary name beside its target, locked by the process that fills it,
and renamed at the end. With a `key`, what a killed process left is continued by the next one.

The temporary names are `.partial-...` (being filled), `.complete-...` (about to take the target's
place; never removed) and `.earlier-...` (the folder whose place is taken).
"""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_landmarks.utils.disk import explain_full_disk, flush_folder
from keras_landmarks.utils.files import short_hash, temporary_sibling
from keras_landmarks.utils.locks import is_same_file, locked_folder

_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


@contextlib.contextmanager
def atomic_folder(path: Path, key: str = "") -> Iterator[Path]:
    """Yields a temporary folder beside `path`; at the end, flushed, it takes the place of `path`.

    An earlier `path` stays as it was until the end. A process that is killed while the folders
    change places loses neither: see `finish_replacing`.

    Args:
        path: the folder to make.
        key: what the content depends on, for a `resumable_folder`. Without a key the temporary
            folder is empty at first and removed if the block fails.

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
        flush_folder(partial)
        try:
            partial.rename(path)  # if nothing is there, or an empty folder
        except OSError as error:
            if error.errno not in _NOT_EMPTY:
                raise
            complete = partial.with_name(partial.name.replace("partial", "complete"))
            partial.rename(complete)
            _replace(path, complete)


def finish_replacing(path: Path) -> None:
    """Finishes what a process that was killed at the very end of `atomic_folder` left undone.

    Afterwards `path` is a complete folder, if there was one. `atomic_folder` calls this itself;
    call it before looking whether a folder exists that is made only if it does not.
    """
    for complete in _temporary_siblings(path, "complete"):
        # If a running process has the lock, it finishes by itself.
        with contextlib.suppress(OSError), locked_folder(complete, path):
            _replace(path, complete)
    for earlier in _temporary_siblings(path, "earlier"):
        if path.exists():
            shutil.rmtree(earlier, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                earlier.rename(path)


def _replace(path: Path, complete: Path) -> None:
    """Moves `path` out of the way, then the complete folder to its place; removes the earlier."""
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


@contextlib.contextmanager
def resumable_folder(path: Path, key: str) -> Iterator[Path]:
    """Yields a folder beside `path` for the pieces that `path` is made of; removed at the end.

    If the block fails or the process is killed, the folder stays, and the next call with the same
    key yields it again. Folders of other keys are removed, unless a running process uses them.

    Args:
        path: the file or folder that is made of the pieces.
        key: everything that the pieces depend on. With an empty key, an empty folder is yielded
            and nothing stays.

    Raises:
        OSError: the disk is full, or another process uses the folder; the message names `path`.
    """
    folder = temporary_sibling(path, "partial", f"-{short_hash(key)}")
    for stale in _temporary_siblings(path, "partial"):
        if not key or stale != folder:
            with contextlib.suppress(OSError), locked_folder(stale, path):
                shutil.rmtree(stale)
    with explain_full_disk(path):
        folder.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(path), locked_folder(folder, path) as descriptor:
        try:
            yield folder
        except BaseException:
            if not key or not any(path.is_file() for path in folder.rglob("*")):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if is_same_file(descriptor, folder):  # not renamed
            shutil.rmtree(folder)


def _temporary_siblings(path: Path, kind: str) -> list[Path]:
    """Returns the temporary folders of this kind beside `path`, whatever their keys."""
    return sorted(path.parent.glob(f".{kind}-{short_hash(path.name)}-*"))
