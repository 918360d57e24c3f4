import keras
import numpy as np
import pytest

from keras_landmarks.models import networks
from keras_landmarks.models.folding import fold_batch_norm
from keras_landmarks.models.layers import BatchNormalization, Convolution
from keras_landmarks.models.resnet import ResNetConfig

MEMBERS = {
    "basic": ResNetConfig("basic", (1, 1), stem_width=8),
    "bottleneck": ResNetConfig("bottleneck", (1, 1), stem_width=8),
    "grouped": ResNetConfig("bottleneck", (1, 1), groups=4, base_width=32, stem_width=8),
}


@pytest.fixture(params=MEMBERS)
def model(request):
    """A network whose statistics and scales are nothing like 0 and 1."""
    keras.utils.set_random_seed(0)
    model = networks.build(MEMBERS[request.param], points=5, image_size=32)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    return model


def test_a_folded_model_predicts_the_same(model):
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = model.predict_on_batch(images)
    np.testing.assert_allclose(
        fold_batch_norm(model).predict_on_batch(images), expected, rtol=1e-4, atol=1e-4
    )


def test_nothing_of_the_normalisation_is_left(model):
    before = [w.copy() for w in model.get_weights()]
    folded = fold_batch_norm(model)
    assert not any(isinstance(layer, BatchNormalization) for layer in folded.layers)
    assert all(len(layer.weights) == 2 for layer in folded.layers if isinstance(layer, Convolution))
    for mine, earlier in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, earlier)
