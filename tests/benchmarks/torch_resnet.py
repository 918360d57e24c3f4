"""The package's ResNets in PyTorch: the same layers, with torchvision's names of the weights."""

import numpy as np
import torch
from torch import nn

from keras_landmarks.models.resnet import ResNetConfig


class TorchResNet(nn.Module):
    """From images (N, H, W, 3) of 0 to 255 to landmarks (N, num_landmarks, 2)."""

    def __init__(self, config: ResNetConfig, num_landmarks: int):
        super().__init__()
        self.conv1 = _convolution(3, config.stem_width, 7, strides=2)
        self.bn1 = nn.BatchNorm2d(config.stem_width)
        self.stages = [f"layer{number}" for number in range(1, len(config.depths) + 1)]
        channels = config.stem_width
        for stage, depth in enumerate(config.depths):
            planes = config.stem_width * 2**stage
            blocks = nn.Sequential()
            for index in range(depth):
                strides = 2 if stage > 0 and index == 0 else 1
                blocks.append(_Block(config, channels, planes, strides))
                channels = blocks[-1].outputs
            self.add_module(self.stages[stage], blocks)
        self.fc = nn.Linear(channels, 2 * num_landmarks)

    def forward(self, images):
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        x = self.bn1(self.conv1(x)).relu_()
        x = nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.fc(x.mean((2, 3))).unflatten(1, (-1, 2))


class _Block(nn.Module):
    """Convolutions with batch norms around a shortcut, basic or bottleneck."""

    def __init__(self, config: ResNetConfig, inputs: int, planes: int, strides: int):
        super().__init__()
        if config.block == "basic":
            self.outputs = planes
            shapes = [(planes, 3, strides, 1), (planes, 3, 1, 1)]
        else:
            self.outputs = 4 * planes
            width = planes * config.base_width // 64 * config.groups
            shapes = [(width, 1, 1, 1), (width, 3, strides, config.groups), (self.outputs, 1, 1, 1)]
        self.layers, channels = [], inputs
        for number, (filters, *shape) in enumerate(shapes, start=1):
            self.layers.append((f"conv{number}", f"bn{number}"))
            self.add_module(f"conv{number}", _convolution(channels, filters, *shape))
            self.add_module(f"bn{number}", nn.BatchNorm2d(filters))
            channels = filters
        if strides != 1 or inputs != self.outputs:
            projection = _convolution(inputs, self.outputs, 1, strides)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(self.outputs))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = x
        for convolution, norm in self.layers:
            y = self.get_submodule(norm)(self.get_submodule(convolution)(y))
            if (convolution, norm) != self.layers[-1]:
                y = y.relu_()
        return (y + self.downsample(x)).relu_()


def _convolution(inputs, filters, size, strides=1, groups=1):
    return nn.Conv2d(inputs, filters, size, strides, size // 2, groups=groups, bias=False)


class TorchTrainer:
    """A network with its optimiser, and the batch of images and landmarks it takes steps on."""

    def __init__(
        self, config: ResNetConfig, batch: tuple[np.ndarray, np.ndarray], threads: int, device: str
    ):
        """Builds the network with random weights; `device` is PyTorch's name of the device."""
        torch.set_num_threads(threads)
        self._images, self._landmarks = (torch.from_numpy(array).to(device) for array in batch)
        network = TorchResNet(config, self._landmarks.shape[1])
        self._network = network.to(device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(self._network.parameters(), amsgrad=True)

    def train(self) -> None:
        """Takes one train step."""
        self._network.train()
        self._optimizer.zero_grad()
        loss = nn.functional.mse_loss(self._network(self._images), self._landmarks)
        loss.backward()
        self._optimizer.step()
        loss.item()  # waits until a GPU has finished

    def predict(self) -> None:
        """Predicts the batch."""
        self._network.eval()
        with torch.inference_mode():
            self._network(self._images).cpu()
