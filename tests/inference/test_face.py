import numpy as np
import pandas

from keras_landmarks import Face, faces_to_dataframe


def make_face(landmarks, sigmas=None):
    sigmas = None if sigmas is None else np.float32(sigmas)
    return Face(np.zeros(4, np.float32), 0.5, np.float32(landmarks), sigmas)


def test_faces_are_compared_by_identity():
    face = make_face(np.zeros((3, 2)))
    assert face == face
    assert face != make_face(np.zeros((3, 2)))
    assert len({face, face}) == 1


def test_dataframe_has_a_row_per_landmark():
    faces = [make_face([[1.5, 2], [3, 4]]), make_face([[5, 6], [7, 8.25]])]
    table = faces_to_dataframe(faces)
    expected = {"face": [0, 0, 1, 1], "landmark": [0, 1, 0, 1]}
    expected |= {"x": np.float32([1.5, 3, 5, 7]), "y": np.float32([2, 4, 6, 8.25])}
    pandas.testing.assert_frame_equal(table, pandas.DataFrame(expected))


def test_dataframe_has_sigmas_if_predicted():
    table = faces_to_dataframe([make_face([[1, 2], [3, 4]], sigmas=[0.5, 0.25])])
    assert list(table.columns) == ["face", "landmark", "x", "y", "sigma"]
    assert table["sigma"].tolist() == [0.5, 0.25]


def test_dataframe_has_names_if_known():
    landmarks, sigmas = np.float32([[1, 2], [3, 4]]), np.float32([0.5, 0.25])
    face = Face(np.zeros(4, np.float32), 0.5, landmarks, sigmas, ["nose", "chin"])
    table = faces_to_dataframe([face, face])
    assert list(table.columns) == ["face", "landmark", "name", "x", "y", "sigma"]
    assert table["name"].tolist() == ["nose", "chin"] * 2


def test_dataframe_keeps_track_numbers():
    table = faces_to_dataframe({7: make_face([[1, 2]]), 3: make_face([[3, 4]])})
    assert table["face"].tolist() == [7, 3]


def test_dataframe_of_no_face_is_empty():
    table = faces_to_dataframe([])
    assert list(table.columns) == ["face", "landmark", "x", "y"]
    assert len(table) == 0
