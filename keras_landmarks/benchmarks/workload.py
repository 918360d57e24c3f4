"""What the stages work on: the user's data and model, each made when a stage first asks for it."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.samples import Samples, load_samples
from keras_landmarks.training.settings import TrainSettings


@dataclass(frozen=True)
class BenchmarkSettings(TrainSettings):
    """The training to measure, its `data` None for procedural faces, and for how long."""

    seconds: float


@dataclass(frozen=True)
class Workload:
    """The first images of the data, and the model.

    Attributes:
        settings: of the benchmark.
        data: folder in the contest's form.
        scratch: folder for what is made on the way.
        most_images: so many of the data's are enough to measure with.
    """

    settings: BenchmarkSettings
    data: Path
    scratch: Path
    most_images: int = 4000

    # Keras and TensorFlow are imported within: --help and other processes do without.

    @functools.cached_property
    def samples(self) -> Samples:
        """The first sound images of the training folder."""
        return load_samples(self.data, "train", self.scratch / "prepared", self.most_images)

    @functools.cached_property
    def images(self):
        """The images as the pipeline takes them; some come again where a batch takes more."""
        from keras_landmarks.input.pipeline import ImageSet

        count = max(len(self.samples), self.settings.batch_size)
        store = self.prepare(self.scratch / "prepared")
        return ImageSet([(store, np.arange(count) % len(self.samples))])

    def prepare(self, folder: Path):
        """The prepared store of the images, made in `folder` if it is not there."""
        from keras_landmarks.input import cache
        from keras_landmarks.input.photos import Photos

        photos = Photos(self.samples, CropSpec.of(self.settings))
        return cache.build_cache(photos, folder, self.settings.processes)

    def batches(self, augment_pool=None):
        """Endless batches as `train` reads them, a tf.data dataset."""
        from keras_landmarks.input import pipeline

        return pipeline.train_batches(self.images, self.settings.batch_size, 0, augment_pool)

    @functools.cached_property
    def batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One batch in memory: images uint8, landmarks float32, and the scale of each image."""
        return next(self.batches().as_numpy_iterator())


def new_network(settings: BenchmarkSettings, points: int):
    """A new Keras model with random weights, as the settings ask for it."""
    from keras_landmarks.models.keras_on_jax import keras
    from keras_landmarks.training.trainer import spec_of

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(settings.precision)
    return spec_of(settings, points).build(settings.precision)


def new_objective(settings: BenchmarkSettings, points: int):
    """Such a network with its loss and optimiser: what `train` trains."""
    from keras_landmarks.training.trainer import compiled_objective

    return compiled_objective(new_network(settings, points), settings, steps=1)
