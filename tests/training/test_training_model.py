import jax
import keras
import numpy as np
import pytest

from keras_landmarks.models import networks, resnet
from keras_landmarks.models.layers import lowering_for
from keras_landmarks.training.optimizer import recipe
from keras_landmarks.training.training_model import TrainingModel, train_step

LANDMARKS = np.array([[[10.0, 20.0]], [[30.0, 40.0]]], np.float32)
SCALE = np.array([[0.5, 0.25], [1.0, 1.0]], np.float32)


def network(*numbers):
    """Returns a network that predicts the same numbers for every image."""
    image = keras.Input((2,))
    zeros = keras.layers.Dense(len(numbers), kernel_initializer="zeros", name="numbers")
    model = keras.Model(image, keras.layers.Reshape((1, len(numbers)))(zeros(image)))
    zeros.set_weights([np.zeros((2, len(numbers))), np.array(numbers)])
    return model


def evaluate(network, loss, in_photo_px):
    model_to_train = TrainingModel(network, loss, in_photo_px)
    model_to_train.compile("sgd")
    images = np.zeros((2, 2), np.float32)
    return model_to_train.test_on_batch(images, LANDMARKS, SCALE, return_dict=True)


# Errors in crop px (1, 1) and (-19, -19); in photo px (2, 4) and (-19, -19).


def test_loss_is_in_crop_px_and_mse_in_photo_px():
    metrics = evaluate(network(11.0, 21.0), "mse", False)
    assert metrics["loss"] == pytest.approx((1 + 361) / 2)
    assert metrics["mse"] == pytest.approx((10 + 361) / 2)


def test_loss_in_photo_px():
    metrics = evaluate(network(11.0, 21.0), "log_mse", True)
    assert metrics["loss"] == pytest.approx((np.log(11) + np.log(362)) / 2, rel=1e-5)


def test_third_output_is_the_log_variance():
    metrics = evaluate(network(11.0, 21.0, np.log(4.0)), "nll", False)
    of_each = [(1 / 4 + np.log(4)) / 2, (361 / 4 + np.log(4)) / 2]
    assert metrics["loss"] == pytest.approx(np.mean(of_each), rel=1e-5)
    assert metrics["mse"] == pytest.approx((10 + 361) / 2)


def test_log_variance_is_in_crop_px():
    metrics = evaluate(network(11.0, 21.0, np.log(4.0)), "nll", True)
    variances = 4 / (0.5 * 0.25), 4  # in photo pixels squared
    of_each = [(mse / v + np.log(v)) / 2 for mse, v in zip((10, 361), variances, strict=True)]
    assert metrics["loss"] == pytest.approx(np.mean(of_each), rel=1e-5)


def test_absent_landmarks_have_neither_loss_nor_gradient():
    """Two points, of which the second image lacks the second: errors (1, 1), (2, 2); (-19, -19)."""
    landmarks = np.array([[[10, 20], [9, 19]], [[30, 40], [np.nan, np.nan]]], np.float32)
    image = keras.Input((2,))
    zeros = keras.layers.Dense(4, kernel_initializer="zeros", name="numbers")
    model = keras.Model(image, keras.layers.Reshape((2, 2))(zeros(image)))
    zeros.set_weights([np.zeros((2, 4)), np.array([11.0, 21.0, 11.0, 21.0])])
    model_to_train = TrainingModel(model, "mse", False, has_gaps=True)
    model_to_train.compile(keras.optimizers.SGD(0.1))
    batch = np.zeros((2, 2), np.float32), landmarks, np.ones((2, 2), np.float32)
    metrics = model_to_train.train_on_batch(*batch, return_dict=True)
    assert metrics["loss"] == pytest.approx(((1 + 4) / 2 + 361) / 2)
    assert metrics["mse"] == pytest.approx(metrics["loss"])
    # Gradients: of the first point (1 / 2 - 19) / 2 for x and y, of the second 2 / 2 / 2.
    numbers = model.get_layer("numbers").get_weights()[1]
    np.testing.assert_allclose(numbers, [11.925, 21.925, 10.95, 20.95], rtol=1e-6)


def test_networks_weights_are_trained():
    model = network(11.0, 21.0)
    model_to_train = TrainingModel(model, "mse", False)
    model_to_train.compile(keras.optimizers.SGD(0.1))
    model_to_train.train_on_batch(np.zeros((2, 2), np.float32), LANDMARKS, SCALE)
    # d/dp mean over images and x, y of (p - t)^2 = 2 * mean error / 2 = (1 - 19) / 2 = -9.
    np.testing.assert_allclose(model.get_layer("numbers").get_weights()[1], [11.9, 21.9])


# ── one step ──

POINTS, SIZE = 5, 32
KINDS = {
    "basic": resnet.ResNetConfig("basic", (1, 1), stem_width=8),
    "grouped": resnet.ResNetConfig("bottleneck", (1, 1), groups=4, base_width=32, stem_width=8),
}


def compiled_model(kind):
    model = TrainingModel(networks.build(KINDS[kind], POINTS, SIZE), "mse", in_photo_px=True)
    model.compile(recipe())
    return model


def random_batch(images=4):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, SIZE, SIZE, 3), np.uint8)
    landmarks = rng.uniform(0, SIZE, (images, POINTS, 2)).astype(np.float32)
    return pixels, landmarks, rng.uniform(0.5, 2, (images, 2)).astype(np.float32)


def test_train_steps_equal_those_of_keras():
    model, batch = compiled_model("basic"), random_batch()
    function, state = train_step(model)
    step = jax.jit(function)
    for _ in range(2):
        logs, state = step(state, batch)
    for _ in range(2):
        model.train_on_batch(*batch)
    _, after_keras = train_step(model)
    weights, statistics, optimizer, _ = state
    for ours, theirs in zip((weights, statistics, optimizer), after_keras, strict=False):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-5)
    assert float(logs["loss"]) > 0


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("kind", KINDS)
def test_train_step_lowers_for_accelerators(kind, platform):
    step, state = train_step(compiled_model(kind))
    with lowering_for(platform):
        exported = jax.export.export(jax.jit(step), platforms=[platform])(state, random_batch())
    assert exported.platforms == (platform,)
    shapes = [array.shape for array in jax.tree.leaves(state)]
    assert [aval.shape for aval in exported.out_avals][-len(shapes) :] == shapes
