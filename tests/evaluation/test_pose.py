import numpy as np
import pytest

from keras_landmarks.evaluation import pose
from keras_landmarks.layouts import layout
from keras_landmarks.synthetic import faces

# Left and right ear, nose between them; the box is 4 x 1, so the size is 2.
FACE_PX = np.array([[0, 0], [4, 0], [2, 1]], np.int16)
MIRROR = np.array([1, 0, 2])


def test_mean_face_by_hand():
    far = FACE_PX * 8000  # (0, 0), (32000, 0), (16000, 8000)
    mean = pose.mean_face(np.stack([far, far]))
    np.testing.assert_allclose(mean, [[-1, -1 / 6], [1, -1 / 6], [0, 1 / 3]])


def test_face_of_size_zero_is_left_out_of_the_mean():
    line = np.array([[0, 5], [4, 5], [2, 5]])
    np.testing.assert_array_equal(
        pose.mean_face(np.stack([FACE_PX, line])), pose.mean_face(FACE_PX[None])
    )


def test_mirror_map_makes_mean_face_upright():
    lopsided = np.array([[0, 0], [4, 1], [1, 2]])
    mean = pose.mean_face(lopsided[None], MIRROR)
    np.testing.assert_allclose(mean[MIRROR] * [-1, 1], mean)
    assert mean[2, 0] == 0


@pytest.mark.parametrize("degrees", [-170, -30, 0, 90])
def test_roll_is_clockwise_in_the_image(degrees):
    mean = pose.mean_face(FACE_PX[None], MIRROR)
    sin, cos = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    turned = 50 + 30 * mean @ np.array([[cos, sin], [-sin, cos]])  # y is down
    assert pose.roll_deg(turned[None], mean) == pytest.approx(degrees)


@pytest.mark.parametrize("middle_x", [-1, 2, 3])
def test_yaw_by_hand(middle_x):
    # Two ears, a brow above and a lip below: moved aside together, they do not tilt the face.
    face = np.array([[0, 0], [4, 0], [2, -1], [2, 1]])
    mirror_map = np.array([1, 0, 2, 3])
    mean = pose.mean_face(face[None], mirror_map)
    face[2:, 0] = middle_x
    expected = np.degrees(np.arctan((middle_x - 2) / (pose.DEPTH * 2)))
    assert pose.roll_deg(face[None], mean) == pytest.approx(0, abs=1e-9)
    assert pose.yaw_deg(face[None], mean, mirror_map) == pytest.approx(expected)


@pytest.mark.parametrize("mirror_map", [[0, 1, 2], [1, 0, 3, 2]])
def test_yaw_needs_middle_and_sides(mirror_map):
    points = np.random.default_rng(0).normal(size=(1, len(mirror_map), 2))
    assert pose.yaw_deg(points, points[0], np.array(mirror_map)) is None


def test_pose_of_synthetic_heads():
    rng = np.random.default_rng(0)
    angles = rng.uniform([-35, -10, -20], [35, 10, 20], (60, 3))
    heads = [faces.head_points(faces.random_face(rng)) for _ in angles]
    turned = [
        faces.Projection(faces.rotation(*turn), distance=10)(head)[:, :2]
        for turn, head in zip(angles, heads, strict=True)
    ]
    points, mirror_map = np.stack(turned), layout.mirror_map()
    mean = pose.mean_face(points, mirror_map)
    yaw, roll = pose.yaw_deg(points, mean, mirror_map), pose.roll_deg(points, mean)
    assert np.corrcoef(yaw, angles[:, 0])[0, 1] > 0.99
    assert 1 < np.polyfit(angles[:, 0], yaw, 1)[0] < 1.3  # these heads have deeper middles
    assert abs(roll - angles[:, 2]).max() < 8
