import json

import numpy as np
import pytest

from keras_landmarks.input import head_turning
from keras_landmarks.input.augmentation import online_augmenter
from keras_landmarks.input.head_turning import find_head, fit_pose, rotation, turn_head
from keras_landmarks.settings import AugmentationSettings
from keras_landmarks.utils.errors import InputError

HEAD = find_head(971, head_turning.Path("no layout.json"))
CENTRE, SCALE, SIZE = np.array([48.0, 60.0]), 26.0, (128, 96)  # px


def view(turn):
    """Returns the head's landmarks as a camera sees them: (971, 2) px, their mean in the CENTRE."""
    seen = HEAD @ turn.T
    return (SCALE * (seen - seen.mean(axis=0))[:, :2] + CENTRE).astype(np.float32)


def test_positive_angles_turn_the_nose_right_and_up():
    nose = np.array([0, 0, 1])
    np.testing.assert_allclose(rotation(30, 0) @ nose, [0.5, 0, 0.75**0.5])
    np.testing.assert_allclose(rotation(0, 30) @ nose, [0, -0.5, 0.75**0.5])


def test_pose_of_a_known_view_is_found():
    turn = rotation(25, -10)
    pose = fit_pose(HEAD, view(turn).astype(np.float64))
    np.testing.assert_allclose(pose.rotation, turn, atol=1e-5)
    np.testing.assert_allclose(pose.scale, SCALE, rtol=1e-5)
    origin_px = CENTRE - SCALE * (turn @ HEAD.mean(axis=0))[:2]
    np.testing.assert_allclose(pose.centre_px, origin_px, atol=1e-4)


def test_landmarks_become_those_of_the_turned_head():
    before, change = rotation(-10, 5), rotation(18, 4)
    _, moved_px = turn_head(np.zeros((*SIZE, 3), np.uint8), view(before), HEAD, change)
    distances_px = np.linalg.norm(moved_px - view(before @ change), axis=1)
    assert np.median(distances_px) < 0.2
    assert distances_px.max() < 2  # where one part hides another, landmarks move together


@pytest.mark.parametrize("axis", [0, 1])
def test_picture_moves_with_the_landmarks(axis):
    """Each pixel shows where it was: twice its column, or twice its row."""
    landmarks_px = view(rotation(0, 0))
    image = np.repeat(2 * np.indices(SIZE)[1 - axis][..., None], 3, axis=-1).astype(np.uint8)
    turned, moved_px = turn_head(image, landmarks_px, HEAD, rotation(15, 6))
    columns, rows = moved_px.round().astype(int).T
    rounding_px = moved_px.round() - moved_px
    was_at_px = turned[rows, columns, 0] / 2 - rounding_px[:, axis]
    assert np.abs(moved_px - landmarks_px).max() > 3
    assert np.median(np.abs(was_at_px - landmarks_px[:, axis])) < 0.35


def test_border_stays():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    turned, _ = turn_head(image, view(rotation(0, 0)), HEAD, rotation(20, 0))
    change = np.abs(turned.astype(int) - image)
    assert change[[0, -1]].max() < 16  # a tenth of a pixel
    assert change[40:80].mean() > 20


def test_nearer_part_hides_the_farther():
    """A red stripe moves 8 px to the right, to where a farther green one stays."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, 8:12], image[:, 16:20] = [255, 0, 0], [0, 255, 0]
    x_px, y_px, depth = np.zeros((3, 16, 32), np.float32)
    x_px[:, 8:12], depth[:, 8:12] = 8, 1
    turned = head_turning._warp(image, x_px, y_px, depth)
    np.testing.assert_array_equal(turned[8, 17:19], [[255, 0, 0]] * 2)


def test_no_turn_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    landmarks_px = view(rotation(20, 0))
    turned, moved_px = turn_head(image, landmarks_px, HEAD, rotation(0, 0))
    np.testing.assert_array_equal(turned, image)
    np.testing.assert_allclose(moved_px, landmarks_px, atol=1e-3)


def test_missing_landmarks_stay_missing():
    image, whole_px = np.zeros((*SIZE, 3), np.uint8), view(rotation(0, 0))
    landmarks_px = whole_px.copy()
    landmarks_px[::50] = np.nan
    _, moved_px = turn_head(image, landmarks_px, HEAD, rotation(15, 0))
    np.testing.assert_array_equal(np.isnan(moved_px), np.isnan(landmarks_px))
    _, all_px = turn_head(image, whole_px, HEAD, rotation(15, 0))
    assert np.nanmax(np.abs(moved_px - all_px)) < 1
    landmarks_px[7:] = np.nan  # too few for a pose
    _, moved_px = turn_head(image, landmarks_px, HEAD, rotation(15, 0))
    np.testing.assert_array_equal(moved_px, landmarks_px)


def test_half_of_the_heads_are_turned_and_a_seed_repeats_it():
    augmenter = online_augmenter(AugmentationSettings(("turn",), turn_limit=15), head=HEAD)
    image, landmarks_px = np.zeros((*SIZE, 3), np.uint8), view(rotation(0, 0))
    yaws = []
    for seed in range(60):
        _, moved_px = augmenter(image, landmarks_px, seed)
        np.testing.assert_array_equal(augmenter(image, landmarks_px, seed)[1], moved_px)
        yaws.append(np.degrees(np.arcsin(fit_pose(HEAD, moved_px).rotation[0, 2])))
    assert 15 <= np.sum(np.abs(yaws) < 0.1) <= 45
    assert 10 < np.max(yaws) < 17
    assert -17 < np.min(yaws) < -10


def test_head_of_the_layout_file_is_taken_in_half_face_widths(tmp_path):
    path, points = tmp_path / "layout.json", [[0, 0, 5], [20, 0, 5], [10, 30, 20]]
    path.write_text(json.dumps({"head": points}))
    expected = (np.array(points) - [10, 10, 10]) / 10
    np.testing.assert_allclose(find_head(3, path), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--augment_online=turn needs the depth of the points"),
        ({"points": ["a", "b", "c"]}, "needs the depth"),
        ({"head": [[0, 0, 0], [1, 1, 1]]}, "not a list of 3 points"),
        ({"head": [[0, 0, 0], [1, 1, 1], [2, 2]]}, "not a list of 3 points"),
        ({"head": [[0, 0, 0], [1, 1, 1], [2, 2, None]]}, "not a list of 3 points"),
        ({"head": [[0, 0, 1], [1, 1, 1], [2, 0, 1]]}, "flat"),
        ({"head": [[0, 0, 0], [1, 1, 1], [2, 0, 100]]}, "not in one unit"),
    ],
)
def test_layouts_without_depth_are_refused(tmp_path, content, message):
    path = tmp_path / "layout.json"
    if content is not None:
        path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        find_head(3, path)
