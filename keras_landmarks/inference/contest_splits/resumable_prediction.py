"""Predicts a list of images in batches, and keeps a journal to continue after an interruption."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.images.geometry import CropTransform
from keras_landmarks.inference.predictor import Predictor
from keras_landmarks.layouts import mirror
from keras_landmarks.models import packaged
from keras_landmarks.models.spec import FILE_NAME
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.utils.files import fingerprint, write_json
from keras_landmarks.utils.journal import Journal
from keras_landmarks.utils.progress import progress

# Version of the journal; bump it when the same model and images give other predictions.
_JOURNAL_VERSION = 3


class ImageList(NamedTuple):
    """The images to predict.

    Attributes:
        folder: the folder of the images.
        file_names: their names.
        lines: the line of each in its table, for the list of invalid images; the header is 1.
    """

    folder: Path
    file_names: Sequence[str]
    lines: Sequence[int]


def journal_key(
    workdir: str | Path, images: ImageList, batch_size: int, tta: str, mirror_map: np.ndarray | None
) -> str:
    """Returns a key that changes with everything that the predictions depend on."""
    model = packaged.resolve(workdir).resolve()
    model_files = [model / FILE_NAME, model / BEST_WEIGHTS] if model.is_dir() else [model]
    folder = images.folder.resolve()
    image_files = [os.path.join(folder, name) for name in images.file_names]
    options = batch_size, _JOURNAL_VERSION, tta, mirror.as_json(mirror_map)
    return fingerprint(model_files + image_files, *options)


def predict_in_batches(
    predictor: Predictor, images: ImageList, batch_size: int, scratch: Path
) -> tuple[np.ndarray, dict[int, str], float]:
    """Predicts all images, continuing from the journal of an earlier run.

    Args:
        predictor: the model.
        images: the images to predict.
        batch_size: the number of images to predict together.
        scratch: the folder of the journal.

    Returns:
        The predictions, (n, k, 2 or 3) float32 in photo pixels; the reason why an image is
        invalid, by row and in the order of rows; and the images predicted per second.
    """
    num_images = len(images.file_names)
    batch_shape = batch_size, predictor.spec.num_landmarks, predictor.values_per_landmark
    with Journal(scratch / "batches", np.dtype((np.float32, batch_shape))) as journal:
        num_finished = len(journal) * batch_size
        started = time.monotonic()
        invalid = _predict_remaining(predictor, images, journal, scratch / "rejects.json")
        images_per_s = max(0, num_images - num_finished) / (time.monotonic() - started)
        predicted = journal.read().reshape(-1, *batch_shape[1:])[:num_images]
    return predicted, invalid, images_per_s


def _predict_remaining(
    predictor: Predictor, images: ImageList, journal: Journal, invalid_file: Path
) -> dict[int, str]:
    """Appends the batches that the journal lacks.

    Returns the reasons why images are invalid, by row: those of this run and, remembered in
    `invalid_file`, those of earlier ones.
    """
    from keras_landmarks.input import pipeline

    batch_size = journal.record.shape[0]
    first = len(journal) * batch_size
    invalid = _load_invalid(invalid_file)
    num_saved = len(invalid)
    batches = pipeline.prediction_batches(
        images.folder,
        images.file_names[first:],
        predictor.spec.crop_spec,
        batch_size,
        on_invalid=lambda index, reason: invalid.update({first + index: reason}),
    )
    arrays = progress(batches.as_numpy_iterator(), "predicting", "batches", len(batches))
    for crops, scale, offset in arrays:
        predicted = predictor(crops, CropTransform(scale, offset))
        # Before the batch, so that the invalid images of all finished batches are remembered. A
        # copy, because the pipeline reads ahead in other threads.
        if len(so_far := list(invalid.items())) > num_saved:
            write_json(invalid_file, so_far)
            num_saved = len(so_far)
        journal.append(predicted)
    return dict(sorted(invalid.items()))


def _load_invalid(path: Path) -> dict[int, str]:
    return dict(json.loads(path.read_text())) if path.exists() else {}
