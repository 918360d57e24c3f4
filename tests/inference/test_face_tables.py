import json

import numpy as np
import pytest

from keras_landmarks.contest import landmark_tables, table_files
from keras_landmarks.inference.face import Face
from keras_landmarks.inference.face_tables import ImageFaces, can_head_columns, face_table_writer

FACE = Face(
    np.float32([1, 2.25, 30, 40.1]), 0.87654, np.float32([[1.5, -2.25], [1234.5678, 3]]), None
)


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "t.csv", tmp_path / "t.json"


def read(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_table_and_json_have_the_same_faces(paths):
    with_sigmas = Face(FACE.box_photo_px, 0.5, FACE.landmarks_photo_px, np.float32([0.25, 1 / 3]))
    with face_table_writer(*paths, num_landmarks=2) as write:
        write(ImageFaces("a\tb.jpg", (64, 48), {0: FACE, 1: with_sigmas}))
        write(ImageFaces("empty.jpg", (10, 20), {}))
    header, *rows = read(paths[0])
    assert header == [
        *["file_name", "face", "box_x0", "box_y0", "box_x1", "box_y1"],
        *["Point_M0_X", "Point_M0_Y", "Point_M1_X", "Point_M1_Y"],
    ]
    numbers = ["1", "2.25", "30", "40.1", "1.5", "-2.25", "1234.568", "3"]
    assert rows == [["a\\tb.jpg", "0", *numbers], ["a\\tb.jpg", "1", *numbers]]
    first, second = json.loads(paths[1].read_text())
    assert second == {"file_name": "empty.jpg", "width": 10, "height": 20, "faces": []}
    assert (first["width"], first["height"]) == (64, 48)
    assert first["faces"][0] == {
        "face": 0,
        "score": 0.877,
        "box": [1, 2.25, 30, 40.1],
        "landmarks": [[1.5, -2.25], [1234.568, 3]],
    }
    assert first["faces"][1]["sigmas"] == [0.25, 0.333]


def test_names_head_the_columns(paths):
    names = ["left eye", "nose"]
    assert can_head_columns(names)
    with face_table_writer(*paths, num_landmarks=2, point_names=names) as write:
        write(ImageFaces("a.jpg", (64, 48), {0: FACE}))
    assert read(paths[0])[0][6:] == ["left eye_x", "left eye_y", "nose_x", "nose_y"]
    table = landmark_tables.read_landmarks(paths[0])
    np.testing.assert_allclose(table.landmarks_photo_px[0], FACE.landmarks_photo_px, atol=1e-3)


@pytest.mark.parametrize(
    "names", [["nose", "bbox"], ["nose mm", "chin"], ["a b", "a-b", "c"], ["nose", "0", "1"]]
)
def test_names_that_would_be_misread_cannot_head_columns(names):
    assert not can_head_columns(names)


def test_json_names_the_picture(paths):
    with face_table_writer(*paths, num_landmarks=2) as write:
        write(ImageFaces("IMG_1", (64, 48), {0: FACE}, drawing="pictures/IMG_1-2.jpg"))
    (entry,) = json.loads(paths[1].read_text())
    assert entry["picture"] == "pictures/IMG_1-2.jpg"


def test_no_number_is_negative_zero(paths):
    face = Face(np.float32([-0.0001, 2, 3, 4]), 0.5, np.float32([[-0.0004, -0.0006]]))
    with face_table_writer(*paths, num_landmarks=1) as write:
        write(ImageFaces("IMG_1", (64, 48), {0: face}))
    assert "-0.0," not in paths[1].read_text()
    assert read(paths[0])[1] == ["IMG_1", "0", "0", "2", "3", "4", "0", "-0.001"]


def test_video_frames_have_number_and_time(paths):
    with face_table_writer(*paths, num_landmarks=2, is_video=True) as write:
        write(ImageFaces("clip.mp4", (64, 48), {3: FACE}, frame=7, time_s=7 / 30))
    header, row = read(paths[0])
    assert header[:4] == ["file_name", "frame", "face", "box_x0"]
    assert row[:4] == ["clip.mp4", "7", "3", "1"]
    (entry,) = json.loads(paths[1].read_text())
    assert (entry["frame"], entry["time_s"]) == (7, 0.233)


def test_tables_without_images_are_valid(paths):
    with face_table_writer(*paths, num_landmarks=1):
        pass
    assert len(read(paths[0])) == 1
    assert json.loads(paths[1].read_text()) == []


def test_table_can_be_read_for_its_file_names(paths):
    with face_table_writer(*paths, num_landmarks=2) as write:
        write(ImageFaces("a.jpg", (64, 48), {0: FACE}))
    assert table_files.read_names(paths[0]) == ["a.jpg"]


def test_failure_keeps_earlier_tables(paths, tmp_path):
    for path in paths:
        path.write_text("earlier")
    invalid = Face(FACE.box_photo_px, 0.5, None)
    with pytest.raises(AttributeError), face_table_writer(*paths, num_landmarks=2) as write:
        write(ImageFaces("a.jpg", (64, 48), {0: FACE, 1: invalid}))
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["earlier"] * 2
