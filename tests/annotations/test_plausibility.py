import numpy as np
import pytest

from keras_landmarks.annotations.plausibility import find_fault
from keras_landmarks.contest import landmark_tables


@pytest.fixture(scope="module")
def landmarks(faces):
    """Every 40th point of the training faces, (24, 25, 2)."""
    return (
        landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
        .points[:, ::40]
        .astype(float)
    )


def box_of(landmarks, kind):
    """The numbers of a box around each face, (n, 2, 2), in the order of `kind`."""
    left, top = (landmarks.min(axis=1) - 3).T
    right, bottom = (landmarks.max(axis=1) + 4).T
    sides = {"left": left, "top": top, "right": right, "bottom": bottom}
    sides |= {"width": right - left, "height": bottom - top}
    return np.stack([sides[name] for name in kind.split(", ")], axis=1).reshape(-1, 2, 2)


def test_faces_are_plausible(landmarks):
    assert find_fault(landmarks, None) == ""
    assert find_fault(landmarks[:, :5], None) == ""


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "kind",
    ["left, top, right, bottom", "left, top, width, height", "left, right, top, bottom"],
)
def test_a_box_beside_the_points_is_told(landmarks, kind, first):
    parts = [box_of(landmarks, kind), landmarks]
    with_box = np.concatenate(parts if first else parts[::-1], axis=1)
    assert f"no points but a box around the others ({kind})" in find_fault(with_box, None)


def test_attributes_beside_the_points_are_told(landmarks):
    attributes = np.random.default_rng(0).integers(0, 4, (len(landmarks), 1, 2))
    fault = find_fault(np.concatenate([landmarks + 20, attributes], axis=1), None)
    assert "point 25 is no place" in fault


def test_all_x_before_all_y_is_told(landmarks):
    moved = landmarks + np.random.default_rng(0).uniform(0, 300, (len(landmarks), 1, 2))
    blocks = moved.swapaxes(1, 2).reshape(moved.shape)
    assert "x of all points and then y of all" in find_fault(blocks, None)
    assert find_fault(moved, None) == ""
