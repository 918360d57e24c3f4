"""How far a long job is: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
_SECONDS_BETWEEN_LINES = 10


def progress(
    items: Iterable[Item], label: str, unit: str, total: int | None = None
) -> Iterator[Item]:
    """Yields the items; meanwhile says on standard error how many (of `total`) are done."""
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
    finally:  # the reader may stop early
        _print_line(label, done, total, unit, time.monotonic() - start)


def _print_line(label: str, done: int, total: int | None, unit: str, seconds: float) -> None:
    rate = done / max(seconds, 1e-9)
    decimals = 1 if rate < 10 else 0
    of_total = f" of {total:,}" if total else ""
    print(
        f"{label}: {done:,}{of_total} {unit}, {rate:,.{decimals}f}/s", file=sys.stderr, flush=True
    )
