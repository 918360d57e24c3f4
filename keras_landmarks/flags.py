"""Makes a flag of every setting, and runs a command with them.

Flags are defined once for all commands, so that one flagfile serves them all. `use` says which of
them a command reads and its --help shows. Only a command's `main` reads flags. The flagfiles of the
folder `flags` are part of an installed package and are found by name: --flagfile=light.
"""

import functools
import json
import os
import select
import signal
import sys
import typing
import warnings
from collections.abc import Callable
from dataclasses import fields
from logging import Formatter, getLogger
from pathlib import Path
from typing import Any, TextIO, TypeVar

from absl import app, flags, logging

from keras_landmarks.settings import (
    GROUPS,
    RENAMED,
    TRAINING_GROUPS,
    TrainSettings,
    names_of,
)
from keras_landmarks.utils import interruption, process, runtime
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.help_text import help_text
from keras_landmarks.utils.progress import close_bars

FLAGS = flags.FLAGS
Settings = TypeVar("Settings")

if __name__ in FLAGS.flags_by_module_dict():
    raise ImportError(f"{__name__} defines its flags once: start Python anew rather than reload it")

_PACKAGE = Path(__file__).parent
# pyproject.toml installs the source tree's folder `flags` within the package.
_INSTALLED_FLAGFILES = _PACKAGE / "flagfiles"
_FLAGFILES = _INSTALLED_FLAGFILES if _INSTALLED_FLAGFILES.is_dir() else _PACKAGE.parent / "flags"
_FLAGFILE_OPTIONS = ("--flagfile", "-flagfile")
_LONGEST_MESSAGE = 1500  # characters: a file may hold a name of megabytes


# ── from settings to flags ──


class _PathParser(flags.ArgumentParser):
    """Expands ~ to the home folder: shells leave it alone after the = of a flag."""

    def parse(self, argument: str) -> str:
        path = os.path.expanduser(argument)
        if path == "~" or path.startswith("~/"):
            raise ValueError("~ is the home folder, and this user has none; give the whole path")
        return path


class _PathsParser(flags.ListParser):
    """Takes paths separated by commas; a comma may also be part of a file's name."""

    def parse(self, argument: str | list[str]) -> list[str]:
        if isinstance(argument, list):
            return argument
        pieces = argument.split(",")
        paths = _find_files(pieces) or super().parse(argument)
        return list(map(_PathParser().parse, paths))


def _find_files(pieces: list[str]) -> list[str] | None:
    """Joins pieces of a list to names of files that exist; None if some piece belongs to none.

    Where several names are possible, the longest one that exists wins.
    """
    for count in range(len(pieces), 0, -1):
        path = ",".join(pieces[:count]).strip()
        if os.path.exists(os.path.expanduser(path)):
            rest = _find_files(pieces[count:]) if pieces[count:] else []
            if rest is not None:
                return [path, *rest]
    return None


def _define(name: str, value_type: Any, default: Any, rules: dict[str, Any]) -> None:
    """Defines the flag of one setting."""
    help, choices, kind = rules["help"], rules.get("choices"), rules.get("kind")
    bounds = {"lower_bound": rules.get("low"), "upper_bound": rules.get("high")}
    if kind == "paths":
        flags.DEFINE(_PathsParser(), name, None, help, serializer=flags.CsvListSerializer(","))
    elif kind:
        flags.DEFINE(_PathParser(), name, default, help)
    elif choices:
        flags.DEFINE_enum(name, default, list(choices), help)
    elif value_type is bool:
        flags.DEFINE_bool(name, default, help)
    elif value_type in (int, int | None):
        flags.DEFINE_integer(name, default, help, **bounds)
    elif value_type is float:
        flags.DEFINE_float(name, default, help, **bounds)
    elif value_type == tuple[str, ...]:
        flags.DEFINE_list(name, list(default), help)
    else:
        flags.DEFINE_string(name, default, help)
    if kind in ("path", "folder", "model"):
        flags.register_validator(name, lambda path: path != "", "it is empty; give a path")
    if kind in ("folder", "model"):
        suffix = ".safetensors" if kind == "model" else None
        may_be = functools.partial(_may_be_folder, file_suffix=suffix)
        flags.register_validator(name, may_be, "it is a file, not a folder")
    if check := rules.get("check"):
        flags.register_validator(name, functools.partial(_passes, check))


def _may_be_folder(path: str | None, file_suffix: str | None) -> bool:
    if path is None or not os.path.exists(path) or os.path.isdir(path):
        return True
    return file_suffix is not None and path.endswith(file_suffix)


def _passes(check: Callable[[Any], Any], value: Any) -> bool:
    try:
        if value is not None:
            check(value)
    except ValueError as error:
        raise flags.ValidationError(str(error)) from None
    return True


for _group in GROUPS:
    _types = typing.get_type_hints(_group)
    for _field in fields(_group):
        _define(_field.name, _types[_field.name], _field.default, dict(_field.metadata))

# Key flags belong to the command that calls `use`, not to this module.
flags.disclaim_key_flags()


# ── what commands call ──


def use(*names_or_groups: str | type) -> flags.FlagValues:
    """Declares the settings that a command reads, for its --help. Returns all flags."""
    for item in names_or_groups:
        for name in [item] if isinstance(item, str) else names_of(item):
            flags.declare_key_flag(name)
    return FLAGS


def read(group: type[Settings]) -> Settings:
    """Returns a group of settings, or all of a training, with the values of the flags."""
    if group is TrainSettings:
        return TrainSettings(*map(read, TRAINING_GROUPS))
    return group(**{name: _value_of(name) for name in names_of(group)})


def _value_of(name: str) -> Any:
    flag = FLAGS[name]
    if isinstance(flag.parser, flags.ListParser):
        return tuple(flag.value or ())
    return flag.value


def read_paths(*names: str) -> dict[str, Any]:
    """Returns those of these flags that were given, as paths: a list where a flag takes several."""
    given = {name: FLAGS[name].value for name in names if FLAGS[name].value}
    return {
        name: list(map(Path, value)) if isinstance(value, list) else Path(value)
        for name, value in given.items()
    }


def require(*names: str) -> None:
    """Raises InputError if one of these flags was not given."""
    for name in names:
        if FLAGS[name].value is None:
            raise InputError(f"--{name} is needed: {FLAGS[name].help}")


def use_huge_pages() -> None:
    """Restarts the command with huge pages (`runtime.use_huge_pages`). Call it before any work."""
    if process.is_command():
        runtime.use_huge_pages()


def run(
    main: Callable[[Any], dict[str, Any]],
    *groups: type,
    takes_paths: bool = False,
    **defaults: Any,
) -> None:
    """Runs a command and prints its results as one JSON line, the last on standard output.

    Invalid input ends the command with one line on standard error and exit status 1. In a process
    that was not started for the command, such as a notebook's kernel, SystemExit is raised instead
    of ending the process, signals are left alone, and `run` may be called again.

    Args:
        main: the command. It gets the paths among the arguments, and returns the results.
        *groups: groups of settings whose defaults hold where another group has a setting, too.
        takes_paths: arguments that are not flags are paths; otherwise they are errors.
        **defaults: flags whose defaults differ from those of the settings.
    """
    of_groups = {field.name: field.default for group in groups for field in fields(group)}
    defaults = of_groups | defaults
    usual = {name: FLAGS[name].default for name in defaults}
    parse = functools.partial(_parse_flags, takes_paths=takes_paths)
    try:
        _set_defaults(defaults)
        app.run(lambda argv: _run_main(main, argv[1:]), flags_parser=parse)
    finally:
        _set_defaults(usual)


# ── parsing ──


def _set_defaults(defaults: dict[str, Any]) -> None:
    for name, value in defaults.items():
        FLAGS[name].unparse()  # the value of an earlier command may be invalid
        FLAGS.set_default(name, value)


def _own_flags() -> list[flags.Flag]:
    return FLAGS.flags_by_module_dict()[__name__]


def _parse_flags(argv: list[str], takes_paths: bool) -> list[str]:
    if {"--help", "-help", "-h"}.intersection(argv):
        if process.is_command():
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends silently
        print(_help(argv[0]))
        sys.exit()
    for flag in _own_flags():  # a command may have run in this process before
        flag.unparse()
    FLAGS.set_gnu_getopt(True)  # flags may stand after paths
    try:
        # Read once: the file may be a pipe, which is empty the second time.
        expanded = FLAGS.read_flags_from_files(_find_flagfiles(argv), force_gnu=True)
        _refuse_old_names(expanded)
        command, *rest = FLAGS(expanded)
        _refuse_flags_of_other_commands(argv)
    except flags.Error as error:
        _fail(str(error).removeprefix("ERROR:: "))
    except (ValueError, RecursionError) as error:  # absl does not catch these
        _fail(f"a flag or the file of --flagfile is broken: {error}")
    if rest and not takes_paths:
        _fail(f"{rest[0]!r} is not a flag; flags look like --name=value")
    return [command, *map(os.path.expanduser, rest)]


def _find_flagfiles(argv: list[str]) -> list[str]:
    """Returns the arguments with the paths of flagfiles in place of their names.

    Raises:
        flags.Error: as `_flagfile_path`.
    """
    found = []
    for before, argument in zip(["", *argv], argv, strict=False):
        option, _, value = argument.partition("=")
        if before in _FLAGFILE_OPTIONS:
            argument = _flagfile_path(argument)
        elif option in _FLAGFILE_OPTIONS and value:
            argument = f"{option}={_flagfile_path(value)}"
        found.append(argument)
    return found


def _flagfile_path(value: str) -> str:
    """Returns the path that --flagfile gives, or that of the package's flagfile of this name.

    A folder cannot be meant: a work directory may have the name of its flagfile.

    Raises:
        flags.Error: there is neither such a file nor such a name.
    """
    path = os.path.expanduser(value)
    if os.path.exists(path) and not os.path.isdir(path):
        return path
    paths = {file.stem: file for file in _FLAGFILES.glob("*.cfg")}
    if value not in paths:
        raise flags.Error(
            f"--flagfile={value}: no such file; flagfiles with a name: {', '.join(sorted(paths))}"
        )
    return str(paths[value])


def _typed_names(argv: list[str]) -> list[str]:
    """Returns the names of the flags among the arguments, without their dashes."""
    typed = argv[1 : argv.index("--") if "--" in argv else None]
    return [word.lstrip("-").partition("=")[0] for word in typed if word.startswith("-")]


def _refuse_old_names(argv: list[str]) -> None:
    """Raises flags.Error for a flag, typed or in a flagfile, that has another name now.

    Args:
        argv: the arguments, with the contents of flagfiles in their places.
    """
    for name in _typed_names(argv):
        if new := RENAMED.get(name.removeprefix("no"), RENAMED.get(name)):
            raise flags.Error(f"--{name}: now --{new}")


def _refuse_flags_of_other_commands(argv: list[str]) -> None:
    """Raises flags.Error for a typed flag that the command does not read.

    A flagfile may hold flags of any command.
    """
    own = {flag.name for flag in FLAGS.get_key_flags_for_module(argv[0])}
    others = {flag.name for flag in _own_flags()} - own
    for name in _typed_names(argv):
        if {name, name.removeprefix("no")} & others:
            raise flags.Error(f"--{name} is another command's flag; --help lists this one's")


def _help(command: str) -> str:
    manual, own = sys.modules["__main__"].__doc__ or "", FLAGS.get_key_flags_for_module(command)
    own_names = {flag.name for flag in own}
    by_subject = {}
    for group in GROUPS:
        if names := [name for name in names_of(group) if name in own_names]:
            by_subject[group.__doc__.splitlines()[0]] = [FLAGS[name] for name in names]
    return help_text(manual, by_subject, sys.stdout.isatty())


# ── running ──


def _run_main(main: Callable[[Any], dict[str, Any]], paths: list[str]) -> None:
    _log_plainly()
    if process.is_command():
        interruption.install_handlers()
    try:
        results = main(paths)
        print(json.dumps(results), flush=True)
    except KeyboardInterrupt as how_to_resume:
        _stop(": ".join(filter(None, ["stopped", str(how_to_resume)])), interruption.EXIT_STATUS)
    except (InputError, OSError) as error:
        gone = isinstance(error, BrokenPipeError) and process.is_command()
        if gone and _has_no_reader(sys.stdout):
            os._exit(128 + signal.SIGPIPE)  # as commands do in `command | head`
        _fail(f"{error}{_hint_at_commas(str(error))}")
    except Exception:
        # A signal during an import can raise an exception other than KeyboardInterrupt.
        if interruption.is_requested():
            _stop("stopped", interruption.EXIT_STATUS)
        if reason := _why_jax_cannot_start():
            _fail(reason)
        raise


def _has_no_reader(output: TextIO) -> bool:
    """Whether the process that read the output, through a pipe, has ended."""
    poll = select.poll()
    poll.register(output.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _why_jax_cannot_start() -> str:
    """Returns why JAX fails with the JAX_... environment variables; "" if it does not."""
    given = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_")]
    try:
        if given:
            import jax

            jax.devices()
    except Exception as error:  # JAX's plugins for devices raise any kind
        reason = "".join(str(error).splitlines()[:1]) or "there is no such device"
        return f"JAX does not start with {', '.join(sorted(given))}: {reason}; unset what is wrong"
    return ""


def _hint_at_commas(message: str) -> str:
    """Returns a hint that commas separate files, if a missing file may be part of a longer name."""
    for flag in _own_flags():
        if isinstance(flag.parser, _PathsParser) and len(flag.value or ()) > 1:
            missing = [path for path in flag.value if not os.path.exists(path)]
            about = (f"--{flag.name}=", *(f"{path}: " for path in missing))
            if missing and message.startswith(about):
                given = ",".join(flag.value)
                return f" (a comma separates files: --{flag.name}={given} names {len(flag.value)})"
    return ""


def _log_plainly() -> None:
    # A compilation cache that cannot be written to only costs time.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    # What is wrong with a photo is said once, by the error or the list of skipped files.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(Formatter("%(message)s"))
    # JAX logs at length which accelerators it does not find.
    getLogger("jax").setLevel("WARNING")
    # Keras loads Matplotlib where it is installed, which logs its fonts and folders.
    getLogger("matplotlib").setLevel("ERROR")


def _fail(message: str) -> None:
    _stop(f"error: {message}", 1)


def _stop(message: str, status: int) -> None:
    """Ends the command with one line, shortened if it quotes a very long name from a file."""
    close_bars()
    line = " ".join(message.split())
    if len(line) > _LONGEST_MESSAGE:
        line = f"{line[: _LONGEST_MESSAGE // 2]} ... {line[-_LONGEST_MESSAGE // 2 :]}"
    print(line, file=sys.stderr, flush=True)
    sys.stdout.flush()
    if process.is_command():
        # Not sys.exit: a tf.data thread inside a NumPy function blocks the interpreter's end.
        os._exit(status)
    raise SystemExit(status) from None
