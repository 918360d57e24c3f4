"""Files that appear complete or not at all, even if the process is killed.

Writes go to a locked temporary sibling, which is flushed and renamed at the end. Its name is short
and always the same for the same target, so the next process overwrites what a killed one left.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_landmarks.utils.disk import explain_full_disk, flush_file
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.locks import locked_file

_LONGEST_EXTENSION = 16


class NameTooLongError(OSError):
    """A file's name or path is longer than the file system allows."""


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there becomes `path` at the end.

    If the block fails, the temporary file is removed and an earlier `path` stays as it was. Another
    process that writes the same file waits.

    Raises:
        NameTooLongError: the file system allows no name as long as that of `path`.
        OSError: the disk is full, or `path` is a folder; the message names it.
    """
    _validate_target(path)
    partial = temporary_sibling(path, "partial", _extension(path.name))
    with explain_full_disk(path), locked_file(partial):
        try:
            yield partial
            flush_file(partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes `content` (text as UTF-8) to `path` with `atomic_write`."""
    with atomic_write(path) as partial:
        if isinstance(content, str):
            # Text may quote paths that are not UTF-8.
            content = content.encode("utf-8", "surrogateescape")
        partial.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path` with `atomic_write`."""
    write_atomically(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path, max_bytes: int) -> Any:
    """Returns the value of a JSON file from an untrusted source.

    Raises:
        InputError: there is no such file, it is larger than `max_bytes`, or it is not JSON.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    if len(content) > max_bytes:
        raise InputError(f"{path}: over {max_bytes:,} bytes")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON") from None


def fingerprint(paths: Iterable[str | Path], *facts: Any) -> str:
    """Returns a hash of the facts and of each file's path, size and times.

    The times include that of the last change of status (ctime), as archives set the time of
    modification.
    """
    digest = hashlib.sha256(repr(facts).encode())
    for path in paths:
        try:
            status = os.stat(path)
            times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
            digest.update(f"{path} {status.st_size} {times}\n".encode())
        except FileNotFoundError:
            digest.update(f"{path} is missing\n".encode())
    return digest.hexdigest()


def temporary_sibling(path: Path, kind: str, suffix: str) -> Path:
    """Returns a temporary path beside `path`, short however long the name of `path` is."""
    return path.with_name(f".{kind}-{short_hash(path.name)}{suffix}")


def short_hash(text: str) -> str:
    """Returns 16 hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def _validate_target(path: Path) -> None:
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


def _extension(name: str) -> str:
    """Returns .weights.h5 or the like, by which writers choose a format."""
    return "".join(Path(name).suffixes[-2:])[-_LONGEST_EXTENSION:]
