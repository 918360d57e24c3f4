"""The sound samples of one split: every row and every image checked once, remembered on disk.

Reading the contest's 3 GB table takes half a minute and decoding its images more; the result of
both is kept under the prepared folder, so the next start takes seconds. Points stay in a file and
are mapped into memory, so memory does not grow with the table.

What is remembered holds as long as the table and every file that it lists have the size and the
times that they had, and every image that could not be read still cannot. Otherwise everything is
checked again. The time of the last change of status (ctime) counts, too: archives and `rsync -t`
set the time of modification, so a label can change while that and the size stay. The price is a
needless check after `chmod` or a backup by hard links.
"""

import array
import contextlib
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_landmarks.contest import (
    image_names,
    locations,
    table_files,
)
from keras_landmarks.contest.checking import Unreadable, check_landmarks, digest, look_at
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_folder, atomic_write, write_atomically
from keras_landmarks.utils.progress import progress

_LANDMARKS, _INDEX = "landmarks.bin", "index.json"
_FORMAT = 4  # rises when other samples come to be sound, or more is remembered of them
# A network file system answers many questions at once; a local one is no slower.
_STAT_THREADS, _STATS_PER_TASK = 16, 1000
_ROWS_FINGERPRINTED = 1000


@dataclass(frozen=True)
class Samples:
    """n images with k points each.

    Attributes:
        image_folder: where the files are.
        file_names: n names, in the table's order.
        lines: (n,) lines in the table; the header is 1.
        landmarks_photo_px: (n, k, 2), int16 or, if the table has fractions, float32.
        sizes_px: (n, 2) widths and heights.
        rejects: rows and images that cannot be used.
        key: says of which table, images and limit they are; what is made of them is kept under it.
        fingerprint: changes when a name, a point or an image does; moving or touching the files
            does not change it.
    """

    image_folder: Path
    file_names: list[str]
    lines: np.ndarray
    landmarks_photo_px: np.ndarray
    sizes_px: np.ndarray
    rejects: list[InvalidSample]
    key: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def points(self) -> int:
        """Number of points on a face."""
        return self.landmarks_photo_px.shape[1]


def load_samples(
    data: Path, split: str, prepared: Path, limit: int | None = None, strict: bool = False
) -> Samples:
    """Returns the split's sound samples; checks them first if that was not done before.

    Args:
        data: folder in the contest's form.
        split: its sub-folder with `images` and `landmarks.csv`.
        prepared: folder in which the result is remembered.
        limit: read only this many rows.
        strict: a broken sample is an error.

    Raises:
        InputError: there is no such table, a sample is broken and `strict`, or most are.
    """
    image_folder = locations.find_image_folder(data, split)
    table = data / split / "landmarks.csv"
    if not table.is_file():
        raise InputError(f"{table}: no such file")
    key = _key(table, image_folder, limit)
    folder = prepared / f"samples-{key}"
    samples = _recall(folder, table, image_folder)
    if samples is not None:
        _refuse(samples, table, strict)
        return samples
    with atomic_folder(folder) as partial:
        _check_and_remember(table, image_folder, limit, key, partial)
        _refuse(_open(partial, image_folder), table, strict)  # within: it is not remembered then
    return _open(folder, image_folder)


def warn_of_rejects(samples: Samples) -> None:
    """Logs how many samples cannot be used, and the first of them."""
    if samples.rejects:
        name, line, reason = samples.rejects[0]
        logging.warning(
            "%s, line %d (%s): %s; %d of %d samples cannot be used and are skipped",
            samples.image_folder.parent / "landmarks.csv",
            line,
            table_files.printable(name),
            reason,
            len(samples.rejects),
            len(samples.rejects) + len(samples),
        )


def reopener(samples: Samples, prepared: Path) -> Callable[[], Samples]:
    """Returns what opens these samples in another process, be it on another machine.

    It is light to send: names and points stay in the files that `load_samples` left in `prepared`.
    """
    folder = (prepared / f"samples-{samples.key}").absolute()
    return functools.partial(_reopen, folder, samples.image_folder.absolute(), samples.fingerprint)


def fingerprint_rows(samples: Samples, rows: np.ndarray) -> str:
    """Returns what changes when other images are in these rows, or their points are others.

    Points are looked at in a thousand rows at most: of a large table all are gigabytes. Where the
    folder lies makes no difference.
    """
    known = hashlib.sha256()
    for row in rows:
        known.update(samples.file_names[row].encode() + b"\n")
    some = rows[:: len(rows) // _ROWS_FINGERPRINTED + 1]
    known.update(samples.landmarks_photo_px[some].tobytes())
    return known.hexdigest()


def _key(table: Path, image_folder: Path, limit: int | None) -> str:
    facts = os.fspath(table.resolve()), os.fspath(image_folder.resolve()), limit, _FORMAT
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _check_and_remember(
    table: Path, image_folder: Path, limit: int | None, key: str, folder: Path
) -> None:
    lines, sizes_px, digests = array.array("q"), array.array("q"), []
    file_names, dtypes, rejects, points = [], [], [], 0
    checked = check_landmarks(table, image_folder, limit)
    with (folder / _LANDMARKS).open("wb") as file:
        started_ns = os.fstat(file.fileno()).st_ctime_ns
        for item in progress(checked, f"checking {table.parent.name}", "rows", limit):
            if isinstance(item, InvalidSample):
                rejects.append(item)
                continue
            landmarks = item.landmarks_photo_px.tobytes()
            file.write(landmarks)
            lines.append(item.line)
            file_names.append(item.file_name)
            sizes_px.extend(item.size_px)
            digests.append(digest(item.file_name.encode(), landmarks, item.image_digest))
            dtypes.append(item.landmarks_photo_px.dtype)
            points = len(item.landmarks_photo_px)
    rejects.sort(key=lambda reject: reject.line)
    taken_back = {reject.line for reject in rejects}
    sound = [line not in taken_back for line in lines]
    dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.int16)
    if not all(sound) or len(set(dtypes)) > 1:
        _rewrite(folder / _LANDMARKS, dtypes, points, sound, dtype)
    file_names = list(itertools.compress(file_names, sound))
    times = _times_of_all(table, image_folder, file_names, rejects)
    index = {
        "key": key,
        "points": points,
        "dtype": dtype.name,
        "file_names": file_names,
        "lines": list(itertools.compress(lines, sound)),
        "sizes_px": np.reshape(sizes_px, (-1, 2))[sound].ravel().tolist(),
        "rejects": rejects,
        "unreadable": [isinstance(reject, Unreadable) for reject in rejects],
        "fingerprint": digest(*itertools.compress(digests, sound)).hex(),
        # What changed meanwhile may not have been seen as it is now: never the same again.
        "times": None if times[:, 2].max() > started_ns else digest(times.tobytes()).hex(),
    }
    # Not `write_json`: indented it would take twice the memory of all that is in it, and the time.
    write_atomically(folder / _INDEX, json.dumps(index))


def _rewrite(
    path: Path, dtypes: list[np.dtype], points: int, keep: list[bool], dtype: np.dtype
) -> None:
    """Leaves the rows to keep in the file, all of one type."""
    with atomic_write(path) as partial, path.open("rb") as source, partial.open("wb") as target:
        for own, kept in zip(dtypes, keep, strict=True):
            row = np.frombuffer(source.read(points * 2 * own.itemsize), own)
            if kept:
                target.write(row.astype(dtype).tobytes())


def _times_of_all(
    table: Path, image_folder: Path, file_names: list[str], rejects: list[InvalidSample]
) -> np.ndarray:
    """Returns size, time of modification and of status change (ns) of the table and its images.

    (1 + images, 3) int64; -1 where there is no such file.
    """
    names = [os.path.abspath(table), *file_names]
    names += filter(image_names.can_be_listed, (reject.file_name for reject in rejects))
    folder = os.open(image_folder, os.O_RDONLY)

    def stat_piece(start: int) -> list[tuple[int, int, int]]:
        return [_times(name, folder) for name in names[start : start + _STATS_PER_TASK]]

    try:
        with ThreadPoolExecutor(_STAT_THREADS) as pool:
            pieces = pool.map(stat_piece, range(0, len(names), _STATS_PER_TASK))
            return np.concatenate([np.array(piece, np.int64) for piece in pieces])
    finally:
        os.close(folder)


def _times(name: str, folder: int) -> tuple[int, int, int]:
    for form in image_names.unicode_forms(name):
        with contextlib.suppress(OSError):
            status = os.stat(form, dir_fd=folder)
            return status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return -1, -1, -1


def _recall(folder: Path, table: Path, image_folder: Path) -> Samples | None:
    """Returns the samples that `folder` remembers; None if that does not hold, or is damaged."""
    try:
        index = json.loads((folder / _INDEX).read_text())
        samples = _as_samples(index, folder, image_folder)
        times = _times_of_all(table, image_folder, samples.file_names, samples.rejects)
        holds = index["times"] == digest(times.tobytes()).hex()
        unreadable = itertools.compress(samples.rejects, index["unreadable"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    # However its file looks: what could not be read may have been the fault of its disk or folder.
    holds = holds and all(look_at(image_folder, name) == why for name, _, why in unreadable)
    return samples if holds else None


def _open(folder: Path, image_folder: Path) -> Samples:
    """Returns the samples that were just remembered in `folder`."""
    return _as_samples(json.loads((folder / _INDEX).read_text()), folder, image_folder)


def _as_samples(index: dict[str, Any], folder: Path, image_folder: Path) -> Samples:
    file_names, points = index["file_names"], index["points"]
    landmarks = np.zeros((0, points, 2), np.int16)
    if file_names:  # an empty file cannot be mapped
        shape = (len(file_names), points, 2)
        landmarks = np.memmap(folder / _LANDMARKS, index["dtype"], mode="r", shape=shape)
    return Samples(
        image_folder=image_folder,
        file_names=file_names,
        lines=np.array(index["lines"], np.int64),
        landmarks_photo_px=landmarks,
        sizes_px=np.array(index["sizes_px"]).reshape(-1, 2),
        rejects=[InvalidSample(*reject) for reject in index["rejects"]],
        key=index["key"],
        fingerprint=index["fingerprint"],
    )


@functools.lru_cache(maxsize=1)  # a worker gets one piece of the work after another
def _reopen(folder: Path, image_folder: Path, fingerprint: str) -> Samples:
    samples = _open(folder, image_folder)
    if samples.fingerprint != fingerprint:
        raise InputError(f"{image_folder}: the data changed since the start; start again")
    return samples


def _refuse(samples: Samples, table: Path, strict: bool) -> None:
    rejects = samples.rejects
    if rejects and (strict or len(rejects) > len(samples)):
        name, line, reason = rejects[0]
        where = f"{table}, line {line} ({name}): {reason}"
        count = f"{len(rejects):,} of {len(rejects) + len(samples):,} samples cannot be used"
        raise InputError(f"{where}; {count}" + ("" if strict else ": is --data right?"))
    if not len(samples):
        raise InputError(f"{table}: there is no row under the header")
