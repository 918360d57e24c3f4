"""Makes extra training images offline: a contest folder's first rows, shifted, scaled and rotated.

The result is itself a folder in the contest's form, <prepared>/augmented. A sample that loses a
point over the image's edge is dropped (and counted). The same seed gives the same files, whatever
the number of processes.

Example, the recipe's 40,000:

    python -m keras_landmarks.augment --data=contest --prepared=prepared --augment_count=40000
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.data import contest
from keras_landmarks.data.samples import Samples, load_samples
from keras_landmarks.data.seeding import sample_seed
from keras_landmarks.errors import InputError
from keras_landmarks.files import whole_folder, write_json
from keras_landmarks.parallel import parallel_map
from keras_landmarks.progress import progress

# With --augment_refill: give up when on average not one of so many attempts keeps its points.
_ATTEMPTS_PER_IMAGE = 20
_FORMAT = 1  # rises when the same settings come to mean other images


@dataclass(frozen=True)
class AugmentSettings:
    """What the extra images depend on, apart from the data: the flags of these names."""

    augment_count: int
    augment_refill: bool = False
    rotate_limit: float = 20.0
    shift_limit: float = 0.0625
    scale_limit: float = 0.1
    seed: int = 0


FLAGS = config.use("data", "prepared", AugmentSettings, "limit", "processes", "strict")


def main(_) -> dict:
    """Reads the flags, makes the images, returns the figures."""
    config.require("data")
    if not FLAGS.augment_count:
        raise InputError("--augment_count is needed: how many extra images to make")
    prepared = Path(FLAGS.prepared)
    samples = load_samples(Path(FLAGS.data), "train", prepared, FLAGS.limit, FLAGS.strict)
    figures = augment(samples, prepared, config.read(AugmentSettings), FLAGS.processes)
    return figures | {"rejected": len(samples.rejects)}


def augment(
    samples: Samples, prepared: Path, settings: AugmentSettings, processes: int | None = None
) -> dict:
    """Writes the extra images to <prepared>/augmented, unless they are there.

    That folder holds train/images, train/landmarks.csv, sources.csv (which photo each image was
    made from) and settings.json, by which it is known again.

    Args:
        samples: what to make them from.
        prepared: folder for everything made from the data.
        settings: how many and how.
        processes: workers; None for one on each core.

    Returns:
        Figures: written, dropped, folder, made (False if they were there already).
    """
    folder = prepared / "augmented"
    wanted = asdict(settings) | {"samples": samples.fingerprint, "format": _FORMAT}
    made = _read_settings(folder)
    if made and made.get("settings") == wanted:
        return made["figures"] | {"folder": str(folder), "made": False}
    if made:
        logging.info("%s was made with other settings; making it anew", folder)
    with whole_folder(folder) as partial:
        figures = _write_images(samples, partial, settings, processes)
        write_json(partial / "settings.json", {"settings": wanted, "figures": figures})
    return figures | {"folder": str(folder), "made": True}


def _read_settings(folder: Path) -> dict | None:
    try:
        return json.loads((folder / "settings.json").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _write_images(
    samples: Samples, folder: Path, settings: AugmentSettings, processes: int | None
) -> dict:
    images = folder / "train" / "images"
    images.mkdir(parents=True)
    make = functools.partial(_make_image, settings, samples.image_folder)
    results = parallel_map(make, _attempts(samples, settings), processes)
    results = progress(results, "augmenting", "images", settings.augment_count)
    sources, landmarks, dropped = [], [], 0
    for source, jpeg, landmarks_px in results:
        if jpeg is None:
            dropped += 1
            continue
        (images / _file_name(len(sources))).write_bytes(jpeg)
        sources.append(source)
        landmarks.append(landmarks_px)
        if len(sources) == settings.augment_count:
            break
    if not sources:
        raise InputError("every extra image lost a point over its edge; lower the limits")
    file_names = [_file_name(index) for index in range(len(sources))]
    contest.write_landmarks(folder / "train" / "landmarks.csv", file_names, landmarks)
    contest.write_groups(folder / "sources.csv", "source", file_names, sources)
    return {"written": len(sources), "dropped": dropped}


def _file_name(index: int) -> str:
    return f"extra_{index:06d}.jpg"


def _attempts(samples: Samples, settings: AugmentSettings) -> Iterator[tuple]:
    """Yields attempt number, file name and points: from the first row on, round and round."""
    attempts = settings.augment_count * (_ATTEMPTS_PER_IMAGE if settings.augment_refill else 1)
    for attempt in range(attempts):
        row = attempt % len(samples)
        yield attempt, samples.file_names[row], np.array(samples.landmarks_photo_px[row])


def _make_image(settings: AugmentSettings, image_folder: Path, attempt: tuple) -> tuple:
    """Returns the source's name, the JPEG and its points; None for both if a point was lost."""
    number, file_name, landmarks_px = attempt
    image = contest.read_image(image_folder / file_name)
    seed = sample_seed(settings.seed, number)
    image, varied_px = _augmenter(settings)(image, landmarks_px, seed)
    if landmarks_px.dtype == np.int16:  # a table of whole numbers gets whole numbers
        varied_px = np.rint(varied_px).astype(np.int16)
    height, width = image.shape[:2]
    if np.any(varied_px < 0) or np.any(varied_px >= (width, height)):
        return file_name, None, None
    return file_name, contest.encode_jpeg(image), varied_px


@functools.cache
def _augmenter(settings: AugmentSettings):
    # Not at the top: albumentations takes a second to import, and `train` imports this module.
    from keras_landmarks.data import augmentation

    transform = augmentation.ShiftScaleRotate(
        settings.rotate_limit, settings.shift_limit, settings.scale_limit
    )
    return augmentation.Augmenter([transform])


if __name__ == "__main__":
    config.run(main)
