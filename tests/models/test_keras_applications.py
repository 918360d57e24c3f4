import jax
import keras
import numpy as np
import pytest

from keras_landmarks.models import networks, pretrained, registry
from keras_landmarks.models.folding import fold_batch_norm
from keras_landmarks.models.heads import Head

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 48, 32, 3), np.uint8)


@pytest.mark.parametrize("name", registry.LIBRARY)
def test_a_network_of_the_library_has_our_input_and_our_heads(name):
    models, head = [], Head("shape", 5, uncertainty=True)
    # Traced, not run: the variables get shapes and no values.
    jax.eval_shape(lambda: models.append(networks.build(name, 7, (160, 128), head=head)))
    model = models.pop()
    assert model.input_shape == (None, 160, 128, 3)
    assert model.output_shape == (None, 7, 3)
    assert model.get_layer("flatten").input.shape[1:3] == (5, 4)


def test_the_seeds_of_a_networks_dropout_are_no_weights(tmp_path):
    def build():
        image = keras.Input((3,))
        dense = keras.layers.Dense(4, name="fc")(image)
        return keras.Model(image, keras.layers.Dropout(0.5, name="drop")(dense))

    model, again = build(), build()
    model.save_weights(tmp_path / pretrained.BEST_WEIGHTS)
    assert pretrained.load_weights(again, tmp_path) == []
    for mine, read in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(read, mine)


def test_its_weights_are_read_back_and_its_predictions_survive_folding(tmp_path):
    keras.utils.set_random_seed(0)
    model = networks.build("mobilenet_v3_large", 7, (48, 32))
    expected = model.predict(IMAGES, verbose=0)
    model.save_weights(tmp_path / pretrained.BEST_WEIGHTS)
    again = networks.build("mobilenet_v3_large", 7, (48, 32))
    assert pretrained.load_weights(again, tmp_path) == []
    folded = fold_batch_norm(again)
    norms = [x for x in folded.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms == []
    folded = folded.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(folded, expected, atol=1e-4)
