"""The convolutions of a ResNet or ResNeXt, from which Keras models and ONNX graphs are built.

He et al., "Deep residual learning", 2015, and Xie et al., "Aggregated residual transformations",
2016, in the variant of torchvision (github.com/pytorch/vision): the stride of a bottleneck sits in
its 3x3 convolution. Names are torchvision's, so its weights load by name.
"""

from collections.abc import Iterator
from typing import NamedTuple

from keras_landmarks.models.registry import ResNetConfig


class ConvolutionPlan(NamedTuple):
    """A convolution and the batch normalisation after it.

    Attributes:
        name: of the convolution.
        norm: the name of the normalisation.
        size: height and width of the kernel.
        inputs: channels in.
        filters: channels out.
        strides: rows and columns from one output pixel to the next.
        groups: the channels are convolved in so many separate groups.
    """

    name: str
    norm: str
    size: int
    inputs: int
    filters: int
    strides: int = 1
    groups: int = 1


class BlockPlan(NamedTuple):
    """A residual block: ReLU of the sum of its input and its convolutions, with ReLU between these.

    Attributes:
        convolutions: one after the other.
        projection: of the input before it is added, if the block changes its shape.
    """

    convolutions: tuple[ConvolutionPlan, ...]
    projection: ConvolutionPlan | None


def stem(config: ResNetConfig) -> ConvolutionPlan:
    """Returns the first convolution, which ReLU and 3x3 max pooling with strides of 2 follow."""
    return ConvolutionPlan("conv1", "bn1", 7, 3, config.stem_width, strides=2)


def blocks(config: ResNetConfig) -> Iterator[BlockPlan]:
    """Yields the residual blocks, one after the other."""
    inputs = config.stem_width
    for stage, depth in enumerate(config.depths):
        planes = config.stem_width * 2**stage
        for index in range(depth):
            strides = 2 if stage > 0 and index == 0 else 1
            name = f"layer{stage + 1}.{index}"
            block = _BLOCKS[config.block](config, name, inputs, planes, strides)
            yield block
            inputs = block.convolutions[-1].filters


def convolutions(config: ResNetConfig) -> Iterator[ConvolutionPlan]:
    """Yields all convolutions."""
    yield stem(config)
    for block in blocks(config):
        yield from block.convolutions
        if block.projection:
            yield block.projection


def _basic(config: ResNetConfig, name: str, inputs: int, planes: int, strides: int) -> BlockPlan:
    """Returns two 3x3 convolutions."""
    return _with_projection(
        name,
        ConvolutionPlan(f"{name}.conv1", f"{name}.bn1", 3, inputs, planes, strides),
        ConvolutionPlan(f"{name}.conv2", f"{name}.bn2", 3, planes, planes),
    )


def _bottleneck(
    config: ResNetConfig, name: str, inputs: int, planes: int, strides: int
) -> BlockPlan:
    """Returns a 3x3 convolution, grouped in ResNeXt, between two pointwise ones."""
    width = planes * config.base_width // 64 * config.groups
    return _with_projection(
        name,
        ConvolutionPlan(f"{name}.conv1", f"{name}.bn1", 1, inputs, width),
        ConvolutionPlan(f"{name}.conv2", f"{name}.bn2", 3, width, width, strides, config.groups),
        ConvolutionPlan(f"{name}.conv3", f"{name}.bn3", 1, width, 4 * planes),
    )


_BLOCKS = {"basic": _basic, "bottleneck": _bottleneck}


def _with_projection(name: str, *convolutions: ConvolutionPlan) -> BlockPlan:
    inputs, filters = convolutions[0].inputs, convolutions[-1].filters
    strides = max(convolution.strides for convolution in convolutions)
    if strides == 1 and inputs == filters:
        return BlockPlan(convolutions, None)
    shortcut = f"{name}.downsample"
    projection = ConvolutionPlan(f"{shortcut}.0", f"{shortcut}.1", 1, inputs, filters, strides)
    return BlockPlan(convolutions, projection)
