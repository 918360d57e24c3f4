"""Shows how far a long job is: a bar on a terminal, plain lines in a log."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
_SECONDS_BETWEEN_LINES = 10
_DEFAULT_WIDTH = 80


def progress(
    items: Iterable[Item], label: str, unit: str, total: int | None = None
) -> Iterator[Item]:
    """Yields the items, and reports on standard error how many are done.

    Args:
        items: any iterable, endless ones included.
        label: what is being done: "reading".
        unit: what the items are, in the plural: "rows".
        total: how many items there are, if that is known.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, unit=f" {unit}")
        return
    start = last = time.monotonic()
    done = 0
    try:
        for done, item in enumerate(items, start=1):
            yield item
            if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                _print_line(label, done, total, unit, last - start)
    finally:  # also when the caller stops early
        _print_line(label, done, total, unit, time.monotonic() - start)


def _print_line(label: str, done: int, total: int | None, unit: str, seconds: float) -> None:
    rate = done / max(seconds, 1e-9)
    decimals = 1 if rate < 10 else 0
    of_total = f" of {total:,}" if total else ""
    print(
        f"{label}: {done:,}{of_total} {unit}, {rate:,.{decimals}f}/s", file=sys.stderr, flush=True
    )


def close_bars() -> None:
    """Closes all open bars, so that what is printed next starts on a line of its own."""
    for bar in list(tqdm._instances):
        bar.close()
        if not bar.leave:  # its line is blank now, except for the ^C that the terminal has added
            print(f"\r{' ' * (terminal_width() - 1)}\r", end="", file=sys.stderr)


def terminal_width() -> int:
    """Returns the present number of columns of the terminal; 80 if standard error is none."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or _DEFAULT_WIDTH
    return _DEFAULT_WIDTH


def join_fitting(texts: Iterable[str], width: int) -> str:
    """Joins as many leading texts, with commas, as fit in `width` characters."""
    line = ""
    for text in texts:
        longer = f"{line}, {text}" if line else text
        if len(longer) > width:
            break
        line = longer
    return line


def format_duration(seconds: float) -> str:
    """Returns a duration as text: 45 s, 3 min, 2 h 10 min."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
