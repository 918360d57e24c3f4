"""One function over many items on the workers of an Apache Beam runner, in place of our own.

Nothing comes back through Beam: what the function makes it writes to files, which all machines must
see at the same paths. What goes there is light: a function of this package by its name, paths and
numbers.
"""

import contextlib
import functools
import io
import logging
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cv2

from keras_landmarks.utils import interruption
from keras_landmarks.utils.errors import InputError

Item = TypeVar("Item")
ForEach = Callable[[Callable[[Item], Any], Sequence[Item]], None]


def workers(runner: str | None, options: str = "") -> ForEach | None:
    """Returns what calls a function for each item on a Beam runner's workers; None for no runner.

    It returns when all is done. Items are done in any order, and may be done twice.

    Args:
        runner: Beam's name of it.
        options: its options, as Beam's command lines have them.

    Raises:
        InputError: Beam is not installed, or it has no such runner or option. The function that is
            returned: a worker raised InputError, or the runner failed; OSError: a worker did.
    """
    if runner is None:
        return None
    logging.disable(logging.WARNING)  # it tells which clouds' packages are not there
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.runner import create_runner
    except ImportError:
        raise InputError(
            '--beam_runner needs Apache Beam, which is not installed: pip install -e ".[beam]"'
        ) from None
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("apache_beam").setLevel("WARNING")
    for name in ("common", "worker"):  # a worker's error, which is raised as well
        logging.getLogger(f"apache_beam.runners.{name}").setLevel("CRITICAL")
    # Now, not when the work begins: a typing mistake should not cost minutes.
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        raise InputError(f"--beam_runner={runner}: {error}") from None
    arguments = [f"--runner={runner}", *_split(options)]
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            PipelineOptions(arguments).get_all_options()
    except SystemExit:  # argparse; the end of its last line says why
        reason = complaint.getvalue().rpartition("error: ")[2].strip()
        raise InputError(f"--beam_options={options}: {reason}") from None
    return functools.partial(_for_each, runner, arguments)


def _split(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as error:
        raise InputError(f"--beam_options={options}: {error}") from None


def _for_each(
    runner: str, arguments: list[str], function: Callable[[Item], Any], items: Sequence[Item]
) -> None:
    if not items:
        return
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    logging.info("%s: %d pieces of work", runner, len(items))
    try:
        with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
            _ = pipeline | beam.Create(items) | beam.Map(_call, function)
    except Exception as error:  # every runner has its own
        interruption.check()  # of a KeyboardInterrupt, too
        raise _in_short(runner, error) from None


def _call(item: Item, function: Callable[[Item], Any]) -> None:
    """Runs on a worker."""
    cv2.setNumThreads(1)  # or the workers' threads fight for the cores
    try:
        function(item)
    except OSError as error:
        raise InputError(str(error)) from None  # by which `_in_short` finds it


def _in_short(runner: str, error: Exception) -> Exception:
    """Returns what a worker raised, if that is at the bottom of the error, or else one line."""
    # Beam hands over a worker's traceback as text, and adds the pipeline's step to the message.
    text = f"{type(error).__name__}: {error}"
    _, found, message = text.rpartition(f"{InputError.__name__}: ")
    if found:
        message = message.partition("\n")[0].partition(" [while running")[0]
        system = re.fullmatch(r"\[Errno (\d+)\] (.*)", message)
        return OSError(int(system[1]), system[2]) if system else InputError(message)
    *before, last = [line.strip() for line in text.splitlines() if re.search("[a-z]", line)]
    if before:
        logging.error("%s", text)
    return InputError(f"--beam_runner={runner} failed: {last}")
