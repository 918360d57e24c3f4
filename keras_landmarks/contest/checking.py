"""Checks of every row of a table and of every image that it lists."""

import hashlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest import landmark_tables, listed_images, requested_points
from keras_landmarks.contest.duplicate_rows import DuplicateRowCheck
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.requested_points import RequestedPoints
from keras_landmarks.images import decoding
from keras_landmarks.images.geometry import bounding_boxes
from keras_landmarks.utils import cores
from keras_landmarks.utils.chunks import in_chunks
from keras_landmarks.utils.errors import InputError

_LOGGER = logging.getLogger(__name__)  # absl.logging would define absl's flags
# Landmarks of points just outside a photo are a little above 1 as fractions of its sides.
MAX_SHARE = 1.5
# How far a landmark may lie outside its image, relative to the image's longer side.
_MAX_DISTANCE_OUTSIDE = 1
# How far the faces of an unusual photo may extend beyond it, relative to its sides.
_MUCH_OUTSIDE = 0.1
_MIN_FACES = 3
_IMAGES_PER_TASK = 32
_DIGEST_BYTES = 16


class ValidSample(NamedTuple):
    """A valid row of a landmark table.

    Attributes:
        file_name: the image's name in the table.
        line: the row's line in the table; the header is line 1.
        landmarks_photo_px: (k, 2) int16 or float32, with NaN for landmarks without a place.
        size_px: width and height of the image.
        image_digest: a digest of the image file's bytes.
    """

    file_name: str
    line: int
    landmarks_photo_px: np.ndarray
    size_px: tuple[int, int]
    image_digest: bytes


class UnreadableSample(InvalidSample):
    """A row whose image cannot be read now, but perhaps later, if the disk was at fault."""


def check_landmarks(
    table: Path, image_folder: Path, limit: int | None = None
) -> Iterator[ValidSample | InvalidSample]:
    """Yields each row of a landmark table as a valid or an invalid sample.

    An invalid sample may follow for a row that was yielded as valid before, when a later row
    contradicts it.

    Args:
        table: the landmark table.
        image_folder: the folder of its images.
        limit: check only this many rows.

    Raises:
        InputError: as `landmark_tables.iterate_landmarks`, or all coordinates are so small that
            they must be fractions of the photos' sides rather than pixels.
    """
    duplicates, largest, extents = DuplicateRowCheck(), 0.0, []
    with ThreadPoolExecutor(cores.usable()) as pool:
        for rows in landmark_tables.iterate_landmarks(table, limit):
            yield from rows.invalid_samples
            points = landmark_tables.as_smallest_dtype(rows.landmarks_photo_px)
            boxes = bounding_boxes(points).tolist()
            images = _inspect_images(pool, image_folder, rows.file_names)
            for name, line, landmarks, box, image in zip(
                rows.file_names, rows.lines, points, boxes, images, strict=True
            ):
                if isinstance(image, str):
                    yield UnreadableSample(name, line, image)
                elif lies_far_outside(box, image.size_px):
                    yield InvalidSample(name, line, "a point lies far outside the image")
                elif invalid := duplicates.add(name, line, landmarks):
                    yield from invalid
                else:
                    largest = max(largest, *map(abs, box))
                    extents.append(extends_beyond(box, image.size_px))
                    yield ValidSample(name, line, landmarks, *image)
    if 0 < largest <= MAX_SHARE:
        raise InputError(
            f"{table}: all coordinates are about 0 to 1, so they are not pixels; if they are"
            " fractions of the photo's width and height, multiply them by these"
        )
    warn_of_other_size(table, extents)


def check_test_points(
    table: Path, image_folder: Path, num_landmarks: int
) -> Iterator[RequestedPoints | InvalidSample]:
    """Yields each row of `test_points.csv`, invalid rows as `check_landmarks` does.

    Args:
        table: the file.
        image_folder: the folder of its images.
        num_landmarks: the number of landmarks of a face.

    Raises:
        InputError: as `requested_points.iterate_test_points`.
    """
    duplicates, usual_count = DuplicateRowCheck(), None
    rows = list(requested_points.iterate_test_points(table))
    yield from (row for row in rows if isinstance(row, InvalidSample))
    rows = [row for row in rows if isinstance(row, RequestedPoints)]
    with ThreadPoolExecutor(cores.usable()) as pool:
        images = _inspect_images(pool, image_folder, [row.file_name for row in rows])
        for row, image in zip(rows, images, strict=True):
            name, line, indices = row
            usual_count = usual_count or len(indices)
            if isinstance(image, str):
                yield UnreadableSample(name, line, image)
            elif indices.max() >= num_landmarks:
                reason = f"no such point: {indices.max()}, the last is {num_landmarks - 1}"
                yield InvalidSample(name, line, reason)
            elif len(indices) != usual_count:
                counts = f"{len(indices)}, not {usual_count}"
                yield InvalidSample(name, line, f"another number of points than before: {counts}")
            elif invalid := duplicates.add(name, line, indices):
                yield from invalid
            else:
                yield row


def lies_far_outside(box: Sequence[float], size_px: tuple[int, int]) -> bool:
    """Whether a box around landmarks extends beyond the image by more than its longer side.

    Faces at the edge of an image have landmarks outside it, but not that far away.

    Args:
        box: min x, min y, max x and max y, in photo pixels.
        size_px: width and height of the image.
    """
    (min_x, min_y, max_x, max_y), (width, height) = box, size_px
    margin = _MAX_DISTANCE_OUTSIDE * max(size_px)
    return min(min_x, min_y) < -margin or max_x > width - 1 + margin or max_y > height - 1 + margin


def extends_beyond(box: Sequence[float], size_px: tuple[int, int]) -> bool:
    """Whether landmarks with this box extend clearly beyond the image, by a tenth of its side."""
    (min_x, min_y, max_x, max_y), (width, height) = box, size_px
    dx, dy = _MUCH_OUTSIDE * width, _MUCH_OUTSIDE * height
    return min_x < -dx or min_y < -dy or max_x > width - 1 + dx or max_y > height - 1 + dy


def warn_of_other_size(source: Path, extends: Sequence[bool]) -> None:
    """Logs a warning if most faces extend beyond their images, as `extends_beyond` has it."""
    if len(extends) >= _MIN_FACES and 2 * sum(extends) > len(extends):
        _LOGGER.warning(
            "%s: %d of %d faces have points beyond their photos: were the photos made smaller after"
            " they were labelled?",
            *(source, sum(extends), len(extends)),
        )


class _ImageInfo(NamedTuple):
    """Width and height of an image, and a digest of its file."""

    size_px: tuple[int, int]
    digest: bytes


def inspect_image(image_folder: Path, name: str) -> _ImageInfo | str:
    """Decodes an image; returns its size and digest, or the reason why it cannot be read."""
    try:
        content = listed_images.read_listed_content(image_folder, name)
        height, width = decoding.decode_image(content).shape[:2]
    except ValueError as error:
        return str(error)
    return _ImageInfo((width, height), digest(content))


def digest(*parts: bytes) -> bytes:
    """Returns a 16-byte BLAKE2b digest of the bytes."""
    blake2b = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        blake2b.update(part)
    return blake2b.digest()


def _inspect_images(
    pool: ThreadPoolExecutor, image_folder: Path, names: list[str]
) -> Iterator[_ImageInfo | str]:
    """Yields `inspect_image` of each image, in order."""
    # Threads suffice because OpenCV releases the interpreter's lock. A task per image would cost
    # as much as reading its row.
    tasks = in_chunks(names, _IMAGES_PER_TASK)
    infos = pool.map(lambda task: [inspect_image(image_folder, name) for name in task], tasks)
    return itertools.chain.from_iterable(infos)
