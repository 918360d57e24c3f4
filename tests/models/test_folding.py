import keras
import numpy as np
import pytest
from small_networks import CONFIGS, build

from keras_landmarks.models.folding import fold_batch_norm
from keras_landmarks.models.layers import BatchNormalization, Convolution


@pytest.fixture(params=CONFIGS)
def model(request):
    """A network whose statistics and scales are far from 0 and 1."""
    keras.utils.set_random_seed(0)
    model = build(CONFIGS[request.param])
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    return model


def test_folded_model_predicts_the_same(model):
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = model.predict_on_batch(images)
    np.testing.assert_allclose(
        fold_batch_norm(model).predict_on_batch(images), expected, rtol=1e-4, atol=1e-4
    )


def test_folded_model_has_no_normalisation_left(model):
    folded = fold_batch_norm(model)
    assert not any(isinstance(layer, BatchNormalization) for layer in folded.layers)
    assert all(len(layer.weights) == 2 for layer in folded.layers if isinstance(layer, Convolution))


def test_folding_does_not_change_the_original(model):
    before = [w.copy() for w in model.get_weights()]
    fold_batch_norm(model)
    for now, earlier in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, earlier)
