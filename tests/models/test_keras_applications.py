import jax
import keras
import numpy as np
import pytest

from keras_landmarks.models import keras_weights, networks, registry
from keras_landmarks.models.folding import fold_batch_norm
from keras_landmarks.models.heads import HeadConfig
from keras_landmarks.models.weight_files import BEST_WEIGHTS

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 48, 32, 3), np.uint8)


@pytest.mark.parametrize("name", registry.KERAS_APPLICATIONS)
def test_network_has_our_input_and_our_head(name):
    models, head = [], HeadConfig("shape", 5, uncertainty=True)
    # Only traced: the variables have shapes but no values.
    jax.eval_shape(lambda: models.append(networks.build(name, 7, (160, 128), head=head)))
    model = models.pop()
    assert model.input_shape == (None, 160, 128, 3)
    assert model.output_shape == (None, 7, 3)
    assert model.get_layer("flatten").input.shape[1:3] == (5, 4)


@pytest.mark.slow
def test_network_survives_folding_and_saving(tmp_path):
    keras.utils.set_random_seed(0)
    model = networks.build("mobilenet_v3_large", 7, (48, 32))
    expected = model.predict(IMAGES, verbose=0)
    model.save_weights(tmp_path / BEST_WEIGHTS)
    again = networks.build("mobilenet_v3_large", 7, (48, 32))
    assert keras_weights.load_weights(again, tmp_path) == []
    folded = fold_batch_norm(again)
    norms = [x for x in folded.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms == []
    folded = folded.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(folded, expected, atol=1e-4)
