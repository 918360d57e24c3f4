"""Imputes the landmarks of images that could not be read."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from keras_landmarks.contest import listed_images


def impute_mean_shape(
    predicted: np.ndarray,
    invalid_rows: Collection[int],
    image_folder: Path,
    file_names: Sequence[str],
) -> None:
    """Replaces the predictions of invalid images by the mean shape of the others, in place.

    The mean is of coordinates as shares of the photo's width and height. It is scaled to the size
    in the header of the invalid file or, if that has none, to the median size of the other photos,
    and clipped to the photo.

    Args:
        predicted: (n, k, 2) landmarks or (n, k, 3) with standard deviations, photo pixels.
        invalid_rows: rows of `predicted` to replace.
        image_folder: the folder of the photos.
        file_names: names of the n photos.
    """
    # The size, or the reason why it could not be read.
    sizes = list(listed_images.read_listed_sizes(image_folder, file_names))
    has_size = [not isinstance(size, str) for size in sizes]
    valid_rows = [row for row in range(len(sizes)) if row not in invalid_rows and has_size[row]]
    values_per_landmark = predicted.shape[-1]
    total = np.zeros(predicted.shape[1:])
    for row in valid_rows:
        total += predicted[row] / _units(sizes[row], values_per_landmark)
    median_size = np.median([sizes[row] for row in valid_rows], axis=0) // 1
    for row in invalid_rows:
        size = sizes[row] if has_size[row] else median_size
        predicted[row] = total / len(valid_rows) * _units(size, values_per_landmark)
        landmarks = predicted[row, :, :2]
        np.clip(landmarks, 0, np.subtract(size, 1), out=landmarks)


def _units(size_px: Sequence[float], values_per_landmark: int) -> np.ndarray:
    """Returns the lengths that x, y and the standard deviation are expressed in, px.

    They are the photo's width, its height and, for a third value, the square root of its area.
    """
    width, height = size_px
    return np.array([width, height, np.sqrt(width * height)][:values_per_landmark])
