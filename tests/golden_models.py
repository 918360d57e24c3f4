"""Our counterparts of the PyTorch models whose outputs golden/make_golden.py wrote."""

import json
from pathlib import Path

import numpy as np
import safetensors

from keras_landmarks.models import keras_weights, networks, resnet

GOLDEN = Path(__file__).parent / "golden"
NUM_LANDMARKS = 5


def weights_file(kind):
    return GOLDEN / f"{kind}.safetensors"


def build(kind, image_size):
    """Builds the golden model with a kind of block, and loads its weights."""
    with safetensors.safe_open(weights_file(kind), "np") as file:
        config = resnet.ResNetConfig(**json.loads(file.metadata()["member"]))
    model = networks.build(config, NUM_LANDMARKS, image_size)
    keras_weights.load_weights(model, weights_file(kind))
    return model


def values(name):
    return dict(np.load(GOLDEN / f"{name}.npz"))
