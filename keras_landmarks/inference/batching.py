"""Batches of photos and video frames that fit in memory."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

_IMAGES_IN_MEMORY = 8
Item = TypeVar("Item")


def in_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yields the items in lists of as many images as are kept in memory at a time."""
    # itertools.batched needs Python 3.12.
    items = iter(items)
    while batch := list(itertools.islice(items, _IMAGES_IN_MEMORY)):
        yield batch
