"""What --help prints: a command's docstring, then its flags, a paragraph each, by subject."""

import os
import shutil
import textwrap
from collections.abc import Iterable, Mapping

from absl import flags

_COLUMN = 26  # where the explanations begin
_NARROW_COLUMN = 6  # where the terminal has no room beside the names
_NARROWEST, _WIDEST = 20, 100
_BOLD, _PLAIN = "\033[1m", "\033[0m"


def command_help(
    description: str, flags_by_subject: Mapping[str, Iterable[flags.Flag]], is_terminal: bool
) -> str:
    """Returns the text, as wide as the terminal, its titles bold if it is one."""
    columns = shutil.get_terminal_size((80, 24)).columns
    width = max(_NARROWEST, min(columns, _WIDEST))
    bold, plain = (_BOLD, _PLAIN) if is_terminal and "NO_COLOR" not in os.environ else ("", "")
    parts = [_wrapped(description.strip(), width) + "\n"]
    for subject, some in flags_by_subject.items():
        entries = "\n".join(_entry(flag, width) for flag in some)
        parts.append(f"{bold}{subject}{plain}\n{entries}\n")
    parts.append("--flagfile=FILE reads flags from a file; those after it win.")
    return "\n".join(parts)


def _wrapped(text: str, width: int) -> str:
    """Returns the text with its paragraphs as wide as they may be; what is indented stays."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        part if part.startswith(" ") or "\n " in part else textwrap.fill(part, width)
        for part in paragraphs
    )


def _entry(flag: flags.Flag, width: int) -> str:
    """Returns a flag's paragraph: its name, and beside it what it means and its default."""
    name = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
    default = _default(flag)
    meaning = f"{flag.help} [{default}]" if default else flag.help
    column = _COLUMN if width >= 2 * _COLUMN else _NARROW_COLUMN
    lines = textwrap.wrap(meaning, width - column, break_on_hyphens=False)
    first = [name] if len(name) >= column else [f"{name:<{column}}{lines.pop(0)}"]
    return "\n".join(first + [" " * column + line for line in lines])


def _default(flag: flags.Flag) -> str:
    if flag.boolean:
        return "yes" if flag.default else "no"
    if flag.default is None:
        return ""
    return flag.default_as_str.strip("'")
