import itertools

import numpy as np
import pytest

from keras_landmarks.evaluation.ensembles import solve_weights


def test_independent_models_weigh_by_precision():
    np.testing.assert_allclose(solve_weights(np.diag([1.0, 2, 4])), [4 / 7, 2 / 7, 1 / 7])


def test_correlated_worse_model_has_zero_weight():
    """Without the bound it would be negative: w = (4 - 1.8, 1 - 1.8) / (5 - 3.6)."""
    np.testing.assert_allclose(solve_weights(np.array([[1, 1.8], [1.8, 4]])), [1, 0])


@pytest.mark.parametrize("products", [np.zeros((2, 2)), np.ones((2, 2))])
def test_degenerate_weights_add_up_to_one(products):
    weights = solve_weights(products)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)


def test_weights_beat_grid_search():
    steps = np.array([w for w in itertools.product(range(21), repeat=4) if sum(w) == 20]) / 20
    for seed in range(20):
        rng = np.random.default_rng(seed)
        errors = rng.normal(size=(4, 50)) * rng.uniform(0.5, 2, (4, 1)) + rng.normal(size=50)
        products = errors @ errors.T / 50
        weights = solve_weights(products)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1)
        on_grid = np.einsum("wi,ij,wj->w", steps, products, steps)
        assert weights @ products @ weights <= on_grid.min() + 1e-12
