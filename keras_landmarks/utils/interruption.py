"""Ctrl-C and SIGTERM: the first stops a command in good order, the second ends it at once."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

EXIT_STATUS = 130  # what shells report for a command that Ctrl-C ended

_requested = False
_deferred = False


def exit_on_signal() -> None:
    """Has both signals end the process at once, for the time before `install_handlers`.

    A command is still importing modules then, and an exception that is raised within an import may
    come out as a different one.
    """
    signal.signal(signal.SIGINT, _exit)
    signal.signal(signal.SIGTERM, _exit)


def _exit(_number, _frame) -> None:
    os.write(sys.stderr.fileno(), b"stopped\n")
    os._exit(EXIT_STATUS)


def install_handlers() -> None:
    """Has the first signal raise KeyboardInterrupt (see `deferred`), the second exit at once."""
    signal.signal(signal.SIGINT, _on_signal)
    signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(_number, _frame) -> None:
    global _requested
    if _requested:
        os._exit(EXIT_STATUS)
    _requested = True
    if not _deferred:
        raise KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Has the first signal raise nothing; the code in the context asks `is_requested`.

    For Python code that libraries call: an exception that is raised in a callback of TensorFlow or
    in a destructor is swallowed, and the command would run on.
    """
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False


def is_requested() -> bool:
    """Whether a signal has asked the command to stop."""
    return _requested


def raise_if_requested() -> None:
    """Raises KeyboardInterrupt if a signal has asked the command to stop."""
    if _requested:
        raise KeyboardInterrupt
