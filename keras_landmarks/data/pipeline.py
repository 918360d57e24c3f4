"""tf.data pipelines from image files to batches for the model.

Training: endless epochs, each in a new order drawn from (seed, epoch) alone, so that a run taken
up at epoch e sees what it would have seen; the last partial batch of an epoch is dropped.
Validation and prediction: every image once, in order.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_landmarks.data import contest, geometry
from keras_landmarks.data.augment_pool import BATCHES_AT_ONCE, AugmentPool
from keras_landmarks.data.augmentation import sample_seed
from keras_landmarks.data.contest import Reject
from keras_landmarks.data.samples import Samples
from keras_landmarks.errors import InputError

# TensorFlow feeds data; the accelerators are JAX's.
tf.config.set_visible_devices([], "GPU")


class ImageSet:
    """Rows of one or more sample sets, one after the other."""

    def __init__(self, parts: Sequence[tuple[Samples, np.ndarray]]):
        """Takes pairs of samples and the rows to use of them."""
        self._parts = parts
        self._starts = np.cumsum([0] + [len(rows) for _, rows in parts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def points(self) -> int:
        """Number of points on a face."""
        return self._parts[0][0].points

    def load(self, index: int, crop_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the crop (crop_size, crop_size, 3) uint8 and its points (k, 2) float32."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        samples, rows = self._parts[part]
        row = rows[index - self._starts[part]]
        path = samples.image_folder / samples.file_names[row]
        image = contest.read_image(path)
        if image.shape[1::-1] != tuple(samples.sizes_px[row]):
            raise InputError(
                f"{path}: changed since it was checked; remove"
                f" samples-{samples.fingerprint} from --prepared"
            )
        framing = geometry.centre_crop(samples.sizes_px[row], crop_size)
        landmarks_crop_px = geometry.to_crop(samples.landmarks_photo_px[row], framing)
        return geometry.crop_image(image, crop_size), landmarks_crop_px


def train_batches(
    images: ImageSet,
    crop_size: int,
    batch_size: int,
    seed: int,
    augment_pool: AugmentPool | None = None,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Yields images (N, crop_size, crop_size, 3) uint8 and landmarks (N, k, 2) float32, for ever.

    An epoch has len(images) // batch_size batches.
    """
    kept = len(images) // batch_size * batch_size

    def epoch_indices(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), [seed, epoch])
        return tf.data.Dataset.from_tensor_slices(order[:kept]).map(lambda index: (epoch, index))

    def load(epoch, index):
        return *images.load(index, crop_size), np.int64(sample_seed(seed, epoch, index))

    seed_spec = tf.TensorSpec((), tf.int64)
    batches = (
        tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max)
        .flat_map(epoch_indices)
        .map(
            _numpy_function(load, (*_sample_spec(images, crop_size), seed_spec)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(batch_size, drop_remainder=True)
    )
    if augment_pool:
        augment = _numpy_function(augment_pool, batches.element_spec[:2])
        batches = batches.map(augment, num_parallel_calls=BATCHES_AT_ONCE)
    else:
        batches = batches.map(lambda images, landmarks, seeds: (images, landmarks))
    return batches.prefetch(tf.data.AUTOTUNE)


def validation_batches(images: ImageSet, crop_size: int, batch_size: int) -> tf.data.Dataset:
    """Yields every image and its landmarks once, in order, the last partial batch included."""

    def load(index):
        return images.load(index, crop_size)

    return (
        tf.data.Dataset.range(len(images))
        .map(
            _numpy_function(load, _sample_spec(images, crop_size)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def prediction_batches(
    image_folder: Path,
    file_names: Sequence[str],
    crop_size: int,
    batch_size: int,
    on_reject: Callable[[Reject], None],
) -> tf.data.Dataset:
    """Yields images (N, crop_size, crop_size, 3) uint8 and their framing: scale, offset (N, 2).

    Every image comes once, in order; a broken one is black and told to `on_reject`. The last batch
    is filled up with the last image, so that the model is compiled for one batch size only.
    """

    def load(position):
        index = min(position, count - 1)
        try:
            image = contest.read_image(image_folder / file_names[index])
        except InputError as error:
            if position == index:
                on_reject(Reject(file_names[index], index + 2, str(error)))
            image = np.zeros((crop_size, crop_size, 3), np.uint8)
        framing = geometry.centre_crop(image.shape[1::-1], crop_size)
        return geometry.crop_image(image, crop_size), *framing

    count = len(file_names)
    two = tf.TensorSpec((2,), tf.float64)
    spec = (tf.TensorSpec((crop_size, crop_size, 3), tf.uint8), two, two)
    return (
        tf.data.Dataset.range(-(-count // batch_size) * batch_size)
        .map(_numpy_function(load, spec), num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """Within, an InputError from inside a pipeline comes out as itself, not as TensorFlow's."""
    try:
        yield
    except tf.errors.OpError as error:
        if ours := re.search(r"InputError: (.*)", error.message):
            raise InputError(ours[1]) from None
        raise


def _sample_spec(images: ImageSet, crop_size: int) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    return (
        tf.TensorSpec((crop_size, crop_size, 3), tf.uint8),
        tf.TensorSpec((images.points, 2), tf.float32),
    )


def _numpy_function(function: Callable, specs: Sequence[tf.TensorSpec]) -> Callable:
    """Wraps a function on NumPy values for `map`, with the shapes that `numpy_function` forgets."""

    def mapped(*inputs):
        outputs = tf.numpy_function(function, inputs, [spec.dtype for spec in specs])
        for output, spec in zip(outputs, specs, strict=True):
            output.set_shape(spec.shape)
        return tuple(outputs)

    return mapped
