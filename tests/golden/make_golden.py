"""Golden values from PyTorch: small ResNets, their outputs, and the losses of a short training.

python tests/golden/make_golden.py

Needs PyTorch, NumPy and safetensors, and nothing of this package. Writes beside itself, for each
kind of block, `<kind>.safetensors` (weights with torchvision's names; the metadata holds the member
of the family) and `<kind>.npz` (`images`, `landmarks`); and `training.npz`.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
POINTS = 5
MEMBERS = {
    "basic": {"block": "basic", "depths": [1, 2], "stem_width": 8},
    "bottleneck": {"block": "bottleneck", "depths": [1, 2], "stem_width": 8},
    "grouped": {
        "block": "bottleneck",
        "depths": [1, 2],
        "groups": 4,
        "base_width": 32,
        "stem_width": 8,
    },
}
LEARNING_RATES = (1e-2, 1e-2, 1e-3)  # one for each epoch
BATCHES, BATCH_SIZE = 3, 4


class Block(nn.Module):
    """Two 3x3 convolutions, or a 3x3 one between two pointwise ones, around a shortcut."""

    def __init__(self, inputs, planes, stride, block, groups, base_width):
        super().__init__()
        width = planes * base_width // 64 * groups
        outputs = planes if block == "basic" else 4 * planes
        if block == "basic":
            shapes = [(inputs, planes, 3, stride, 1), (planes, planes, 3, 1, 1)]
        else:
            shapes = [
                (inputs, width, 1, 1, 1),
                (width, width, 3, stride, groups),
                (width, outputs, 1, 1, 1),
            ]
        for number, shape in enumerate(shapes, start=1):
            setattr(self, f"conv{number}", convolution(*shape))
            setattr(self, f"bn{number}", nn.BatchNorm2d(shape[1]))
        self.convolutions = len(shapes)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                convolution(inputs, outputs, 1, stride, 1), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = x
        for number in range(1, self.convolutions + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            if number < self.convolutions:
                y = y.relu()
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    """Images (N, H, W, 3) uint8 to landmarks (N, POINTS, 2)."""

    def __init__(self, block, depths, groups=1, base_width=64, stem_width=64):
        super().__init__()
        self.conv1 = convolution(3, stem_width, 7, 2, 1)
        self.bn1 = nn.BatchNorm2d(stem_width)
        channels = stem_width
        for stage, depth in enumerate(depths):
            planes = stem_width * 2**stage
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(channels, planes, stride, block, groups, base_width))
                channels = planes if block == "basic" else 4 * planes
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.stages = len(depths)
        self.fc = nn.Linear(channels, 2 * POINTS)

    def forward(self, images):
        x = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        x = self.bn1(self.conv1(x)).relu()
        x = nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3))).reshape(-1, POINTS, 2)


def convolution(inputs, outputs, size, stride, groups):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


def images(count, height, width):
    """Smooth random pictures: what a convolution sees differs from place to place."""
    coarse = torch.rand(count, 3, 6, 6) * 255
    fine = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return fine.permute(0, 2, 3, 1).contiguous().to(torch.uint8)


def randomise_norms(model):
    """Gives scale, offset and running statistics values that a wrong mapping would show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.3, 1.5)


def write_member(name):
    model = ResNet(**MEMBERS[name]).eval()
    randomise_norms(model)
    # Odd sizes: uneven padding at stride 2 would show.
    batch = images(2, 33, 43)
    with torch.no_grad():
        landmarks = model(batch)
    metadata = {"member": json.dumps(MEMBERS[name])}
    save_file(model.state_dict(), HERE / f"{name}.safetensors", metadata)
    np.savez_compressed(HERE / f"{name}.npz", images=batch, landmarks=landmarks)
    return model


def write_training(model):
    """Adam with AMSGrad, built anew at the start of every epoch, from the weights of `model`."""
    model.train()
    batches = images(BATCHES * BATCH_SIZE, 32, 32).split(BATCH_SIZE)
    # Targets as large as pixels: for small ones Adam's epsilon, which Keras adds elsewhere, shows.
    targets = (64 * torch.rand(BATCHES * BATCH_SIZE, POINTS, 2)).split(BATCH_SIZE)
    losses = []
    for learning_rate in LEARNING_RATES:
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, amsgrad=True)
        for batch, target in zip(batches, targets, strict=True):
            loss = nn.functional.mse_loss(model(batch), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    np.savez_compressed(
        HERE / "training.npz",
        images=torch.cat(batches),
        landmarks=torch.cat(targets),
        learning_rates=np.float32(LEARNING_RATES),
        losses=np.float32(losses).reshape(len(LEARNING_RATES), BATCHES),
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    models = {name: write_member(name) for name in MEMBERS}
    write_training(models["basic"])
