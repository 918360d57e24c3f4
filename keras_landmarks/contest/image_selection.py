"""Selects a few readable images of a folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks.contest import listed_images
from keras_landmarks.utils.chunks import evenly_spread
from keras_landmarks.utils.errors import InputError

_MAX_WARNINGS = 3


def read_evenly_spaced(
    image_folder: Path, file_names: Sequence[str], count: int
) -> tuple[dict[str, np.ndarray], int]:
    """Reads images that are evenly spaced over a list; others replace those that are broken.

    The first broken images are named in the log.

    Args:
        image_folder: where the images are.
        file_names: as a table lists them.
        count: how many to read; fewer are returned if the list has fewer readable ones.

    Returns:
        The images, (H, W, 3) uint8 RGB, by file name in the list's order, and the number of images
        that could not be read.
    """
    rows = np.arange(len(file_names))
    evenly_spaced = evenly_spread(len(rows), count)
    replacements = np.setdiff1d(rows, evenly_spaced)
    images, num_broken = {}, 0
    for row in [*evenly_spaced, *replacements]:
        if len(images) == count:
            break
        try:
            images[row] = listed_images.read_image(image_folder, file_names[row])
        except InputError as error:
            num_broken += 1
            if num_broken <= _MAX_WARNINGS:
                logging.warning("skipped: %s", error)
    if num_broken > _MAX_WARNINGS:
        logging.warning("skipped: %d more", num_broken - _MAX_WARNINGS)
    return {file_names[row]: images[row] for row in sorted(images)}, num_broken
