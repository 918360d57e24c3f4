import math

import numpy as np
import pytest

from keras_landmarks.training.losses import LOSSES

# Two images of two points.
ERROR_PX = np.array([[[0.0, 0.5], [-2.0, 14.0]], [[1.0, -1.0], [1.0, -1.0]]], np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", [(0.25 + 4 + 196) / 4, 1.0]),
        ("l1", [16.5 / 4, 1.0]),
        ("smooth_l1", [(0.125 + 1.5 + 13.5) / 4, 0.5]),
        (
            "wing",
            [
                (10 * math.log(1.25) + 10 * math.log(2) + 14 - (10 - 10 * math.log(6))) / 4,
                10 * math.log(1.5),
            ],
        ),
        ("rms", [math.sqrt(200.25 / 4 + 0.01), math.sqrt(1.01)]),
        ("log_mse", [math.log(1 + 200.25 / 4), math.log(2)]),
    ],
)
def test_losses_equal_hand_computed_values(name, expected):
    np.testing.assert_allclose(np.asarray(LOSSES[name](ERROR_PX)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", [0.25 / 2, 1.0]),
        ("l1", [0.5 / 2, 1.0]),
        ("smooth_l1", [0.125 / 2, 0.5]),
        ("wing", [10 * math.log(1.25) / 2, 10 * math.log(1.5)]),
        ("rms", [math.sqrt(0.25 / 2 + 0.01), math.sqrt(1.01)]),
        ("log_mse", [math.log(1 + 0.25 / 2), math.log(2)]),
    ],
)
def test_absent_landmarks_do_not_count(name, expected):
    present = np.array([[1, 0], [1, 1]], np.float32)
    np.testing.assert_allclose(np.asarray(LOSSES[name](ERROR_PX, present)), expected, rtol=1e-6)


def test_nll_without_absent_landmarks_equals_hand_computed_values():
    log_variance = np.log([[1.0, 4.0], [1.0, 4.0]]).astype(np.float32)
    present = np.array([[0, 1], [1, 1]], np.float32)
    first = ((4 + 196) / 4 + 2 * math.log(4)) / 2 / 2
    second = (2 + 2 / 4 + 2 * math.log(4)) / 4 / 2
    losses = np.asarray(LOSSES["nll"](ERROR_PX, log_variance, present))
    np.testing.assert_allclose(losses, [first, second], rtol=1e-6)


def test_wing_loss_is_continuous():
    error_px = np.array([[[9.9999, 9.9999]], [[10.0001, 10.0001]]], np.float32)
    below, above = np.asarray(LOSSES["wing"](error_px))
    assert above - below == pytest.approx(2e-4, abs=1e-4)


def test_nll_equals_hand_computed_values():
    # Variances 1 and 4 for the points of each image.
    log_variance = np.log([[1.0, 4.0], [1.0, 4.0]]).astype(np.float32)
    first = (0.25 + (4 + 196) / 4 + 2 * math.log(4)) / 4 / 2
    second = (2 + 2 / 4 + 2 * math.log(4)) / 4 / 2
    losses = np.asarray(LOSSES["nll"](ERROR_PX, log_variance))
    np.testing.assert_allclose(losses, [first, second], rtol=1e-6)


def test_nll_is_lowest_at_the_true_variance():
    error_px = np.full((3, 1, 2), 3.0, np.float32)
    log_variance = np.log([[8.0], [9.0], [10.0]]).astype(np.float32)
    low, best, high = np.asarray(LOSSES["nll"](error_px, log_variance))
    assert best < min(low, high)
