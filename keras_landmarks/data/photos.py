"""Crops of a folder's photos, decoded anew each time they are asked for."""

import numpy as np

from keras_landmarks.data import contest, geometry
from keras_landmarks.data.geometry import Framing
from keras_landmarks.data.samples import Samples
from keras_landmarks.errors import InputError


class Photos:
    """The photos of a sample set, each framed to a square of `crop_size` pixels."""

    def __init__(self, samples: Samples, crop_size: int):
        """Takes the samples; reads no image yet."""
        self.samples = samples
        self.points = samples.points
        self.crop_size = crop_size

    def __len__(self) -> int:
        return len(self.samples)

    def read_into(self, row: int, image: np.ndarray, landmarks_crop_px: np.ndarray) -> None:
        """Fills a crop (crop_size, crop_size, 3) uint8 and its points (k, 2) float32.

        Raises:
            InputError: the image broke or changed since the samples were checked (named).
        """
        image[...], landmarks_crop_px[...], _ = self.read(row)

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray, Framing]:
        """Returns the same, and the framing that brings the points back to the photo."""
        samples = self.samples
        folder, name = samples.image_folder, samples.file_names[row]
        image = contest.read_image(folder, name)
        if image.shape[1::-1] != tuple(samples.sizes_px[row]):
            raise InputError(
                f"{folder / name}: changed since it was checked; remove"
                f" samples-{samples.fingerprint} from --prepared"
            )
        framing = geometry.centre_crop(samples.sizes_px[row], self.crop_size)
        landmarks_crop_px = geometry.to_crop(samples.landmarks_photo_px[row], framing)
        return geometry.crop_image(image, self.crop_size), landmarks_crop_px, framing
