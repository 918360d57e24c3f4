import shutil

import numpy as np
import pytest
from photos import face_image

from keras_landmarks.contest import landmark_tables
from keras_landmarks.images.face_detector import FaceDetector
from keras_landmarks.inference.training_cropping import measure_training_cropping
from keras_landmarks.utils.errors import InputError


def measure(data, **options):
    return measure_training_cropping(data, FaceDetector(0.75), 971, **options)


def test_cropping_is_that_of_training_photos(faces):
    cropping = measure(faces)
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    outline_widths = [np.ptp(landmarks[:, 0]) for landmarks in table.landmarks_photo_px]
    photo_widths = [face_image(faces, row)[0].shape[1] for row in range(24)]
    share = np.median(np.divide(outline_widths, photo_widths))
    width_in_outlines = cropping.points.left + cropping.points.right
    width_in_boxes = cropping.box.left + cropping.box.right
    assert 1 / width_in_outlines == pytest.approx(share, rel=0.05)
    # The detected box is a little wider than the outline of the landmarks.
    assert 1 < width_in_outlines / width_in_boxes < 1.3


def test_other_number_of_landmarks_is_rejected(faces):
    with pytest.raises(InputError, match=r"landmarks\.csv: 971 .* 195"):
        measure_training_cropping(faces, FaceDetector(0.75), 195)


def test_invalid_photos_are_skipped(own_faces):
    images = sorted((own_faces / "train" / "images").iterdir())
    for path in images[:12]:
        path.write_bytes(b"")
    measure(own_faces)
    shutil.rmtree(own_faces / "train" / "images")
    with pytest.raises(InputError, match="images"):
        measure(own_faces)


def test_invalid_rows_are_skipped(own_faces, caplog):
    table = own_faces / "train" / "landmarks.csv"
    rows = table.read_text().splitlines(keepends=True)
    rows[5] = rows[5].rpartition("\t")[0] + "\n"
    table.write_text("".join([*rows, rows[3]]))
    (own_faces / "train" / "images" / "face_000009.jpg").unlink()
    cropping = measure(own_faces)
    of_rows, of_photos = caplog.messages
    assert "2 of 25 rows" in of_rows
    assert "face_000009.jpg" in of_photos
    assert "1 of 23" in of_photos
    table.write_text("".join(row for number, row in enumerate(rows) if number not in (5, 10)))
    assert measure(own_faces) == cropping


def test_only_the_first_rows_are_read(own_faces, caplog):
    table = own_faces / "train" / "landmarks.csv"
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join(rows[:21]) + "broken.jpg\t1\n" * 100)
    assert measure(own_faces, max_rows=20).points.left > 0
    assert caplog.messages == []
