"""What the stages work on: the user's data and model, each made when a stage first asks for it."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_landmarks.data.geometry import Frame
from keras_landmarks.data.samples import Samples, load_samples


@dataclass(frozen=True)
class BenchmarkSettings:
    """The values of the flags of these names."""

    data: str | None
    model: str
    image_size: str
    framing: str
    trim_bands: bool
    batch_size: int
    precision: str
    augment_online: list[str]
    rotate_limit: float
    shift_limit: float
    scale_limit: float
    processes: int | None
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
        from keras_landmarks.data.pipeline import ImageSet

        count = max(len(self.samples), self.settings.batch_size)
        store = self.prepare(self.scratch / "prepared")
        return ImageSet([(store, np.arange(count) % len(self.samples))])

    def prepare(self, folder: Path):
        """The prepared store of the images, made in `folder` if it is not there."""
        from keras_landmarks.data import store
        from keras_landmarks.data.photos import Photos

        photos = Photos(self.samples, Frame.of(self.settings))
        return store.prepare(photos, folder, self.settings.processes)

    def batches(self, augment_pool=None):
        """Endless batches (images, landmarks) as `train` reads them, a tf.data dataset."""
        from keras_landmarks.data import pipeline

        batches = pipeline.train_batches(self.images, self.settings.batch_size, 0, augment_pool)
        return batches.map(lambda images, landmarks, scale: (images, landmarks))

    @functools.cached_property
    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """One batch in memory: images uint8 and landmarks float32."""
        return next(self.batches().as_numpy_iterator())

    def compiled_model(self):
        """A new model for these images."""
        return compiled_model(self.settings, self.samples.points)


def compiled_model(settings: BenchmarkSettings, points: int):
    """A new Keras model with random weights and the recipe's loss and optimiser."""
    import keras

    from keras_landmarks.models import networks
    from keras_landmarks.training.run import compile_recipe

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(settings.precision)
    frame = Frame.of(settings)
    model = networks.build(settings.model, points, (frame.height, frame.width))
    compile_recipe(model)
    return model
