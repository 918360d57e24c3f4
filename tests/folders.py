"""What a folder holds and what may be written there, for tests of several commands."""

import contextlib
import resource


def contents(folder):
    """Returns the bytes of every file by its path in the folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextlib.contextmanager
def no_file_beyond(size):
    """Within, a write beyond `size` bytes fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
