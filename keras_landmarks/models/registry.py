"""The networks that there are: every `--model`. Whoever looks here needs no Keras."""

from collections.abc import Sequence
from typing import NamedTuple

from keras_landmarks.utils.errors import InputError


class ResNetConfig(NamedTuple):
    """What tells one member of the family from another.

    Stage s has depths[s] blocks of stem_width * 2**s planes; a bottleneck's 3x3 convolution has
    groups * base_width / 64 times as many channels, in `groups` groups.
    """

    block: str
    depths: Sequence[int]
    groups: int = 1
    base_width: int = 64
    stem_width: int = 64


RESNETS = {
    "tiny": ResNetConfig("basic", (1, 1, 1, 1), stem_width=16),
    "resnet18_half": ResNetConfig("basic", (2, 2, 2, 2), stem_width=32),  # half as many channels
    "resnet18": ResNetConfig("basic", (2, 2, 2, 2)),
    "resnet34": ResNetConfig("basic", (3, 4, 6, 3)),
    "resnet50": ResNetConfig("bottleneck", (3, 4, 6, 3)),
    "resnext50_32x4d": ResNetConfig("bottleneck", (3, 4, 6, 3), groups=32, base_width=4),
    "resnet101": ResNetConfig("bottleneck", (3, 4, 23, 3)),
    "resnext101_32x8d": ResNetConfig("bottleneck", (3, 4, 23, 3), groups=32, base_width=8),
}

# Of `keras.applications`; see `library`.
LIBRARY = {
    # Howard et al., "Searching for MobileNetV3", 2019; its weights want --normalisation=half.
    "mobilenet_v3_large": "MobileNetV3Large",
    # Tan and Le, "EfficientNetV2", 2021; its weights want --normalisation=imagenet.
    "efficientnet_v2_b0": "EfficientNetV2B0",
}

MODEL_NAMES = (*RESNETS, *LIBRARY)


def check_model_name(name: str) -> None:
    """Raises InputError if there is no network of that name."""
    if name not in MODEL_NAMES:
        raise InputError(f"model {name!r} is unknown: choose one of {', '.join(MODEL_NAMES)}")
