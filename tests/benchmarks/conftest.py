import pytest

from keras_landmarks.benchmarks.workload import Workload
from keras_landmarks.models.resnet import ResNetConfig


@pytest.fixture(scope="session")
def small_model():
    """A network that compiles fast; it stands in the settings in place of a model's name."""
    return ResNetConfig("basic", (1,), stem_width=8)


@pytest.fixture(scope="module")
def settings(tiny_settings):
    return tiny_settings


@pytest.fixture(scope="module")
def workload(settings, small_model, faces, tmp_path_factory):
    small = settings.replace(model=small_model)
    return Workload(small, faces, tmp_path_factory.mktemp("scratch"), seconds=0.0)
