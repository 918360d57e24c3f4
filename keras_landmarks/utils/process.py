"""The process that the package runs in: a command's own, or anybody else's program.

What a command does to its process (signals, environment, ending it at once) would harm a server or
a notebook that uses the package as a library, or runs a command within itself.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator

# Of Python's own; letters may stand together, and the value with them, as in -uWerror.
_OPTION_WITH_A_VALUE = re.compile("-[^-cmWX]*([cmWX])(.*)")


def is_command() -> bool:
    """Whether this process was started as `python -m keras_landmarks.<command>`."""
    arguments = iter(sys.orig_argv[1:])
    for argument in arguments:
        if option := _OPTION_WITH_A_VALUE.fullmatch(argument):
            value = option[2] or next(arguments, "")
            if option[1] in "cm":
                return option[1] == "m" and value.partition(".")[0] == __package__.partition(".")[0]
        elif not argument.startswith("-"):  # a script
            return False
    return False


def check_system() -> None:
    """Ends a command, or fails the import, with one line where the system is not supported."""
    try:
        import fcntl  # noqa: F401
        import resource  # noqa: F401
    except ImportError:
        needed = "keras_landmarks runs on Linux and macOS; on Windows use WSL"
        if is_command():
            sys.exit(f"error: {needed}")
        raise ImportError(needed) from None


def set_up() -> None:
    """Sets a command's environment, which the processes that it starts inherit, and its output."""
    if sys.getfilesystemencoding() != "utf-8":
        _start_anew_with_utf8()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the terminal may know ASCII alone
    os.environ["KERAS_BACKEND"] = "jax"
    # TensorFlow only feeds data here: its start-up notes would bury our own lines.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Without a TPU its plugin explains at length that there is none.
    os.environ.setdefault("TPU_MIN_LOG_LEVEL", "3")


def _start_anew_with_utf8() -> None:
    """Has the locale say what the terminal shows, and not how files are named and written."""
    os.environ.setdefault("PYTHONIOENCODING", f"{sys.stderr.encoding}:replace")
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def choose_jax() -> None:
    """Has Keras run on JAX when it is imported, unless it has been, or the user has chosen."""
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "jax")


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Within, environment variables have these values; afterwards those that they had before."""
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
