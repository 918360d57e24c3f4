"""Reads annotations into plain values, for comparisons, and makes photos for them."""

import csv
import json

import cv2
import numpy as np

from keras_landmarks.annotations.conversion import convert
from keras_landmarks.annotations.face import AnnotatedFace
from keras_landmarks.annotations.reading import read_annotations

NO = [np.nan, np.nan]  # a missing point


def read_faces(source, source_format="auto"):
    """Returns (photo, landmarks) of each face, or the reason why it cannot be used."""
    return [
        (face.photo, face.landmarks.tolist()) if isinstance(face, AnnotatedFace) else face.reason
        for face in read_annotations(source, source_format).faces
    ]


def write_photo(path, size_px=(200, 120)):
    """Writes a black JPEG of this width and height, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((*size_px[::-1], 3), np.uint8))
    return path


def converted(source, data, **arguments):
    """Converts annotations to data/train; returns (photo, points in its pixels) of each face.

    Missing points are NaN; the names in layout.json and the results of `convert` follow.
    """
    results = convert(source, data, processes=1, **arguments)
    crops, rows = (_read_table(data / "train" / name) for name in ("crops.csv", "landmarks.csv"))
    faces = []
    for (_, photo, _, *corner), (_, *cells) in zip(crops, rows, strict=True):
        points_crop_px = np.array([float(cell or "nan") for cell in cells]).reshape(-1, 2)
        faces.append((photo, points_crop_px + np.array(corner, float)))
    layout = data / "layout.json"
    known = json.loads(layout.read_text()) if layout.exists() else {}
    return faces, known.get("points"), results


def assert_faces(faces, expected):
    """Checks (photo, points) of each face."""
    assert [photo for photo, _ in faces] == [photo for photo, _ in expected]
    for (_, points), (_, other) in zip(faces, expected, strict=True):
        np.testing.assert_allclose(points, other, atol=1e-3)


def _read_table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter="\t"))[1:]
