"""Ctrl-C and SIGTERM: the first asks a command to leave in order, the second ends it at once."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

STATUS = 130  # what shells report for a command that Ctrl-C ended

_asked = False
_deferred = False


def leave_at_once() -> None:
    """Has both signals end the process: until `listen`, a command only imports what it needs."""
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)


def _leave(_number, _frame) -> None:
    # Not an exception: one that strikes within an import may come out as another.
    os.write(sys.stderr.fileno(), b"stopped\n")
    os._exit(STATUS)


def listen() -> None:
    """Has both signals raise KeyboardInterrupt, or within `deferred` be remembered."""
    signal.signal(signal.SIGINT, _on_signal)
    signal.signal(signal.SIGTERM, _on_signal)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within, a signal raises nothing by itself: `check` does.

    For code that runs Python from within a library: an exception that strikes there, in a callback
    of TensorFlow's or a destructor, is swallowed, and the command would run on.
    """
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False


def is_asked() -> bool:
    """Whether a signal has come."""
    return _asked


def check(how_to_go_on: str = "") -> None:
    """Raises KeyboardInterrupt, with these words for the user, if a signal has come."""
    if _asked:
        raise KeyboardInterrupt(how_to_go_on)


def _on_signal(_number, _frame) -> None:
    global _asked
    if _asked:
        os._exit(STATUS)
    _asked = True
    if not _deferred:
        raise KeyboardInterrupt
