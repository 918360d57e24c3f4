import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from photos import face_image, is_around, photo_of

from keras_landmarks import Face, Landmarker, VideoFrame
from keras_landmarks.contest import landmark_tables
from keras_landmarks.images import decoding, geometry, video
from keras_landmarks.images.face_crops import CropExtent, Cropping
from keras_landmarks.images.face_detector import Detections
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.models.keras_models import build_model
from keras_landmarks.models.spec import ModelSpec, claim_workdir
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.utils.errors import InputError

CROP_SPEC = CropSpec(40, 80, "stretch")
# The first two span an outline from a quarter to three quarters of the crop.
LANDMARKS_CROP_PX = np.float32([[9.5, 19.5], [29.5, 59.5], [14.5, 39.5]])


class FakePredictor:
    """Predicts the same landmarks in every crop, mapped to the photo; records its batches."""

    spec = SimpleNamespace(num_landmarks=3, crop_spec=CROP_SPEC)

    def __init__(self, values_per_landmark=2):
        self.values_per_landmark, self.batches = values_per_landmark, []

    def __call__(self, crops, transform):
        self.batches.append(crops)
        landmarks = geometry.to_photo(np.stack([LANDMARKS_CROP_PX] * len(crops)), transform)
        sigmas = np.full((*landmarks.shape[:2], self.values_per_landmark - 2), 0.5, np.float32)
        return np.dstack([landmarks, sigmas])


def fake_detector(*boxes, turn=0):
    scores = np.linspace(0.9, 0.8, len(boxes), dtype=np.float32)
    found = Detections(np.float32(boxes).reshape(-1, 4), scores, np.full(len(boxes), turn))
    return lambda photo: found


# A box with edges from 100 to 140 and from 200 to 240 makes a crop from 80 to 160 and 180 to 340.
BOX = [99.5, 199.5, 139.5, 239.5]
CROPPING = Cropping(box=CropExtent(1, 1, 1, 3), points=CropExtent(1, 1, 1, 1))
PHOTO = np.zeros((400, 300, 3), np.uint8)


def test_landmarks_are_mapped_to_the_photo():
    landmarker = Landmarker(FakePredictor(), fake_detector(BOX), CROPPING, two_pass=False)
    ((face,),) = landmarker([PHOTO])
    # A crop pixel is 2 x 2 photo pixels, and the crop begins at (80, 180).
    edges = (LANDMARKS_CROP_PX + 0.5) * 2 + [80, 180]
    np.testing.assert_allclose(face.landmarks_photo_px, edges - 0.5, atol=1e-4)
    assert face.landmarks_photo_px.dtype == np.float32
    np.testing.assert_array_equal(face.box_photo_px, np.float32(BOX))
    assert face.score == pytest.approx(0.9)
    assert face.sigmas_photo_px is None


def test_refinement_crops_around_landmarks():
    landmarker = Landmarker(FakePredictor(), fake_detector(BOX), CROPPING, two_pass=True)
    ((face,),) = landmarker([PHOTO])
    # The first outline has edges from 100 to 140 (pixel centres from 99.5 to 139.5) and from 220
    # to 300. The second crop reaches as far again to each side of its centre (120, 260).
    first = (LANDMARKS_CROP_PX[:2] + 0.5) * 2 + [80, 180]
    np.testing.assert_array_equal(first, [[100, 220], [140, 300]])
    edges = (LANDMARKS_CROP_PX + 0.5) * 2 + [80, 180]
    np.testing.assert_allclose(face.landmarks_photo_px, edges - 0.5, atol=1e-4)
    wider = Cropping(CROPPING.box, CropExtent(2, 2, 2, 2))
    ((face,),) = Landmarker(FakePredictor(), fake_detector(BOX), wider)([PHOTO])
    # Twice as wide: from 40 to 200 and from 100 to 420; a crop pixel is 4 x 4 photo pixels.
    edges = (LANDMARKS_CROP_PX + 0.5) * 4 + [40, 100]
    np.testing.assert_allclose(face.landmarks_photo_px, edges - 0.5, atol=1e-4)


def test_rotated_face_is_predicted_upright():
    photo = np.zeros((300, 400, 3), np.uint8)
    photo[:, 240:] = 200
    # After a quarter turn to the left, 300 x 400 px, this box is BOX.
    box = [159.5, 99.5, 199.5, 139.5]
    predictor = FakePredictor()
    detector = fake_detector(box, turn=1)
    ((face,),) = Landmarker(predictor, detector, CROPPING, two_pass=False)([photo])
    edges = (LANDMARKS_CROP_PX + 0.5) * 2 + [80, 180]
    x, y = np.transpose(edges - 0.5)
    np.testing.assert_allclose(face.landmarks_photo_px, np.transpose([399 - y, x]), atol=1e-4)
    assert face.landmarks_photo_px.dtype == np.float32
    np.testing.assert_array_equal(face.box_photo_px, np.float32(box))
    # The crop reaches three box sides below the face's centre, which is left in the photo: from
    # 220 to 60.
    assert predictor.batches[0].max() == 0
    # After a turn to the right, below is right in the photo: from 140 to 300.
    Landmarker(predictor, fake_detector(box, turn=3), CROPPING, two_pass=False)([photo])
    np.testing.assert_array_equal(predictor.batches[1][0, :, 20, 0] > 100, np.arange(80) >= 50)


def test_faces_of_several_photos_are_predicted_together():
    predictor = FakePredictor()
    two_faces = fake_detector(BOX, [9.5, 9.5, 29.5, 29.5])
    detectors = {0: fake_detector(), 1: two_faces, 2: two_faces, 3: fake_detector(BOX)}

    def detector(photo):
        return detectors[photo[0, 0, 0]](photo)

    photos = [np.full((400, 300, 3), number, np.uint8) for number in detectors]
    landmarker = Landmarker(predictor, detector, CROPPING, two_pass=False)
    faces = landmarker(photos)
    assert list(map(len, faces)) == [0, 2, 2, 1]
    assert [len(batch) for batch in predictor.batches] == [5]
    # Each crop is of its own photo.
    centres = [crop[40, 20, 0] for batch in predictor.batches for crop in batch]
    assert centres == [1, 1, 2, 2, 3]
    np.testing.assert_array_equal(faces[3][0].landmarks_photo_px, faces[1][0].landmarks_photo_px)


def test_photos_without_faces_are_accepted():
    predictor = FakePredictor()
    landmarker = Landmarker(predictor, fake_detector(), CROPPING)
    assert landmarker([PHOTO, PHOTO]) == [[], []]
    assert landmarker([]) == []
    assert predictor.batches == []


def test_sigmas_are_returned_if_predicted():
    landmarker = Landmarker(FakePredictor(values_per_landmark=3), fake_detector(BOX), CROPPING)
    ((face,),) = landmarker([PHOTO])
    assert face.landmarks_photo_px.shape == (3, 2)
    np.testing.assert_allclose(face.sigmas_photo_px, [0.5, 0.5, 0.5])


def test_outlier_does_not_enlarge_the_crop():
    class OutlierPredictor(FakePredictor):
        def __call__(self, crops, transform):
            landmarks = super().__call__(crops, transform)
            landmarks[:, 0] = -1e7
            return landmarks

    predictor = OutlierPredictor()
    ((face,),) = Landmarker(predictor, fake_detector(BOX), CROPPING)([PHOTO])
    assert len(predictor.batches) == 2
    assert face.landmarks_photo_px.shape == (3, 2)


@pytest.fixture
def clip(tmp_path):
    """Twelve frames, 20 per second, of brightness 0, 20, 40 ..."""
    with video.writer(tmp_path / "clip.avi", 20) as write:
        for frame in range(12):
            write(np.full((400, 300, 3), 20 * frame, np.uint8))
    return tmp_path / "clip.avi"


def test_video_yields_frames_with_faces(clip):
    """A face moves right by 2 px per frame; from the fifth frame on, another is left of it."""

    def detector(photo):
        frame = round(photo.mean() / 20)
        others = [[9.5, 9.5, 29.5, 29.5]] if frame > 3 else []
        return fake_detector(*others, BOX + np.array([2, 0, 2, 0]) * frame)(photo)

    landmarker = Landmarker(FakePredictor(), detector, CROPPING, two_pass=False)
    frames = list(landmarker.video(clip))
    assert [type(frame) for frame in frames] == [VideoFrame] * 12
    assert [frame.frame for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 20)
    np.testing.assert_allclose([f.image.mean() for f in frames], 20 * np.arange(12), atol=4)
    assert [set(frame.faces) for frame in frames] == [{0}] * 4 + [{0, 1}] * 8
    np.testing.assert_allclose(
        [f.faces[0].box_photo_px[0] for f in frames], 99.5 + 2 * np.arange(12)
    )
    landmarks = frames[11].faces[0].landmarks_photo_px
    expected = (LANDMARKS_CROP_PX + 0.5) * 2 + [80 + 22, 180] - 0.5
    np.testing.assert_allclose(landmarks, expected, atol=1e-3)


def test_video_faces_are_smoothed_on_request(clip):
    """The box jumps by 2 px in every other frame, and so does the crop."""

    def detector(photo):
        jump = np.array([2, 0, 2, 0]) * (round(photo.mean() / 20) % 2)
        return fake_detector(BOX + jump)(photo)

    landmarker = Landmarker(FakePredictor(), detector, CROPPING, two_pass=False)

    def spread(**options):
        faces = [frame.faces[0] for frame in landmarker.video(clip, **options)][4:]
        return [
            np.ptp([face.box_photo_px[0] for face in faces]),
            np.ptp([face.landmarks_photo_px[0, 0] for face in faces]),
        ]

    np.testing.assert_allclose(spread(), [2, 2], atol=1e-3)
    assert max(spread(smooth=True, beta=1)) < 0.7
    assert max(spread(smooth=True, min_cutoff=0.1, beta=0)) < 0.25


def test_unreadable_video_is_named_at_once(tmp_path):
    (tmp_path / "a.mp4").write_text("nothing")
    with pytest.raises(InputError, match=r"a\.mp4: "):
        Landmarker(FakePredictor(), fake_detector(), CROPPING).video(tmp_path / "a.mp4")


def test_loaded_landmarker_predicts_faces(mean_face, faces, tmp_path):
    """Of arrays and of files; the mean face's landmarks are near those of the faces."""
    photo, truths = photo_of(faces, (640, 480), [(0, (480, 60)), (1, (250, 120))])
    (tmp_path / "photo.jpg").write_bytes(decoding.encode_jpeg(photo))
    landmarker = Landmarker.load(mean_face)
    of_array, of_file = landmarker([photo, tmp_path / "photo.jpg"])
    assert [type(face) for face in of_array] == [Face, Face]
    for face, from_file, truth in zip(of_array, of_file, truths[::-1], strict=True):
        assert is_around(face.box_photo_px, truth)
        assert face.landmarks_photo_px.shape == (971, 2)
        size = np.ptp(truth, axis=0).max()
        distances = np.linalg.norm(face.landmarks_photo_px - truth, axis=1)
        assert distances.mean() < 0.15 * size
        np.testing.assert_allclose(
            from_file.landmarks_photo_px, face.landmarks_photo_px, atol=0.1 * size
        )


def test_unreadable_photo_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("nothing")
    with pytest.raises(InputError, match=r"a\.jpg: "):
        Landmarker(FakePredictor(), fake_detector(), CROPPING)([tmp_path / "a.jpg"])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tta": "mirorr"}, "tta='mirorr'.*'none', 'mirror', 'crops', 'mirror,crops'"),
        ({"min_score": 75}, "min_score=75"),
        ({"smallest_face": 0}, "smallest_face=0"),
        ({"min_score": "a"}, "min_score='a'"),
        ({"smallest_face": None}, "smallest_face=None"),
    ],
)
def test_invalid_option_is_named(mean_face, options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        Landmarker.load(mean_face, **options)


def test_other_landmarks_need_training_photos(faces, own_faces, tmp_path):
    spec = ModelSpec("tiny", 195, "32x32")
    claim_workdir(tmp_path, spec)
    build_model(spec).save_weights(tmp_path / BEST_WEIGHTS)
    with pytest.raises(InputError, match=r"195 points .*--data, the folder .* trained on"):
        Landmarker.load(tmp_path)
    with pytest.raises(InputError, match=r"landmarks\.csv: 971 .* 195"):
        Landmarker.load(tmp_path, data=faces)
    table = own_faces / "train" / "landmarks.csv"
    photos = landmark_tables.read_landmarks(table)
    landmark_tables.write_landmarks(table, photos.file_names, photos.landmarks_photo_px[:, ::5])
    names = ["nose", *(f"cheek {number}" for number in range(194))]
    (own_faces / "layout.json").write_text(json.dumps({"points": names}))
    (face,) = Landmarker.load(tmp_path, data=own_faces)([face_image(faces, 1)[0]])[0]
    assert face.landmarks_photo_px.shape == (195, 2)
    assert face.point_names == names  # those of the photos: model.json has none
    Landmarker.load(tmp_path, two_pass=False)


def test_faces_have_the_names_of_the_model(named_face, mean_face, album):
    landmarker = Landmarker.load(named_face)
    (face,) = landmarker([album / "trip" / "one.png"])[0]
    assert face.point_names == landmarker.point_names
    assert face.point_names[969:] == ["pupil_left 969", "pupil_right 970"]
    assert Landmarker.load(mean_face).point_names is None


def test_photos_are_predicted_without_keras(faces, mean_face):
    photo = next((faces / "train" / "images").iterdir())
    program = f"""
import sys
import keras_landmarks
assert not {{"numpy", "cv2", "keras", "absl"}} & set(sys.modules), "with the package"
from keras_landmarks import Face, Landmarker, VideoFrame, faces_to_dataframe
((face,),) = Landmarker.load({str(mean_face)!r}, min_score=0.3)([{str(photo)!r}])
assert face.landmarks_photo_px.shape == (971, 2)
heavy = {{"keras", "jax", "tensorflow", "pandas", "absl.flags"}} & set(sys.modules)
assert not heavy, heavy
try:
    keras_landmarks.Landmarkers
except AttributeError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.stdout == "module 'keras_landmarks' has no attribute 'Landmarkers'\n", ended.stderr
