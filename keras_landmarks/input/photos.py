"""Crops of a folder's photos, decoded anew each time they are asked for."""

import numpy as np

from keras_landmarks.contest import listed_images
from keras_landmarks.images import geometry
from keras_landmarks.images.geometry import CropSpec, CropTransform
from keras_landmarks.input.samples import Samples
from keras_landmarks.utils.errors import InputError


class Photos:
    """The photos of a sample set, each framed alike."""

    def __init__(self, samples: Samples, frame: CropSpec):
        """Takes the samples; reads no image yet."""
        self.samples = samples
        self.points = samples.points
        self.frame = frame

    def __len__(self) -> int:
        return len(self.samples)

    def read_into(
        self, row: int, image: np.ndarray, landmarks_crop_px: np.ndarray, scale: np.ndarray
    ) -> None:
        """Fills a crop (height, width, 3) uint8, its points (k, 2) float32, its scale (2,) float64.

        Raises:
            InputError: the image broke or changed since the samples were checked (named).
        """
        image[...], landmarks_crop_px[...], (scale[...], _) = self.read(row)

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray, CropTransform]:
        """Returns the crop, its points, and the framing that brings them back to the photo."""
        samples = self.samples
        folder, name = samples.image_folder, samples.file_names[row]
        image = listed_images.read_image(folder, name)
        if image.shape[1::-1] != tuple(samples.sizes_px[row]):
            raise InputError(f"{folder / name}: changed since it was checked; start again")
        crop, framing = self.frame.apply(image)
        return crop, geometry.to_crop(samples.landmarks_photo_px[row], framing), framing
