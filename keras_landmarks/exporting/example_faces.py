"""Crops of faces, by which an exported file is compared with the model and int8 is calibrated."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_landmarks.contest import locations, table_files
from keras_landmarks.contest.image_selection import read_evenly_spaced
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.synthetic import faces
from keras_landmarks.utils.errors import InputError

_NUM_COMPARED = 16
_NUM_CALIBRATION, _MIN_CALIBRATION = 128, 9


class ExampleFaces(NamedTuple):
    """Crops of faces, (N, height, width, 3) float32 of 0 to 255.

    Attributes:
        compared: predicted by the model and by the exported file.
        calibration: from which the ranges of int8 are taken.
        num_broken: training images that could not be read and were replaced by others.
    """

    compared: np.ndarray
    calibration: np.ndarray
    num_broken: int


def load(crop_spec: CropSpec, data: Path | None) -> ExampleFaces:
    """Loads crops of training images, or of synthetic faces without `data`.

    The images for comparison are those for calibration, too.

    Raises:
        InputError: `data` has no readable training image.
    """
    images, num_broken = _read_crops(crop_spec, data, _NUM_COMPARED)
    return ExampleFaces(images, images, num_broken)


def load_for_int8(crop_spec: CropSpec, data: Path) -> ExampleFaces:
    """Loads crops of training images, different ones for comparison and for calibration.

    Raises:
        InputError: `data` has too few readable training images.
    """
    images, num_broken = _read_crops(crop_spec, data, _NUM_COMPARED + _NUM_CALIBRATION)
    step = 1 + _NUM_CALIBRATION // _NUM_COMPARED
    calibration = np.delete(images, slice(None, None, step), axis=0)
    if len(calibration) < _MIN_CALIBRATION:
        raise InputError(
            f"{data}: {len(images)} readable training images are too few to calibrate int8"
        )
    return ExampleFaces(images[::step], calibration, num_broken)


def _read_crops(crop_spec: CropSpec, data: Path | None, count: int) -> tuple[np.ndarray, int]:
    """Returns up to `count` crops, and the number of training images that were broken."""
    if data is None:
        photos = [faces.draw_face(np.random.default_rng(seed))[0] for seed in range(count)]
        num_broken = 0
    else:
        photos, num_broken = _read_photos(data, count)
    return np.stack([crop_spec.apply(photo)[0] for photo in photos]).astype(np.float32), num_broken


def _read_photos(data: Path, count: int) -> tuple[list[np.ndarray], int]:
    """Reads readable photos, evenly spaced over the training table; counts the broken ones."""
    image_folder = locations.find_image_folder(data, "train")
    names = table_files.read_names(locations.find_landmarks(data, "train"))
    photos, num_broken = read_evenly_spaced(image_folder, names, count)
    if not photos:
        raise InputError(f"{image_folder}: none of the {len(names)} listed images can be read")
    return list(photos.values()), num_broken
