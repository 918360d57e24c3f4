"""Builds networks from an image to its landmarks, for every `--model`."""

from collections.abc import Sequence

import numpy as np

from keras_landmarks.models import heads, keras_applications, registry, resnet
from keras_landmarks.models.heads import HeadConfig
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.registry import ResNetConfig
from keras_landmarks.settings import MODELS
from keras_landmarks.utils.errors import InputError


def build(
    name_or_config: str | ResNetConfig,
    num_landmarks: int,
    image_size: int | tuple[int, int],
    pixel_mean: float | Sequence[float] = 0.5,
    pixel_std: float | Sequence[float] = 0.5,
    head: HeadConfig = HeadConfig(),  # noqa: B008 -- it is frozen
) -> keras.Model:
    """Returns a network from an image to its landmarks.

    Its input `image` is (N, height, width, 3), RGB from 0 to 255, uint8 or float; normalisation is
    the first layer. Its output `landmarks` is float32 under any dtype policy: (N, num_landmarks, 2)
    in pixels of the image, x before y, or (N, num_landmarks, 3) with the log variance of each
    landmark.

    Args:
        name_or_config: a name of `settings.MODELS`, or the configuration of a ResNet.
        num_landmarks: landmarks per face.
        image_size: the side of a square, or (height, width), px.
        pixel_mean: subtracted from pixels scaled to 0 to 1; one number, or one for each channel.
        pixel_std: their standard deviation, by which the difference is divided.
        head: the head.

    Raises:
        InputError: there is no network of that name.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    image = keras.Input((height, width, 3), name="image")
    x = _normalise(image, np.asarray(pixel_mean), np.asarray(pixel_std))
    return keras.Model(image, heads.attach(head, _features(name_or_config, x), num_landmarks))


def _normalise(image, mean: np.ndarray, std: np.ndarray):
    scale, offset = (1 / (255 * std)).tolist(), (-mean / std).tolist()
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="normalise")(image)


def _features(name_or_config: str | ResNetConfig, x):
    if isinstance(name_or_config, ResNetConfig):
        return resnet.features(name_or_config, x)
    if name_or_config in registry.KERAS_APPLICATIONS:
        return keras_applications.features(name_or_config, x)
    if name_or_config in registry.RESNETS:
        return resnet.features(registry.RESNETS[name_or_config], x)
    raise InputError(f"model {name_or_config!r} is unknown: choose one of {', '.join(MODELS)}")
