import json

import numpy as np
import pytest

from keras_landmarks.contest import table_files
from keras_landmarks.inference.landmarker import Face
from keras_landmarks.inference.tables import Picture, face_tables

FACE = Face(
    np.float32([1, 2.25, 30, 40.1]), 0.87654, np.float32([[1.5, -2.25], [1234.5678, 3]]), None
)


def read(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_a_row_a_face_and_the_same_by_photo(tmp_path):
    paths = tmp_path / "t.csv", tmp_path / "t.json"
    sure = Face(FACE.box_photo_px, 0.5, FACE.landmarks_photo_px, np.float32([0.25, 1 / 3]))
    with face_tables(*paths, points=2) as write:
        write(Picture("a\tb.jpg", (64, 48), {0: FACE, 1: sure}))
        write(Picture("empty.jpg", (10, 20), {}))
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


def test_a_drawn_photo_has_its_picture_and_no_number_is_minus_nought(tmp_path):
    face = Face(np.float32([-0.0001, 2, 3, 4]), 0.5, np.float32([[-0.0004, -0.0006]]))
    with face_tables(tmp_path / "t.csv", tmp_path / "t.json", points=1) as write:
        write(Picture("IMG_1", (64, 48), {0: face}, drawn="pictures/IMG_1-2.jpg"))
    (entry,) = json.loads((tmp_path / "t.json").read_text())
    assert entry["picture"] == "pictures/IMG_1-2.jpg"
    assert "-0.0," not in (tmp_path / "t.json").read_text()
    assert read(tmp_path / "t.csv")[1] == ["IMG_1", "0", "0", "2", "3", "4", "0", "-0.001"]


def test_frames_of_a_video_have_their_number_and_time(tmp_path):
    paths = tmp_path / "t.csv", tmp_path / "t.json"
    with face_tables(*paths, points=2, frames=True) as write:
        write(Picture("clip.mp4", (64, 48), {3: FACE}, frame=7, time_s=7 / 30))
    header, row = read(paths[0])
    assert header[:4] == ["file_name", "frame", "face", "box_x0"]
    assert row[:4] == ["clip.mp4", "7", "3", "1"]
    (entry,) = json.loads(paths[1].read_text())
    assert (entry["frame"], entry["time_s"]) == (7, 0.233)


def test_without_pictures_both_are_empty_and_readable(tmp_path):
    paths = tmp_path / "t.csv", tmp_path / "t.json"
    with face_tables(*paths, points=1):
        pass
    assert len(read(paths[0])) == 1
    assert json.loads(paths[1].read_text()) == []


def test_other_commands_read_the_table_as_one_of_file_names(tmp_path):
    with face_tables(tmp_path / "t.csv", tmp_path / "t.json", points=2) as write:
        write(Picture("a.jpg", (64, 48), {0: FACE}))
    assert table_files.read_names(tmp_path / "t.csv") == ["a.jpg"]


def test_a_failure_leaves_earlier_tables_as_they_were(tmp_path):
    paths = tmp_path / "t.csv", tmp_path / "t.json"
    for path in paths:
        path.write_text("earlier")
    broken = Face(FACE.box_photo_px, 0.5, None)
    with pytest.raises(AttributeError), face_tables(*paths, points=2) as write:
        write(Picture("a.jpg", (64, 48), {0: FACE, 1: broken}))
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["earlier"] * 2
