"""Calls a function for each of many items on the workers of an Apache Beam runner.

Nothing is returned through Beam: the function writes its results to files, which must be visible to
all machines at the same paths. Only small things are sent to the workers: the name of a function of
this package, paths and numbers.
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


def make_for_each(runner: str | None, options: str = "") -> ForEach | None:
    """Returns `for_each(function, items)`, which calls a function on a Beam runner's workers.

    `for_each` returns when all items are done. They are done in any order, and may be done twice.
    It raises InputError if a worker raised InputError or the runner failed, and OSError if a
    worker raised that.

    Args:
        runner: Beam's name of the runner; None returns None.
        options: the runner's options, as on Beam's command lines.

    Raises:
        InputError: Beam is not installed, or it has no such runner or option.
    """
    if runner is None:
        return None
    _import_beam()
    # Checked now, not when the work begins: a typing mistake should not cost minutes.
    return functools.partial(_for_each, runner, _parse_arguments(runner, options))


def _import_beam() -> None:
    logging.disable(logging.WARNING)  # Beam warns of the clouds' packages that are not installed
    try:
        import apache_beam  # noqa: F401
        from apache_beam.options import pipeline_options  # noqa: F401
        from apache_beam.runners import runner  # noqa: F401
    except ImportError:
        raise InputError(
            '--beam_runner needs Apache Beam, which is not installed: pip install -e ".[beam]"'
        ) from None
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("apache_beam").setLevel("WARNING")
    for name in ("common", "worker"):  # they log a worker's error, which is raised as well
        logging.getLogger(f"apache_beam.runners.{name}").setLevel("CRITICAL")


def _parse_arguments(runner: str, options: str) -> list[str]:
    """Returns the arguments for Beam; raises InputError if it has no such runner or option."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import create_runner

    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        raise InputError(f"--beam_runner={runner}: {error}") from None
    try:
        arguments = [f"--runner={runner}", *shlex.split(options)]
    except ValueError as error:
        raise InputError(f"--beam_options={options}: {error}") from None
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            PipelineOptions(arguments).get_all_options()
    except SystemExit:  # raised by argparse, whose last line ends with the reason
        reason = messages.getvalue().rpartition("error: ")[2].strip()
        raise InputError(f"--beam_options={options}: {reason}") from None
    return arguments


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
    except Exception as error:  # each runner has exceptions of its own
        interruption.raise_if_requested()  # runners also wrap KeyboardInterrupt
        raise _find_cause(runner, error) from None


def _call(item: Item, function: Callable[[Item], Any]) -> None:
    """Calls the function on a worker."""
    cv2.setNumThreads(1)  # with more threads of OpenCV, the workers would compete for the cores
    try:
        function(item)
    except OSError as error:
        raise InputError(str(error)) from None  # `_find_cause` looks for that name


def _find_cause(runner: str, error: Exception) -> Exception:
    """Returns the exception that a worker raised; if there is none, an InputError of one line."""
    # Beam passes a worker's traceback on as text, and adds the pipeline's step to the message.
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
