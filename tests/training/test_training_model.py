import keras
import numpy as np
import pytest

from keras_landmarks.training.training_model import TrainingModel

LANDMARKS = np.array([[[10.0, 20.0]], [[30.0, 40.0]]], np.float32)
SCALE = np.array([[0.5, 0.25], [1.0, 1.0]], np.float32)


def network(*numbers):
    """Gives the same numbers for every image."""
    image = keras.Input((2,))
    zeros = keras.layers.Dense(len(numbers), kernel_initializer="zeros", name="numbers")
    model = keras.Model(image, keras.layers.Reshape((1, len(numbers)))(zeros(image)))
    zeros.set_weights([np.zeros((2, len(numbers))), np.array(numbers)])
    return model


def figures(network, loss, in_photo_px):
    objective = TrainingModel(network, loss, in_photo_px)
    objective.compile("sgd")
    images = np.zeros((2, 2), np.float32)
    return objective.test_on_batch(images, LANDMARKS, SCALE, return_dict=True)


# Errors in crop px (1, 1) and (-19, -19); in photo px (2, 4) and (-19, -19).


def test_the_loss_is_of_crop_pixels_and_the_mse_of_photo_pixels():
    said = figures(network(11.0, 21.0), "mse", False)
    assert said["loss"] == pytest.approx((1 + 361) / 2)
    assert said["mse"] == pytest.approx((10 + 361) / 2)


def test_a_loss_in_photo_pixels():
    said = figures(network(11.0, 21.0), "log_mse", True)
    assert said["loss"] == pytest.approx((np.log(11) + np.log(362)) / 2, rel=1e-5)


def test_uncertainty_comes_as_a_third_number():
    said = figures(network(11.0, 21.0, np.log(4.0)), "nll", False)
    of_each = [(1 / 4 + np.log(4)) / 2, (361 / 4 + np.log(4)) / 2]
    assert said["loss"] == pytest.approx(np.mean(of_each), rel=1e-5)
    assert said["mse"] == pytest.approx((10 + 361) / 2)


def test_uncertainty_is_of_crop_pixels_whatever_the_losses_unit():
    said = figures(network(11.0, 21.0, np.log(4.0)), "nll", True)
    variances = 4 / (0.5 * 0.25), 4  # in photo pixels squared
    of_each = [(mse / v + np.log(v)) / 2 for mse, v in zip((10, 361), variances, strict=True)]
    assert said["loss"] == pytest.approx(np.mean(of_each), rel=1e-5)


def test_it_trains_the_networks_own_weights():
    model = network(11.0, 21.0)
    objective = TrainingModel(model, "mse", False)
    objective.compile(keras.optimizers.SGD(0.1))
    objective.train_on_batch(np.zeros((2, 2), np.float32), LANDMARKS, SCALE)
    # d/dp mean over images and x, y of (p - t)^2 = 2 * mean error / 2 = (1 - 19) / 2 = -9.
    np.testing.assert_allclose(model.get_layer("numbers").get_weights()[1], [11.9, 21.9])
