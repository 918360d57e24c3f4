"""Tables as lines of text."""

from collections.abc import Sequence


def align_columns(rows: Sequence[Sequence[str]], min_widths: Sequence[int]) -> list[str]:
    """Returns a line for each row of cells: the first column flush left, the others flush right.

    A column is wider than its minimum if its longest cell needs that, so that cells never touch.
    """
    longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths = [max(least, cell + 2) for least, cell in zip(min_widths, longest, strict=True)]
    lines = []
    for title, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append((title.ljust(widths[0]) + "".join(padded)).rstrip())
    return lines
