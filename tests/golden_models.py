"""Our twins of the PyTorch models whose values golden/make_golden.py wrote."""

import json
from pathlib import Path

import numpy as np
import safetensors

from keras_landmarks.models import networks, pretrained, resnet

GOLDEN = Path(__file__).parent / "golden"
POINTS = 5


def weights_file(kind):
    return GOLDEN / f"{kind}.safetensors"


def build(kind, image_size):
    """The golden model of that kind of block, with its weights."""
    with safetensors.safe_open(weights_file(kind), "np") as file:
        member = resnet.ResNetConfig(**json.loads(file.metadata()["member"]))
    model = networks.build(member, POINTS, image_size)
    pretrained.load_weights(model, weights_file(kind))
    return model


def values(name):
    return dict(np.load(GOLDEN / f"{name}.npz"))
