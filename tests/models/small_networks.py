"""Small networks for tests, and comparison of their weights."""

import numpy as np

from keras_landmarks.models import networks
from keras_landmarks.models.registry import ResNetConfig

CONFIGS = {
    "basic": ResNetConfig("basic", (1, 1), stem_width=8),
    "bottleneck": ResNetConfig("bottleneck", (1, 1), stem_width=8),
    "grouped": ResNetConfig("bottleneck", (1, 1), groups=4, base_width=32, stem_width=8),
}
ONE_BLOCK = ResNetConfig("bottleneck", (1,), groups=2, stem_width=8)
NUM_LANDMARKS = 5


def build(config=ONE_BLOCK, num_landmarks=NUM_LANDMARKS):
    return networks.build(config, num_landmarks, image_size=32)


def values(model):
    return {variable.path: np.asarray(variable.value) for variable in model.variables}


def assert_equal_values(model, other):
    ours, theirs = values(model), values(other)
    assert [path for path in ours if not np.array_equal(ours[path], theirs[path])] == []
