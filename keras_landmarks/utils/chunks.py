"""Pieces of a sequence: chunks, as `itertools.batched` has them from Python 3.12 on; a sample."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Items = TypeVar("Items", bound=Sequence)  # or a NumPy array


def in_chunks(items: Items, size: int) -> list[Items]:
    """Returns slices of `size` items, in order; the last may have fewer."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def evenly_spread(num_items: int, count: int) -> np.ndarray:
    """Returns the indices of `count` items, or of all if there are fewer, evenly spread from 0."""
    count = min(count, num_items)
    return np.arange(count) * num_items // max(count, 1)
