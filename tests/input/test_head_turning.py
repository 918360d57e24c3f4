import json

import numpy as np
import pytest

from keras_landmarks.input import head_turning
from keras_landmarks.input.augmentation import online_augmenter
from keras_landmarks.input.head_turning import find_head, fit_pose, turn_head
from keras_landmarks.settings import AugmentationSettings
from keras_landmarks.synthetic.faces import FaceParameters, head_points, rotation
from keras_landmarks.utils.errors import InputError

HEAD = head_points(FaceParameters())
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


def test_faces_without_a_pose_stay_as_they_are():
    """One point for all landmarks; those of one plane of the head; those in a wrong order."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    flat_head = HEAD * [1, 1, 0] + np.eye(971, 1) * [0, 0, 1]
    without_depth_px = view(rotation(0, 0))
    without_depth_px[0] = np.nan
    for head, landmarks_px in (
        (HEAD, np.full((971, 2), 9.0)),
        (flat_head, without_depth_px),
        (HEAD, view(rotation(0, 0))[::-1]),
    ):
        turned, moved_px = turn_head(image, landmarks_px, head, rotation(15, 0))
        np.testing.assert_array_equal(turned, image)
        np.testing.assert_array_equal(moved_px, landmarks_px)


@pytest.mark.parametrize("size", [(128, 96), (129, 97), (65, 40)])
def test_odd_sizes_move_alike(size):
    """The landmarks of an image whose last cells are cut off."""
    _, moved_px = turn_head(
        np.zeros((*size, 3), np.uint8), view(rotation(0, 0)) / 2, HEAD, rotation(15, 0)
    )
    distances_px = np.linalg.norm(moved_px - view(rotation(15, 0)) / 2, axis=1)
    assert np.median(distances_px) < 0.2


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


# ── the mean head ──

CUBE = [[x, y, z] for x in (0, 20) for y in (0, 30) for z in (5, 9)] + [[10, 15, 15], [10, 9, 11]]
NO_FACES = np.zeros((0, 10, 2))


def layout_file(folder, content):
    path = folder / "layout.json"
    if content is not None:
        path.write_text(json.dumps(content))
    return path


def test_head_of_the_layout_file_is_taken_in_half_face_widths(tmp_path):
    head = find_head(10, layout_file(tmp_path, {"head": CUBE}), NO_FACES)
    np.testing.assert_allclose(head, (CUBE - np.mean(CUBE, axis=0)) / 10)


def test_contest_points_have_a_head_of_their_own(tmp_path):
    faces = np.stack([view(rotation(yaw, 0)) for yaw in (-30, 0, 20)])
    np.testing.assert_array_equal(find_head(971, layout_file(tmp_path, None), faces), HEAD)
    with pytest.raises(InputError, match="does not look like the faces"):
        find_head(971, layout_file(tmp_path, None), faces[:, ::-1])


def flat(points):
    return [[x, y, x + y] for x, y, _ in points]


def upside_down(points):
    return [[x, -y, z] for x, y, z in points]


def back_to_front(points):
    return [[x, y, -z] for x, y, z in points]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--augment_online=turn needs the depth of the points"),
        ({"points": ["a"] * 10}, "needs the depth"),
        ({"head": CUBE[1:]}, "not a list of 10 points"),
        ({"head": [*CUBE[1:], [2, 2]]}, "not a list of 10 points"),
        ({"head": [*CUBE[1:], [2, 2, None]]}, "not a list of 10 points"),
        ({"head": flat(CUBE)}, "flat"),
        ({"head": back_to_front(CUBE)}, "back to front"),
        ({"head": upside_down(CUBE)}, "does not look like the faces"),
    ],
)
def test_unusable_heads_are_refused(tmp_path, content, message):
    faces = 3 * np.array([CUBE])[..., :2]
    with pytest.raises(InputError, match=message):
        find_head(10, layout_file(tmp_path, content), faces)


def test_faces_with_gaps_check_the_head_too(tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    faces = np.stack([view(rotation(yaw, 0)) for yaw in (-30, 0, 20)])
    faces[:, 5] = np.nan
    with pytest.raises(InputError, match="does not look like the faces"):
        find_head(971, layout_file(tmp_path, None), faces[:, ::-1])
    faces[1, 7:] = np.nan
    find_head(971, layout_file(tmp_path, None), faces)
    assert "1 of 3 faces looked at cannot be turned" in caplog.text


def test_few_points_have_no_pose(tmp_path):
    with pytest.raises(InputError, match="8 points or more"):
        find_head(7, layout_file(tmp_path, {"head": CUBE[:7]}), NO_FACES[:, :7])
