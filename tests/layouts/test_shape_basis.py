import numpy as np

from keras_landmarks.layouts.shape_basis import find_shape_basis


def some_shapes(count, points, seed=0):
    """Faces that differ in two ways: position, ten times as much, and width."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(20, 100, (points, 2))
    shift, width = rng.normal(size=(2, count, 1, 1))
    return mean + 10 * shift * [1, 0] + 0.1 * width * (mean - mean.mean(axis=0)) * [1, 0]


def coefficients(shapes, basis):
    centred = shapes.reshape(len(shapes), -1) - basis.mean
    return np.linalg.lstsq(basis.components.T, centred.T, rcond=None)[0].T


def rebuilt(shapes, basis):
    flat = basis.mean + coefficients(shapes, basis) @ basis.components
    return flat.reshape(shapes.shape)


def test_as_many_components_as_ways_to_differ_give_every_shape_back():
    shapes = some_shapes(200, 7)
    basis = find_shape_basis(np.split(shapes, 4), 2)
    np.testing.assert_allclose(rebuilt(shapes, basis), shapes, atol=1e-3)


def test_one_component_takes_the_direction_in_which_shapes_differ_most():
    basis = find_shape_basis([some_shapes(2000, 7)], 1)
    direction = basis.components.reshape(7, 2)
    np.testing.assert_allclose(np.abs(direction[:, 0]), 10, rtol=0.1)
    np.testing.assert_allclose(direction[:, 1], 0, atol=0.01)


def test_coefficients_are_of_size_one():
    shapes = some_shapes(500, 7)
    basis = find_shape_basis([shapes], 2)
    spread = coefficients(shapes, basis).std(axis=0)
    np.testing.assert_allclose(spread, 1, rtol=1e-3)


def test_at_full_rank_any_shape_can_be_had():
    basis = find_shape_basis([some_shapes(100, 5)], 10)
    unseen = np.random.default_rng(1).uniform(0, 128, (3, 5, 2))
    np.testing.assert_allclose(rebuilt(unseen, basis), unseen, atol=1e-2)


def test_shapes_far_from_the_origin_lose_no_digits():
    shapes = some_shapes(300, 4) + 1e5
    basis = find_shape_basis(np.split(shapes, 3), 2)
    centred = shapes - shapes.mean(axis=0)
    np.testing.assert_allclose(rebuilt(centred, basis._replace(mean=0)), centred, atol=1e-2)
