"""ResNet and ResNeXt, up to their last feature map.

He et al., "Deep residual learning", 2015, and Xie et al., "Aggregated residual transformations",
2016, in the variant of torchvision (github.com/pytorch/vision): the stride of a bottleneck sits in
its 3x3 convolution. Layers have torchvision's names, so its weights load by name.
"""

from keras_landmarks.models.layers import BatchNormalization, Convolution, MaxPooling, ReLU
from keras_landmarks.models.registry import ResNetConfig


def features(config: ResNetConfig, x):
    """Returns the last feature map (N, height / 32, width / 32, channels) of normalised pixels."""
    x = ReLU()(_convolution_norm(x, "conv1", "bn1", config.stem_width, 7, strides=2))
    x = MaxPooling(name="maxpool")(x)
    for stage, depth in enumerate(config.depths):
        planes = config.stem_width * 2**stage
        for index in range(depth):
            strides = 2 if stage > 0 and index == 0 else 1
            x = BLOCKS[config.block](x, f"layer{stage + 1}.{index}", config, planes, strides)
    return x


def _convolution_norm(x, convolution, norm, filters, kernel_size, strides=1, groups=1):
    x = Convolution(filters, kernel_size, strides, groups, name=convolution)(x)
    return BatchNormalization(name=norm)(x)


def _basic(x, name, config, planes, strides):
    """Two 3x3 convolutions with a shortcut."""
    y = _convolution_norm(x, f"{name}.conv1", f"{name}.bn1", planes, 3, strides)
    y = _convolution_norm(ReLU()(y), f"{name}.conv2", f"{name}.bn2", planes, 3)
    return ReLU()(y + _shortcut(x, name, planes, strides))


def _bottleneck(x, name, config, planes, strides):
    """A 3x3 convolution, grouped in ResNeXt, between two pointwise ones, with a shortcut."""
    width = planes * config.base_width // 64 * config.groups
    y = _convolution_norm(x, f"{name}.conv1", f"{name}.bn1", width, 1)
    y = _convolution_norm(
        ReLU()(y), f"{name}.conv2", f"{name}.bn2", width, 3, strides, config.groups
    )
    y = _convolution_norm(ReLU()(y), f"{name}.conv3", f"{name}.bn3", 4 * planes, 1)
    return ReLU()(y + _shortcut(x, name, 4 * planes, strides))


BLOCKS = {"basic": _basic, "bottleneck": _bottleneck}


def _shortcut(x, name, filters, strides):
    """Returns the block's input, projected if the block changes its shape."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    return _convolution_norm(x, f"{name}.downsample.0", f"{name}.downsample.1", filters, 1, strides)
