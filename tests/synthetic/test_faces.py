import cv2
import numpy as np
import pytest

from keras_landmarks.layouts.layout import CONTEST_POINTS, REGIONS, mirror_map
from keras_landmarks.synthetic import faces, painting


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    return [faces.draw_face(rng) for _ in range(120)]


@pytest.fixture(scope="module")
def placed():
    """Points in crops, (600, 971, 2) px, and the crops' sizes, (600, 1, 2) px; not painted."""
    rng = np.random.default_rng(1)
    crops = []
    for _ in range(600):
        points = faces.head_points(faces.random_face(rng))
        project, size = faces.place_in_crop(rng, points)
        crops.append((project(points)[:, :2], [size]))
    points, sizes = zip(*crops, strict=True)
    return np.array(points), np.array(sizes)


@pytest.fixture(scope="module")
def upright():
    """Faces with every expression, seen from the front: (200, 971, 2), half face widths."""
    rng = np.random.default_rng(2)
    return np.stack([faces.head_points(faces.random_face(rng))[:, :2] for _ in range(200)])


def region(points, name):
    return points[..., REGIONS[name], :]


def test_same_seed_draws_same_faces(drawn):
    rng = np.random.default_rng(0)
    for image, landmarks in drawn[:30]:
        image_again, landmarks_again = faces.draw_face(rng)
        np.testing.assert_array_equal(image_again, image)
        np.testing.assert_array_equal(landmarks_again, landmarks)


def test_other_seeds_draw_other_faces(drawn):
    other = faces.draw_face(np.random.default_rng(8))
    for _, landmarks in (drawn[1], other):
        assert not np.array_equal(landmarks, drawn[0][1])


def test_images_resemble_the_contests(drawn):
    for image, _ in drawn:
        height, width, channels = image.shape
        assert image.dtype == np.uint8
        assert channels == 3
        assert 64 <= width < height <= 340


def test_landmarks_are_971_float32_points(drawn):
    for _, landmarks in drawn:
        assert landmarks.shape == (CONTEST_POINTS, 2)
        assert landmarks.dtype == np.float32
        assert np.isfinite(landmarks).all()


def test_neutral_face_is_symmetric():
    points = faces.head_points(faces.FaceParameters())
    np.testing.assert_allclose(points[mirror_map()] * [-1, 1, 1], points, atol=1e-9)


def test_points_are_evenly_spaced():
    points = faces.head_points(faces.FaceParameters())[:, :2]
    for name in REGIONS:
        if not name.startswith("pupil"):
            steps = np.hypot(*np.diff(region(points, name), axis=0).T)
            assert (steps < 1.1 * np.median(steps)).all(), name


def test_oval_is_closed():
    points = faces.head_points(faces.FaceParameters())[:, :2]
    for one, other in ((0, 128), (64, 272), (63, 127)):
        assert np.linalg.norm(points[one] - points[other]) < 0.06


def test_left_regions_are_on_the_left(upright):
    for name in REGIONS:
        if "left" in name:
            left = region(upright, name)[..., 0].max(axis=1)
            right = region(upright, name.replace("left", "right"))[..., 0].min(axis=1)
            assert (left <= right + 1e-9).all(), name


def test_chin_is_lowest_forehead_highest(upright):
    y = upright[..., 1]
    assert (np.isin(y.argmax(axis=1), (63, 127))).all()
    assert (y.argmin(axis=1) == 200).all()


def test_brows_start_at_the_outer_end(upright):
    brow = region(upright, "brow_left")
    assert (brow[:, 0, 0] < brow[:, 32, 0]).all()
    assert (brow[:, 16, 1] < brow[:, 48, 1]).all()


def test_features_are_in_vertical_order(upright):
    heights = [
        region(upright, name)[..., 1].mean(axis=1)
        for name in ("brow_left", "eye_left_upper", "nose_left", "lip_upper_outer")
    ]
    assert (np.diff(heights, axis=0) > 0).all()


def test_lip_curves_are_in_vertical_order(upright):
    names = ("lip_upper_outer", "lip_upper_inner", "lip_lower_inner", "lip_lower_outer")
    middles = [region(upright, name)[:, 15:17, 1].mean(axis=1) for name in names]
    assert (np.diff(middles, axis=0) > 0).all()


def test_lips_and_left_lids_run_rightwards(upright):
    for name in REGIONS:
        if name.startswith(("lip", "eye_left")):
            assert (np.diff(region(upright, name)[..., 0], axis=1) > 0).all(), name


def test_pupils_lie_between_open_lids():
    rng = np.random.default_rng(3)
    for face in (faces.random_face(rng) for _ in range(200)):
        points = faces.head_points(face)[:, :2].astype(np.float32)
        for opening, side in zip(face.eye_opening, ("left", "right"), strict=True):
            lids = [region(points, f"eye_{side}_{lid}") for lid in ("upper", "lower")]
            eye = np.concatenate([lids[0], lids[1][::-1]])
            pupil = region(points, f"pupil_{side}")[0].tolist()
            assert opening < 0.8 or cv2.pointPolygonTest(eye, pupil, False) > 0


@pytest.mark.parametrize(
    ("angles", "axis", "sign"),
    [((20, 0, 0), 0, 1), ((0, 20, 0), 1, -1)],
    ids=["yaw turns the nose right", "pitch lifts the nose"],
)
def test_rotation_moves_the_nose_tip(angles, axis, sign):
    tip = faces.rotation(*angles) @ [0, 0, 1]
    assert sign * tip[axis] > 0.3


def test_roll_is_clockwise():
    right_side = faces.rotation(0, 0, 20) @ [1, 0, 0]
    assert right_side[1] > 0.3


def test_pupils_are_painted_at_their_points():
    """With wide open eyes the pupil is darker than the white beside it."""
    face = faces.FaceParameters(eye_opening=(1.4, 1.4), gaze=(0.0, 0.0))
    points = faces.head_points(face)
    project = faces.Projection(faces.rotation(0, 0, 0), 8.0, scale=65.0, offset=(110.0, 130.0))
    canvas_points = project(points)[:, :2]
    head = painting.PlacedHead(canvas_points, project(faces.head_surface(face)), project)
    canvas = painting.paint(np.random.default_rng(0), head, (220, 300))
    for side in ("left", "right"):
        x, y = np.round(region(canvas_points, f"pupil_{side}")[0]).astype(int)
        assert canvas[y, x].mean() < 40
        assert canvas[y, x + 9].mean() > 150


def test_a_third_of_images_has_black_bands(drawn):
    def has_band(image):
        borders = image[0], image[-1], image[:, 0], image[:, -1]
        return any(not border.any() for border in borders)

    share = np.mean([has_band(image) for image, _ in drawn])
    assert 0.25 < share < 0.5


def test_few_faces_leave_the_image(placed):
    points, sizes = placed
    outside = ((points < -0.5) | (points > sizes - 0.5)).any(axis=(1, 2)).mean()
    assert 0.003 < outside < 0.05


def test_face_takes_60_percent_of_the_width(placed):
    points, sizes = placed
    shares = np.ptp(points[:, :273], axis=1) / sizes[:, 0]
    assert 0.55 < np.median(shares[:, 0]) < 0.63
    assert (shares[:, 0] < 0.75).all()


def test_shapes_vary(placed):
    points, sizes = placed
    shapes = points / sizes
    errors = (shapes - shapes.mean(axis=0)) * sizes / sizes[..., :1]
    assert np.sqrt(np.mean(errors**2)) > 0.055
