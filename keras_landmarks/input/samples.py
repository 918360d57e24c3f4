"""The valid samples of a split: every row and every image is checked once; the result is kept.

Reading the contest's 3 GB table takes half a minute, and decoding its images takes longer. The
result of both is kept in <prepared>/samples-<key>, so that the next start takes seconds. Landmarks
stay in a file that is mapped into memory, so that memory does not grow with the table.

A kept result is used as long as the table and every file that it lists have the same size and
times as before, and every image that could not be read still cannot be read. Otherwise everything
is checked again. The time of the last status change (ctime) is compared as well, because archives
and `rsync -t` set the modification time: a label can change while size and modification time stay
the same. The price is a needless check after `chmod` or a backup by hard links. What is made from
the images (crops, extra images) is keyed by their content instead, so that such a check does not
make it again.

Measured on 2 cores with 971 points: `stat` of 400,000 files takes 2 s. The table is parsed and
written as int16 at 15,009 rows/s over 400,000 rows (13,006 to 15,850 over 60,000), with 101 MB of
memory. `load_samples` without looking at the images takes 80.7 us of one core per row, and 215 MB.
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

from keras_landmarks.contest import image_names, landmark_tables, locations
from keras_landmarks.contest.checking import (
    UnreadableSample,
    check_landmarks,
    digest,
    inspect_image,
)
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.layouts import gaps
from keras_landmarks.settings import TrainSettings
from keras_landmarks.utils.chunks import in_chunks
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_write, short_hash, write_atomically
from keras_landmarks.utils.folders import atomic_folder
from keras_landmarks.utils.progress import progress

_LANDMARKS, _INDEX = "landmarks.bin", "index.json"
_VERSION = 5  # bump it when the validation rules or the index change
# A network file system answers many requests at once; a local one is no slower for it.
_STAT_THREADS, _STATS_PER_TASK = 16, 1000
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Samples:
    """The n valid samples of a split, each an image with k landmarks.

    Attributes:
        image_folder: the folder of the image files.
        file_names: n names, in the table's order.
        lines: (n,) int64, the line of each sample in the table; the header is line 1.
        landmarks_photo_px: (n, k, 2), int16 or, if the table has fractions or gaps, float32, with
            NaN for landmarks without a place.
        num_missing: the number of landmarks without a place.
        sizes_px: (n, 2), the width and height of each image.
        invalid_samples: the rows that cannot be used, because of themselves or of their image.
        key: identifies the table, the image folder and the limit; part of the names of folders
            with data made from the samples.
        fingerprint: a digest of names, landmarks and image files; it does not change when the
            files are moved or touched.
    """

    image_folder: Path
    file_names: list[str]
    lines: np.ndarray
    landmarks_photo_px: np.ndarray
    num_missing: int
    sizes_px: np.ndarray
    invalid_samples: list[InvalidSample]
    key: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def num_landmarks(self) -> int:
        """Number of landmarks of a face, k."""
        return self.landmarks_photo_px.shape[1]


def load_samples(
    data: Path, split: str, prepared: Path, limit: int | None = None, strict: bool = False
) -> Samples:
    """Returns the valid samples of a split; checks them unless a kept result still holds.

    Args:
        data: a folder in the contest's form.
        split: its sub-folder with `images` and `landmarks.csv`.
        prepared: the folder in which the result is kept.
        limit: read only this many rows.
        strict: treat an invalid sample as an error.

    Raises:
        InputError: there is no such table, no row in it, an invalid sample and `strict`, or more
            than half of the samples are invalid.
    """
    image_folder = locations.find_image_folder(data, split)
    table = data / split / "landmarks.csv"
    if not table.is_file():
        raise InputError(f"{table}: no such file")
    key = _key(table, image_folder, limit)
    folder = prepared / f"samples-{key}"
    samples = _load_if_unchanged(folder, table, image_folder)
    if samples is not None:
        _validate(samples, table, strict)
        return samples
    with atomic_folder(folder) as partial:
        _check_and_save(table, image_folder, limit, key, partial)
        # Inside the context, so that the result is not kept if this raises.
        _validate(_load(partial, image_folder), table, strict)
    return _load(folder, image_folder)


def load_training_samples(settings: TrainSettings) -> Samples:
    """Returns the samples of the split `train` that these settings name (`load_samples`)."""
    files, split = settings.files, settings.split
    return load_samples(Path(files.data), "train", Path(files.prepared), split.limit, split.strict)


def log_invalid_samples(samples: Samples) -> None:
    """Logs the number of invalid samples and the first of them, if there are any."""
    if invalid := samples.invalid_samples:
        logging.warning(
            "%s; %d of %d samples cannot be used and are skipped",
            invalid[0].describe(samples.image_folder.parent / "landmarks.csv"),
            len(invalid),
            len(invalid) + len(samples),
        )


def check_every_landmark(samples: Samples, rows: np.ndarray) -> None:
    """Raises InputError, naming it, if a landmark has a place in none of these training rows."""
    if not samples.num_missing:
        return
    is_known = np.zeros(samples.num_landmarks, bool)
    for some in in_chunks(rows, _ROWS_AT_ONCE):
        is_known |= ~np.isnan(samples.landmarks_photo_px[some, :, 0]).all(axis=0)
    if is_known.all():
        return
    table = samples.image_folder.parent / "landmarks.csv"
    names = landmark_tables.read_point_names(table)
    unknown = [names[point] for point in np.flatnonzero(~is_known)]
    raise landmark_tables.never_placed(table, unknown)


def make_loader(samples: Samples, prepared: Path) -> Callable[[], Samples]:
    """Returns a function that loads these samples in another process, also on another machine.

    It is small to pickle: names and landmarks stay in the files that `load_samples` wrote under
    `prepared`, which the other process must see at the same path. It raises InputError if the
    samples have changed since.
    """
    folder = (prepared / f"samples-{samples.key}").absolute()
    image_folder = samples.image_folder.absolute()
    return functools.partial(_load_again, folder, image_folder, samples.fingerprint)


def fingerprint_rows(samples: Samples, rows: np.ndarray, head: np.ndarray | None = None) -> str:
    """Returns a SHA-256 of the file names and landmarks of these rows.

    The location of the folder does not matter. The contest's 393,930 rows take some 5 s.

    Args:
        samples: the samples.
        rows: of the samples.
        head: (k, 3), the mean head by which images are turned, if they are.
    """
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update(samples.file_names[row].encode() + b"\n")
    for some in in_chunks(rows, _ROWS_AT_ONCE):
        sha256.update(samples.landmarks_photo_px[some].tobytes())
    if head is not None:
        sha256.update(head.round(4).tobytes())  # the last digits may differ between machines
    return sha256.hexdigest()


def _key(table: Path, image_folder: Path, limit: int | None) -> str:
    identity = os.fspath(table.resolve()), os.fspath(image_folder.resolve()), limit, _VERSION
    return short_hash(repr(identity))


def _check_and_save(
    table: Path, image_folder: Path, limit: int | None, key: str, folder: Path
) -> None:
    """Checks all rows and images, and writes the valid samples into `folder`."""
    lines, sizes_px, digests = array.array("q"), array.array("q"), []
    file_names, dtypes, invalid, num_landmarks = [], [], [], 0
    missing = array.array("q")
    checked = check_landmarks(table, image_folder, limit)
    with (folder / _LANDMARKS).open("wb") as file:
        started_ns = os.fstat(file.fileno()).st_ctime_ns
        for item in progress(checked, f"checking {table.parent.name}", "rows", limit):
            if isinstance(item, InvalidSample):
                invalid.append(item)
                continue
            landmarks = item.landmarks_photo_px.tobytes()
            file.write(landmarks)
            lines.append(item.line)
            file_names.append(item.file_name)
            sizes_px.extend(item.size_px)
            missing.append(int(gaps.count_missing(item.landmarks_photo_px)))
            digests.append(digest(item.file_name.encode(), landmarks, item.image_digest))
            dtypes.append(item.landmarks_photo_px.dtype)
            num_landmarks = len(item.landmarks_photo_px)
    invalid.sort(key=lambda sample: sample.line)
    # A later row can make an earlier one invalid that was yielded as valid.
    invalid_lines = {sample.line for sample in invalid}
    is_valid = [line not in invalid_lines for line in lines]
    dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.int16)
    if not all(is_valid) or len(set(dtypes)) > 1:
        _filter_landmarks(folder / _LANDMARKS, dtypes, num_landmarks, is_valid, dtype)
    file_names = list(itertools.compress(file_names, is_valid))
    states = _file_states(table, image_folder, file_names, invalid)
    index = {
        "key": key,
        "points": num_landmarks,
        "dtype": dtype.name,
        "missing": sum(itertools.compress(missing, is_valid)),
        "file_names": file_names,
        "lines": list(itertools.compress(lines, is_valid)),
        "sizes_px": np.reshape(sizes_px, (-1, 2))[is_valid].ravel().tolist(),
        "rejects": invalid,
        "unreadable": [isinstance(sample, UnreadableSample) for sample in invalid],
        "fingerprint": digest(*itertools.compress(digests, is_valid)).hex(),
        # A file that changed during the check may have been read before the change. None never
        # equals a digest, so the next start checks everything again.
        "times": None if states[:, 2].max() > started_ns else digest(states.tobytes()).hex(),
    }
    # Not `write_json`, whose indentation would double the memory and the time.
    write_atomically(folder / _INDEX, json.dumps(index))


def _filter_landmarks(
    path: Path, dtypes: list[np.dtype], num_landmarks: int, keep: list[bool], dtype: np.dtype
) -> None:
    """Rewrites a file of landmarks with the rows to keep only, all of one dtype.

    Args:
        path: the file.
        dtypes: the present dtype of each row.
        num_landmarks: landmarks in a row.
        keep: which rows to keep.
        dtype: the new dtype.
    """
    with atomic_write(path) as partial, path.open("rb") as source, partial.open("wb") as target:
        for row_dtype, kept in zip(dtypes, keep, strict=True):
            row = np.frombuffer(source.read(num_landmarks * 2 * row_dtype.itemsize), row_dtype)
            if kept:
                target.write(row.astype(dtype).tobytes())


def _file_states(
    table: Path, image_folder: Path, file_names: list[str], invalid: list[InvalidSample]
) -> np.ndarray:
    """Returns size, modification time and status change time (ns) of the table and its images.

    The array is (1 + images, 3) int64, with -1 where a file does not exist.
    """
    names = [os.path.abspath(table), *file_names]
    names += filter(image_names.is_valid_name, (sample.file_name for sample in invalid))
    folder = os.open(image_folder, os.O_RDONLY)

    def states(task: list[str]) -> np.ndarray:
        return np.array([_file_state(name, folder) for name in task], np.int64)

    try:
        with ThreadPoolExecutor(_STAT_THREADS) as pool:
            return np.concatenate(list(pool.map(states, in_chunks(names, _STATS_PER_TASK))))
    finally:
        os.close(folder)


def _file_state(name: str, folder: int) -> tuple[int, int, int]:
    for form in image_names.unicode_forms(name):
        with contextlib.suppress(OSError):
            status = os.stat(form, dir_fd=folder)
            return status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return -1, -1, -1


def _load_if_unchanged(folder: Path, table: Path, image_folder: Path) -> Samples | None:
    """Returns the samples kept in `folder`; None if they are missing, damaged or out of date."""
    try:
        index = json.loads((folder / _INDEX).read_text())
        samples = _from_index(index, folder, image_folder)
        states = _file_states(table, image_folder, samples.file_names, samples.invalid_samples)
        holds = index["times"] == digest(states.tobytes()).hex()
        unreadable = itertools.compress(samples.invalid_samples, index["unreadable"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    # Even if the file looks the same: a failing disk or folder may have been the cause.
    holds = holds and all(
        inspect_image(image_folder, name) == reason for name, _, reason in unreadable
    )
    return samples if holds else None


def _load(folder: Path, image_folder: Path) -> Samples:
    """Returns the samples kept in `folder`, without a check whether they are up to date."""
    return _from_index(json.loads((folder / _INDEX).read_text()), folder, image_folder)


def _from_index(index: dict[str, Any], folder: Path, image_folder: Path) -> Samples:
    file_names, num_landmarks = index["file_names"], index["points"]
    landmarks = np.zeros((0, num_landmarks, 2), np.int16)
    if file_names:  # an empty file cannot be mapped
        shape = (len(file_names), num_landmarks, 2)
        landmarks = np.memmap(folder / _LANDMARKS, index["dtype"], mode="r", shape=shape)
    return Samples(
        image_folder=image_folder,
        file_names=file_names,
        lines=np.array(index["lines"], np.int64),
        landmarks_photo_px=landmarks,
        num_missing=index["missing"],
        sizes_px=np.array(index["sizes_px"]).reshape(-1, 2),
        invalid_samples=[InvalidSample(*sample) for sample in index["rejects"]],
        key=index["key"],
        fingerprint=index["fingerprint"],
    )


@functools.lru_cache(maxsize=1)  # a worker process gets many pieces of the same work
def _load_again(folder: Path, image_folder: Path, fingerprint: str) -> Samples:
    samples = _load(folder, image_folder)
    if samples.fingerprint != fingerprint:
        raise InputError(f"{image_folder}: the data changed since the start; start again")
    return samples


def _validate(samples: Samples, table: Path, strict: bool) -> None:
    """Raises InputError if too many samples are invalid, or none is valid."""
    invalid = samples.invalid_samples
    if invalid and (strict or len(invalid) > len(samples)):
        count = f"{len(invalid):,} of {len(invalid) + len(samples):,} samples cannot be used"
        hint = "" if strict else ": is --data right?"
        raise InputError(f"{invalid[0].describe(table)}; {count}{hint}")
    if not len(samples):
        raise InputError(f"{table}: there is no row under the header")
