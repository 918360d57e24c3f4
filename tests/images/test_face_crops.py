import numpy as np
import pytest

from keras_landmarks.images import face_crops, geometry
from keras_landmarks.images.face_crops import CONTEST_CROPPING, Cropping, Reach
from keras_landmarks.images.face_detector import Boxes
from keras_landmarks.images.geometry import CropSpec, Region
from keras_landmarks.utils.errors import InputError


def test_a_region_reaches_from_the_boxs_middle_in_sides_of_the_box():
    # Edges at 10 and 30, 20 and 60: middle (20, 40), sides 20 and 40.
    box = np.float32([9.5, 19.5, 29.5, 59.5])
    region = face_crops.crop_region(box, Reach(left=1, up=0.5, right=0.75, down=2))
    assert region == Region(0, 20, 35, 120)


def test_a_region_may_begin_before_the_photo_and_is_never_empty():
    assert face_crops.crop_region(np.float32([-10.5, -0.5, 9.5, 19.5]), Reach(1, 1, 1, 1)) == (
        Region(-20, -10, 20, 30)
    )
    left, top, right, bottom = face_crops.crop_region(np.float32([5, 5, 5, 5]), Reach(1, 1, 1, 1))
    assert (right - left, bottom - top) == (1, 1)


def test_beyond_the_photo_is_black():
    photo = np.full((4, 6, 3), 200, np.uint8)
    cut = geometry.cut_region(photo, Region(-2, 1, 3, 7))
    assert cut.shape == (6, 5, 3)
    assert (cut[:3, 2:] == 200).all()
    assert not cut[3:].any()
    assert not cut[:, :2].any()
    assert not geometry.cut_region(photo, Region(20, 20, 25, 22)).any()
    np.testing.assert_array_equal(geometry.cut_region(photo, Region(0, 0, 6, 4)), photo)


@pytest.mark.parametrize("framing", geometry.FRAMINGS)
def test_points_of_the_photo_are_where_the_crop_shows_them(framing):
    photo = np.zeros((300, 400, 3), np.uint8)
    photo[148:152, 248:252] = 255  # its middle is (249.5, 149.5)
    region = Region(190, 90, 310, 250)
    crop, framed = face_crops.frame_region(photo, region, CropSpec(96, 128, framing))
    expected = geometry.to_crop(np.float32([[249.5, 149.5]]), framed)[0]
    rows, columns = np.nonzero(crop[..., 0] > 127)
    np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=0.6)
    back = geometry.to_photo(expected[None], framed)[0]
    np.testing.assert_allclose(back, [249.5, 149.5], atol=1e-3)


def test_an_outline_is_the_box_around_points():
    points = np.float32([[[1, 5], [3, 2], [2, 9]]])
    np.testing.assert_array_equal(face_crops.outline(points), [[1, 2, 3, 9]])


def test_a_cropping_is_measured_as_the_median_over_photos():
    # A photo of 100 x 200 px; points from (19.5, 49.5) to (79.5, 149.5): middle (50, 100) by its
    # edges, 60 wide and 100 high. The box: middle (50, 90), sides 50.
    photo = np.zeros((200, 100, 3), np.uint8)
    points = np.float32([[19.5, 49.5], [79.5, 149.5]])
    box = np.float32([24.5, 64.5, 74.5, 114.5])
    elsewhere = np.float32([79.5, -0.5, 99.5, 19.5])

    def detector(_):
        return Boxes(np.stack([box, elsewhere]), np.ones(2, np.float32), np.zeros(2, int))

    cropping = face_crops.measure([(photo, points)] * 12, detector, "data")
    np.testing.assert_allclose(cropping.box, [1, 1.8, 1, 2.2], atol=1e-6)
    np.testing.assert_allclose(cropping.points, [50 / 60, 1, 50 / 60, 1], atol=1e-6)
    assert isinstance(cropping, Cropping)


def test_a_cropping_cannot_be_measured_on_photos_without_faces():
    photos = [(np.zeros((20, 10, 3), np.uint8), np.float32([[1, 1], [8, 18]]))] * 12

    def detector(_):
        return Boxes(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, int))

    with pytest.raises(InputError, match=r"data: faces were found in 0 of 12 photos only"):
        face_crops.measure(photos, detector, "data")


def test_the_contests_face_takes_59_by_55_percent_of_its_crop():
    reach = CONTEST_CROPPING.points
    assert round(1 / (reach.left + reach.right), 2) == 0.6
    assert round(1 / (reach.up + reach.down), 2) == 0.55
