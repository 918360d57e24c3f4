import numpy as np
import pytest
from small_networks import build

from keras_landmarks.models import keras_weights


@pytest.fixture(scope="module")
def source():
    """A model whose every variable differs from a new one's."""
    model = build()
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.fixture
def safetensors_file(source, tmp_path):
    path = tmp_path / "weights.safetensors"
    keras_weights.save_safetensors(source, path)
    return path


@pytest.fixture
def work_directory(source, tmp_path):
    source.save_weights(tmp_path / "best.weights.h5")
    return tmp_path
