"""Finds copies of images within and across splits: recompressed, resized, mirrored, cropped.

A copy may be cropped by up to 5 % at each edge, or have several of these changes at once. Frames of
one video look alike but are not copies. Writes into --duplicates

    groups_train.tsv    file_name, group, for every file of the split; one table for each split.
                        Copies share a group, over all splits: `train --validation_groups` then
                        keeps them on one side of the split
    pairs.tsv           first, second, kind (what was done), similarity (1: identical pixels)
    contact_sheet.png   the pairs, the least similar first

Example:

    python -m keras_landmarks.find_duplicates --data=contest --splits=train,test

Time: 2,000 images take 2 s, 40,000 take 34 s; twice as many images take up to four times as long.

Accuracy, measured on 2,000 video frames of 243 people and 400 of 52 others: of 200 copies made on
purpose in each of nine runs (JPEG quality 30 to 95, resized by 0.5 to 1.5, mirrored, cropped by 5 %
in all or at each edge, or all of it at once) 1,795 of 1,800 were found (0.997; the worst three runs
0.993). Four of the five missed have all changes at once. Besides, 3 pairs were found in each run
(precision 0.985); on inspection each is one still picture that was cropped twice. With 1,000 copies
of a single kind, 0.995 to 1.0 are found; with all changes at once, 0.99.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks import flags
from keras_landmarks.cleaning.duplicate_search import Duplicates, Image, search_duplicates
from keras_landmarks.contest import listed_images
from keras_landmarks.images import contact_sheet

FLAGS = flags.use("data", "splits", "duplicates", "count", "processes")

_PAIRS_ACROSS, _TILE_HEIGHT = 4, 240


def main(_) -> dict[str, Any]:
    """Finds the copies in the data that the flags name and returns the results."""
    flags.require("data")
    return find_duplicates(
        Path(FLAGS.data), FLAGS.splits, Path(FLAGS.duplicates), FLAGS.count, FLAGS.processes
    )


def find_duplicates(
    data: Path, splits: Sequence[str], out: Path, count: int = 24, processes: int | None = None
) -> dict[str, Any]:
    """Writes the tables of copies and a contact sheet of up to `count` pairs into the folder `out`.

    Returns:
        The numbers of images, unreadable images, pairs by kind, and groups; `out`.

    Raises:
        InputError: a split has no images folder.
    """
    duplicates = search_duplicates(data, splits, processes)
    duplicates.write_tables(out)
    _draw_pairs(out / "contact_sheet.png", duplicates, count)
    return {**duplicates.results(), "out": str(out)}


def _draw_pairs(path: Path, duplicates: Duplicates, count: int) -> None:
    if not duplicates.pairs:
        path.unlink(missing_ok=True)  # from an earlier run
        return
    tiles, titles = [], []
    for pair in sorted(duplicates.pairs, key=lambda pair: pair.similarity)[:count]:
        both = duplicates.images[pair.first], duplicates.images[pair.second]
        tiles.append(contact_sheet.side_by_side([_tile(image) for image in both]))
        titles.append(f"{pair.similarity:.3f} {pair.kind}: {both[0]}  {both[1]}")
    sheet = contact_sheet.assemble(tiles, titles, _PAIRS_ACROSS)
    contact_sheet.write(path, sheet)


def _tile(image: Image) -> np.ndarray:
    photo = listed_images.read_image(image.folder, image.name)
    return contact_sheet.draw_tile(photo, np.zeros((0, 2)), height=_TILE_HEIGHT)


if __name__ == "__main__":
    flags.run(main)
