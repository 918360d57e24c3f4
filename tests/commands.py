"""Commands as tests run them: in a process of their own as a user does, or within this one."""

import contextlib
import io
import json
import runpy
import subprocess
import sys
import warnings
from typing import NamedTuple

from absl import logging

from keras_landmarks.utils import runtime


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def results(self):
        """The JSON line that ends the output."""
        assert self.returncode == 0, self.stderr
        return json.loads(self.stdout.splitlines()[-1])


def run_alone(command, *flags, folder="."):
    """Runs a command in a process of its own."""
    arguments = [sys.executable, "-m", f"keras_landmarks.{command}", *map(str, flags)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=1800, cwd=folder)
    return Done(done.returncode, done.stdout, done.stderr)


def run_within(command, *flags, folder="."):
    """Runs a command within this process, as a notebook does, which saves it the imports.

    The logging and the compilation cache of the tests are put back after it.
    """
    with (
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
        contextlib.chdir(folder),
        _own_logging(errors),
        _same_compilation_cache(),
    ):
        arguments, sys.argv = sys.argv, [command, *map(str, flags)]
        status = 0
        try:
            runpy.run_module(f"keras_landmarks.{command}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.argv = arguments
    return Done(status, output.getvalue(), errors.getvalue())


@contextlib.contextmanager
def _own_logging(stream):
    """Has absl write to a stream; the handlers of pytest are put back after it."""
    handlers, handler = logging.logging.root.handlers[:], logging.get_absl_handler().python_handler
    usual, level = handler.stream, logging.get_verbosity()
    handler.stream = stream
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* found in sys.modules", RuntimeWarning)
            yield
    finally:
        handler.stream = usual
        logging.set_verbosity(level)
        logging.logging.root.handlers[:] = handlers


@contextlib.contextmanager
def _same_compilation_cache():
    """Puts the compilation cache of the tests back, which a command replaces by its own."""
    import jax

    folder = jax.config.jax_compilation_cache_dir
    try:
        yield
    finally:
        runtime.use_compilation_cache(folder or "")
