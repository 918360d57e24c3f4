import keras
import numpy as np
from small_networks import CONFIGS

from keras_landmarks.models import networks
from keras_landmarks.models.heads import HeadConfig
from keras_landmarks.models.stock_layers import stock_model


def test_stock_model_predicts_the_same():
    keras.utils.set_random_seed(0)
    # With odd sides, the padding at stride 2 differs from Keras's own.
    head = HeadConfig(uncertainty=True)
    model = networks.build(CONFIGS["grouped"], 5, (33, 38), head=head)
    images = np.random.default_rng(1).integers(0, 256, (3, 33, 38, 3)).astype(np.float32)
    stock = stock_model(model)
    np.testing.assert_allclose(
        stock.predict_on_batch(images), model.predict_on_batch(images), rtol=1e-4, atol=1e-4
    )
    assert not any(type(layer).__module__.startswith("keras_land") for layer in stock.operations)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in stock.layers)
    assert stock.get_layer("conv1.padding").padding == ((3, 3), (3, 3))
