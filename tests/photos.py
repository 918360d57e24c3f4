"""Synthetic faces, and photos with such faces in them."""

import numpy as np

from keras_landmarks.contest import landmark_tables, listed_images
from keras_landmarks.synthetic.faces import head_points, place_in_crop, random_face


def random_landmarks(count, seed=0):
    """Returns points of synthetic faces as in their crops, px: (count, 971, 2)."""
    rng = np.random.default_rng(seed)
    faces = np.empty((count, 971, 2))
    for face in faces:
        points = head_points(random_face(rng))
        project, _ = place_in_crop(rng, points)
        face[:] = project(points)[:, :2]
    return faces


def face_image(data, row):
    """Returns the training image of a row of the folder's table, and its points (k, 2) px."""
    table = landmark_tables.read_landmarks(data / "train" / "landmarks.csv")
    image = listed_images.read_image(data / "train" / "images", table.file_names[row])
    return image, table.landmarks_photo_px[row].astype(np.float32)


def photo_of(data, size, places):
    """Returns a grey photo with training images pasted into it, and their points.

    Args:
        data: folder in the contest's format.
        size: width and height of the photo, px.
        places: for each image its row in the table and its upper left corner.
    """
    photo = np.full((size[1], size[0], 3), 90, np.uint8)
    points = []
    for row, (left, top) in places:
        image, landmarks_px = face_image(data, row)
        photo[top : top + image.shape[0], left : left + image.shape[1]] = image
        points.append(landmarks_px + np.float32([left, top]))
    return photo, points


def is_around(box, landmarks_px):
    """Whether a box fits the face with these points: the same centre, about the same width."""
    low, high = landmarks_px.min(axis=0), landmarks_px.max(axis=0)
    offset = (box[:2] + box[2:] - low - high) / 2
    width = high[0] - low[0]
    return np.abs(offset).max() < 0.15 * width and 0.9 < (box[2] - box[0]) / width < 1.4
