"""The data and the model that the stages measure, each made when a stage first needs it."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.samples import Samples, load_samples
from keras_landmarks.settings import BenchmarkSettings, TrainSettings


@dataclass(frozen=True)
class Workload:
    """The first images of the data, and the model.

    Attributes:
        settings: the training to measure.
        data: contest folder.
        scratch: folder for temporary files.
        seconds: how long to measure each rate.
        max_images: how many of the images to use.
    """

    settings: TrainSettings
    data: Path
    scratch: Path
    seconds: float = BenchmarkSettings.seconds
    max_images: int = 4000

    # Keras and TensorFlow are imported in the methods, so that --help and worker processes need
    # not load them.

    @functools.cached_property
    def samples(self) -> Samples:
        """The first valid samples of the training split."""
        return load_samples(self.data, "train", self.scratch / "prepared", self.max_images)

    @functools.cached_property
    def images(self):
        """The images as an `ImageSet`, repeated if a batch is larger than the data."""
        from keras_landmarks.input.pipeline import ImageSet

        count = max(len(self.samples), self.settings.run.batch_size)
        crops = self.prepare(self.scratch / "prepared")
        return ImageSet([(crops, np.arange(count) % len(self.samples))])

    def prepare(self, folder: Path):
        """Returns the cache of the images' crops, made in `folder` unless it exists."""
        from keras_landmarks.input import cache
        from keras_landmarks.input.photos import Photos

        photos = Photos(self.samples, CropSpec.of(self.settings.crop))
        return cache.build_cache(photos, folder, self.settings.run.processes)

    def batches(self, augment_pool=None):
        """Returns the endless tf.data dataset of batches that `train` reads."""
        from keras_landmarks.input import pipeline

        return pipeline.train_batches(self.images, self.settings.run.batch_size, 0, augment_pool)

    @functools.cached_property
    def batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One batch in memory.

        Images (N, H, W, 3) uint8 RGB, landmarks (N, points, 2) float32 in crop pixels, and the
        scales (N, 2) float32 from photo to crop pixels, x before y.
        """
        return next(self.batches().as_numpy_iterator())


def new_network(settings: TrainSettings, num_landmarks: int):
    """Returns the Keras model that the settings describe, with random weights."""
    from keras_landmarks.models.keras_models import build_model
    from keras_landmarks.models.keras_on_jax import keras
    from keras_landmarks.training.work_directory import model_spec

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(settings.network.precision)
    return build_model(model_spec(settings, num_landmarks), settings.network.precision)


def new_training_model(settings: TrainSettings, num_landmarks: int):
    """Returns a `new_network`, compiled for training with its loss and optimiser."""
    from keras_landmarks.training.trainer import compile_model

    return compile_model(new_network(settings, num_landmarks), settings, steps=1)
