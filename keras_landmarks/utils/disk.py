"""Full disks, and waiting until data are on the disk."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What a file system reports that has no locks, or cannot flush this kind of file: shares of CIFS
# and NFS, FUSE, virtual machines.
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FLUSH_THREADS = 32


@contextlib.contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Within the context the error of a full disk names the file or folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        reason = error.strerror or os.strerror(error.errno)
        if "errno = " in reason:  # HDF5 adds text to the system's message
            reason = os.strerror(error.errno)
        raise OSError(f"{path}: {reason}; make room and start again") from None


def require_free_space(path: Path, size: int) -> None:
    """Raises OSError if the disk has no room for a file of `size` bytes at `path`."""
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def flush_file(path: Path) -> None:
    """Waits until the disk has the file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Waits until the disk has everything in the folder, so that it survives a power cut."""
    # In parallel, as the file system then commits many together; one by one each takes 5 ms.
    with ThreadPoolExecutor(_FLUSH_THREADS) as pool:
        for _ in pool.map(flush_file, [folder, *folder.rglob("*")]):
            pass
