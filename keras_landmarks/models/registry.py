"""What the names of `settings.MODELS` stand for; imports no Keras."""

from collections.abc import Sequence
from typing import NamedTuple


class ResNetConfig(NamedTuple):
    """A ResNet or ResNeXt.

    Attributes:
        block: `basic` or `bottleneck`.
        depths: the number of blocks of each stage. Blocks of stage s have stem_width * 2**s planes.
        groups: of a bottleneck's 3x3 convolution (the cardinality of ResNeXt).
        base_width: a bottleneck's 3x3 convolution has planes * base_width / 64 channels per group.
        stem_width: channels of the first convolution.
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

# Names in keras.applications; see `models.keras_applications`.
KERAS_APPLICATIONS = {
    # Howard et al., "Searching for MobileNetV3", 2019. Its weights need --normalisation=half.
    "mobilenet_v3_large": "MobileNetV3Large",
    # Tan and Le, "EfficientNetV2", 2021. Its weights need --normalisation=imagenet.
    "efficientnet_v2_b0": "EfficientNetV2B0",
}

# Mean and standard deviation of pixels from 0 to 1. ImageNet's are by channel and go with
# torchvision's weights.
NORMALISATIONS = {
    "half": (0.5, 0.5),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

HEADS = ("linear", "shape")

BATCH_NORM_EPSILON = 1e-5  # PyTorch's
