"""Measures how the training photos are cropped around their faces."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_landmarks.contest import labels, landmark_tables, listed_images, locations
from keras_landmarks.images import face_crops
from keras_landmarks.images.face_crops import Cropping
from keras_landmarks.images.face_detector import FaceDetector
from keras_landmarks.layouts import gaps
from keras_landmarks.utils.chunks import evenly_spread
from keras_landmarks.utils.errors import InputError

_LOGGER = logging.getLogger(__name__)  # absl.logging would define absl's flags.
_MEASURED_PHOTOS = 100


def measure_training_cropping(
    data: Path, detector: FaceDetector, num_landmarks: int, max_rows: int = 8192
) -> Cropping:
    """Returns how the training photos of a contest folder are cropped around their faces.

    Args:
        data: the contest folder that the model was trained on.
        detector: the detector that will find the faces to crop likewise.
        num_landmarks: number of landmarks of the model.
        max_rows: read only this many of the first rows, because a table may have gigabytes.

    Raises:
        InputError: the folder has no training photos, their faces have another number of
            landmarks, or faces are detected in too few of them.
    """
    table = data / "train" / "landmarks.csv"
    image_folder = locations.find_image_folder(data, "train")
    # The outline of other landmarks would crop differently, without any error.
    if (found := landmark_tables.count_points(table)) != num_landmarks:
        raise InputError(f"{table}: {found} points, but the model has {num_landmarks}")
    photos = _sample_photos(table, image_folder, max_rows)
    return face_crops.median_cropping(photos, detector, str(image_folder))


def _sample_photos(
    table: Path, image_folder: Path, max_rows: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields photos (H, W, 3) and landmarks (k, 2), evenly spaced over the table's first rows.

    Landmarks without a place are filled in from the others. Invalid rows and photos are skipped and
    counted in the log.
    """
    first_rows = labels.read(table, limit=max_rows)
    names = first_rows.file_names
    rows = evenly_spread(len(names), _MEASURED_PHOTOS)
    faces = gaps.fill_gaps(first_rows.landmarks_photo_px[rows]).astype(np.float32)
    invalid = []
    for row, face in zip(rows, faces, strict=True):
        try:
            photo = listed_images.read_listed_image(image_folder, names[row])
        except ValueError as error:
            invalid.append(f"{image_folder / names[row]}: {error}")
            continue
        yield photo, face[~np.isnan(face[:, 0])]
    if invalid:
        _LOGGER.warning("%s; skipping %d of %d invalid photos", invalid[0], len(invalid), len(rows))
