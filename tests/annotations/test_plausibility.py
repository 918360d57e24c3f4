import numpy as np
import pytest

from keras_landmarks.annotations.plausibility import find_problem
from keras_landmarks.contest import landmark_tables


@pytest.fixture(scope="module")
def landmarks(faces):
    """Every 40th point of the training faces, (24, 25, 2)."""
    return (
        landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
        .landmarks_photo_px[:, ::40]
        .astype(float)
    )


def box_of(landmarks, kind):
    """Returns the numbers of a box around each face, (n, 2, 2), in the order of `kind`."""
    left, top = (landmarks.min(axis=1) - 3).T
    right, bottom = (landmarks.max(axis=1) + 4).T
    sides = {"left": left, "top": top, "right": right, "bottom": bottom}
    sides |= {"width": right - left, "height": bottom - top}
    return np.stack([sides[name] for name in kind.split(", ")], axis=1).reshape(-1, 2, 2)


@pytest.fixture(scope="module")
def gappy(landmarks):
    """The same with a point missing in each face, another one every time."""
    gappy = landmarks.copy()
    gappy[range(24), range(24)] = np.nan
    return gappy


def test_faces_have_no_problem(landmarks, gappy):
    assert find_problem(landmarks, None) == ""
    assert find_problem(landmarks[:, :5], None) == ""
    assert find_problem(gappy, None) == ""


def test_box_and_attributes_are_detected_despite_gaps(gappy):
    corners = [np.nanmin(gappy, axis=1, keepdims=True), np.nanmax(gappy, axis=1, keepdims=True)]
    boxed = np.concatenate([*corners, gappy], axis=1)
    assert "(left, top, right, bottom)" in find_problem(boxed, None)
    attributes = np.random.default_rng(0).integers(0, 4, (24, 1, 2)).astype(float)
    attributes[3] = np.nan
    assert "point 25 " in find_problem(np.concatenate([gappy + 20, attributes], axis=1), None)


@pytest.mark.parametrize("highest", [1, 2])
def test_scores_after_each_point_are_detected(landmarks, highest):
    scores = np.random.default_rng(0).uniform(0, highest, (24, 24, 1))
    triples = np.concatenate([landmarks[:, :24], scores], axis=2).reshape(24, -1, 2)
    assert "x, y and score" in find_problem(triples, None)
    assert find_problem(landmarks[:, :24], None) == ""


def test_point_that_does_not_follow_the_face_is_detected(landmarks):
    pose_deg = np.random.default_rng(0).uniform(-40, 40, (24, 1, 2))
    numbers = np.concatenate([landmarks[:, :10] + 800, pose_deg], axis=1)
    assert find_problem(numbers, None).startswith("point 10 is not a landmark: in most faces")
    assert find_problem(numbers, [*"abcdefghij", "far away"]) == ""  # its name says that it is one


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "kind",
    ["left, top, right, bottom", "left, top, width, height", "left, right, top, bottom"],
)
def test_box_is_detected(landmarks, kind, first):
    parts = [box_of(landmarks, kind), landmarks]
    with_box = np.concatenate(parts if first else parts[::-1], axis=1)
    assert f"({kind})" in find_problem(with_box, None)


def test_attributes_are_detected(landmarks):
    attributes = np.random.default_rng(0).integers(0, 4, (len(landmarks), 1, 2))
    problem = find_problem(np.concatenate([landmarks + 20, attributes], axis=1), None)
    assert "point 25 " in problem


def test_all_x_before_all_y_is_detected(landmarks):
    moved = landmarks + np.random.default_rng(0).uniform(0, 300, (len(landmarks), 1, 2))
    blocks = moved.swapaxes(1, 2).reshape(moved.shape)
    assert "x of all points and then y of all" in find_problem(blocks, None)
    assert find_problem(moved, None) == ""
