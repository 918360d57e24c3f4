"""tf.data pipelines from cached crops or image files to batches for the model.

Training: endless epochs, each in an order that depends only on (seed, epoch), so that a resumed
training sees the same batches; the last partial batch of an epoch is dropped. Validation and
prediction: every image once, in order. Where several processes train together, each reads its own
shard of every batch.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from keras_landmarks.contest import listed_images
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.augment_pool import BATCHES_AT_ONCE, AugmentPool
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.seeding import sample_seed

_BATCHES_AHEAD = 4  # tf.data's own choice grows to hundreds of megabytes

# TensorFlow only feeds data; the accelerators belong to JAX.
tf.config.set_visible_devices([], "GPU")


class HostShard(NamedTuple):
    """The part of every batch that one of several processes reads; by default all of it.

    Process 0 reads the first rows of a batch, process 1 the same number of next rows, and so on.
    """

    process: int = 0
    processes: int = 1

    def of(self, batch):
        """Returns this process's rows of a batch; its length must be a multiple of `processes`."""
        rows = len(batch) // self.processes
        return batch[self.process * rows : (self.process + 1) * rows]


WHOLE = HostShard()


class Source(Protocol):
    """Crops with their landmarks, by row: `photos.Photos` or `cache.CropCache`."""

    num_landmarks: int
    crop_spec: CropSpec

    def read_into(
        self, row: int, image: np.ndarray, landmarks_crop_px: np.ndarray, scale: np.ndarray
    ) -> None:
        """Writes the crop of a row, its landmarks and its scale into the given arrays.

        Args:
            row: the row.
            image: (height, width, 3) uint8.
            landmarks_crop_px: (k, 2) float32.
            scale: (2,) float64, crop px per photo px, x before y.
        """


class ImageSet:
    """Rows of one or more sources, one after the other."""

    def __init__(self, parts: Sequence[tuple[Source, np.ndarray]], min_images: int = 0):
        """Takes pairs of a source and the rows to use of it.

        All of them are repeated as often as it takes to have `min_images`.
        """
        num_images = sum(len(rows) for _, rows in parts)
        parts = [*parts] * max(1, math.ceil(min_images / max(num_images, 1)))
        self._sources = [source for source, _ in parts]
        self._rows = np.concatenate([np.asarray(rows, int) for _, rows in parts])
        self._part = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
        self.num_landmarks = self._sources[0].num_landmarks
        self.crop_spec = self._sources[0].crop_spec

    def __len__(self) -> int:
        return len(self._rows)

    def first_part(self) -> "ImageSet":
        """Returns the images of the first pair alone."""
        return ImageSet([(self._sources[0], self._rows[self._part == 0])])

    def landmarks(self) -> Iterator[np.ndarray]:
        """Yields the landmarks of each image, (k, 2) float32, crop px."""
        return (self.load(np.array([index]))[1][0] for index in range(len(self)))

    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns crops (n, height, width, 3) uint8, landmarks_crop_px (n, k, 2), scales (n, 2).

        Landmarks and scales are float32.
        """
        images = np.empty((len(indices), *self.crop_spec.shape), np.uint8)
        landmarks = np.empty((len(indices), self.num_landmarks, 2), np.float32)
        scales = np.empty((len(indices), 2), np.float64)
        parts, rows = self._part[indices].tolist(), self._rows[indices].tolist()
        arrays = images, landmarks, scales
        for part, row, *row_arrays in zip(parts, rows, *arrays, strict=True):
            self._sources[part].read_into(row, *row_arrays)
        return images, landmarks, scales.astype(np.float32)


def train_batches(
    images: ImageSet,
    batch_size: int,
    seed: int,
    augment_pool: AugmentPool | None = None,
    first_epoch: int = 0,
    first_step: int = 0,
    shard: HostShard = WHOLE,
) -> tf.data.Dataset:
    """Yields batches without end: images, landmarks_crop_px and scale.

    Images are (N, height, width, 3) uint8; landmarks_crop_px (N, k, 2) and scale (N, 2) are
    float32. The scale is in crop px per photo px, before any augmentation. An epoch has
    len(images) // batch_size batches.

    Args:
        images: the images to train on.
        batch_size: images in a batch, all shards together; N is this process's part of it.
        seed: the random seed of the order and of the augmentation.
        augment_pool: augments the images; None for no augmentation.
        first_epoch: the epoch to start with.
        first_step: the step of that epoch to start with.
        shard: the part of every batch to read. The shards of all processes, one after the other,
            are the batch that one process would read.
    """
    steps = len(images) // batch_size

    # The order is a function of the epoch, and a batch is gathered by its indices, so that an epoch
    # can begin at any step.
    def epoch_batches(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), [seed, epoch])
        batches = tf.reshape(order[: steps * batch_size], (steps, batch_size))
        batches = batches[tf.where(epoch == first_epoch, first_step, 0) :]
        return tf.data.Dataset.from_tensor_slices(batches).map(lambda indices: (epoch, indices))

    def load(epoch, batch):
        indices = shard.of(batch)
        seeds = [sample_seed(seed, epoch, index) for index in indices] if augment_pool else []
        return *images.load(indices), np.array(seeds, np.int64)

    spec = _batch_spec(images, batch_size // shard.processes)
    batches = (
        # Whole batches through `numpy_function`: a call for each image costs more than reading it.
        tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max)
        .flat_map(epoch_batches)
        .map(
            _numpy_function(load, (*spec, tf.TensorSpec((None,), tf.int64))),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    )
    if augment_pool:  # whole batches, several at a time, with a seed for each image
        augment = _numpy_function(augment_pool, spec[:2])
        batches = batches.map(
            lambda images, landmarks, scale, seeds: (*augment(images, landmarks, seeds), scale),
            num_parallel_calls=BATCHES_AT_ONCE,
        )
    else:
        batches = batches.map(lambda images, landmarks, scale, seeds: (images, landmarks, scale))
    return batches.prefetch(_BATCHES_AHEAD)


def validation_batches(
    images: ImageSet, batch_size: int, count: int | None = None, shard: HostShard = WHOLE
) -> tf.data.Dataset:
    """Yields batches as `train_batches` does: every image once, in order, the last batch partial.

    Args:
        images: to validate on.
        batch_size: images in a batch, all shards together.
        count: use only this many of the first images; None for all.
        shard: the part of every batch, the last one included, to read.
    """

    def load(batch):
        return images.load(shard.of(batch))

    return (
        tf.data.Dataset.range(len(images) if count is None else count)
        .batch(batch_size)
        .map(
            _numpy_function(load, _batch_spec(images, None)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(_BATCHES_AHEAD)
    )


def prediction_batches(
    image_folder: Path,
    file_names: Sequence[str],
    crop_spec: CropSpec,
    batch_size: int,
    on_invalid: Callable[[int, str], None],
) -> tf.data.Dataset:
    """Yields images (N, height, width, 3) uint8 and their transform: scale, offset (N, 2) float64.

    Every image comes once, in order. An image that cannot be read is replaced by a black one, and
    `on_invalid` is called with its index and the reason. The last batch is filled up with the last
    image, so that the model is compiled for one batch size only.
    """

    def load(position):
        index = min(position, count - 1)
        try:
            image = listed_images.read_listed_image(image_folder, file_names[index])
        except ValueError as error:
            if position == index:
                on_invalid(int(index), str(error))
            image = np.zeros(crop_spec.shape, np.uint8)
        crop, transform = crop_spec.apply(image)
        return crop, *transform

    count = len(file_names)
    two = tf.TensorSpec((2,), tf.float64)
    spec = (tf.TensorSpec(crop_spec.shape, tf.uint8), two, two)
    return (
        tf.data.Dataset.range(-(-count // batch_size) * batch_size)
        .map(_numpy_function(load, spec), num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """Within the context an InputError in a pipeline is raised as itself, not as TensorFlow's."""
    try:
        yield
    except tf.errors.OpError as error:
        if found := re.search(r"InputError: (.*)", error.message):
            raise InputError(found[1]) from None
        raise


def _batch_spec(images: ImageSet, batch_size: int | None) -> tuple[tf.TensorSpec, ...]:
    return (
        tf.TensorSpec((batch_size, *images.crop_spec.shape), tf.uint8),
        tf.TensorSpec((batch_size, images.num_landmarks, 2), tf.float32),
        tf.TensorSpec((batch_size, 2), tf.float32),
    )


def _numpy_function(function: Callable, specs: Sequence[tf.TensorSpec]) -> Callable:
    """Wraps a function on NumPy values for `map`, with the shapes that `numpy_function` loses."""

    def mapped(*inputs):
        outputs = tf.numpy_function(function, inputs, [spec.dtype for spec in specs])
        for output, spec in zip(outputs, specs, strict=True):
            output.set_shape(spec.shape)
        return tuple(outputs)

    return mapped
