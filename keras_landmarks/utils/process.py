"""The process that the package runs in: one of its own commands, or another program.

What a command does to its process (signals, environment variables, exiting at once) would harm a
server or a notebook that uses the package as a library or runs a command within itself. So
commands ask `is_command` before they do it.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator

# Python's own options with a value. Letters may be combined, and the value may follow directly, as
# in -uWerror.
_OPTION_WITH_VALUE = re.compile("-[^-cmWX]*([cmWX])(.*)")


def is_command() -> bool:
    """Whether this process was started as `python -m keras_landmarks.<command>`."""
    arguments = iter(sys.orig_argv[1:])
    for argument in arguments:
        if option := _OPTION_WITH_VALUE.fullmatch(argument):
            value = option[2] or next(arguments, "")
            if option[1] in "cm":
                return option[1] == "m" and value.partition(".")[0] == __package__.partition(".")[0]
        elif not argument.startswith("-"):  # a script
            return False
    return False


def check_system() -> None:
    """Ends a command, or raises ImportError, with one line if the system is not supported."""
    try:
        import fcntl  # noqa: F401
        import resource  # noqa: F401
    except ImportError:
        message = "keras_landmarks runs on Linux and macOS; on Windows use WSL"
        if is_command():
            sys.exit(f"error: {message}")
        raise ImportError(message) from None


def set_up() -> None:
    """Prepares a command's output and its environment, which its child processes inherit."""
    if sys.getfilesystemencoding() != "utf-8":
        _restart_with_utf8()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the terminal may show ASCII only
    os.environ["KERAS_BACKEND"] = "jax"
    # TensorFlow only feeds data here; its messages at the start would bury our own.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # The TPU plugin explains at length that there is no TPU.
    os.environ.setdefault("TPU_MIN_LOG_LEVEL", "3")


def _restart_with_utf8() -> None:
    """Restarts the command so that file names and contents are UTF-8 in any locale.

    The output keeps the encoding of the locale, which is what the terminal shows.
    """
    os.environ.setdefault("PYTHONIOENCODING", f"{sys.stderr.encoding}:replace")
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def choose_jax() -> None:
    """Makes JAX Keras's backend, unless Keras is imported already or the user has chosen one."""
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "jax")


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Sets environment variables in the context, and restores their earlier values after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
