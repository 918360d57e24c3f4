"""ResNet and ResNeXt as Keras layers, up to their last feature map."""

from keras_landmarks.models import resnet_plan
from keras_landmarks.models.layers import BatchNormalization, Convolution, MaxPooling, ReLU
from keras_landmarks.models.registry import ResNetConfig
from keras_landmarks.models.resnet_plan import ConvolutionPlan


def features(config: ResNetConfig, x):
    """Returns the last feature map (N, height / 32, width / 32, channels) of normalised pixels."""
    x = MaxPooling(name="maxpool")(ReLU()(_convolve(x, resnet_plan.stem(config))))
    for block in resnet_plan.blocks(config):
        *inner, last = block.convolutions
        y = x
        for plan in inner:
            y = ReLU()(_convolve(y, plan))
        y = _convolve(y, last)
        x = ReLU()(y + (_convolve(x, block.projection) if block.projection else x))
    return x


def _convolve(x, plan: ConvolutionPlan):
    x = Convolution(plan.filters, plan.size, plan.strides, plan.groups, name=plan.name)(x)
    return BatchNormalization(name=plan.norm)(x)
