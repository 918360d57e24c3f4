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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.data import contest, duplicates
from keras_landmarks.data.duplicates import Looks
from keras_landmarks.parallel import parallel_map
from keras_landmarks.progress import progress
from keras_landmarks.reports import drawing

FLAGS = config.use("data", "splits", "duplicates", "count", "processes")

_IDENTICAL = "identical"
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
    images = [image for split in dict.fromkeys(splits) for image in _list_images(data, split)]
    looks = list(
        progress(parallel_map(_look_at, images, processes), "hashing", "images", len(images))
    )
    broken = [index for index, seen in enumerate(looks) if isinstance(seen, str)]
    if broken:
        first = images[broken[0]], looks[broken[0]]
        logging.warning("%d images cannot be read; the first is %s: %s", len(broken), *first)
    pairs = list(_find_pairs(images, looks, processes))
    groups = duplicates.group(len(images), [(pair.first, pair.second) for pair in pairs])
    _write_groups(out, images, groups)
    _write_pairs(out / "pairs.tsv", images, pairs)
    _draw_pairs(out / "contact_sheet.png", images, pairs, count)
    kinds = [pair.kind for pair in pairs]
    return {
        "images": len(images),
        "unreadable": len(broken),
        "pairs": len(pairs),
        "kinds": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "groups": len({groups[pair.first] for pair in pairs}),
        "across_splits": sum(images[p.first].split != images[p.second].split for p in pairs),
        "out": str(out),
    }


def _list_images(data: Path, split: str) -> list[Image]:
    folder = contest.find_image_folder(data, split)
    names = filter(contest.can_be_listed, contest.list_files(folder))
    return [Image(split, folder, name) for name in names]


def _look_at(image: Image) -> Looks | str:
    """Returns what is wrong with the image if it cannot be read."""
    try:
        return duplicates.look_at(contest.read_listed_image(image.folder, image.name))
    except ValueError as error:
        return str(error)


def _find_pairs(
    images: list[Image], looks: list[Looks | str], processes: int | None
) -> Iterator[Pair]:
    first_of_digest: dict[bytes, int] = {}
    for index, seen in enumerate(looks):
        if isinstance(seen, str):
            continue
        if (first := first_of_digest.setdefault(seen.digest, index)) != index:
            yield Pair(first, index, _IDENTICAL, 1.0)
    distinct = list(first_of_digest.values())
    if not distinct:
        return
    hashes = np.stack([looks[index].hashes for index in distinct])
    alike = [
        (distinct[first], distinct[second], mirrored)
        for first, second, mirrored in progress(
            duplicates.candidates(hashes), "comparing hashes", "pairs alike"
        )
    ]
    tasks = [(images[first], images[second], mirrored) for first, second, mirrored in alike]
    matches = progress(
        parallel_map(_match, tasks, processes), "comparing pixels", "pairs", len(tasks)
    )
    for (first, second, mirrored), match in zip(alike, matches, strict=True):
        if match:
            sizes = looks[first].size_px, looks[second].size_px
            yield Pair(first, second, duplicates.kind(match, mirrored, *sizes), match.similarity)


def _match(task: tuple[Image, Image, bool]) -> duplicates.Match | None:
    first, second, mirrored = task
    picture = _small_picture(second)
    return duplicates.match(
        _small_picture(first), np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture
    )


@functools.lru_cache(maxsize=4096)  # an image has several that are alike; 9 kB each
def _small_picture(image: Image) -> np.ndarray:
    return duplicates.small_picture(contest.read_image(image.folder, image.name))


def _write_groups(out: Path, images: list[Image], groups: list[int]) -> None:
    for split in dict.fromkeys(image.split for image in images):
        own = [
            (image.name, str(group))
            for image, group in zip(images, groups, strict=True)
            if image.split == split
        ]
        contest.write_groups(out / f"groups_{split}.tsv", "group", *zip(*own, strict=True))


def _write_pairs(path: Path, images: list[Image], pairs: list[Pair]) -> None:
    rows = [
        (str(images[pair.first]), str(images[pair.second]), pair.kind, f"{pair.similarity:.4f}")
        for pair in pairs
    ]
    contest.write_rows(path, ["first", "second", "kind", "similarity"], rows)


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
    photo = contest.read_image(image.folder, image.name)
    return drawing.draw_tile(photo, np.zeros((0, 2)), height=_TILE_HEIGHT)


if __name__ == "__main__":
    config.run(main)
