"""Checks every row of a table and every image that it lists."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest import landmark_tables, listed_images, requested_points
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.labels import FirstRows
from keras_landmarks.contest.requested_points import RequestedPoints
from keras_landmarks.images import decoding
from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError

_DIGEST_BYTES = 16
# A point may lie outside its image by so many times the image's longer side.
_FARTHEST_OUTSIDE = 1
LARGEST_SHARE = 1.5  # a share of a photo's side may be of a point a little outside it


class Sample(NamedTuple):
    """A sound row of a landmark table; int16 or float32 points (k, 2).

    `image_digest` is of the image file's bytes.
    """

    file_name: str
    line: int
    landmarks_photo_px: np.ndarray
    size_px: tuple[int, int]
    image_digest: bytes


class Unreadable(InvalidSample):
    """A row whose image cannot be read now; it may be at the next start."""


def check_landmarks(
    table: Path, image_folder: Path, limit: int | None = None
) -> Iterator[Sample | InvalidSample]:
    """Yields the first `limit` rows of a landmark table, each as a sound sample or as a reject.

    A reject may come for a row that was yielded as a sample before: it takes the sample back.

    Raises:
        InputError: as `contest.iterate_landmarks`, or all points are so small that they are shares
            of the photos' sides and not pixels.
    """
    first_rows, largest = FirstRows(), 0.0
    with ThreadPoolExecutor(cores.usable()) as pool:
        for rows in landmark_tables.iterate_landmarks(table, limit):
            yield from rows.rejects
            points = rows.points.astype(landmark_tables.smallest_dtype(rows.points), copy=False)
            looks = _look_at_all(pool, image_folder, rows.file_names)
            for name, line, landmarks, box, look in zip(
                rows.file_names, rows.lines, points, boxes(points), looks, strict=True
            ):
                if isinstance(look, str):
                    yield Unreadable(name, line, look)
                elif lies_far_outside(box, look.size_px):
                    yield InvalidSample(name, line, "a point lies far outside the image")
                elif rejects := first_rows.compare(name, line, landmarks):
                    yield from rejects
                else:
                    largest = max(largest, *map(abs, box))
                    yield Sample(name, line, landmarks, *look)
    if 0 < largest <= LARGEST_SHARE:
        raise InputError(
            f"{table}: all points are about 0 to 1, which are no pixels of a photo; if they are"
            " shares of its width and height, multiply them by these"
        )


def check_test_points(
    table: Path, image_folder: Path, points: int
) -> Iterator[RequestedPoints | InvalidSample]:
    """Yields the rows of `test_points.csv`, sound or as a reject, as `check_landmarks` does.

    Args:
        table: the file.
        image_folder: where its images are.
        points: how many points a face has.

    Raises:
        InputError: as `contest.iterate_test_points`.
    """
    first_rows, asked_before = FirstRows(), None
    rows = list(requested_points.iterate_test_points(table))
    yield from (row for row in rows if isinstance(row, InvalidSample))
    rows = [row for row in rows if isinstance(row, RequestedPoints)]
    with ThreadPoolExecutor(cores.usable()) as pool:
        looks = _look_at_all(pool, image_folder, [row.file_name for row in rows])
        for row, look in zip(rows, looks, strict=True):
            name, line, indices = row
            asked_before = asked_before or len(indices)
            if isinstance(look, str):
                yield Unreadable(name, line, look)
            elif indices.max() >= points:
                yield InvalidSample(
                    name, line, f"no such point: {indices.max()}, the last is {points - 1}"
                )
            elif len(indices) != asked_before:
                counts = f"{len(indices)}, not {asked_before}"
                yield InvalidSample(name, line, f"another count of points than before: {counts}")
            elif rejects := first_rows.compare(name, line, indices):
                yield from rejects
            else:
                yield row


def boxes(landmarks_photo_px: np.ndarray) -> list[list[float]]:
    """Returns lowest x, lowest y, highest x and highest y of each row of (n, k, 2) points."""
    # One axis at a time: over both at once NumPy takes thirty times as long.
    x, y = landmarks_photo_px[..., 0], landmarks_photo_px[..., 1]
    ends = x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)
    return np.stack(ends, axis=1).tolist()


def lies_far_outside(box: Sequence[float], size_px: tuple[int, int]) -> bool:
    """Whether a box around points reaches farther from the image than the image's longer side.

    Faces at an image's edge have points outside; one so far out is no point of this image.
    """
    (lowest_x, lowest_y, highest_x, highest_y), (width, height) = box, size_px
    margin = _FARTHEST_OUTSIDE * max(size_px)
    return (
        min(lowest_x, lowest_y) < -margin
        or highest_x > width - 1 + margin
        or highest_y > height - 1 + margin
    )


class _Look(NamedTuple):
    """What is seen of an image that can be read."""

    size_px: tuple[int, int]
    digest: bytes


def _look_at_all(
    pool: ThreadPoolExecutor, image_folder: Path, names: list[str]
) -> Iterator[_Look | str]:
    """Yields what `_look_at` says of each image."""
    # OpenCV decodes outside of the interpreter's lock, so threads do; a task for each image would
    # cost as much as reading its row.
    pieces = [names[start : start + 32] for start in range(0, len(names), 32)]
    looks = pool.map(lambda piece: [look_at(image_folder, name) for name in piece], pieces)
    return itertools.chain.from_iterable(looks)


def look_at(image_folder: Path, name: str) -> _Look | str:
    """Returns the image's size and digest, or what is wrong with it."""
    try:
        content = listed_images.read_listed_content(image_folder, name)
        height, width = decoding.decode_image(content).shape[:2]
    except ValueError as error:
        return str(error)
    return _Look((width, height), digest(content))


def digest(*parts: bytes) -> bytes:
    """Returns a short digest of the bytes."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()
