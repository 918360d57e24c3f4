import dataclasses
import importlib.util
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from folders import contents
from photos import face_image, is_around
from PIL import Image

from keras_landmarks import Landmarker
from keras_landmarks.annotations.conversion import convert
from keras_landmarks.contest import landmark_tables
from keras_landmarks.images import decoding, video
from keras_landmarks.inference import face_tables
from keras_landmarks.inference.landmark_files import predict_files
from keras_landmarks.inference.videos import video_files
from keras_landmarks.settings import LandmarksSettings
from keras_landmarks.utils import files
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_json

NEITHER = (
    "not a JPEG, PNG, WebP, AVIF, TIFF, BMP or HEIC, and not named as a video: .3g2 .3gp .asf .avi"
    " .flv .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm .wmv"
)
# The file in the album has nothing but a head.
HEIC = (
    "the image does not decode"
    if importlib.util.find_spec("pillow_heif")
    else "HEIC, which needs an extra: pip install -e '.[heic]'; or convert it to JPEG"
)
DEFAULT = LandmarksSettings()
NO_DRAWING = LandmarksSettings(draw=False)


def read(path):
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def box_of(row):
    return np.float32([row[name] for name in ("box_x0", "box_y0", "box_x1", "box_y1")])


# ── photos ──


@pytest.fixture(scope="module")
def predicted_album(album, mean_face, tmp_path_factory):
    """The results for the album, and the output folder."""
    out = tmp_path_factory.mktemp("predicted") / "faces"
    return predict_files([album], mean_face, out, DEFAULT), out


def test_each_file_is_predicted_or_listed(predicted_album):
    results, out = predicted_album
    assert (results["photos"], results["faces"]) == (4, 4)
    assert (results["without_face"], results["skipped"]) == (1, 4)
    assert read(out / "skipped.csv") == [
        {"file_name": "broken.jpg", "reason": "the JPEG is truncated"},
        {"file_name": "linked", "reason": "a link to a folder; name the folder itself"},
        {"file_name": "notes.txt", "reason": NEITHER},
        {
            "file_name": "phone.heic",
            "reason": HEIC,
        },
        {"file_name": "sky.jpg", "reason": "no face found"},
    ]
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        *["landmarks.csv", "landmarks.json", "skipped.csv", "pictures/group.jpg"],
        *["pictures/trip/one.png", "pictures/trip/turned.JPG"],
    }


def test_coordinates_are_in_pixels_of_rotated_photos(predicted_album, faces):
    rows = read(predicted_album[1] / "landmarks.csv")
    expected_faces = {
        ("group.jpg", "0"): (1, (250, 120)),
        ("group.jpg", "1"): (0, (480, 60)),
        ("trip/one.png", "0"): (2, (60, 100)),
        ("trip/turned.JPG", "0"): (2, (60, 100)),
    }
    assert [(row["file_name"], row["face"]) for row in rows] == list(expected_faces)
    for row, (number, corner) in zip(rows, expected_faces.values(), strict=True):
        truth = face_image(faces, number)[1] + np.float32(corner)
        assert is_around(box_of(row), truth)
        landmarks = np.float32(list(row.values())[6:]).reshape(971, 2)
        distances = np.linalg.norm(landmarks - truth, axis=1)
        assert distances.mean() < 0.15 * np.ptp(truth, axis=0).max()


def test_json_and_table_have_equal_numbers(predicted_album):
    out = predicted_album[1]
    rows = iter(read(out / "landmarks.csv"))
    photos = json.loads((out / "landmarks.json").read_text())
    assert [photo["file_name"] for photo in photos] == [
        *["group.jpg", "sky.jpg", "trip/one.png", "trip/turned.JPG"]
    ]
    assert (photos[3]["width"], photos[3]["height"]) == (300, 400)
    for photo in photos:
        for face in photo["faces"]:
            row = list(next(rows).values())
            assert row[:2] == [photo["file_name"], str(face["face"])]
            numbers = np.float64(row[2:])
            np.testing.assert_allclose(numbers[:4], face["box"], atol=1e-3)
            np.testing.assert_allclose(numbers[4:], np.ravel(face["landmarks"]), atol=1e-3)
            assert 0.75 <= face["score"] <= 1


def test_pictures_show_the_photo_and_landmarks(predicted_album, album):
    picture = decoding.read_photo(predicted_album[1] / "pictures" / "trip" / "one.png")
    photo = decoding.read_photo(album / "trip" / "one.png")
    scale_y, scale_x = np.divide(picture.shape, photo.shape)[:2]
    assert scale_y == pytest.approx(scale_x, rel=0.01)
    assert scale_y > 1.5  # A small face is enlarged.
    smaller = cv2.resize(picture, photo.shape[1::-1], interpolation=cv2.INTER_AREA)
    changed = np.abs(smaller.astype(int) - photo).max(axis=2) > 40
    assert 0.02 < changed.mean() < 0.3
    assert not changed[:80].any()


def test_photos_with_similar_names_have_own_pictures(album, mean_face, tmp_path):
    """Each photo has its own width, which identifies its picture."""
    (tmp_path / "photos").mkdir()
    photo = decoding.read_photo(album / "trip" / "one.png")
    widths = {}
    for number, name in enumerate(["IMG_1", "IMG_1.jpg", "IMG_1.JPG", "IMG_1.jpeg", "img_1.png"]):
        wider = cv2.copyMakeBorder(photo, 0, 0, 0, 80 * number, cv2.BORDER_CONSTANT)
        is_png = name.endswith(".png")
        content = cv2.imencode(".png", wider)[1] if is_png else decoding.encode_jpeg(wider)
        (tmp_path / "photos" / name).write_bytes(bytes(content))
        widths[name] = wider.shape[1]
    out = tmp_path / "out"
    predict_files([tmp_path / "photos"], mean_face, out, DEFAULT)
    entries = json.loads((out / "landmarks.json").read_text())
    pictures = {entry["file_name"]: entry["picture"] for entry in entries}
    assert pictures.keys() == widths.keys()
    written = [f"pictures/{name}" for name in os.listdir(out / "pictures")]
    assert sorted(pictures.values()) == sorted(written)
    assert len({picture.lower() for picture in written}) == 5
    for name, picture in pictures.items():
        height, width = decoding.read_photo(out / picture).shape[:2]
        assert width / height == pytest.approx(widths[name] / photo.shape[0], rel=0.01)


def test_photos_of_all_formats_in_nested_folders_are_predicted(album, mean_face, tmp_path):
    """The same name in two folders is two photos, each with its own picture."""
    photo = decoding.read_photo(album / "trip" / "one.png")
    names = ["a/one.WEBP", "b/one.WEBP", "b/c/deep.TIF", "b/c/one.bmp", "b/one.avif"]
    widths = {}
    for number, name in enumerate(names):
        wider = cv2.copyMakeBorder(photo, 0, 0, 0, 16 * number, cv2.BORDER_CONSTANT)
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(wider).save(tmp_path / "photos" / name)
        widths[name] = wider.shape[1]
    out = tmp_path / "out"
    predict_files([tmp_path / "photos"], mean_face, out, DEFAULT)
    rows = read(out / "landmarks.csv")
    assert sorted(row["file_name"] for row in rows) == sorted(names)
    corners = np.float32([box_of(row) for row in rows])
    np.testing.assert_allclose(corners, np.tile(corners[:1], (5, 1)), atol=6)
    for entry in json.loads((out / "landmarks.json").read_text()):
        name = entry["file_name"]
        assert (entry["width"], entry["picture"]) == (widths[name], f"pictures/{name}.jpg")
        height, width = decoding.read_photo(out / entry["picture"]).shape[:2]
        assert width / height == pytest.approx(widths[name] / photo.shape[0], rel=0.01)


def test_several_inputs_share_a_table(album, mean_face, tmp_path):
    out = tmp_path / "out"
    paths = [album / "group.jpg", album / "trip", album / "group.jpg"]
    assert predict_files(paths, mean_face, out, NO_DRAWING)["photos"] == 3
    assert [row["file_name"] for row in read(out / "landmarks.csv")] == [
        *["group.jpg", "group.jpg", "trip/one.png", "trip/turned.JPG"]
    ]
    assert not (out / "pictures").exists()


def test_names_head_the_columns_of_tables(album, named_face, clip, tmp_path):
    paths = [album / "trip" / "one.png", clip]
    settings = LandmarksSettings(draw=False, smallest_face=0.06)
    predict_files(paths, named_face, tmp_path / "out", settings)
    (row,) = read(tmp_path / "out" / "landmarks.csv")
    assert list(row)[6:8] == ["jaw_left 0_x", "jaw_left 0_y"]
    first = read(next((tmp_path / "out" / "videos").rglob("*.csv")))[0]
    assert list(first)[-1] == "pupil_right 970_y"
    numbered = dataclasses.replace(settings, names=False)
    predict_files(paths[:1], named_face, tmp_path / "numbers", numbered)
    (with_numbers,) = read(tmp_path / "numbers" / "landmarks.csv")
    assert list(with_numbers)[6:8] == ["Point_M0_X", "Point_M0_Y"]
    assert list(with_numbers.values())[1:] == list(row.values())[1:]


# ── annotations ──


def accept_predictions(path):
    """Makes Label Studio's predictions annotations, as a person who accepts them does."""
    tasks = json.loads(path.read_text())
    for task in tasks:
        task["annotations"] = task.pop("predictions")
    path.write_text(json.dumps(tasks))


@pytest.mark.parametrize(
    ("format_name", "file"),
    [("coco", "annotations.json"), ("labelme", "labelme"), ("label_studio", "label_studio.json")],
)
def test_convert_reads_the_annotations_to_the_same_points(
    album, named_face, tmp_path, format_name, file
):
    out, data = tmp_path / "out", tmp_path / "data"
    settings = dataclasses.replace(NO_DRAWING, format=format_name)
    predict_files([album], named_face, out, settings)
    if format_name == "label_studio":
        accept_predictions(out / file)
    names = Landmarker.load(named_face).point_names
    # Labelling programs do not keep the order of points; an existing layout has it.
    write_json(data / "layout.json", {"points": names})
    assert convert(out / file, data, photos=album, processes=1)["faces"] == 4
    crops = {(row["photo"], row["file_name"]): row for row in read(data / "train" / "crops.csv")}
    table = landmark_tables.read_landmarks(data / "train" / "landmarks.csv")
    by_crop = dict(zip(table.file_names, table.landmarks_photo_px, strict=True))
    predicted = [np.float32(list(row.values())[6:]) for row in read(out / "landmarks.csv")]
    converted = [
        by_crop[name] + np.float32([row["x0"], row["y0"]]) for (_, name), row in crops.items()
    ]
    order = [np.argmin([np.abs(p - c.ravel()).max() for c in converted]) for p in predicted]
    assert sorted(order) == [0, 1, 2, 3]
    for points, index in zip(predicted, order, strict=True):
        np.testing.assert_allclose(converted[index].ravel(), points, atol=2e-3)
    assert json.loads((data / "layout.json").read_text())["points"] == names


@pytest.mark.parametrize(
    ("format_name", "file"),
    [("coco", "annotations.json"), ("labelme", "labelme"), ("label_studio", "label_studio.json")],
)
def test_annotations_of_an_earlier_run_are_kept(album, mean_face, tmp_path, format_name, file):
    """Somebody may have corrected them there."""
    out = tmp_path / "out"
    settings = dataclasses.replace(NO_DRAWING, format=format_name)
    predict_files([album / "trip"], mean_face, out, settings)
    before = contents(out)
    for again in (settings, NO_DRAWING):
        with pytest.raises(InputError, match=rf"out: holds annotations \({file}\).*another --out"):
            predict_files([album / "trip"], mean_face, out, again)
    assert contents(out) == before


def test_annotations_of_a_killed_run_are_no_obstacle(album, mean_face, tmp_path):
    """What it had written is in a folder of another name, which nobody holds any more."""
    out, settings = tmp_path / "out", dataclasses.replace(NO_DRAWING, format="coco")
    partial = files.temporary_sibling(out, "partial", f"-{files.short_hash('')}")
    partial.mkdir()
    (partial / "annotations.json").write_text("{")
    predict_files([album / "trip" / "one.png"], mean_face, out, settings)
    assert json.loads((out / "annotations.json").read_text())["annotations"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_annotations_of_a_run_that_was_killed_at_its_end_are_kept(album, mean_face, tmp_path):
    out = tmp_path / "out"
    complete = files.temporary_sibling(out, "complete", f"-{files.short_hash('')}")
    complete.mkdir()
    for name in ("annotations.json", "skipped.csv"):
        (complete / name).write_text(name)
    with pytest.raises(InputError, match="out: holds annotations"):
        predict_files([album / "trip"], mean_face, out, NO_DRAWING)
    assert sorted(contents(out)) == ["annotations.json", "skipped.csv"]


def test_wrong_format_is_refused(album, clip, mean_face, tmp_path):
    with pytest.raises(InputError, match=r"--format=onnx: .* csv, coco, labelme, label_studio"):
        predict_files([album], mean_face, tmp_path / "o", LandmarksSettings(format="onnx"))
    with pytest.raises(InputError, match="--format=coco: annotations are written of photos"):
        predict_files([clip], mean_face, tmp_path / "o", LandmarksSettings(format="coco"))


# ── the output folder ──


def test_finished_run_replaces_the_earlier_one(album, mean_face, clip, tmp_path):
    out = tmp_path / "out"
    predict_files([album / "trip"], mean_face, out, DEFAULT)
    before = contents(out)
    with pytest.raises(InputError):
        predict_files([album / "broken.jpg"], mean_face, out, DEFAULT)
    assert contents(out) == before
    predict_files([clip], mean_face, out, LandmarksSettings(draw=False, smallest_face=0.06))
    videos = ["videos/clip.avi.csv", "videos/clip.avi.json"]
    assert sorted(contents(out)) == ["skipped.csv", *videos]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_output_inside_the_input_is_not_read(album, mean_face, tmp_path):
    folder = shutil.copytree(album / "trip", tmp_path / "trip")
    for _ in range(2):
        assert predict_files([folder], mean_face, folder / "faces", DEFAULT)["photos"] == 2


def test_folder_with_other_files_is_kept(album, mean_face, tmp_path):
    folder = shutil.copytree(album / "trip", tmp_path / "trip")
    before = contents(folder)
    with pytest.raises(InputError, match=r"trip: .*one\.png.*--out"):
        predict_files([folder], mean_face, folder, DEFAULT)
    assert contents(folder) == before
    (tmp_path / "own" / "pictures").mkdir(parents=True)
    with pytest.raises(InputError, match=r"own: .*pictures.*--out"):
        predict_files([folder], mean_face, tmp_path / "own", DEFAULT)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["nothing.jpg"], r"nothing\.jpg: "),
        (["empty"], "empty: "),
        (["notes.txt"], r"notes\.txt: .*JPEG"),
        (["notes.txt", "broken.jpg"], "2 files"),
        (["clip.mp4"], r"clip\.mp4: "),
    ],
)
def test_run_without_a_readable_file_is_rejected(album, mean_face, tmp_path, names, match):
    folder = shutil.copytree(album, tmp_path / "album")
    (folder / "empty").mkdir()
    (folder / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=match):
        predict_files([folder / name for name in names], mean_face, tmp_path / "out", DEFAULT)


# ── videos ──


@pytest.fixture(scope="module")
def predicted_clip(clip, mean_face, tmp_path_factory):
    """The results for the video, smoothed, and the output folder."""
    out = tmp_path_factory.mktemp("predicted") / "faces"
    settings = LandmarksSettings(smooth=True, beta=1.0, smallest_face=0.06)
    return predict_files([clip], mean_face, out, settings), out


def test_video_faces_keep_their_numbers(predicted_clip, faces):
    results, out = predicted_clip
    (video_results,) = results["videos"].values()
    assert "frames_expected" not in video_results
    assert set(video_results["jitter_by_face"]) == {0, 1}
    assert (video_results["frames"], video_results["faces"]) == (12, 2)
    rows = read(out / "videos" / "clip.avi.csv")
    by_face = {number: [row for row in rows if row["face"] == number] for number in ("0", "1")}
    assert [int(row["frame"]) for row in by_face["0"]] == list(range(12))
    assert [int(row["frame"]) for row in by_face["1"]] == list(range(4, 12))
    for row in by_face["0"]:
        truth = face_image(faces, 1)[1] + np.float32([40 + 3 * int(row["frame"]), 120])
        assert is_around(box_of(row), truth)
    entries = json.loads((out / "videos" / "clip.avi.json").read_text())
    assert [entry["frame"] for entry in entries] == list(range(12))
    assert entries[11]["time_s"] == 0.55
    assert "landmarks.csv" not in {path.name for path in out.iterdir()}


def test_smoothing_reduces_jitter(predicted_clip):
    (results,) = predicted_clip[0]["videos"].values()
    assert 0 < results["jitter_smoothed"] < 0.6 * results["jitter"] < 0.05


def test_drawn_video_has_rate_and_size(predicted_clip):
    drawn = video.Video(predicted_clip[1] / "videos" / "clip.avi.mp4")
    assert (drawn.frames_per_s, drawn.frames) == (20, 12)
    assert next(iter(drawn))[1].shape == (480, 640, 3)


def test_videos_with_similar_names_have_own_tables(mean_face, clip, tmp_path):
    """The drawings of clip.avi and clip.avi.mp4 would both be clip.avi.mp4."""
    for name in ("clip.avi", "CLIP.avi", "clip.avi.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    predict_files([tmp_path], mean_face, tmp_path / "out", LandmarksSettings(smallest_face=0.06))
    written = os.listdir(tmp_path / "out" / "videos")
    assert len({name.lower() for name in written}) == 9
    tables = [name for name in written if name.endswith(".csv")]
    named = {read(tmp_path / "out" / "videos" / name)[0]["file_name"] for name in tables}
    assert named == {"clip.avi", "CLIP.avi", "clip.avi.mp4"}


def test_unreadable_video_is_skipped(album, mean_face, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    shutil.copy(album / "group.jpg", tmp_path / "group.jpg")
    results = predict_files([tmp_path], mean_face, tmp_path / "out", NO_DRAWING)
    assert (results["faces"], results["skipped"], results["videos"]) == (2, 1, {})
    assert read(tmp_path / "out" / "skipped.csv") == [
        {"file_name": "clip.mp4", "reason": "not a video that can be read"}
    ]
    assert not (tmp_path / "out" / "videos").exists()


def test_incomplete_and_faceless_videos_are_listed(mean_face, clip, tmp_path):
    content = clip.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    with video.writer(tmp_path / "sky.mp4", 20) as write:
        for _ in range(3):
            write(np.full((120, 160, 3), 200, np.uint8))
    settings = LandmarksSettings(draw=False, smallest_face=0.06)
    results = predict_files([tmp_path], mean_face, tmp_path / "out", settings)
    cut = results["videos"]["cut.avi"]
    assert (cut["frames_expected"], results["videos"]["sky.mp4"]["faces"]) == (12, 0)
    assert 0 < cut["frames"] < 12
    assert (results["without_face"], results["skipped"]) == (1, 1)
    assert read(tmp_path / "out" / "skipped.csv") == [
        {"file_name": "cut.avi", "reason": f"{cut['frames']} of 12 frames can be read"},
        {"file_name": "sky.mp4", "reason": "no face found"},
    ]
    (tmp_path / "cut.avi").unlink()
    assert predict_files([tmp_path], mean_face, tmp_path / "out", settings)["without_face"] == 1


def test_uneven_frames_keep_their_times(mean_face, clip, tmp_path, monkeypatch, caplog):
    class UnevenVideo(video.Video):
        def __iter__(self):
            for frame, (_, image) in enumerate(super().__iter__()):
                yield frame**2 / 100, image

    monkeypatch.setattr(video, "Video", UnevenVideo)
    settings = LandmarksSettings(smallest_face=0.06)
    predict_files([clip], mean_face, tmp_path / "out", settings)
    entries = json.loads((tmp_path / "out" / "videos" / "clip.avi.json").read_text())
    assert [entry["time_s"] for entry in entries[:4]] == [0, 0.01, 0.04, 0.09]
    (warning,) = (message for message in caplog.messages if message.startswith("clip.avi: "))
    assert "0.66 s" in warning  # The last frame: 121 / 100 s instead of 11 / 20 s.


# ── long names ──


@pytest.fixture
def long_names(album, clip, tmp_path):
    """A photo whose picture may have its name, and a photo and a video whose outputs may not."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    names = "a" * 250 + ".jpg", "b" * 253, "c" * 250 + ".mp4"
    for name, source in zip(names, (album / "trip" / "one.png",) * 2 + (clip,), strict=True):
        shutil.copy(source, folder / name)
    return folder


def test_outputs_of_long_names_are_shortened(long_names, mean_face, tmp_path):
    out = tmp_path / "out"
    results = predict_files([long_names], mean_face, out, DEFAULT)
    assert (results["photos"], results["faces"], results["skipped"]) == (2, 2, 0)
    assert [row["file_name"] for row in read(out / "landmarks.csv")] == [
        "a" * 250 + ".jpg",
        "b" * 253,
    ]
    pictures = {path.name for path in (out / "pictures").iterdir()}
    assert pictures == {"a" * 250 + ".jpg", "b" * 249 + "-2.jpg"}
    assert len(list((out / "videos").iterdir())) == 3


def test_names_too_long_for_the_disk_are_skipped(long_names, mean_face, tmp_path, monkeypatch):
    """As on eCryptfs, which encrypts names and takes at most 143 bytes."""
    original = files.atomic_write

    def atomic_write(path):
        if len(path.name) > 143:
            raise files.NameTooLongError(path)
        return original(path)

    for module in (files, face_tables, video_files):
        monkeypatch.setattr(module, "atomic_write", atomic_write)
    results = predict_files([long_names], mean_face, tmp_path / "out", DEFAULT)
    assert (results["photos"], results["faces"], results["skipped"]) == (2, 2, 3)
    assert [row["reason"] for row in read(tmp_path / "out" / "skipped.csv")] == [
        "its picture's name would be too long; its points are there",
        "its picture's name would be too long; its points are there",
        "the names of what would be written are too long; give it a shorter one",
    ]
