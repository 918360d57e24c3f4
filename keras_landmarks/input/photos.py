"""Crops of photos, decoded from their files on every access (--noprepare)."""

import numpy as np

from keras_landmarks.contest import listed_images
from keras_landmarks.images import geometry
from keras_landmarks.images.geometry import CropSpec, CropTransform
from keras_landmarks.input.samples import Samples
from keras_landmarks.utils.errors import InputError


class Photos:
    """The photos of a set of samples, all cropped as one CropSpec says."""

    def __init__(self, samples: Samples, crop_spec: CropSpec):
        """Takes the samples; reads no image yet."""
        self.samples = samples
        self.num_landmarks = samples.num_landmarks
        self.crop_spec = crop_spec

    def __len__(self) -> int:
        return len(self.samples)

    def read_into(
        self, row: int, image: np.ndarray, landmarks_crop_px: np.ndarray, scale: np.ndarray
    ) -> None:
        """Implements `pipeline.Source`.

        Raises:
            InputError: the image was damaged or changed since the samples were checked.
        """
        image[...], landmarks_crop_px[...], (scale[...], _) = self.read(row)

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray, CropTransform]:
        """Returns the crop of a row, its landmarks, and the transform from photo px to crop px.

        The crop is (height, width, 3) uint8, the landmarks are (k, 2) in crop px.

        Raises:
            InputError: as `read_into`.
        """
        samples = self.samples
        folder, name = samples.image_folder, samples.file_names[row]
        image = listed_images.read_image(folder, name)
        if image.shape[1::-1] != tuple(samples.sizes_px[row]):
            raise InputError(f"{folder / name}: changed since it was checked; start again")
        crop, transform = self.crop_spec.apply(image)
        return crop, geometry.to_crop(samples.landmarks_photo_px[row], transform), transform
