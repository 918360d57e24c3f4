"""Extra training images, made offline from the first rows: shifted, scaled and rotated.

The images are written to <prepared>/augmented-<key>, a folder in the contest's form. The key
depends on the data and the settings, so that trainings with different settings do not share images.
An image of which a landmark moves beyond the edge is dropped and counted. The same seed gives the
same files, whatever the number of processes and however often the work was killed and resumed.
"""

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from keras_landmarks.contest import grouping, landmark_tables, listed_images
from keras_landmarks.images import decoding
from keras_landmarks.input.samples import Samples, load_samples, make_loader
from keras_landmarks.settings import AugmentationSettings, ExtraImageSettings, TrainSettings
from keras_landmarks.utils import beam
from keras_landmarks.utils.chunks import in_chunks
from keras_landmarks.utils.disk import flush_folder
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import atomic_write, short_hash, write_json
from keras_landmarks.utils.folders import atomic_folder, finish_replacing
from keras_landmarks.utils.journal import Journal
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress
from keras_landmarks.utils.seeding import sample_seed

# With --augment_refill: give up after this many attempts per image on average.
_ATTEMPTS_PER_IMAGE = 20
_VERSION = 1  # bump it when the same settings give other images
# Only while the images are made: the result of each attempt, and the files of Beam's workers.
_JOURNAL, _PIECES = "attempts.bin", "pieces"
_ATTEMPTS_PER_PIECE = 256  # about a second of work for one core


@dataclass(frozen=True)
class ExtraImageSpec:
    """The settings that the extra images depend on.

    Attributes:
        count: how many images to make.
        refill: replace dropped images by further attempts.
        rotate_limit: maximum rotation, degrees.
        shift_limit: maximum shift, as a fraction of the image's sides.
        scale_limit: maximum change of scale, as a fraction.
        seed: the random seed.
    """

    count: int
    refill: bool = ExtraImageSettings.augment_refill
    rotate_limit: float = AugmentationSettings.rotate_limit
    shift_limit: float = AugmentationSettings.shift_limit
    scale_limit: float = AugmentationSettings.scale_limit
    seed: int = 0

    @classmethod
    def of(cls, settings: TrainSettings) -> "ExtraImageSpec":
        """Returns the spec for the settings of a training."""
        extra, limits = settings.extra_images, settings.augmentation
        return cls(
            extra.augment_count,
            extra.augment_refill,
            limits.rotate_limit,
            limits.shift_limit,
            limits.scale_limit,
            settings.run.seed,
        )

    def record(self, samples: Samples) -> dict[str, Any]:
        """Returns the record in settings.json, whose hash is the key of the folder."""
        return {
            "augment_count": self.count,
            "augment_refill": self.refill,
            "rotate_limit": self.rotate_limit,
            "shift_limit": self.shift_limit,
            "scale_limit": self.scale_limit,
            "seed": self.seed,
            "samples": samples.fingerprint,
            "format": _VERSION,
        }


def load_extra_images(
    samples: Samples,
    train_rows: np.ndarray,
    settings: TrainSettings,
    for_each: beam.ForEach | None = None,
) -> tuple[Samples, np.ndarray]:
    """Returns the extra images of a training, which are made unless they exist, and rows of them.

    Args:
        samples: the samples to make images from.
        train_rows: the rows of the samples that are trained on.
        settings: the settings of the training.
        for_each: as in `make_extra_images`.

    Returns:
        The extra images, and those of their rows that were made from photos in `train_rows`. Images
        made from held-out photos must not be trained on.
    """
    prepared = Path(settings.files.prepared)
    spec = ExtraImageSpec.of(settings)
    made = make_extra_images(samples, prepared, spec, settings.run.processes, for_each)
    folder = Path(made["folder"])
    extra = load_samples(folder, "train", prepared)
    source_of = grouping.read_group_table(folder / grouping.SOURCES_FILE)
    trained_on = {samples.file_names[row] for row in train_rows}
    is_usable = np.array([source_of[name] in trained_on for name in extra.file_names])
    logging.info(
        "extra images %s in %s: %d; dropped %d that lost a point, left out %d whose photos are held"
        " out for validation or excluded",
        "made" if made["made"] else "found",
        folder,
        made["written"],
        made["dropped"],
        np.sum(~is_usable),
    )
    return extra, np.flatnonzero(is_usable)


def make_extra_images(
    samples: Samples,
    prepared: Path,
    spec: ExtraImageSpec,
    processes: int | None = None,
    for_each: beam.ForEach | None = None,
) -> dict[str, Any]:
    """Writes the extra images to <prepared>/augmented-<key>, unless they exist.

    The key is a hash of the settings and the samples. The folder holds train/images,
    train/landmarks.csv, sources.csv (the photo that each image was made from) and settings.json
    (the settings and what was written).

    Args:
        samples: the samples to make images from.
        prepared: the folder for everything made from the data.
        spec: how many images to make and how.
        processes: the number of worker processes; None for one per usable core.
        for_each: calls a function for each item on Beam's workers, which see `prepared`
            (`beam.make_for_each`); None for processes of this machine.

    Returns:
        The number of images `written` and `dropped`, the `folder`, and whether they were `made` by
        this call.

    Raises:
        InputError: every image was dropped.
    """
    record = spec.record(samples)
    key = short_hash(json.dumps(record))
    folder = prepared / f"augmented-{key}"
    finish_replacing(folder)
    if made := _read_settings(folder):
        return made["figures"] | {"folder": str(folder), "made": False}
    with atomic_folder(folder, key=key) as partial:
        journal, made = partial / _JOURNAL, _read_settings(partial)
        # With settings.json and no journal the run was killed just before its end.
        if not made or journal.exists():
            if for_each:
                make = functools.partial(_make_on_workers, for_each, prepared, partial / _PIECES)
            else:
                make = functools.partial(_make_in_processes, processes)
            results = _write_images(samples, partial, spec, make)
            made = {"settings": record, "figures": results}
            write_json(partial / "settings.json", made)
            shutil.rmtree(partial / _PIECES, ignore_errors=True)
            # Before the journal is deleted: after a power cut it tells what is missing.
            flush_folder(partial)
            journal.unlink()
    return made["figures"] | {"folder": str(folder), "made": True}


def _read_settings(folder: Path) -> dict | None:
    try:
        return json.loads((folder / "settings.json").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _write_images(
    samples: Samples, folder: Path, spec: ExtraImageSpec, make: Callable[..., Iterator[tuple]]
) -> dict:
    """Makes the images that the journal does not have yet, then writes the tables.

    Args:
        samples: the samples to make images from.
        folder: the folder to write.
        spec: how many images to make and how.
        make: a function of samples, spec and a range of attempts that yields their results, as
            `_make_image`.

    Returns:
        The number of images `written` and `dropped`.
    """
    images = folder / "train" / "images"
    images.mkdir(parents=True, exist_ok=True)
    sample_landmarks = samples.landmarks_photo_px
    landmarks_field = ("landmarks_px", sample_landmarks.dtype, sample_landmarks.shape[1:])
    attempt = np.dtype([("jpeg_bytes", np.uint32), landmarks_field])  # 0 bytes: dropped
    with Journal(folder / _JOURNAL, attempt) as journal:
        journal.truncate(_count_whole(journal.read()["jpeg_bytes"], images))
        written = int(np.count_nonzero(journal.read()["jpeg_bytes"]))
        numbers = range(len(journal), _count_attempts(spec))
        results = make(samples, spec, numbers)
        results = progress(results, "augmenting", "images", spec.count - written)
        while written < spec.count and (result := next(results, None)):
            jpeg, landmarks_px = result
            if jpeg is not None:
                (images / _file_name(written)).write_bytes(jpeg)
                written += 1
            # After the image, so that everything in the journal exists.
            journal.append(np.array((len(jpeg or b""), landmarks_px), attempt))
        attempts = journal.read()
    if not written:
        raise InputError(
            "every extra image lost a point over its edge: lower --rotate_limit, --shift_limit or"
            " --scale_limit"
        )
    kept = np.flatnonzero(attempts["jpeg_bytes"])
    file_names = [_file_name(index) for index in range(written)]
    landmarks = (attempts[number]["landmarks_px"] for number in kept)
    landmark_tables.write_landmarks(folder / "train" / "landmarks.csv", file_names, landmarks)
    sources = [samples.file_names[number % len(samples)] for number in kept]
    grouping.write_group_table(folder / grouping.SOURCES_FILE, "source", file_names, sources)
    return {"written": written, "dropped": len(attempts) - written}


def _count_whole(jpeg_bytes: np.ndarray, images: Path) -> int:
    """Returns how many attempts precede the first whose image is missing or incomplete."""
    written = 0
    for attempt, size in enumerate(jpeg_bytes.tolist()):
        if size:
            path = images / _file_name(written)
            if not path.exists() or path.stat().st_size != size:
                return attempt
            written += 1
    return len(jpeg_bytes)


def _file_name(index: int) -> str:
    return f"extra_{index:06d}.jpg"


def _count_attempts(spec: ExtraImageSpec) -> int:
    return spec.count * (_ATTEMPTS_PER_IMAGE if spec.refill else 1)


# ── two ways to run attempts; both yield the results of `_make_image` in order ──


def _make_in_processes(
    processes: int | None, samples: Samples, spec: ExtraImageSpec, numbers: range
) -> Iterator[tuple]:
    make = functools.partial(_make_image, spec, samples.image_folder)
    return parallel_map(make, _iterate_attempts(samples, numbers), processes)


def _make_on_workers(
    for_each: beam.ForEach,
    prepared: Path,
    folder: Path,
    samples: Samples,
    spec: ExtraImageSpec,
    numbers: range,
) -> Iterator[tuple]:
    """Has workers write the results of a piece of the attempts to each missing file in `folder`."""
    folder.mkdir(exist_ok=True)
    write = functools.partial(_write_piece, make_loader(samples, prepared), spec)
    # Not all attempts at once, because only a few of those for refilling are needed.
    count = spec.count
    for part in [numbers[:count], *in_chunks(numbers[count:], -(-count // 4))]:
        pieces = [
            (piece, folder / f"{piece[0]}-{piece[-1]}.npz")
            for piece in in_chunks(part, _ATTEMPTS_PER_PIECE)
        ]
        for_each(write, [(piece, path) for piece, path in pieces if not path.exists()])
        for _, path in pieces:
            yield from _read_piece(path)


def _write_piece(
    load: Callable[[], Samples], spec: ExtraImageSpec, piece: tuple[range, Path]
) -> None:
    numbers, path = piece
    samples = load()
    make = functools.partial(_make_image, spec, samples.image_folder)
    jpegs, landmarks_px = zip(*map(make, _iterate_attempts(samples, numbers)), strict=True)
    jpegs = [jpeg or b"" for jpeg in jpegs]
    with atomic_write(path) as partial:
        np.savez(
            partial,
            landmarks_px=landmarks_px,
            sizes=[len(jpeg) for jpeg in jpegs],
            jpegs=np.frombuffer(b"".join(jpegs), np.uint8),
        )


def _read_piece(path: Path) -> Iterator[tuple]:
    with np.load(path) as piece:
        jpegs = np.split(piece["jpegs"], np.cumsum(piece["sizes"])[:-1])
        for jpeg, landmarks_px in zip(jpegs, piece["landmarks_px"], strict=True):
            yield jpeg.tobytes() or None, landmarks_px


def _iterate_attempts(samples: Samples, numbers: range) -> Iterator[tuple]:
    """Yields the number, file name and landmarks of each attempt; attempts cycle over the rows."""
    for number in numbers:
        row = number % len(samples)
        yield number, samples.file_names[row], np.array(samples.landmarks_photo_px[row])


def _make_image(spec: ExtraImageSpec, image_folder: Path, attempt: tuple) -> tuple:
    """Makes one image.

    Args:
        spec: how to augment.
        image_folder: the folder of the photos.
        attempt: number, file name and landmarks, (k, 2) in photo px.

    Returns:
        The JPEG, or None if a landmark is beyond the edge, and the landmarks, (k, 2) in px of the
        new image.
    """
    number, file_name, landmarks_px = attempt
    image = listed_images.read_image(image_folder, file_name)
    seed = sample_seed(spec.seed, number)
    image, moved_px = _augmenter(spec)(image, landmarks_px, seed)
    if landmarks_px.dtype == np.int16:  # as in the table of the samples
        moved_px = np.rint(moved_px).astype(np.int16)
    height, width = image.shape[:2]
    if np.any(moved_px < 0) or np.any(moved_px >= (width, height)):
        return None, moved_px
    return decoding.encode_jpeg(image), moved_px


@functools.cache
def _augmenter(spec: ExtraImageSpec):
    # albumentations takes a second to import.
    from keras_landmarks.input import augmentation

    transform = augmentation.ShiftScaleRotate(spec.rotate_limit, spec.shift_limit, spec.scale_limit)
    return augmentation.Augmenter([transform])
