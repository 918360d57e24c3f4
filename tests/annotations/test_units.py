import numpy as np
from annotation_files import NO

from keras_landmarks.annotations import units


def test_missing_landmarks_do_not_count():
    assert units.look_like_shares(np.array([[[0.2, 0.4], NO], [NO, [0.9, 1.1]]]))
    assert not units.look_like_shares(np.array([[[0.2, 4], NO]]))
    faces = [np.array([[20, 40], NO])] * 3
    assert units.look_like_percent(faces, [(640, 480)] * 3)
    assert not units.look_like_percent([*faces[:2], np.array([NO, [106, 4]])], [(640, 480)] * 3)


def test_percent_are_recognised_by_the_large_photos():
    faces = [np.array([[20, 40], [60, 100.4]])] * 4
    large, small = (640, 480), (168, 200)
    assert units.look_like_percent(faces, [large] * 3 + [small])
    assert not units.look_like_percent(faces, [large] * 2 + [small] * 2)
