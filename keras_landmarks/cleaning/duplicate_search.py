"""Finds the copies among the images of a dataset, within and across its splits."""

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from keras_landmarks.cleaning import image_matching
from keras_landmarks.cleaning.image_matching import ImageHashes, Match
from keras_landmarks.contest import grouping, image_names, listed_images, locations, table_files
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress

_MAX_WARNINGS = 20  # unreadable images that are named


class Image(NamedTuple):
    """An image file of a split."""

    split: str
    folder: Path
    name: str

    def __str__(self) -> str:
        return f"{self.split}/{self.name}"


class Pair(NamedTuple):
    """Two images of which one is a copy of the other.

    Attributes:
        first: index of the one among the images of all splits.
        second: index of the other.
        kind: what was done to the copy; see `image_matching.describe`.
        similarity: 1 if they are equal to the bit.
    """

    first: int
    second: int
    kind: str
    similarity: float


class Duplicates(NamedTuple):
    """The copies among images.

    Attributes:
        splits: the splits that were searched.
        images: the n images of all splits.
        num_unreadable: how many of them cannot be read.
        pairs: the copies.
        groups: the group of each image, n numbers; copies share a group.
    """

    splits: list[str]
    images: list[Image]
    num_unreadable: int
    pairs: list[Pair]
    groups: list[int]

    def results(self) -> dict[str, Any]:
        """Returns the numbers of images, unreadable images, pairs (also by kind) and groups."""
        return {
            "images": len(self.images),
            "unreadable": self.num_unreadable,
            "pairs": len(self.pairs),
            "kinds": dict(Counter(pair.kind for pair in self.pairs)),
            "groups": len({self.groups[pair.first] for pair in self.pairs}),
            "across_splits": sum(
                self.images[pair.first].split != self.images[pair.second].split
                for pair in self.pairs
            ),
        }

    def write_tables(self, folder: Path) -> None:
        """Writes `groups_<split>.tsv` for each split and `pairs.tsv` into a folder."""
        for split in self.splits:
            rows = [row for row, image in enumerate(self.images) if image.split == split]
            names = [self.images[row].name for row in rows]
            groups = [str(self.groups[row]) for row in rows]
            grouping.write_group_table(folder / f"groups_{split}.tsv", "group", names, groups)
        cells = [
            (
                str(self.images[pair.first]),
                str(self.images[pair.second]),
                pair.kind,
                f"{pair.similarity:.4f}",
            )
            for pair in self.pairs
        ]
        table_files.write_rows(
            folder / "pairs.tsv", ["first", "second", "kind", "similarity"], cells
        )


def search_duplicates(
    data: Path, splits: Sequence[str], processes: int | None = None
) -> Duplicates:
    """Finds the copies among the images of the splits; images that cannot be read are logged.

    Raises:
        InputError: a split has no images folder.
    """
    splits = list(dict.fromkeys(splits))
    images = [image for split in splits for image in _list_images(data, split)]
    hashes = _hash_images(images, processes)
    identical = list(_find_identical(hashes))
    repeated = {pair.second for pair in identical}
    distinct = {index: image for index, image in hashes.items() if index not in repeated}
    pairs = [*identical, *_find_similar(images, distinct, processes)]
    groups = grouping.connected_components(
        len(images), [(pair.first, pair.second) for pair in pairs]
    )
    return Duplicates(splits, images, len(images) - len(hashes), pairs, groups)


def _list_images(data: Path, split: str) -> list[Image]:
    folder = locations.find_image_folder(data, split)
    names = filter(image_names.is_valid_name, locations.list_files(folder))
    return [Image(split, folder, name) for name in names]


def _hash_images(images: list[Image], processes: int | None) -> dict[int, ImageHashes]:
    """Returns the hashes of each readable image, by its index."""
    hashed = parallel_map(_hash_image, images, processes)
    hashed = dict(enumerate(progress(hashed, "hashing", "images", len(images))))
    unreadable = {images[index]: item for index, item in hashed.items() if isinstance(item, str)}
    for image, reason in itertools.islice(unreadable.items(), _MAX_WARNINGS):
        logging.warning("not compared: %s: %s", image, reason)
    if len(unreadable) > _MAX_WARNINGS:
        logging.warning("not compared: %d more", len(unreadable) - _MAX_WARNINGS)
    return {index: item for index, item in hashed.items() if isinstance(item, ImageHashes)}


def _hash_image(image: Image) -> ImageHashes | str:
    """Returns the hashes of an image or, if it cannot be read, the reason."""
    try:
        return image_matching.hash_image(listed_images.read_listed_image(image.folder, image.name))
    except ValueError as error:
        return str(error)


def _find_identical(hashes: dict[int, ImageHashes]) -> Iterator[Pair]:
    """Yields each image whose pixels equal those of an earlier one, with the first such one."""
    first_of: dict[bytes, int] = {}
    for index, image in hashes.items():
        if (first := first_of.setdefault(image.digest, index)) != index:
            yield Pair(first, index, "identical", 1.0)


class _Candidate(NamedTuple):
    """Two images with similar hashes, as worker processes get them."""

    first: int
    second: int
    first_image: Image
    second_image: Image
    mirrored: bool


def _find_similar(
    images: list[Image], hashes: dict[int, ImageHashes], processes: int | None
) -> Iterator[Pair]:
    """Yields the pairs with similar hashes whose pixels match."""
    if not hashes:
        return
    indices = list(hashes)
    vectors = np.stack([image.vectors for image in hashes.values()])
    candidates = (
        _Candidate(
            indices[first], indices[second], images[indices[first]], images[indices[second]], flip
        )
        for first, second, flip in image_matching.find_candidates(vectors)
    )
    for candidate, match in progress(
        parallel_map(_match_pixels, candidates, processes), "comparing", "pairs that look alike"
    ):
        if match:
            sizes_px = hashes[candidate.first].size_px, hashes[candidate.second].size_px
            kind = image_matching.describe(match, candidate.mirrored, *sizes_px)
            yield Pair(candidate.first, candidate.second, kind, match.similarity)


def _match_pixels(candidate: _Candidate) -> tuple[_Candidate, Match | None]:
    second = _thumbnail(candidate.second_image)
    if candidate.mirrored:
        second = np.ascontiguousarray(second[:, ::-1])
    return candidate, image_matching.match(_thumbnail(candidate.first_image), second)


@functools.lru_cache(maxsize=4096)  # an image is often in several candidates; 9 kB each
def _thumbnail(image: Image) -> np.ndarray:
    return image_matching.thumbnail(listed_images.read_image(image.folder, image.name))
