"""The prepared store: a folder's photos decoded and framed once, read back without decoding.

It is a dataset of TensorFlow Datasets, which `tfds.builder_from_directory` opens as any other:
TFRecord files with a checksum for every record, in the order of the samples. A record holds

    image      (height, width, 3) uint8
    landmarks  (k, 2) float32, pixels of that image
    scale, offset  (2,) float64: landmarks = landmarks_photo_px * scale + offset

as raw bytes, so all records of a store are equally long and have their fields at the same places.
A row is found by arithmetic, then, and read straight into the batch: any order of rows costs the
same, nothing is parsed, and no more is in memory than the batch.

Every file is written whole. A preparation that was killed keeps its finished ones: started again,
it makes the rest.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.core.writer import ShardWriter

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.samples import Samples, reopener
from keras_landmarks.utils import cores
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_folder, atomic_write, write_json
from keras_landmarks.utils.progress import progress

_SEAL = "store.json"  # written last: what the store was made from and what its files are
_FORMAT = 3  # rises when the same photos come to mean other records
_SHARD_BYTES = 1 << 28  # what a kill costs: some seconds' work
_MOST_SHARDS = 512  # all are open while the store is, and many systems allow a process 1,024 files
_ROWS_PER_TASK = 16
_RECORD_HEADER_BYTES, _RECORD_FOOTER_BYTES = 12, 4  # TFRecord: length and checksum; checksum
_FIELDS = ("image", "landmarks", "scale")  # what is read of a record, in the record's order


class CropCache:
    """A prepared store, open for reading. Threads may share it."""

    def __init__(self, folder: Path):
        """Opens the store that `prepare` made."""
        seal = json.loads((folder / _SEAL).read_text())
        self.points: int = seal["points"]
        self.frame = CropSpec(**seal["frame"])
        self._rows: int = seal["rows"]
        self._rows_per_shard: int = seal["rows_per_shard"]
        self._record_bytes: int = seal["record_bytes"]
        image, landmarks, scale = (seal["places"][name] for name in _FIELDS)
        self._start, self._bytes_read = image, scale + 16 - image
        # What lies between the fields is read with them, for that takes one call of the system. No
        # one looks at it, so threads may share where it goes.
        image_end, landmarks_end = image + math.prod(self.frame.shape), landmarks + 8 * self.points
        self._gaps = bytearray(landmarks - image_end), bytearray(scale - landmarks_end)
        self._files = [(folder / name).open("rb", buffering=0) for name in seal["shards"]]

    def __len__(self) -> int:
        return self._rows

    def read_into(
        self, row: int, image: np.ndarray, landmarks_crop_px: np.ndarray, scale: np.ndarray
    ) -> None:
        """Fills a crop (height, width, 3) uint8, its points (k, 2) float32, its scale (2,) float64.

        Raises:
            InputError: the file was cut off meanwhile.
        """
        shard, record = divmod(row, self._rows_per_shard)
        file, start = self._files[shard], record * self._record_bytes + self._start
        # pread: one copy, and unlike with a mapped file no page stays in the process's memory.
        buffers = [image, self._gaps[0], landmarks_crop_px, self._gaps[1], scale]
        if os.preadv(file.fileno(), buffers, start) != self._bytes_read:
            raise InputError(f"{file.name}: cut off; start again, and it is made anew")


def build_cache(
    photos: Photos, prepared: Path, threads: int | None = None, for_each: Callable | None = None
) -> CropCache:
    """Returns the store of these photos; makes it first if it is not there, whole and up to date.

    There is one store for a frame, a table with its images, and a limit (`Samples.key`):
    <prepared>/crops-<frame>-<key>. When the data changes, a new one takes its place.

    Args:
        photos: what to store, all rows.
        prepared: folder for everything made from the data.
        threads: decoders at work; None for one on each core.
        for_each: calls a function for each item on workers that see `prepared` (`beam.workers`);
            each makes whole shards then.

    Raises:
        InputError: a photo broke since it was checked, or the disk is too small.
    """
    folder = prepared / f"crops-{photos.frame}-{photos.samples.key}"
    fingerprint = _fingerprint(photos)
    if not _is_sound(folder, fingerprint):
        with atomic_folder(folder, key=fingerprint) as partial:
            shutil.rmtree(folder, ignore_errors=True)  # out of date, and the new one needs its room
            _keep_only_shards(partial)
            _require_room(photos, partial, folder)
            if for_each:
                _write_on_workers(photos, prepared, partial, for_each)
            _write(photos, partial, threads or cores.usable())
            write_json(partial / _SEAL, _seal(photos, partial, fingerprint))
    return CropCache(folder)


def _fingerprint(photos: Photos) -> str:
    """Changes when a label or an image does, or what is made of them."""
    facts = photos.samples.fingerprint, photos.frame, _rows_per_shard(photos), _FORMAT
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _require_room(photos: Photos, partial: Path, folder: Path) -> None:
    """Says what the store will take of the disk; InputError if there is less."""
    needed = len(photos) * _estimate_record_bytes(photos)
    free = shutil.disk_usage(folder.parent).free
    made = sum(shard.stat().st_size for shard in _find_shards(partial))
    if needed > made + free:
        raise InputError(
            f"{folder.parent}: the prepared images take {needed / 1e6:,.1f} MB and"
            f" {(made + free) / 1e6:,.1f} MB are free; make room, give another --prepared, or read"
            " the images' own files with --noprepare"
        )
    logging.info(
        "preparing %d images of %s: %.1f MB in %s",
        len(photos),
        photos.samples.image_folder,
        needed / 1e6,
        folder,
    )


def _estimate_record_bytes(photos: Photos) -> int:
    return math.prod(photos.frame.shape) + 8 * photos.points + 160


# ── writing ──


class Crops(tfds.core.ShardBasedBuilder):
    """TFDS's builder of a store. Shards are made one after the other, rows in order."""

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded. Left to itself TFDS looks for a list of URLs beside this module, with
    # a package that it does not ask for when it is installed.
    url_infos: ClassVar = None

    def __init__(self, photos: Photos, data_dir: Path):
        """Takes the photos and the folder, which may hold finished shards."""
        self._photos = photos
        super().__init__(data_dir=data_dir)

    def shards_left(self) -> list[tuple[range, Path]]:
        """Returns rows and file of each shard that is not finished."""
        return [(rows, path) for rows, path in self._shards() if not path.exists()]

    def write_shard(self, rows: range, path: Path, crops: Iterator[tuple]) -> None:
        """Writes one of the shards left, by itself; its crops are what `Photos.read` says."""
        self._crops = crops
        features = self.info.features
        serializer = ExampleSerializer(features.get_serialized_info())
        writer = ShardWriter(features, serializer, self._example_writer())
        writer.write(self._examples(rows, path), path)

    def write(self, crops: Iterator[tuple]) -> None:
        """Writes the missing shards and the dataset's description.

        `download_and_prepare` works in a folder of a new name each time, so nothing that a killed
        process made would be found again.

        Args:
            crops: what `Photos.read` says of each of the rows left.
        """
        self._crops = crops
        self.data_path.mkdir(parents=True, exist_ok=True)
        self._download_and_prepare(dl_manager=None)
        self.info.download_size = 0
        self.info.write_to_directory(self.data_path)

    def _info(self) -> tfds.core.DatasetInfo:
        raw = functools.partial(tfds.features.Tensor, encoding=tfds.features.Encoding.BYTES)
        features = {
            "image": raw(shape=self._photos.frame.shape, dtype=np.uint8),
            "landmarks": raw(shape=(self._photos.points, 2), dtype=np.float32),
            "scale": raw(shape=(2,), dtype=np.float64),
            "offset": raw(shape=(2,), dtype=np.float64),
        }
        return _LocalInfo(
            builder=self,
            description="Photos framed to one size, with landmarks in their pixels.",
            features=tfds.features.FeaturesDict(features),
        )

    def _shards(self) -> list[tuple[range, Path]]:
        rows, step = range(len(self._photos)), _rows_per_shard(self._photos)
        pieces = [rows[start : start + step] for start in range(0, len(rows), step)]
        name = self._get_filename_template("train")
        return [
            (piece, Path(name.sharded_filepath(shard_index=index, num_shards=len(pieces))))
            for index, piece in enumerate(pieces)
        ]

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return _WholeShards(self.info.file_format)

    def _shard_iterators_per_split(self, dl_manager) -> dict[str, list]:
        return {"train": [functools.partial(self._examples, *shard) for shard in self._shards()]}

    def _examples(self, rows: range, path: Path) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        if path.exists():
            yield from ((row, {}) for row in rows)  # TFDS counts them
            return
        for row, (image, landmarks, framing) in zip(rows, self._crops, strict=False):
            example = {"image": image, "landmarks": landmarks, **framing._asdict()}
            yield row, example
            example.clear()  # TFDS keeps hold of what it has written until the shard is full


class _LocalInfo(tfds.core.DatasetInfo):
    """The description of a dataset that no one has published."""

    def initialize_from_bucket(self) -> None:
        """TFDS would ask a server for it, and leave an empty temporary folder behind."""


class _WholeShards(tfds.core.ExampleWriter):
    """Writes each shard whole, unless it is there."""

    def write(self, path, examples) -> None:
        if os.path.exists(path):
            return
        try:
            with atomic_write(Path(path)) as partial:
                super().write(partial, map(_in_order, examples))
        except tf.errors.OpError as error:  # the system's own words come last
            raise OSError(errno.ENOSPC, error.message.rpartition("; ")[2]) from None


def _in_order(keyed: tuple[int, bytes]) -> tuple[int, bytes]:
    # Protobuf writes a record's fields in an order that is another in every process.
    key, record = keyed
    return key, tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def _rows_per_shard(photos: Photos) -> int:
    by_size = _SHARD_BYTES // _estimate_record_bytes(photos)
    return max(1, by_size, -(-len(photos) // _MOST_SHARDS))


def _write_on_workers(photos: Photos, prepared: Path, folder: Path, for_each: Callable) -> None:
    reopen = reopener(photos.samples, prepared)
    write = functools.partial(_write_shard, reopen, photos.frame, folder)
    for_each(write, Crops(photos, folder).shards_left())


def _write_shard(
    reopen: Callable[[], Samples], frame: CropSpec, folder: Path, shard: tuple[range, Path]
) -> None:
    photos = Photos(reopen(), frame)
    rows, path = shard
    Crops(photos, folder).write_shard(rows, path, map(photos.read, rows))


def _write(photos: Photos, folder: Path, threads: int) -> None:
    builder = Crops(photos, folder)
    rows = [row for rows, _ in builder.shards_left() for row in rows]
    crops = _read_rows(photos, rows, threads)
    if rows:  # workers may have made them all
        crops = progress(crops, "preparing", "images", len(rows))
    with contextlib.closing(crops), _silent_tfds():
        builder.write(crops)


def _read_rows(photos: Photos, rows: list[int], threads: int) -> Iterator[tuple]:
    """Yields what `Photos.read` says of each row, in order."""
    tasks = [rows[start : start + _ROWS_PER_TASK] for start in range(0, len(rows), _ROWS_PER_TASK)]
    # OpenCV decodes outside of the interpreter's lock, so threads do.
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(tasks), 4 * threads):  # few at a time: memory stays bounded
            pieces = tasks[start : start + 4 * threads]
            for crops in pool.map(lambda piece: [photos.read(row) for row in piece], pieces):
                yield from crops


@contextlib.contextmanager
def _silent_tfds() -> Iterator[None]:
    """TFDS logs which split it is at; there is one."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


# ── the seal ──


def _keep_only_shards(folder: Path) -> None:
    """Removes what is quickly made anew, and may be half written."""
    for path in {path for path in folder.rglob("*") if path.is_file()} - set(_find_shards(folder)):
        path.unlink()


def _find_shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("[!.]*.tfrecord-*"))


def _seal(photos: Photos, folder: Path, fingerprint: str) -> dict:
    """Returns what reading needs to know and what a sound store is known by."""
    paths = _find_shards(folder)
    record_bytes, places = _find_layout(paths)
    return {
        "fingerprint": fingerprint,
        "frame": dataclasses.asdict(photos.frame),
        "points": photos.points,
        "rows": len(photos),
        "rows_per_shard": _rows_per_shard(photos),
        "record_bytes": record_bytes,
        "places": places,
        "shards": {str(path.relative_to(folder)): path.stat().st_size for path in paths},
    }


def _find_layout(shards: list[Path]) -> tuple[int, dict[str, int]]:
    """Returns a record's length and where in it the fields' bytes begin, the same in all shards."""
    layouts = []
    for path in shards:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(_RECORD_HEADER_BYTES)[:8])
            record = file.read(length)
        fields = tf.train.Example.FromString(record).features.feature
        places = {
            name: _RECORD_HEADER_BYTES
            + record.index(fields[name].bytes_list.value[0], record.index(name.encode()))
            for name in _FIELDS
        }
        record_bytes = _RECORD_HEADER_BYTES + length + _RECORD_FOOTER_BYTES
        assert path.stat().st_size % record_bytes == 0, f"{path}: records of several lengths"
        layouts.append((record_bytes, places))
    assert all(layout == layouts[0] for layout in layouts), f"{shards[0]}: records differ in layout"
    return layouts[0]


def _is_sound(folder: Path, fingerprint: str) -> bool:
    """Tells whether the store was made from just this and its files are whole."""
    try:
        seal = json.loads((folder / _SEAL).read_text())
        if seal["fingerprint"] != fingerprint:
            return False
        sealed_ns = (folder / _SEAL).stat().st_mtime_ns
        rows = sum(
            _count_rows(folder / name, size, sealed_ns, seal["record_bytes"])
            for name, size in seal["shards"].items()
        )
        if rows == seal["rows"]:
            return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (ValueError, KeyError, TypeError, tf.errors.DataLossError):
        pass
    logging.warning("%s is damaged; making it anew", folder)
    return False


def _count_rows(path: Path, size: int, sealed_ns: int, record_bytes: int) -> int:
    """Counts a shard's records; reads them and their checksums only if it was touched since."""
    status = path.stat()
    if status.st_size == size and status.st_mtime_ns < sealed_ns:
        return size // record_bytes
    return int(tf.data.TFRecordDataset(os.fspath(path)).reduce(np.int64(0), lambda n, _: n + 1))
