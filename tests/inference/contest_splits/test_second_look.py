import numpy as np
import pytest
from PIL import Image

from keras_landmarks.images.geometry import CropSpec, CropTransform, to_photo
from keras_landmarks.inference.contest_splits.second_look import look_again

WIDTH, HEIGHT = 100, 120
CENTRED = (20, 27, 79, 92)  # as the contest's faces: 0.59 of the width, 0.55 of the height
OFF_THE_MIDDLE = (38, 50, 97, 115)


class BoxFinder:
    """A predictor whose four landmarks are the corners of the white rectangle in a crop."""

    def __init__(self):
        self.spec = self
        self.crop_spec = CropSpec(50, 60, "stretch")
        self.batches = []

    def __call__(self, crops: np.ndarray, transform: CropTransform) -> np.ndarray:
        self.batches.append(crops)
        corners = []
        for crop in crops:
            y, x = np.nonzero(crop[..., 0] > 127)
            corners.append([(a, b) for a in (x.min(), x.max()) for b in (y.min(), y.max())])
        return to_photo(np.float32(corners), transform)


@pytest.fixture
def write_photos(tmp_path):
    """Returns a function that writes photos with a white rectangle each, and their names."""

    def write(*boxes):
        names = []
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            photo[y0 : y1 + 1, x0 : x1 + 1] = 255
            names.append(f"{number}.png")
            Image.fromarray(photo).save(tmp_path / names[-1])
        return names

    return write


def corners(box):
    return [(x, y) for x in box[::2] for y in box[1::2]]


def test_only_misplaced_faces_are_predicted_again(write_photos, tmp_path):
    names = write_photos(CENTRED, OFF_THE_MIDDLE, CENTRED)
    predicted = np.float32([corners(CENTRED), corners(OFF_THE_MIDDLE), corners(CENTRED)]) + 3
    finder = BoxFinder()
    assert look_again(finder, predicted, tmp_path, names, (), batch_size=2) == 1
    np.testing.assert_array_equal(predicted[::2], np.float32([corners(CENTRED)] * 2) + 3)
    np.testing.assert_allclose(predicted[1], corners(OFF_THE_MIDDLE), atol=1.5)
    ((crop, padding),) = finder.batches
    np.testing.assert_array_equal(crop, padding)
    y, x = np.nonzero(crop[..., 0] > 127)
    assert (x.min(), x.max()) == pytest.approx((10, 39), abs=2)  # now in the middle
    assert (y.min(), y.max()) == pytest.approx((13, 46), abs=2)


def test_unreadable_photos_are_left_out(write_photos, tmp_path):
    names = write_photos(OFF_THE_MIDDLE, OFF_THE_MIDDLE)
    (tmp_path / names[0]).write_bytes(b"")
    predicted = np.float32([corners(OFF_THE_MIDDLE)] * 2) + 3
    before = predicted.copy()
    assert look_again(BoxFinder(), predicted, tmp_path, names, {0}, batch_size=4) == 1
    np.testing.assert_array_equal(predicted[0], before[0])
    np.testing.assert_allclose(predicted[1], corners(OFF_THE_MIDDLE), atol=1.5)


def test_photos_whose_size_cannot_be_read_are_left_out(write_photos, tmp_path):
    names = write_photos(OFF_THE_MIDDLE)
    (tmp_path / names[0]).write_bytes(b"")
    predicted = np.float32([corners(OFF_THE_MIDDLE)])
    assert look_again(BoxFinder(), predicted, tmp_path, names, (), batch_size=4) == 0
