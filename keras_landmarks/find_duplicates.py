"""Finds copies of images within and across splits: recompressed, resized, mirrored, cropped.

Frames of one video are alike, but no copies: see `data.duplicates`. Into --duplicates go

    groups_train.tsv    file_name, group: one for each split. Copies share a group, over all splits;
                        `train --validation_groups` keeps them on one side
    pairs.tsv           first, second, kind, similarity (1: alike to the bit)
    contact_sheet.png   the pairs, the least similar ones first

Example:

    python -m keras_landmarks.find_duplicates --data=contest --splits=train,test
"""

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.cleaning import duplicates
from keras_landmarks.cleaning.duplicates import Looks, Match
from keras_landmarks.contest import grouping, image_names, listed_images, locations, table_files
from keras_landmarks.images import drawing
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress

FLAGS = config.use("data", "splits", "duplicates", "count", "processes")

_BROKEN_NAMED = 20
_PAIRS_ACROSS, _TILE_HEIGHT = 4, 240


class Image(NamedTuple):
    """An image file of a split."""

    split: str
    folder: Path
    name: str

    def __str__(self) -> str:
        return f"{self.split}/{self.name}"


class Pair(NamedTuple):
    """Two images, one a copy of the other; `first` and `second` count over all splits."""

    first: int
    second: int
    kind: str
    similarity: float


class Task(NamedTuple):
    """Two images that look alike, as worker processes get them."""

    first: int
    second: int
    first_image: Image
    second_image: Image
    mirrored: bool


def main(_) -> dict:
    """Reads the flags, looks for copies, returns the figures."""
    config.require("data")
    return find_duplicates(
        Path(FLAGS.data), FLAGS.splits, Path(FLAGS.duplicates), FLAGS.count, FLAGS.processes
    )


def find_duplicates(
    data: Path, splits: Sequence[str], out: Path, count: int = 24, processes: int | None = None
) -> dict:
    """Writes the tables and the contact sheet of up to `count` pairs into the folder `out`.

    Returns:
        Figures: images, unreadable ones, pairs by kind, groups of more than one image.

    Raises:
        InputError: a split has no images folder.
    """
    splits = list(dict.fromkeys(splits))
    images = [image for split in splits for image in _list_images(data, split)]
    looks = _look_at_all(images, processes)
    identical = list(_identical(looks))
    again = {pair.second for pair in identical}
    distinct = {index: seen for index, seen in looks.items() if index not in again}
    pairs = [*identical, *_copies(images, distinct, processes)]
    groups = grouping.connect(len(images), [(pair.first, pair.second) for pair in pairs])
    for split in splits:
        _write_groups(out / f"groups_{split}.tsv", split, images, groups)
    _write_pairs(out / "pairs.tsv", images, pairs)
    _draw_pairs(out / "contact_sheet.png", images, pairs, count)
    return {
        "images": len(images),
        "unreadable": len(images) - len(looks),
        "pairs": len(pairs),
        "kinds": dict(Counter(pair.kind for pair in pairs)),
        "groups": len({groups[pair.first] for pair in pairs}),
        "across_splits": sum(images[p.first].split != images[p.second].split for p in pairs),
        "out": str(out),
    }


def _list_images(data: Path, split: str) -> list[Image]:
    folder = locations.find_image_folder(data, split)
    names = filter(image_names.can_be_listed, locations.list_files(folder))
    return [Image(split, folder, name) for name in names]


def _look_at_all(images: list[Image], processes: int | None) -> dict[int, Looks]:
    """Returns what each image that can be read looks like, by its index."""
    looks = parallel_map(_look_at, images, processes)
    looks = dict(enumerate(progress(looks, "hashing", "images", len(images))))
    broken = {images[index]: seen for index, seen in looks.items() if isinstance(seen, str)}
    for image, reason in itertools.islice(broken.items(), _BROKEN_NAMED):
        logging.warning("not compared: %s: %s", image, reason)
    if len(broken) > _BROKEN_NAMED:
        logging.warning("not compared: %d more", len(broken) - _BROKEN_NAMED)
    return {index: seen for index, seen in looks.items() if isinstance(seen, Looks)}


def _look_at(image: Image) -> Looks | str:
    """Returns what is wrong with the image if it cannot be read."""
    try:
        return duplicates.look_at(listed_images.read_listed_image(image.folder, image.name))
    except ValueError as error:
        return str(error)


def _identical(looks: dict[int, Looks]) -> Iterator[Pair]:
    """Yields each image whose pixels are those of an earlier one, with the first of these."""
    first_of: dict[bytes, int] = {}
    for index, seen in looks.items():
        if (first := first_of.setdefault(seen.digest, index)) != index:
            yield Pair(first, index, "identical", 1.0)


def _copies(images: list[Image], looks: dict[int, Looks], processes: int | None) -> Iterator[Pair]:
    """Yields the pairs that look alike and whose pixels agree."""
    if not looks:
        return
    indices = list(looks)
    hashes = np.stack([seen.hashes for seen in looks.values()])
    tasks = (
        Task(indices[first], indices[second], images[indices[first]], images[indices[second]], flip)
        for first, second, flip in duplicates.candidates(hashes)
    )
    for task, match in progress(
        parallel_map(_match, tasks, processes), "comparing", "pairs that look alike"
    ):
        if match:
            sizes = looks[task.first].size_px, looks[task.second].size_px
            kind = duplicates.kind(match, task.mirrored, *sizes)
            yield Pair(task.first, task.second, kind, match.similarity)


def _match(task: Task) -> tuple[Task, Match | None]:
    picture = _small_picture(task.second_image)
    if task.mirrored:
        picture = np.ascontiguousarray(picture[:, ::-1])
    return task, duplicates.match(_small_picture(task.first_image), picture)


@functools.lru_cache(maxsize=4096)  # an image has several that are alike; 9 kB each
def _small_picture(image: Image) -> np.ndarray:
    return duplicates.small_picture(listed_images.read_image(image.folder, image.name))


def _write_groups(path: Path, split: str, images: list[Image], groups: list[int]) -> None:
    own = [index for index, image in enumerate(images) if image.split == split]
    names, numbers = [images[index].name for index in own], [str(groups[index]) for index in own]
    grouping.write_group_table(path, "group", names, numbers)


def _write_pairs(path: Path, images: list[Image], pairs: list[Pair]) -> None:
    rows = [
        (str(images[pair.first]), str(images[pair.second]), pair.kind, f"{pair.similarity:.4f}")
        for pair in pairs
    ]
    table_files.write_rows(path, ["first", "second", "kind", "similarity"], rows)


def _draw_pairs(path: Path, images: list[Image], pairs: list[Pair], count: int) -> None:
    if not pairs:
        path.unlink(missing_ok=True)  # one of an earlier run
        return
    tiles, titles = [], []
    for pair in sorted(pairs, key=lambda pair: pair.similarity)[:count]:
        both = images[pair.first], images[pair.second]
        tiles.append(drawing.side_by_side([_tile(image) for image in both]))
        titles.append(f"{pair.similarity:.3f} {pair.kind}: {both[0]}  {both[1]}")
    sheet = drawing.contact_sheet(tiles, titles, _PAIRS_ACROSS)
    drawing.write_sheet(path, sheet)


def _tile(image: Image) -> np.ndarray:
    photo = listed_images.read_image(image.folder, image.name)
    return drawing.draw_tile(photo, np.zeros((0, 2)), height=_TILE_HEIGHT)


if __name__ == "__main__":
    config.run(main)
