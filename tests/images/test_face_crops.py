import numpy as np
import pytest

from keras_landmarks import settings
from keras_landmarks.images import face_crops, geometry
from keras_landmarks.images.face_crops import CONTEST_CROPPING, CropExtent, Cropping
from keras_landmarks.images.face_detector import Detections
from keras_landmarks.images.geometry import CropSpec, Region
from keras_landmarks.utils.errors import InputError


def test_region_extends_from_the_box_centre():
    # Edges at 10 and 30, 20 and 60: centre (20, 40), sides 20 and 40.
    box = np.float32([9.5, 19.5, 29.5, 59.5])
    region = face_crops.face_region(box, CropExtent(left=1, up=0.5, right=0.75, down=2))
    assert region == Region(0, 20, 35, 120)


def test_region_may_leave_the_photo():
    assert face_crops.face_region(np.float32([-10.5, -0.5, 9.5, 19.5]), CropExtent(1, 1, 1, 1)) == (
        Region(-20, -10, 20, 30)
    )
    left, top, right, bottom = face_crops.face_region(
        np.float32([5, 5, 5, 5]), CropExtent(1, 1, 1, 1)
    )
    assert (right - left, bottom - top) == (1, 1)


def test_region_of_points_has_limits():
    points = np.float32([[9.5, 19.5], [29.5, 59.5], [900, -900]])
    extent = CropExtent(left=1, up=0.5, right=0.75, down=2)
    region = face_crops.region_of_points(points, (0, 19.5, 29.5, 100), extent)
    assert region == Region(0, 20, 35, 120)


def test_beyond_the_photo_is_black():
    photo = np.full((4, 6, 3), 200, np.uint8)
    cut = geometry.cut_region(photo, Region(-2, 1, 3, 7))
    assert cut.shape == (6, 5, 3)
    assert (cut[:3, 2:] == 200).all()
    assert not cut[3:].any()
    assert not cut[:, :2].any()
    assert not geometry.cut_region(photo, Region(20, 20, 25, 22)).any()
    np.testing.assert_array_equal(geometry.cut_region(photo, Region(0, 0, 6, 4)), photo)


@pytest.mark.parametrize("framing", settings.FRAMINGS)
def test_photo_points_match_the_crop(framing):
    photo = np.zeros((300, 400, 3), np.uint8)
    photo[148:152, 248:252] = 255  # centred on (249.5, 149.5)
    region = Region(190, 90, 310, 250)
    crop, transform = face_crops.crop_face(photo, region, CropSpec(96, 128, framing))
    expected = geometry.to_crop(np.float32([[249.5, 149.5]]), transform)[0]
    rows, columns = np.nonzero(crop[..., 0] > 127)
    np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=0.6)
    back = geometry.to_photo(expected[None], transform)[0]
    np.testing.assert_allclose(back, [249.5, 149.5], atol=1e-3)


def test_cropping_is_the_median_over_photos():
    # A photo of 100 x 200 px; points from (19.5, 49.5) to (79.5, 149.5): centre (50, 100) by its
    # edges, 60 wide and 100 high. The box: centre (50, 90), sides 50.
    photo = np.zeros((200, 100, 3), np.uint8)
    points = np.float32([[19.5, 49.5], [79.5, 149.5]])
    box = np.float32([24.5, 64.5, 74.5, 114.5])
    elsewhere = np.float32([79.5, -0.5, 99.5, 19.5])

    def detector(_):
        return Detections(np.stack([box, elsewhere]), np.ones(2, np.float32), np.zeros(2, int))

    cropping = face_crops.median_cropping([(photo, points)] * 12, detector, "data")
    np.testing.assert_allclose(cropping.box, [1, 1.8, 1, 2.2], atol=1e-6)
    np.testing.assert_allclose(cropping.points, [50 / 60, 1, 50 / 60, 1], atol=1e-6)
    assert isinstance(cropping, Cropping)


def test_cropping_needs_detected_faces():
    photos = [(np.zeros((20, 10, 3), np.uint8), np.float32([[1, 1], [8, 18]]))] * 12

    def detector(_):
        return Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, int))

    with pytest.raises(InputError, match=r"^data: .*0 of 12"):
        face_crops.median_cropping(photos, detector, "data")


def test_contest_face_takes_60_by_55_percent():
    reach = CONTEST_CROPPING.points
    assert round(1 / (reach.left + reach.right), 2) == 0.6
    assert round(1 / (reach.up + reach.down), 2) == 0.55
