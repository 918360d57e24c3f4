import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from photos import face_image, is_around, photo_of

from keras_landmarks import Face, Landmarker, VideoFrame
from keras_landmarks.contest import landmark_tables
from keras_landmarks.images import decoding, geometry, video
from keras_landmarks.images.face_crops import Cropping, Reach
from keras_landmarks.images.face_detector import Boxes, FaceDetector
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.inference import landmarker
from keras_landmarks.inference.landmarker import measure_cropping
from keras_landmarks.models.pretrained import BEST_WEIGHTS
from keras_landmarks.models.spec import ModelSpec, claim_workdir
from keras_landmarks.utils.errors import InputError

FRAME = CropSpec(40, 80, "stretch")
# In the crop; the first two are the corners of an outline from a quarter to three quarters.
CROP_POINTS = np.float32([[9.5, 19.5], [29.5, 59.5], [14.5, 39.5]])


class Predictor:
    """Always the same points in the crop, as the real one maps them; remembers its batches."""

    spec = SimpleNamespace(points=3, frame=FRAME)

    def __init__(self, numbers=2):
        self.numbers, self.batches = numbers, []

    def __call__(self, crops, framing):
        self.batches.append(crops)
        points = geometry.to_photo(np.stack([CROP_POINTS] * len(crops)), framing)
        sigmas = np.full((*points.shape[:2], self.numbers - 2), 0.5, np.float32)
        return np.dstack([points, sigmas])


def detector_of(*boxes, turn=0):
    scores = np.linspace(0.9, 0.8, len(boxes), dtype=np.float32)
    found = Boxes(np.float32(boxes).reshape(-1, 4), scores, np.full(len(boxes), turn))
    return lambda photo: found


# A box with edges from 100 to 140 and from 200 to 240 makes a crop from 80 to 160 and 180 to 340.
BOX = [99.5, 199.5, 139.5, 239.5]
CROPPING = Cropping(box=Reach(1, 1, 1, 3), points=Reach(1, 1, 1, 1))
PHOTO = np.zeros((400, 300, 3), np.uint8)


def test_points_are_mapped_from_the_crop_to_the_photo():
    landmarker = Landmarker(Predictor(), detector_of(BOX), CROPPING, refine=False)
    ((face,),) = landmarker([PHOTO])
    # The crop's pixels are 2 x 2 of the photo's, whose crop begins at (80, 180).
    edges = (CROP_POINTS + 0.5) * 2 + [80, 180]
    np.testing.assert_allclose(face.landmarks_photo_px, edges - 0.5, atol=1e-4)
    assert face.landmarks_photo_px.dtype == np.float32
    np.testing.assert_array_equal(face.box_photo_px, np.float32(BOX))
    assert face.score == pytest.approx(0.9)
    assert face.sigmas_photo_px is None


def test_a_face_is_cropped_again_by_the_points_found_first():
    landmarker = Landmarker(Predictor(), detector_of(BOX), CROPPING, refine=True)
    ((face,),) = landmarker([PHOTO])
    # The first outline: edges 100 to 140 (from the middle of one pixel to the other's: 99.5 to
    # 139.5) and 220 to 300: as wide and high again to each side of its middle (120, 260).
    first = (CROP_POINTS[:2] + 0.5) * 2 + [80, 180]
    np.testing.assert_array_equal(first, [[100, 220], [140, 300]])
    edges = (CROP_POINTS + 0.5) * 2 + [80, 180]
    np.testing.assert_allclose(face.landmarks_photo_px, edges - 0.5, atol=1e-4)
    wider = Cropping(CROPPING.box, Reach(2, 2, 2, 2))
    ((face,),) = Landmarker(Predictor(), detector_of(BOX), wider)([PHOTO])
    # Twice as wide: from 40 to 200, from 100 to 420; its pixels are 4 x 4 of the photo's.
    edges = (CROP_POINTS + 0.5) * 4 + [40, 100]
    np.testing.assert_allclose(face.landmarks_photo_px, edges - 0.5, atol=1e-4)


def test_a_face_on_its_side_is_shown_upright_and_its_points_turned_back():
    photo = np.zeros((300, 400, 3), np.uint8)
    photo[:, 240:] = 200
    # Turned left by a quarter, 300 x 400 px, the box is BOX: it lies so in the photo.
    box = [159.5, 99.5, 199.5, 139.5]
    predictor = Predictor()
    detector = detector_of(box, turn=1)
    ((face,),) = Landmarker(predictor, detector, CROPPING, refine=False)([photo])
    edges = (CROP_POINTS + 0.5) * 2 + [80, 180]
    x, y = np.transpose(edges - 0.5)
    np.testing.assert_allclose(face.landmarks_photo_px, np.transpose([399 - y, x]), atol=1e-4)
    assert face.landmarks_photo_px.dtype == np.float32
    np.testing.assert_array_equal(face.box_photo_px, np.float32(box))
    # Three box sides lie below the face's middle, and below is left in the photo: 220 to 60.
    assert predictor.batches[0].max() == 0
    # Turned right below is right: 140 to 300.
    Landmarker(predictor, detector_of(box, turn=3), CROPPING, refine=False)([photo])
    np.testing.assert_array_equal(predictor.batches[1][0, :, 20, 0] > 100, np.arange(80) >= 50)


def test_faces_of_all_photos_are_predicted_together_in_batches_of_few_sizes():
    predictor = Predictor()
    twice = detector_of(BOX, [9.5, 9.5, 29.5, 29.5])
    found = {0: detector_of(), 1: twice, 2: twice, 3: detector_of(BOX)}

    def detector(photo):
        return found[photo[0, 0, 0]](photo)

    photos = [np.full((400, 300, 3), number, np.uint8) for number in found]
    landmarker = Landmarker(predictor, detector, CROPPING, refine=False, batch_size=4)
    faces = landmarker(photos)
    assert list(map(len, faces)) == [0, 2, 2, 1]
    assert [len(batch) for batch in predictor.batches] == [4, 1]
    # Every crop is of its own photo.
    middles = [crop[40, 20, 0] for batch in predictor.batches for crop in batch]
    assert middles == [1, 1, 2, 2, 3]
    np.testing.assert_array_equal(faces[3][0].landmarks_photo_px, faces[1][0].landmarks_photo_px)

    landmarker(photos[:3] + photos[:2])  # six faces
    assert [len(batch) for batch in predictor.batches[2:]] == [4, 2]
    landmarker = Landmarker(predictor, detector, CROPPING, refine=False)
    landmarker(photos)  # five
    assert len(predictor.batches[-1]) == 8


def test_no_face_in_any_photo_and_no_photo():
    predictor = Predictor()
    landmarker = Landmarker(predictor, detector_of(), CROPPING)
    assert landmarker([PHOTO, PHOTO]) == [[], []]
    assert landmarker([]) == []
    assert predictor.batches == []


def test_standard_deviations_are_told_where_the_model_does():
    ((face,),) = Landmarker(Predictor(numbers=3), detector_of(BOX), CROPPING)([PHOTO])
    assert face.landmarks_photo_px.shape == (3, 2)
    np.testing.assert_allclose(face.sigmas_photo_px, [0.5, 0.5, 0.5])


def test_a_wild_point_does_not_make_a_huge_crop():
    class Wild(Predictor):
        def __call__(self, crops, framing):
            points = super().__call__(crops, framing)
            points[:, 0] = -1e7
            return points

    predictor = Wild()
    ((face,),) = Landmarker(predictor, detector_of(BOX), CROPPING)([PHOTO])
    assert len(predictor.batches) == 2
    assert face.landmarks_photo_px.shape == (3, 2)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (PHOTO, r"must be a list, not uint8 \(400, 300, 3\)"),
        ("photo.jpg", "must be a list, not str"),
        (Path("photo.jpg"), "must be a list"),
        (None, "must be a list, not NoneType"),
        (
            [PHOTO[..., 0]],
            r"uint8 \(400, 300\); cv2.cvtColor\(image, cv2.COLOR_GRAY2RGB\) makes one",
        ),
        ([PHOTO[..., :1]], r"uint8 \(400, 300, 1\); .*GRAY2RGB"),
        ([np.dstack([PHOTO, PHOTO[..., 0]])], r"uint8 \(400, 300, 4\); .*COLOR_RGBA2RGB"),
        ([PHOTO / 255], r"float64 \(400, 300, 3\); .* \(255 \* image\).astype\(np.uint8\)"),
        ([None], "NoneType$"),
    ],
)
def test_what_is_no_list_of_photos_is_refused(images, says):
    with pytest.raises(TypeError, match=says):
        Landmarker(Predictor(), detector_of(), CROPPING)(images)


def test_a_photo_without_pixels_is_refused():
    with pytest.raises(ValueError, match=r"without pixels: \(0, 0, 3\)"):
        Landmarker(Predictor(), detector_of(), CROPPING)([PHOTO[:0, :0]])


def test_faces_are_equal_if_they_are_the_same():
    face = Face(np.zeros(4), 0.5, np.zeros((3, 2)))
    assert face == face
    assert face != Face(np.zeros(4), 0.5, np.zeros((3, 2)))
    assert len({face, face}) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("nothing")
    landmarker = Landmarker(Predictor(), detector_of(), CROPPING)
    with pytest.raises(InputError, match=r"a\.jpg: neither a JPEG nor a PNG"):
        landmarker([tmp_path / "a.jpg"])
    with pytest.raises(InputError, match=r"b\.jpg: there is no such image"):
        landmarker([str(tmp_path / "b.jpg")])


@pytest.fixture
def clip(tmp_path):
    """Twelve frames, 20 a second, grey 0, 20, 40 ..."""
    with video.writer(tmp_path / "clip.avi", 20) as write:
        for frame in range(12):
            write(np.full((400, 300, 3), 20 * frame, np.uint8))
    return tmp_path / "clip.avi"


def test_faces_of_a_video_come_with_its_frames(clip):
    """A face that goes right by 2 px a frame; from the fifth frame on there is one left of it."""

    def detector(photo):
        frame = round(photo.mean() / 20)
        others = [[9.5, 9.5, 29.5, 29.5]] if frame > 3 else []
        return detector_of(*others, BOX + np.array([2, 0, 2, 0]) * frame)(photo)

    landmarker = Landmarker(Predictor(), detector, CROPPING, refine=False)
    frames = list(landmarker.video(clip))
    assert [type(frame) for frame in frames] == [VideoFrame] * 12
    assert [frame.frame for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 20)
    np.testing.assert_allclose([f.image.mean() for f in frames], 20 * np.arange(12), atol=4)
    assert [set(frame.faces) for frame in frames] == [{0}] * 4 + [{0, 1}] * 8
    np.testing.assert_allclose(
        [f.faces[0].box_photo_px[0] for f in frames], 99.5 + 2 * np.arange(12)
    )
    points = frames[11].faces[0].landmarks_photo_px
    np.testing.assert_allclose(points, (CROP_POINTS + 0.5) * 2 + [80 + 22, 180] - 0.5, atol=1e-3)


def test_faces_of_a_video_are_steadied_if_asked(clip):
    """A box that goes to and fro by 2 px is held, and what is cropped from it."""

    def detector(photo):
        return detector_of(BOX + np.array([2, 0, 2, 0]) * (round(photo.mean() / 20) % 2))(photo)

    landmarker = Landmarker(Predictor(), detector, CROPPING, refine=False)

    def spread(**options):
        faces = [frame.faces[0] for frame in landmarker.video(clip, **options)][4:]
        return [
            np.ptp([face.box_photo_px[0] for face in faces]),
            np.ptp([face.landmarks_photo_px[0, 0] for face in faces]),
        ]

    np.testing.assert_allclose(spread(), [2, 2], atol=1e-3)
    assert max(spread(smooth=True, beta=1)) < 0.7
    assert max(spread(smooth=True, min_cutoff=0.1, beta=0)) < 0.25


def test_a_video_that_cannot_be_read_is_told_at_once(tmp_path):
    (tmp_path / "a.mp4").write_text("nothing")
    with pytest.raises(InputError, match=r"a\.mp4: not a video that can be read"):
        Landmarker(Predictor(), detector_of(), CROPPING).video(tmp_path / "a.mp4")


def test_three_lines(mean_face, faces, tmp_path):
    """Faces of files and arrays alike, the mean face's points upon them."""
    photo, points = photo_of(faces, (640, 480), [(0, (480, 60)), (1, (250, 120))])
    (tmp_path / "photo.jpg").write_bytes(decoding.encode_jpeg(photo))
    landmarker = Landmarker.load(mean_face)
    by_array, by_path = landmarker([photo, tmp_path / "photo.jpg"])
    assert [type(face) for face in by_array] == [Face, Face]
    for face, from_file, truth in zip(by_array, by_path, points[::-1], strict=True):
        assert is_around(face.box_photo_px, truth)
        assert face.landmarks_photo_px.shape == (971, 2)
        size = np.ptp(truth, axis=0).max()
        distances = np.linalg.norm(face.landmarks_photo_px - truth, axis=1)
        assert distances.mean() < 0.15 * size
        np.testing.assert_allclose(
            from_file.landmarks_photo_px, face.landmarks_photo_px, atol=0.1 * size
        )


def test_compilations_are_kept_unless_the_program_has_chosen(mean_face, tmp_path):
    program = f"""
import jax
from keras_landmarks import Landmarker
from keras_landmarks.utils import compilation_cache

def chosen(**config):
    for name, value in config.items():
        jax.config.update(f"jax_{{name}}", value)
    compilation_cache.use_unless_set()
    return jax.config.jax_compilation_cache_dir

assert chosen(enable_compilation_cache=False) is None
assert chosen(enable_compilation_cache=True, compilation_cache_dir="mine") == "mine"
jax.config.update("jax_compilation_cache_dir", None)
Landmarker.load({str(mean_face)!r})
print(jax.config.jax_compilation_cache_dir)
"""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        **{"capture_output": True, "text": True, "cwd": tmp_path, "timeout": 60},
        env=environment,
    )
    usual = tmp_path / "cache" / "keras_landmarks" / "xla"
    assert done.stdout.splitlines()[-1:] == [str(usual)], done.stderr
    assert list(usual.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tta": "mirorr"}, "tta='mirorr' is none of 'none', 'mirror', 'crops', 'mirror,crops'"),
        ({"min_score": 75}, "min_score=75 is not between 0 and 1"),
        ({"smallest_face": 0}, "smallest_face=0 is not between 0 and 1"),
        ({"batch_size": 0}, "batch_size=0 is not 1 or more"),
        ({"batch_size": -1}, "batch_size=-1 is not 1 or more"),
        ({"batch_size": 2.5}, r"batch_size=2\.5 is not 1 or more"),
        ({"min_score": "a"}, "min_score='a' is no number"),
        ({"batch_size": None}, "batch_size=None is no number"),
    ],
)
def test_options_that_there_are_not_are_told(mean_face, options, says):
    with pytest.raises((TypeError, ValueError), match=says):
        Landmarker.load(mean_face, **options)


def test_the_cropping_is_measured_on_the_training_photos(faces):
    cropping = measure_cropping(faces, FaceDetector(0.75), 971)
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    sides = [np.ptp(points[:, 0]) for points in table.points]
    widths = [face_image(faces, row)[0].shape[1] for row in range(24)]
    share = np.median(np.divide(sides, widths))
    assert 1 / (cropping.points.left + cropping.points.right) == pytest.approx(share, rel=0.05)
    # The box is a little wider than the points.
    ratio = (cropping.points.left + cropping.points.right) / (
        cropping.box.left + cropping.box.right
    )
    assert 1 < ratio < 1.3


def test_points_that_are_not_the_contests_need_the_photos_they_were_trained_on(
    faces, own_faces, tmp_path
):
    spec = ModelSpec("tiny", 195, "32x32")
    claim_workdir(tmp_path, spec)
    spec.build().save_weights(tmp_path / BEST_WEIGHTS)
    with pytest.raises(InputError, match="195 points, not the contest's; give --data"):
        Landmarker.load(tmp_path)
    with pytest.raises(InputError, match=r"landmarks\.csv: 971 points, the model has 195"):
        Landmarker.load(tmp_path, data=faces)
    table = own_faces / "train" / "landmarks.csv"
    photos = landmark_tables.read_landmarks(table)
    landmark_tables.write_landmarks(table, photos.file_names, photos.points[:, ::5])
    (face,) = Landmarker.load(tmp_path, data=own_faces)([face_image(faces, 1)[0]])[0]
    assert face.landmarks_photo_px.shape == (195, 2)
    Landmarker.load(tmp_path, refine=False)


def test_broken_training_photos_are_left_out_of_the_measure(own_faces):
    images = sorted((own_faces / "train" / "images").iterdir())
    for path in images[:12]:
        path.write_bytes(b"")
    measure_cropping(own_faces, FaceDetector(0.75), 971)
    shutil.rmtree(own_faces / "train" / "images")
    with pytest.raises(InputError, match="images: no such folder"):
        measure_cropping(own_faces, FaceDetector(0.75), 971)


def test_broken_training_rows_are_left_out_of_the_measure(own_faces, caplog):
    table = own_faces / "train" / "landmarks.csv"
    rows = table.read_text().splitlines(keepends=True)
    rows[5] = rows[5].rpartition("\t")[0] + "\n"
    table.write_text("".join([*rows, rows[3]]))
    (own_faces / "train" / "images" / "face_000009.jpg").unlink()
    cropping = measure_cropping(own_faces, FaceDetector(0.75), 971)
    assert [message.partition("; ")[2] for message in caplog.messages] == [
        "2 of 25 rows cannot be used and are skipped",
        "1 of 23 photos cannot be used and are skipped",
    ]
    table.write_text("".join(row for number, row in enumerate(rows) if number not in (5, 10)))
    assert measure_cropping(own_faces, FaceDetector(0.75), 971) == cropping


def test_a_large_table_is_not_read_to_its_end_for_the_measure(own_faces, monkeypatch, caplog):
    """All rows but the first twenty are broken, and nobody notices."""
    monkeypatch.setattr(landmarker, "_MEASURED_ROWS", 20)
    table = own_faces / "train" / "landmarks.csv"
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join(rows[:21]) + "broken.jpg\t1\n" * 100)
    assert measure_cropping(own_faces, FaceDetector(0.75), 971).points.left > 0
    assert caplog.messages == []


def test_importing_the_package_and_the_landmarker_is_quick():
    program = """
import sys
import keras_landmarks
assert not {"numpy", "cv2", "keras", "absl"} & set(sys.modules), "at once"
from keras_landmarks import Face, Landmarker, VideoFrame
assert not {"keras", "jax", "tensorflow", "absl.flags"} & set(sys.modules), "with Landmarker"
try:
    keras_landmarks.Landmarkers
except AttributeError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "module 'keras_landmarks' has no attribute 'Landmarkers'\n", done.stderr
