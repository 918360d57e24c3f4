import keras
import numpy as np
import pytest

from keras_landmarks.models import heads, keras_weights, networks
from keras_landmarks.models.folding import fold_batch_norm
from keras_landmarks.models.heads import HeadConfig

SHAPE = HeadConfig("shape", shape_components=3)


def build(head):
    return networks.build("tiny", num_landmarks=5, image_size=(64, 48), head=head)


def images(count=2):
    return np.random.default_rng(0).integers(0, 256, (count, 64, 48, 3), np.uint8)


def with_basis(model):
    rng = np.random.default_rng(1)
    mean, components = rng.normal(size=10), rng.normal(size=(3, 10))
    heads.set_shape_basis(model, mean, components)
    coefficients = model.get_layer("coefficients")
    coefficients.set_weights([0.1 * rng.normal(size=w.shape) for w in coefficients.get_weights()])
    return mean, components


def test_shape_head_predicts_within_its_basis():
    model = build(SHAPE)
    mean, components = with_basis(model)
    landmarks = model.predict(images(), verbose=0)
    assert landmarks.shape == (2, 5, 2)
    off = landmarks.reshape(2, 10) - mean
    coefficients = np.linalg.lstsq(components.T, off.T, rcond=None)[0]
    np.testing.assert_allclose(coefficients.T @ components, off, atol=1e-4)
    assert np.abs(coefficients).max() > 0


def test_new_shape_head_predicts_the_mean_shape():
    model = build(SHAPE)
    mean = np.arange(10.0)
    heads.set_shape_basis(model, mean, np.ones((3, 10)))
    np.testing.assert_array_equal(model.predict(images(), verbose=0).reshape(2, 10), [mean, mean])


def test_training_does_not_change_the_basis():
    model = build(SHAPE)
    mean, components = with_basis(model)
    model.compile("sgd", loss="mse")
    model.train_on_batch(images(), np.zeros((2, 5, 2), np.float32))
    np.testing.assert_allclose(model.get_layer("basis").get_weights()[0], components, rtol=1e-6)
    np.testing.assert_allclose(model.get_layer("basis").get_weights()[1], mean, rtol=1e-6)


def test_only_shape_head_uses_feature_positions():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 2, 2, 512)).astype(np.float32)
    moved = features[:, ::-1]
    for head, same in ((HeadConfig(), True), (SHAPE, False)):
        model = head_model(head)
        if head == SHAPE:
            with_basis(model)
        agree = np.allclose(model(features), model(moved), atol=1e-4)
        assert agree == same


def head_model(head):
    features = keras.Input((2, 2, 512))
    return keras.Model(features, heads.attach(head, features, 5))


@pytest.mark.parametrize(
    "head", [HeadConfig(uncertainty=True), HeadConfig("shape", 3, uncertainty=True)]
)
def test_uncertainty_adds_a_third_number(head):
    model = build(head)
    assert model.output_shape == (None, 5, 3)
    plain = build(HeadConfig(head.kind, head.shape_components))
    for layer in filter(lambda layer: layer.weights, plain.layers):
        layer.set_weights(model.get_layer(layer.name).get_weights())
    both = model.predict(images(), verbose=0)
    np.testing.assert_allclose(both[..., :2], plain.predict(images(), verbose=0), atol=1e-5)


def test_shape_head_survives_folding_and_saving(tmp_path):
    model = build(SHAPE)
    with_basis(model)
    expected = model.predict(images(), verbose=0)
    folded = fold_batch_norm(model).predict(images(), verbose=0)
    np.testing.assert_allclose(folded, expected, atol=1e-3)
    model.save_weights(tmp_path / "best.weights.h5")
    again = build(SHAPE)
    keras_weights.load_weights(again, tmp_path)
    np.testing.assert_array_equal(again.predict(images(), verbose=0), expected)


def test_weights_of_another_head_load_partially(tmp_path):
    linear = build(HeadConfig())
    keras_weights.save_safetensors(linear, tmp_path / "linear.safetensors")
    model = build(SHAPE)
    left = keras_weights.load_weights(
        model, tmp_path / "linear.safetensors", skip_mismatched_head=True
    )
    assert left == ["coefficients.weight", "coefficients.bias", "basis.weight", "basis.bias"]
    for layer in ("conv1", "layer4.0.conv2"):
        ours, theirs = (m.get_layer(layer).get_weights() for m in (model, linear))
        np.testing.assert_array_equal(ours, theirs)
