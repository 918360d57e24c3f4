"""The text of --help: a command's manual, then its flags by subject, a paragraph each."""

import os
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

_COLUMN = 26  # of the explanations
_NARROW_COLUMN = 6  # the same on a terminal too narrow for both
_NARROWEST, _WIDEST = 20, 100
_BOLD, _PLAIN = "\033[1m", "\033[0m"


class Flag(Protocol):
    """An absl flag, as far as --help shows it."""

    name: str
    help: str
    boolean: bool
    default: Any
    default_as_str: str | None


def help_text(
    description: str, flags_by_subject: Mapping[str, Iterable[Flag]], is_terminal: bool
) -> str:
    """Returns the text, wrapped to the terminal's width, with bold titles on a terminal.

    Args:
        description: the command's manual.
        flags_by_subject: its flags under their titles.
        is_terminal: whether the text goes to a terminal.
    """
    columns = shutil.get_terminal_size((80, 24)).columns
    width = max(_NARROWEST, min(columns, _WIDEST))
    bold, plain = (_BOLD, _PLAIN) if is_terminal and "NO_COLOR" not in os.environ else ("", "")
    parts = [_wrapped(description.strip(), width) + "\n"]
    for subject, flags in flags_by_subject.items():
        entries = "\n".join(_entry(flag, width) for flag in flags)
        parts.append(f"{bold}{subject}{plain}\n{entries}\n")
    parts.append("--flagfile=FILE reads flags from a file; those after it win.")
    return "\n".join(parts)


def _wrapped(text: str, width: int) -> str:
    """Wraps the paragraphs of a text; indented ones stay as they are."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if _is_indented(part) else _fill(part, width) for part in paragraphs)


def _is_indented(paragraph: str) -> bool:
    return paragraph.startswith(" ") or "\n " in paragraph


def _fill(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)


def _entry(flag: Flag, width: int) -> str:
    """Returns a flag's paragraph: its name, what it means, and its default."""
    name = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
    default = _default(flag)
    meaning = f"{flag.help} [{default}]" if default else flag.help
    column = _COLUMN if width >= 2 * _COLUMN else _NARROW_COLUMN
    lines = textwrap.wrap(meaning, width - column, break_on_hyphens=False)
    first = [name] if len(name) >= column else [f"{name:<{column}}{lines.pop(0)}"]
    return "\n".join(first + [" " * column + line for line in lines])


def _default(flag: Flag) -> str:
    if flag.boolean:
        return "yes" if flag.default else "no"
    if flag.default is None:
        return ""
    return flag.default_as_str.strip("'")
