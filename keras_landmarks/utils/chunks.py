"""Pieces of a sequence: chunks, as `itertools.batched` has them from Python 3.12 on; a sample."""

from collections.abc import Sequence
from typing import TypeVar

Items = TypeVar("Items", bound=Sequence)  # or a NumPy array


def in_chunks(items: Items, size: int) -> list[Items]:
    """Returns slices of `size` items, in order; the last may have fewer."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def evenly_spread(items: Items, count: int) -> Items:
    """Returns at most so many of the items, evenly spread, the first one included."""
    return items[:: max(1, -(-len(items) // count))]
