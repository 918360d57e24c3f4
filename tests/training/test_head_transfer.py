import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from folders import contents

from keras_landmarks.contest import landmark_tables
from keras_landmarks.models import heads, networks
from keras_landmarks.models.heads import HeadConfig
from keras_landmarks.models.spec import ModelSpec
from keras_landmarks.train import train
from keras_landmarks.training import head_transfer

SIZE, NEW = 32, 3


def test_exact_line_is_found():
    x = np.arange(6.0)[:, None]
    fit = head_transfer.fit_ridge(x, 2 * x + 1)
    np.testing.assert_allclose(fit.matrix, [[2.0]], rtol=1e-3)
    np.testing.assert_allclose(fit.offset, [1.0], atol=0.01)


def test_left_out_error_equals_hand_computed_value():
    """Two rows of the same input, whose targets 0 and 4 say nothing of each other but the mean."""
    fit = head_transfer.fit_ridge(np.zeros((2, 1)), np.array([[0.0], [4.0]]))
    np.testing.assert_allclose(fit.offset, [2.0])
    assert fit.error == pytest.approx(4)  # each is predicted by the other


def test_noise_is_not_fitted():
    rng = np.random.default_rng(0)
    inputs, noise = rng.normal(size=(20, 15)), rng.normal(size=(20, 1))
    fit = head_transfer.fit_ridge(inputs, noise)
    assert np.abs(fit.matrix).max() < 0.02
    assert fit.error == pytest.approx(noise.std() * 20 / 19, rel=0.05)


def test_new_landmark_follows_the_one_that_moves_like_it():
    """Three faces: the second trained point moves as the new one does, 5 px to its right."""
    trained = np.array([[[0, 0], [10, 4]], [[9, 1], [12, 4]], [[3, 7], [11, 6]]], float)
    new = trained[:, 1:] + [5, 0]
    leaders = head_transfer.find_leaders(trained, new)
    assert leaders == [1]
    fit = head_transfer.fit_landmarks(trained, new, leaders)
    np.testing.assert_allclose(fit.matrix, [[0, 0], [0, 0], [1, 0], [0, 1]], atol=1e-9)
    np.testing.assert_allclose(fit.offset, [5, 0], atol=1e-9)
    assert fit.error < 1e-9


@pytest.mark.parametrize("kind", ["linear", "shape"])
def test_new_head_predicts_a_linear_function_of_the_trained_points(kind):
    """The new points are the first three of five, shifted by (1, 2)."""
    rng = np.random.default_rng(0)
    trained = build(kind, 5)
    head = trained.get_layer("fc" if kind == "linear" else "coefficients")
    head.set_weights([rng.normal(size=w.shape) for w in head.get_weights()])
    crops = rng.integers(0, 256, (40, SIZE, SIZE, 3), np.uint8)
    wanted = trained.predict_on_batch(crops)[:, :NEW] + [1, 2]
    network = build(kind, NEW)
    for layer, other in zip(network.layers, trained.layers, strict=True):
        if layer.name not in itertools.chain(*heads.LAYER_NAMES):
            layer.set_weights(other.get_weights())
    error_px = head_transfer.fit_head(network, trained, crops, wanted)
    np.testing.assert_allclose(network.predict_on_batch(crops), wanted, atol=0.05)
    assert error_px < 0.05


def test_new_variance_begins_as_the_leaders_scaled_to_the_error_of_the_fit():
    """The new points are the trained ones in reverse, moved by noise of 3 px."""
    rng = np.random.default_rng(0)
    trained, network = (build("linear", NEW, uncertainty=True) for _ in range(2))
    network.set_weights(trained.get_weights())
    kernel, bias = trained.get_layer("fc").get_weights()
    trained.get_layer("fc").set_weights([300 * kernel, bias])  # points move by more than the noise
    crops = rng.integers(0, 256, (200, SIZE, SIZE, 3), np.uint8) // rng.integers(
        1, 9, (200, 1, 1, 1)
    )
    predicted = trained.predict_on_batch(crops)[:, ::-1]
    noise = rng.normal(scale=3, size=(200, NEW, 2))
    error_px = head_transfer.fit_head(network, trained, crops, predicted[..., :2] + noise)
    log_variance = network.predict_on_batch(crops)[..., 2]
    assert error_px == pytest.approx(3, rel=0.1)
    assert np.exp(log_variance).mean() == pytest.approx(error_px**2, rel=1e-3)
    np.testing.assert_allclose(np.ptp(log_variance - predicted[..., 2]), 0, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "shape"])
def test_head_for_larger_crops_predicts_the_same_places(kind):
    """The head ignores the image: its kernel is 0, so that every size shows it the same."""
    trained = build(kind, NEW, uncertainty=True)
    for layer in trained.layers:
        if layer.name in ("fc", "coefficients", "log_variance"):
            kernel, bias = layer.get_weights()
            layer.set_weights([0 * kernel, np.arange(1.0, len(bias) + 1)])
    network = build(kind, NEW, uncertainty=True, size=2 * SIZE)
    head_transfer.take_head(network, trained)
    before, after = (
        model.predict_on_batch(np.zeros((1, size, size, 3), np.uint8))
        for model, size in ((trained, SIZE), (network, 2 * SIZE))
    )
    # (0, 0) is the centre of the upper left pixel; a variance grows by the square of 2.
    np.testing.assert_allclose(after[..., :2], 2 * before[..., :2] + 0.5, rtol=1e-4)
    np.testing.assert_allclose(after[..., 2], before[..., 2] + np.log(4), rtol=1e-5)


@pytest.mark.parametrize("size", [(4, 6), (3, 4), (1, 2), (2, 3)])
def test_kernel_for_a_map_of_another_size_gives_the_same_sums(size):
    kernel = np.random.default_rng(0).normal(size=(2 * 3 * 1, 5))
    other = head_transfer._resize_kernel(kernel, (2, 3, 1), (*size, 1))
    np.testing.assert_allclose(other.sum(axis=0), kernel.sum(axis=0))
    if size == (4, 6):  # the edge column of twice as many
        columns, wider = (
            k.reshape(*s, 5).sum(axis=0) for k, s in ((kernel, (2, 3)), (other, size))
        )
        np.testing.assert_allclose(wider[0], columns[0] / (1 + 0.75 + 0.25))


def build(kind, num_landmarks, uncertainty=False, size=SIZE):
    components = 0 if kind == "linear" else 2 * num_landmarks
    head = HeadConfig(kind, components, uncertainty)
    network = networks.build("tiny", num_landmarks, size, head=head)
    if kind == "shape":
        basis = np.random.default_rng(num_landmarks).normal(size=(components, components))
        heads.set_shape_basis(network, np.full(components, 9.0), basis)
    return network


def test_training_of_other_points_begins_near_them(own_faces, tiny_run, settings, tmp_path, caplog):
    earlier, _ = tiny_run
    table = own_faces / "train" / "landmarks.csv"
    landmarks = landmark_tables.read_landmarks(table)
    every_tenth = landmarks.landmarks_photo_px[:, ::10]
    landmark_tables.write_landmarks(table, landmarks.file_names, every_tenth)
    new = {"data": str(own_faces), "epochs": 1, "schedule": "cosine", "learning_rate": 1e-9}
    new["min_epoch_images"] = 50
    losses = {}
    for source in ("none", earlier.files.workdir):
        caplog.set_level("INFO", logger="absl")
        workdir = str(tmp_path / f"from {Path(source).name}")
        results = train(settings.replace(init_weights=source, workdir=workdir, **new))
        losses[source] = results["best_val_loss"]
    assert losses[earlier.files.workdir] < 0.5 * losses["none"]
    assert any("fitted to 21 photos" in message for message in caplog.messages)  # each once


@pytest.mark.parametrize("is_reversed", [False, True])
def test_points_in_another_order_are_noticed(is_reversed, mean_face, own_faces, settings, caplog):
    table = own_faces / "train" / "landmarks.csv"
    landmarks = landmark_tables.read_landmarks(table)
    if is_reversed:
        reversed_px = landmarks.landmarks_photo_px[:, ::-1]
        landmark_tables.write_landmarks(table, landmarks.file_names, reversed_px)
    caplog.set_level("WARNING", logger="absl")
    own = {"data": str(own_faces), "image_size": "48x64", "framing": "stretch", "epochs": 1}
    train(settings.replace(init_weights=str(mean_face), **own))
    assert any("same order" in message for message in caplog.messages) == is_reversed


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"num_landmarks": 4}, False),
        ({"point_names": ["b", "a", "c"]}, False),
        ({"point_names": None}, True),
        ({"image_size": "64x64"}, False),
    ],
)
def test_linear_head_is_kept_for_the_same_points_and_size(change, kept):
    trained = ModelSpec("tiny", 3, "32x32", point_names=["a", "b", "c"])
    new = dataclasses.replace(trained, **change)
    assert new.can_keep_head_of(trained) == kept
    shape = dataclasses.replace(new, head="shape", shape_components=6)
    assert not shape.can_keep_head_of(shape)
    assert head_transfer.is_possible(trained, new)
    assert not head_transfer.is_possible(trained, shape)


@pytest.mark.parametrize(
    ("size", "framing", "same"),
    [
        ("64x80", "stretch", True),
        ("50x60", "stretch", True),
        ("64x80", "crop", False),  # of a model for stretched photos
    ],
)
def test_stretched_crops_of_any_size_show_the_same(size, framing, same):
    trained = ModelSpec("tiny", 3, "32x40", "stretch", head="shape", shape_components=6)
    new = dataclasses.replace(trained, image_size=size, framing=framing)
    assert head_transfer.is_for_same_views(trained, new) == same
    crop = dataclasses.replace(trained, framing="crop")
    other = dataclasses.replace(crop, image_size=size)
    assert head_transfer.is_for_same_views(crop, other) == (size == "64x80")


def test_same_points_take_the_trained_head(tiny_run, settings, caplog):
    earlier, _ = tiny_run
    caplog.set_level("INFO", logger="absl")
    train(settings.replace(init_weights=earlier.files.workdir, epochs=1))
    assert not [message for message in caplog.messages if "new head" in message]
    assert contents(Path(settings.files.workdir))
