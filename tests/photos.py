"""Photos with procedural faces in them, for tests of what finds faces."""

import numpy as np

from keras_landmarks.contest import landmark_tables, listed_images


def face_image(data, row):
    """Returns a training image of the folder and its points."""
    table = landmark_tables.read_landmarks(data / "train" / "landmarks.csv")
    image = listed_images.read_image(data / "train" / "images", table.file_names[row])
    return image, table.points[row].astype(np.float32)


def photo_of(data, size, places):
    """Returns a grey photo of this width and height with training images in it, and their points.

    `places` are rows of the table and where the images' upper left corners come.
    """
    photo = np.full((size[1], size[0], 3), 90, np.uint8)
    points = []
    for row, (left, top) in places:
        image, landmarks_px = face_image(data, row)
        photo[top : top + image.shape[0], left : left + image.shape[1]] = image
        points.append(landmarks_px + np.float32([left, top]))
    return photo, points


def is_around(box, landmarks_px):
    """Whether a box is of the face with these points: same middle, about as wide."""
    low, high = landmarks_px.min(axis=0), landmarks_px.max(axis=0)
    offset = (box[:2] + box[2:] - low - high) / 2
    width = high[0] - low[0]
    return np.abs(offset).max() < 0.15 * width and 0.9 < (box[2] - box[0]) / width < 1.4
