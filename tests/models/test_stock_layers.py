import keras
import numpy as np
from test_folding import MEMBERS

from keras_landmarks.models import networks
from keras_landmarks.models.heads import Head
from keras_landmarks.models.stock_layers import stock_model


def test_a_stock_model_predicts_the_same_without_our_layers():
    keras.utils.set_random_seed(0)
    # Odd sides: at stride 2 the padding is another than Keras's own.
    head = Head(uncertainty=True)
    model = networks.build(MEMBERS["grouped"], 5, (33, 38), head=head)
    images = np.random.default_rng(1).integers(0, 256, (3, 33, 38, 3)).astype(np.float32)
    stock = stock_model(model)
    np.testing.assert_allclose(
        stock.predict_on_batch(images), model.predict_on_batch(images), rtol=1e-4, atol=1e-4
    )
    assert not any(type(layer).__module__.startswith("keras_land") for layer in stock.operations)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in stock.layers)
    assert stock.get_layer("conv1.padding").padding == ((3, 3), (3, 3))
