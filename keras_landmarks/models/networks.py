"""Networks from an image to its landmarks: every `--model`, with one input and one kind of head."""

from collections.abc import Sequence

import numpy as np

from keras_landmarks.models import heads, keras_applications, registry, resnet
from keras_landmarks.models.heads import Head
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.registry import ResNetConfig

# Mean and deviation of pixels of 0 to 1; ImageNet's by channel, as torchvision's weights want them.
NORMALISATIONS = {
    "half": (0.5, 0.5),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def build(
    name_or_member: str | ResNetConfig,
    points: int,
    image_size: int | tuple[int, int],
    pixel_mean: float | Sequence[float] = 0.5,
    pixel_std: float | Sequence[float] = 0.5,
    head: Head = Head(),  # noqa: B008 (it is frozen)
) -> keras.Model:
    """A network from an image to its landmarks, by name or as a member of ResNet's family.

    Input `image`: (N, height, width, 3) RGB of 0 to 255, uint8 or float. Output: float32, whatever
    the dtype policy; (N, points, 2), and a third number if the head tells its uncertainty.
    `image_size` is the side of a square or (height, width); `pixel_mean` and `pixel_std` are for
    pixels of 0 to 1, one number or one for each channel.

    Raises:
        InputError: there is no network of that name.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    image = keras.Input((height, width, 3), name="image")
    x = _normalise(image, np.asarray(pixel_mean), np.asarray(pixel_std))
    return keras.Model(image, heads.attach(head, _features(name_or_member, x), points))


def _normalise(image, mean: np.ndarray, std: np.ndarray):
    scale, offset = (1 / (255 * std)).tolist(), (-mean / std).tolist()
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="normalise")(image)


def _features(name_or_member: str | ResNetConfig, x):
    if isinstance(name_or_member, ResNetConfig):
        return resnet.features(name_or_member, x)
    registry.check_model_name(name_or_member)
    if name_or_member in registry.LIBRARY:
        return keras_applications.features(name_or_member, x)
    return resnet.features(registry.RESNETS[name_or_member], x)
