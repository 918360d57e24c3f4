import numpy as np
import pytest

from keras_landmarks.exporting import description
from keras_landmarks.models.spec import ModelSpec
from keras_landmarks.utils.errors import InputError


def test_regions_and_mirror_map_come_from_the_layout(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text('{"regions": {"eyes": [0, 1]}, "mirror": [1, 0, 2]}')
    described = description.describe(ModelSpec("tiny", 3, "64x32"), np.zeros((1, 3, 2)), path)
    assert (described["regions"], described["mirror"]) == ({"eyes": [0, 1]}, [1, 0, 2])


def test_wrong_layout_is_refused(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text('{"regions": {"eyes": [0, 3]}}')
    with pytest.raises(InputError, match=r"layout\.json.*'eyes'"):
        description.describe(ModelSpec("tiny", 3, "64x32"), np.zeros((1, 3, 2)), path)


def test_face_box_is_the_mean_of_bounding_boxes():
    faces = np.array([[[-0.5, 1.5], [15.5, 31.5]], [[15.5, 1.5], [31.5, 15.5]]])
    described = description.describe(ModelSpec("tiny", 2, "64x32"), faces)
    # Pixel edges: x from 0 and 16 to 16 and 32, of 64; y from 2 and 2 to 32 and 16, of 32.
    assert described["face_box"] == [0.125, 0.0625, 0.375, 0.75]
    assert (described["mirror"], described["regions"]) == (None, {})
