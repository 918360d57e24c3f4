"""Memory by pages of 2 MB instead of 4 kB, for those steps that take a gigabyte and give it back.

XLA on the CPU allocates its intermediate results anew in every step. In small pages the system
spends a tenth of a train step on handing them out.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_TUNABLES, _SETTING = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_SYSTEM_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use() -> None:
    """Starts this command anew with huge pages, where the system gives them to those who ask.

    The C library reads its settings only when a process starts; so this comes before any work.
    """
    given = os.environ.get(_TUNABLES, "")
    if "glibc.malloc.hugetlb" in given or not _on_request():
        return
    os.environ[_TUNABLES] = f"{given}:{_SETTING}".lstrip(":")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@contextlib.contextmanager
def without() -> Iterator[None]:
    """Processes started within do without."""
    given = os.environ.get(_TUNABLES, "")
    os.environ[_TUNABLES] = given.removesuffix(_SETTING).rstrip(":")
    try:
        yield
    finally:
        os.environ[_TUNABLES] = given


def _on_request() -> bool:
    try:
        return "[madvise]" in _SYSTEM_SETTING.read_text()
    except OSError:  # another system
        return False
