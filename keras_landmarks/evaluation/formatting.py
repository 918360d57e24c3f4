"""How figures and their intervals are written, in JSON and in tables for people."""

from collections.abc import Sequence
from typing import Any

from keras_landmarks.evaluation import bootstrap


def round_floats(figures: Any) -> Any:
    """Rounds every figure, at any depth of dicts and lists, to 6 significant digits."""
    if isinstance(figures, dict):
        return {name: round_floats(value) for name, value in figures.items()}
    if isinstance(figures, list):
        return [round_floats(value) for value in figures]
    return float(f"{figures:.6g}") if isinstance(figures, float) else figures


def format_interval(ends: list[float] | None, times: float = 1) -> str:
    """Returns an interval's ends, "1.000 to 2.000", each so many times as large; "" without one."""
    return f"{times * ends[0]:.3f} to {times * ends[1]:.3f}" if ends else ""


def format_image_count(images: int, of: int) -> str:
    """Returns "1 image", or "60 of the truth's 300 images" where not all of those are scored."""
    if images < of:
        return f"{images:,} of the truth's {of:,} images"
    return f"{images:,} image{'s' * (images != 1)}"


def describe_intervals(images: int, groups: int) -> str:
    """Returns a line that says what the intervals are of."""
    if groups < 2:
        return "no intervals: they need two groups of images or more"
    units = "single images" if groups == images else f"{groups:,} groups of images"
    return f"intervals: 95 %, from {bootstrap.DRAWS:,} draws of {units}"


def describe_invalid_rows(rejected: int) -> list[str]:
    """Returns a line that says how many rows of the truth are left out; none if there is none."""
    return [f"rows of the truth that cannot be used: {rejected:,}"] if rejected else []


def align_columns(rows: Sequence[Sequence[str]], least_widths: Sequence[int]) -> list[str]:
    """Returns a line for each row of cells: the first column at the left, the others at the right.

    A column is as wide as its widest cell needs, so that no cell runs into another.
    """
    longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths = [max(least, cell + 2) for least, cell in zip(least_widths, longest, strict=True)]
    lines = []
    for title, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append((title.ljust(widths[0]) + "".join(padded)).rstrip())
    return lines
