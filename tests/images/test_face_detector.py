import cv2
import numpy as np
import pytest
from photos import face_image, is_around, photo_of

from keras_landmarks.images import face_detector
from keras_landmarks.images.face_detector import FaceDetector


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(min_score=0.75)


@pytest.mark.parametrize("row", range(8))
def test_large_face_is_detected_once(faces, detector, row):
    photo, landmarks_px = face_image(faces, row)
    boxes, scores, _ = detector(photo)
    assert len(boxes) == 1
    assert is_around(boxes[0], landmarks_px)
    assert boxes.dtype == scores.dtype == np.float32
    assert 0.75 < scores[0] < 1


def test_faces_are_sorted_by_size(faces, detector):
    places = [(3, (20, 200)), (0, (480, 60)), (1, (250, 120))]  # 48, 71 and 97 px wide
    photo, points = photo_of(faces, (640, 480), places)
    boxes, *_ = detector(photo)
    assert len(boxes) == 3
    assert all(map(is_around, boxes, [points[2], points[1], points[0]]))


def test_small_faces_are_detected_between_tiles(faces, detector):
    places = [
        (0, (300, 1200)),
        (2, (900, 1300)),
        (3, (1500, 0)),
        (3, (1100, 700)),
        (10, (2290, 900)),
    ]
    photo, points = photo_of(faces, (2400, 1600), places)  # 2 to 4 % of the width
    assert len(detector(photo).boxes) < 5
    boxes, *_ = FaceDetector(0.75, smallest_face=0.02)(photo)
    assert len(boxes) == 5
    assert all(any(is_around(box, face) for box in boxes) for face in points)


def test_box_may_leave_the_photo(faces, detector):
    photo, landmarks_px = face_image(faces, 1)
    cut = photo[:, 45:]  # through the cheek
    boxes, *_ = detector(np.ascontiguousarray(cut))
    assert boxes[0, 0] < 0
    assert is_around(boxes[0], landmarks_px - [45, 0])


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (700, 500), (255, 257)])
def test_no_face_gives_no_box(detector, size):
    boxes, scores, turns = detector(np.full((*size, 3), 90, np.uint8))
    assert boxes.shape == (0, 4)
    assert scores.shape == turns.shape == (0,)


def test_box_moves_and_grows_with_its_face(faces, detector):
    photo, _ = face_image(faces, 1)
    around, *_ = detector(cv2.copyMakeBorder(photo, 60, 60, 60, 60, cv2.BORDER_CONSTANT))
    twice, *_ = detector(cv2.resize(photo, None, fx=2, fy=2))
    (box,), *_ = detector(photo)
    np.testing.assert_allclose(around[0] - 60, box, atol=8)
    np.testing.assert_allclose((twice[0] + 0.5) / 2 - 0.5, box, atol=1)  # the same scales


@pytest.mark.parametrize(
    ("photo_px", "smallest_face", "scaled_sides"),
    [
        (100, 0.03, [128]),
        (200, 0.03, [128, 256]),
        (300, 0.03, [128, 256, 448]),
        (4000, 0.03, [128, 256, 448]),  # where a face of 0.03 of it is 13 px wide
        (4000, 0.01, [128, 256, 448, 832, 1600]),
        (4000, 0.5, [128]),
    ],
)
def test_photo_is_searched_at_several_scales(photo_px, smallest_face, scaled_sides):
    assert list(FaceDetector(0.5, smallest_face)._scaled_sides(photo_px)) == scaled_sides


def test_tiles_overlap_by_64_px():
    assert face_detector._tile_starts(128) == [-64]
    assert face_detector._tile_starts(256) == [0]
    assert face_detector._tile_starts(257) == [0, 1]
    assert face_detector._tile_starts(512) == [0, 128, 256]
    starts = face_detector._tile_starts(2000)
    assert starts[-1] == 2000 - 256
    assert np.diff(starts).max() <= 192


def test_candidates_are_averaged_by_score():
    candidates = np.array(
        [
            [100, 100, 140, 140, 0.6, 9, 0],
            [0, 0, 20, 20, 0.9, 10, 0],
            [4, 0, 24, 20, 0.3, 10, 5],  # shares 320 of 400 px with the one above
            [5, 5, 15, 15, 0.3, 5, 0],  # inside it
            [15, 0, 35, 20, 0.8, 7, 0],  # shares 100 of 400
        ]
    )
    boxes, scores, turns = face_detector._merge_rotations({0: candidates}, (200, 200))
    weights = np.array([0.6, 0.2, 0.2])  # 0.9, 0.3 and 0.3 of 1.5
    mean = weights @ [[0, 0, 20, 20], [4, 0, 24, 20], [5, 5, 15, 15]]
    expected = np.array([[100, 100, 140, 140], [15, 0, 35, 20], mean]) - 0.5
    np.testing.assert_allclose(boxes, expected, atol=1e-5)
    np.testing.assert_allclose(scores, [0.6, 0.8, 0.9])
    np.testing.assert_array_equal(turns, 0)


@pytest.mark.parametrize("quarters", [1, 3])
def test_faces_on_their_side_are_detected(faces, detector, quarters):
    photo, _ = photo_of(faces, (640, 480), [(1, (250, 120)), (0, (480, 60)), (3, (20, 200))])
    expected = detector(photo)
    found = detector(np.ascontiguousarray(np.rot90(photo, quarters)))
    np.testing.assert_array_equal(found.turns, -quarters % 4)
    # The boxes as they lie in the rotated photo, 480 px wide and 640 high.
    left, top, right, bottom = expected.boxes.T
    rotated = {1: [top, 639 - right, bottom, 639 - left], 3: [479 - bottom, left, 479 - top, right]}
    np.testing.assert_allclose(found.boxes, np.transpose(rotated[quarters]), atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_upright_rotation_is_preferred():
    by_turn = {
        0: np.array([[10, 20, 30, 40, 0.9, 0.0, 8.0], [60, 0, 80, 20, 0.8, 8.0, 1.0]]),
        # The first face as it lies in a photo of 100 x 50 px that is turned left; and another face.
        1: np.array([[20, 70, 40, 90, 0.8, 8.0, 0.0], [0, 0, 9, 9, 0.9, 0.0, 3.0]]),
    }
    boxes, scores, turns = face_detector._merge_rotations(by_turn, (100, 50))
    np.testing.assert_array_equal(turns, [0, 1, 1])
    np.testing.assert_allclose(scores, [0.8, 0.8, 0.9])
    edges = np.array([[60, 0, 80, 20], [10, 20, 30, 40], [91, 0, 100, 9]])
    np.testing.assert_allclose(boxes, edges - 0.5)
