"""Makes extra training images offline: a contest folder's first rows, shifted, scaled and rotated.

The result is itself a folder in the contest's form, <prepared>/augmented-<key>, one for each choice
of data and settings, so that no run takes another's images away. A sample that loses a point over
the image's edge is dropped (and counted). The same seed gives the same files, whatever the number
of processes and however often it was killed: started again it makes the rest.

Example, the recipe's 40,000:

    python -m keras_landmarks.augment --data=contest --prepared=prepared --augment_count=40000
"""

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_landmarks import config
from keras_landmarks.contest import grouping, landmark_tables, listed_images
from keras_landmarks.images import decoding
from keras_landmarks.input.samples import Samples, load_samples, reopener
from keras_landmarks.utils import beam
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import (
    Journal,
    atomic_folder,
    atomic_write,
    finish_replacing,
    flush,
    write_json,
)
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress
from keras_landmarks.utils.seeding import sample_seed

# With --augment_refill: give up when on average not one of so many attempts keeps its points.
_ATTEMPTS_PER_IMAGE = 20
_FORMAT = 1  # rises when the same settings come to mean other images
# While the images are made: what became of each attempt, and what Beam's workers made.
_JOURNAL, _PIECES = "attempts.bin", "pieces"
_ATTEMPTS_PER_PIECE = 256  # a second's work for one core


@dataclass(frozen=True)
class AugmentSettings:
    """What the extra images depend on, apart from the data: the flags of these names."""

    augment_count: int
    augment_refill: bool = False
    rotate_limit: float = 20.0
    shift_limit: float = 0.0625
    scale_limit: float = 0.1
    seed: int = 0


FLAGS = config.use(
    "data",
    "prepared",
    AugmentSettings,
    "limit",
    "processes",
    "beam_runner",
    "beam_options",
    "strict",
)


def main(_) -> dict:
    """Reads the flags, makes the images, returns the figures."""
    config.require("data")
    if not FLAGS.augment_count:
        raise InputError("--augment_count is needed: how many extra images to make")
    for_each = beam.workers(FLAGS.beam_runner, FLAGS.beam_options)
    prepared = Path(FLAGS.prepared)
    samples = load_samples(Path(FLAGS.data), "train", prepared, FLAGS.limit, FLAGS.strict)
    settings = config.read(AugmentSettings)
    figures = augment(samples, prepared, settings, FLAGS.processes, for_each)
    return figures | {"rejected": len(samples.rejects)}


def augment(
    samples: Samples,
    prepared: Path,
    settings: AugmentSettings,
    processes: int | None = None,
    for_each: Callable | None = None,
) -> dict:
    """Writes the extra images to <prepared>/augmented-<key>, unless they are there.

    The key is of the settings and the samples. The folder holds train/images, train/landmarks.csv,
    sources.csv (which photo each image was made from) and settings.json (what the key is of).

    Args:
        samples: what to make them from.
        prepared: folder for everything made from the data.
        settings: how many and how.
        processes: workers; None for one on each core.
        for_each: calls a function for each item on other workers, which see `prepared`
            (`beam.workers`).

    Returns:
        Figures: written, dropped, folder, made (False if they were there already).
    """
    wanted = asdict(settings) | {"samples": samples.fingerprint, "format": _FORMAT}
    key = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16]
    folder = prepared / f"augmented-{key}"
    finish_replacing(folder)
    if made := _read_settings(folder):
        return made["figures"] | {"folder": str(folder), "made": False}
    with atomic_folder(folder, key=key) as partial:
        journal, made = partial / _JOURNAL, _read_settings(partial)
        if not made or journal.exists():  # else it was killed just before the end
            if for_each:
                make = functools.partial(_make_on_workers, for_each, prepared, partial / _PIECES)
            else:
                make = functools.partial(_make_in_processes, processes)
            made = {"settings": wanted, "figures": _write_images(samples, partial, settings, make)}
            write_json(partial / "settings.json", made)
            shutil.rmtree(partial / _PIECES, ignore_errors=True)
            flush(partial)  # first: the journal knows what a power cut took
            journal.unlink()
    return made["figures"] | {"folder": str(folder), "made": True}


def _read_settings(folder: Path) -> dict | None:
    try:
        return json.loads((folder / "settings.json").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _write_images(
    samples: Samples, folder: Path, settings: AugmentSettings, make: Callable[..., Iterator[tuple]]
) -> dict:
    images = folder / "train" / "images"
    images.mkdir(parents=True, exist_ok=True)
    points_px = samples.landmarks_photo_px
    points = ("landmarks_px", points_px.dtype, points_px.shape[1:])
    attempt = np.dtype([("jpeg_bytes", np.uint32), points])  # 0 bytes: it was dropped
    with Journal(folder / _JOURNAL, attempt) as journal:
        journal.keep(_count_whole(journal.read()["jpeg_bytes"], images))
        written = int(np.count_nonzero(journal.read()["jpeg_bytes"]))
        numbers = range(len(journal), _count_attempts(settings))
        results = make(samples, settings, numbers)
        results = progress(results, "augmenting", "images", settings.augment_count - written)
        while written < settings.augment_count and (result := next(results, None)):
            jpeg, landmarks_px = result
            if jpeg is not None:
                (images / _file_name(written)).write_bytes(jpeg)
                written += 1
            # Only now: what the journal says is there.
            journal.append(np.array((len(jpeg or b""), landmarks_px), attempt))
        attempts = journal.read()
    if not written:
        raise InputError("every extra image lost a point over its edge; lower the limits")
    kept = np.flatnonzero(attempts["jpeg_bytes"])
    file_names = [_file_name(index) for index in range(written)]
    landmarks = (attempts[number]["landmarks_px"] for number in kept)
    landmark_tables.write_landmarks(folder / "train" / "landmarks.csv", file_names, landmarks)
    sources = [samples.file_names[number % len(samples)] for number in kept]
    grouping.write_group_table(folder / "sources.csv", "source", file_names, sources)
    return {"written": written, "dropped": len(attempts) - written}


def _count_whole(jpeg_bytes: np.ndarray, images: Path) -> int:
    """Returns how many attempts come before the first whose image is not as it was written."""
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


def _count_attempts(settings: AugmentSettings) -> int:
    return settings.augment_count * (_ATTEMPTS_PER_IMAGE if settings.augment_refill else 1)


# ── what makes the attempts of these numbers; yields what `_make_image` says, in order ──


def _make_in_processes(
    processes: int | None, samples: Samples, settings: AugmentSettings, numbers: range
) -> Iterator[tuple]:
    make = functools.partial(_make_image, settings, samples.image_folder)
    return parallel_map(make, _attempts(samples, numbers), processes)


def _make_on_workers(
    for_each: Callable,
    prepared: Path,
    folder: Path,
    samples: Samples,
    settings: AugmentSettings,
    numbers: range,
) -> Iterator[tuple]:
    """Has workers write files of some attempts each to `folder`, those that are not there yet."""
    folder.mkdir(exist_ok=True)
    write = functools.partial(_write_piece, reopener(samples, prepared), settings)
    # Not all at once: of the many attempts to refill with few are needed.
    count = settings.augment_count
    for some in [numbers[:count], *_cut(numbers[count:], -(-count // 4))]:
        pieces = [
            (piece, folder / f"{piece[0]}-{piece[-1]}.npz")
            for piece in _cut(some, _ATTEMPTS_PER_PIECE)
        ]
        for_each(write, [(piece, path) for piece, path in pieces if not path.exists()])
        for _, path in pieces:
            yield from _read_piece(path)


def _cut(numbers: range, step: int) -> list[range]:
    return [numbers[start : start + step] for start in range(0, len(numbers), step)]


def _write_piece(
    reopen: Callable[[], Samples], settings: AugmentSettings, piece: tuple[range, Path]
) -> None:
    numbers, path = piece
    samples = reopen()
    make = functools.partial(_make_image, settings, samples.image_folder)
    jpegs, landmarks_px = zip(*map(make, _attempts(samples, numbers)), strict=True)
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


def _attempts(samples: Samples, numbers: range) -> Iterator[tuple]:
    """Yields attempt number, file name and points: from the first row on, round and round."""
    for number in numbers:
        row = number % len(samples)
        yield number, samples.file_names[row], np.array(samples.landmarks_photo_px[row])


def _make_image(settings: AugmentSettings, image_folder: Path, attempt: tuple) -> tuple:
    """Returns the JPEG, or None if a point was lost, and its points."""
    number, file_name, landmarks_px = attempt
    image = listed_images.read_image(image_folder, file_name)
    seed = sample_seed(settings.seed, number)
    image, varied_px = _augmenter(settings)(image, landmarks_px, seed)
    if landmarks_px.dtype == np.int16:  # a table of whole numbers gets whole numbers
        varied_px = np.rint(varied_px).astype(np.int16)
    height, width = image.shape[:2]
    if np.any(varied_px < 0) or np.any(varied_px >= (width, height)):
        return None, varied_px
    return decoding.encode_jpeg(image), varied_px


@functools.cache
def _augmenter(settings: AugmentSettings):
    # Not at the top: albumentations takes a second to import, and `train` imports this module.
    from keras_landmarks.input import augmentation

    transform = augmentation.ShiftScaleRotate(
        settings.rotate_limit, settings.shift_limit, settings.scale_limit
    )
    return augmentation.Augmenter([transform])


if __name__ == "__main__":
    # By its own name: Beam's workers look there for the functions that it sends them.
    from keras_landmarks import augment as command

    config.run(command.main)
