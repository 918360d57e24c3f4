import numpy as np

from keras_landmarks.layouts.shape_basis import find_shape_basis


def random_shapes(count, points, seed=0):
    """Returns shapes that vary in x position and, less so, in width."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(20, 100, (points, 2))
    shift, width = rng.normal(size=(2, count, 1, 1))
    return mean + 10 * shift * [1, 0] + 0.1 * width * (mean - mean.mean(axis=0)) * [1, 0]


def coefficients(shapes, basis):
    centred = shapes.reshape(len(shapes), -1) - basis.mean
    return np.linalg.lstsq(basis.components.T, centred.T, rcond=None)[0].T


def reconstructed(shapes, basis):
    flat = basis.mean + coefficients(shapes, basis) @ basis.components
    return flat.reshape(shapes.shape)


def test_enough_components_are_exact():
    shapes = random_shapes(200, 7)
    basis = find_shape_basis(np.split(shapes, 4), 2)
    np.testing.assert_allclose(reconstructed(shapes, basis), shapes, atol=1e-3)


def test_first_component_has_most_variance():
    basis = find_shape_basis([random_shapes(2000, 7)], 1)
    direction = basis.components.reshape(7, 2)
    np.testing.assert_allclose(np.abs(direction[:, 0]), 10, rtol=0.1)
    np.testing.assert_allclose(direction[:, 1], 0, atol=0.01)


def test_coefficients_have_unit_variance():
    shapes = random_shapes(500, 7)
    basis = find_shape_basis([shapes], 2)
    spread = coefficients(shapes, basis).std(axis=0)
    np.testing.assert_allclose(spread, 1, rtol=1e-3)


def test_full_rank_represents_any_shape():
    basis = find_shape_basis([random_shapes(100, 5)], 10)
    unseen = np.random.default_rng(1).uniform(0, 128, (3, 5, 2))
    np.testing.assert_allclose(reconstructed(unseen, basis), unseen, atol=1e-2)


def test_distant_shapes_keep_precision():
    shapes = random_shapes(300, 4) + 1e5
    basis = find_shape_basis(np.split(shapes, 3), 2)
    centred = shapes - shapes.mean(axis=0)
    np.testing.assert_allclose(reconstructed(centred, basis._replace(mean=0)), centred, atol=1e-2)
