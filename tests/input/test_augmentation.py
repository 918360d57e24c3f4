from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_landmarks.input import augmentation
from keras_landmarks.input.augmentation import Augmenter, ShiftScaleRotate, online_augmenter
from keras_landmarks.settings import AUGMENTATIONS, AugmentationSettings
from keras_landmarks.utils.seeding import sample_seed

WIDTH, HEIGHT = 160, 120
BLANK = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
ALL_BUT_TURN = tuple(kind for kind in AUGMENTATIONS if kind != "turn")
HEAD = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0.5], [-1, 1, -0.2]])  # of four points
CORNERS = np.array([[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1], [-30, HEIGHT + 9]], np.float32)


@pytest.fixture(scope="module")
def recipe():
    return Augmenter([ShiftScaleRotate(rotate_limit=20, shift_limit=0.0625, scale_limit=0.1)])


def fit_affine(before, after):
    """Returns the matrix (2, 2), shift and largest residual of after ~ matrix @ before + shift."""
    columns = np.column_stack([before, np.ones(len(before))])
    solution = np.linalg.lstsq(columns, after)[0]
    return solution[:2].T, solution[2], np.abs(columns @ solution - after).max()


def transform_of(moved):
    """Returns rotation in degrees, scale - 1, and shift as a fraction of each side, of CORNERS."""
    matrix, shift, _ = fit_affine(CORNERS, moved)
    middle, sides = (CORNERS[0] + CORNERS[2]) / 2, [WIDTH, HEIGHT]
    degrees = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
    scale = np.sqrt(np.linalg.det(matrix))
    return np.array([degrees, scale - 1, *((matrix @ middle + shift - middle) / sides)])


def test_points_move_with_the_image(recipe):
    """A bright spot that was drawn at a point is found at the moved point."""
    point = np.array([[70.0, 65.0]])
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    spot = 255 * np.exp(-((x - point[0, 0]) ** 2 + (y - point[0, 1]) ** 2) / 50)
    image = np.repeat(spot[..., None], 3, axis=-1).astype(np.uint8)
    for seed in range(20):
        augmented, moved = recipe(image, point, seed)
        weights = augmented[..., 0] / augmented[..., 0].sum()
        found = [(weights * x).sum(), (weights * y).sum()]
        np.testing.assert_allclose(found, moved[0], atol=0.1)


def test_points_outside_the_image_are_kept(recipe):
    outside = 0
    for seed in range(50):
        _, moved = recipe(BLANK, CORNERS, seed)
        assert moved.shape == CORNERS.shape
        assert fit_affine(CORNERS, moved)[2] < 1e-3
        outside += np.sum((moved < 0) | (moved > (WIDTH - 1, HEIGHT - 1)))
    assert outside > 100


def test_transforms_use_all_of_their_limits(recipe):
    drawn = [transform_of(recipe(BLANK, CORNERS, seed)[1]) for seed in range(300)]
    limits = np.array([20, 0.1, 0.0625, 0.0625])
    assert np.all(np.abs(drawn) <= limits + 1e-4)
    assert np.all(np.max(drawn, axis=0) > 0.9 * limits)
    assert np.all(np.min(drawn, axis=0) < -0.9 * limits)


def test_both_axes_have_the_same_scale(recipe):
    for seed in range(20):
        matrix, _, _ = fit_affine(CORNERS, recipe(BLANK, CORNERS, seed)[1])
        np.testing.assert_allclose(matrix @ matrix.T, np.linalg.det(matrix) * np.eye(2), atol=1e-4)


def test_border_is_filled(recipe):
    assert all(recipe(BLANK, CORNERS, seed)[0].min() >= 254 for seed in range(20))


def test_same_seed_gives_the_same_result(recipe):
    image = np.random.default_rng(0).integers(0, 256, BLANK.shape, np.uint8)
    first, again, other = (recipe(image, CORNERS, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert np.any(first[1] != other[1])


def test_inputs_are_not_changed(recipe):
    image, points = BLANK.copy(), CORNERS.astype(np.int16)
    recipe(image, points, seed=0)
    np.testing.assert_array_equal(image, BLANK)
    np.testing.assert_array_equal(points, CORNERS)


def test_threads_do_not_interfere():
    image = np.random.default_rng(0).integers(0, 256, BLANK.shape, np.uint8)
    augmenter = online_augmenter(AugmentationSettings(AUGMENTATIONS), head=HEAD)
    alone = [augmenter(image, CORNERS, seed) for seed in range(150)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: augmenter(image, CORNERS, seed), range(150)))
    for (image, points), (image_beside, points_beside) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(image_beside, image)
        np.testing.assert_array_equal(points_beside, points)


def test_mirror_equals_hand_computed_values():
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    points = np.array([[0, 1], [1.5, 0], [2, 0]], np.float32)
    mirrored, mirrored_points = augmentation.mirror(image, points, np.array([2, 1, 0]))
    np.testing.assert_array_equal(mirrored[0], [[6, 7, 8], [3, 4, 5], [0, 1, 2]])
    np.testing.assert_array_equal(mirrored_points, [[0, 0], [0.5, 0], [2, 1]])
    np.testing.assert_array_equal(points, [[0, 1], [1.5, 0], [2, 0]])


@pytest.mark.parametrize(("mirror_map", "least", "most"), [([1, 0, 2, 3], 70, 130), (None, 0, 0)])
def test_half_of_the_faces_are_mirrored(mirror_map, least, most):
    augmenter = online_augmenter(AugmentationSettings(ALL_BUT_TURN), mirror_map)
    face = np.random.default_rng(0).uniform(0, HEIGHT, (4, 2)).astype(np.float32)
    augmented = [augmenter(BLANK, face, seed)[1] for seed in range(200)]
    assert least <= sum(fit_affine(face, moved)[2] > 1 for moved in augmented) <= most


@pytest.mark.parametrize("kind", ALL_BUT_TURN)
def test_each_kind_changes_image_or_points(kind):
    augmenter = online_augmenter(AugmentationSettings((kind,)), np.array([1, 0, 2, 3]))
    image = np.random.default_rng(0).integers(0, 256, BLANK.shape, np.uint8)
    augmented = [augmenter(image, CORNERS, seed) for seed in range(50)]
    images, points = (
        sum(np.any(v[i] != b) for v in augmented) for i, b in enumerate([image, CORNERS])
    )
    assert images > 5
    assert (points > 5) == (kind in ("affine", "misplace", "mirror"))


def test_no_augmentation_changes_nothing():
    image, points = online_augmenter(AugmentationSettings(()), np.arange(4))(BLANK, CORNERS, seed=3)
    np.testing.assert_array_equal(image, BLANK)
    np.testing.assert_array_equal(points, CORNERS)


def test_online_axes_scale_independently():
    augmenter = online_augmenter(AugmentationSettings(("affine",), 0, 0, 0.2), None)
    scales = np.array(
        [np.diag(fit_affine(CORNERS, augmenter(BLANK, CORNERS, seed)[1])[0]) for seed in range(200)]
    )
    assert scales.min() > 0.8 - 1e-4
    assert scales.max() < 1.2 + 1e-4
    assert np.abs(np.diff(scales, axis=1)).max() > 0.2


def test_dropout_covers_up_to_40_percent_a_side():
    augmenter = online_augmenter(AugmentationSettings(("coarse_dropout",)), None)
    image = np.random.default_rng(0).integers(0, 256, BLANK.shape, np.uint8)
    covered = 0
    for seed in range(40):
        rows, columns = np.nonzero(np.any(augmenter(image, CORNERS, seed)[0] != image, axis=2))
        if len(rows):
            covered += 1
            assert np.ptp(rows) < 0.4 * HEIGHT
            assert np.ptp(columns) < 0.4 * WIDTH
    assert 10 < covered < 30


def test_colour_is_independent_of_position():
    augmenter = online_augmenter(AugmentationSettings(("affine", "colour")), mirror_map=None)
    image = np.full_like(BLANK, 90)
    image[:, np.arange(WIDTH) // 10 % 2 == 0] = 170
    augmented = [augmenter(image, CORNERS, seed) for seed in range(400)]
    transforms = np.transpose([transform_of(moved) for _, moved in augmented])
    middles = [image[40:80, 60:100] for image, _ in augmented]  # the border does not reach it
    colours = np.transpose([(middle.min(), middle.max()) for middle in middles])
    assert np.abs(np.corrcoef(transforms, colours)[:4, 4:]).max() < 0.2


def test_seeds_of_neighbours_differ():
    seeds = {
        sample_seed(seed, epoch, row)
        for seed in range(5)
        for epoch in range(5)
        for row in range(40)
    }
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**32 for seed in seeds)


def misplaced(kinds):
    """Returns which of 400 faces `online_augmenter` moves farther than its flags allow."""
    settings = AugmentationSettings(kinds, rotate_limit=5, shift_limit=0.05, scale_limit=0.05)
    augmenter = online_augmenter(settings, mirror_map=None)
    drawn = np.abs([transform_of(augmenter(BLANK, CORNERS, seed)[1]) for seed in range(400)])
    assert np.all(drawn <= [60, 0.5, 0.31, 0.31])  # axes of two scales also shear and rotate
    return np.any(drawn > [5.5, 0.051, 0.051, 0.051], axis=1)


def test_a_quarter_of_the_faces_are_misplaced():
    assert 70 <= misplaced(("affine", "misplace")).sum() <= 130
    assert 70 <= misplaced(("misplace",)).sum() <= 130
    assert not misplaced(("affine",)).any()


def test_degraded_images_keep_their_place():
    """A blurred spot stays where it is, on average and nearly so in every image."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    spot = 200 * np.exp(-((x - 70.0) ** 2 + (y - 65.0) ** 2) / 200)
    image = np.repeat(spot[..., None], 3, axis=-1).astype(np.uint8)
    augmenter = online_augmenter(AugmentationSettings(("degrade",)), mirror_map=None)
    shifts, changed = [], 0
    for seed in range(200):
        degraded, points = augmenter(image, CORNERS, seed)
        np.testing.assert_array_equal(points, CORNERS)
        changed += np.any(degraded != image)
        weights = np.float64(degraded[..., 0]) * (degraded[..., 0] > 20)
        shifts.append([(weights * x).sum(), (weights * y).sum()] / weights.sum() - [70, 65])
    assert 50 <= changed <= 150
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1
    assert np.abs(shifts).max() < 1
