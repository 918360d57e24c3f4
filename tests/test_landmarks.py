import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from folders import contents
from photos import face_image, is_around, photo_of
from PIL import Image

from keras_landmarks import landmarks as module
from keras_landmarks.images import decoding, video
from keras_landmarks.inference import tables, video_files
from keras_landmarks.landmarks import LandmarksSettings, landmarks
from keras_landmarks.utils import files
from keras_landmarks.utils.errors import InputError

NEITHER = (
    "neither a JPEG nor a PNG, nor named as a video: .3g2 .3gp .asf .avi .flv .m2ts .m2v .m4v .mkv"
    " .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm .wmv"
)


def write_turned(path, photo):
    """Writes a JPEG as a phone held sideways does: to be turned by EXIF orientation 6."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(photo)).save(path, "JPEG", exif=exif, quality=95)


def read(path):
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def box_of(row):
    return np.float32([row[name] for name in ("box_x0", "box_y0", "box_x1", "box_y1")])


@pytest.fixture(scope="module")
def album(faces, tmp_path_factory):
    """Photos of all sorts, and what a folder of photos has besides; and a video."""
    folder = tmp_path_factory.mktemp("own") / "album"
    (folder / "trip").mkdir(parents=True)
    group, _ = photo_of(faces, (640, 480), [(0, (480, 60)), (1, (250, 120))])
    one, _ = photo_of(faces, (300, 400), [(2, (60, 100))])
    (folder / "group.jpg").write_bytes(decoding.encode_jpeg(group))
    write_turned(folder / "trip" / "turned.JPG", one)
    cv2.imwrite(str(folder / "trip" / "one.png"), one[..., ::-1])
    (folder / "sky.jpg").write_bytes(decoding.encode_jpeg(np.full((99, 70, 3), 200, np.uint8)))
    (folder / "broken.jpg").write_bytes((folder / "group.jpg").read_bytes()[:2000])
    (folder / "notes.txt").write_text("eggs, milk")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (folder / ".hidden.jpg").write_bytes((folder / "group.jpg").read_bytes())
    (folder / "linked").symlink_to(folder / "trip")
    return folder


@pytest.fixture(scope="module")
def done(album, mean_face, tmp_path_factory):
    """The command on the whole folder, run as a user does: its output, and what it wrote."""
    out = tmp_path_factory.mktemp("done") / "faces"
    flags = ["--nosmooth", f"--workdir={mean_face}", f"--out={out}"]
    command = [sys.executable, "-m", "keras_landmarks.landmarks", album, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300), out


def test_every_photo_of_a_folder_is_predicted_or_named(done, album):
    process, out = done
    assert process.returncode == 0, process.stderr
    figures = json.loads(process.stdout.splitlines()[-1])
    assert (figures["photos"], figures["faces"]) == (4, 4)
    assert (figures["without_face"], figures["skipped"]) == (1, 4)
    assert read(out / "skipped.csv") == [
        {"file_name": "broken.jpg", "reason": "the JPEG is truncated"},
        {"file_name": "linked", "reason": "a link to a folder; name the folder itself"},
        {"file_name": "notes.txt", "reason": NEITHER},
        {
            "file_name": "phone.heic",
            "reason": "neither a JPEG nor a PNG: HEIC; convert it to one of them",
        },
        {"file_name": "sky.jpg", "reason": "no face found"},
    ]
    assert "no face found: sky.jpg" in process.stderr
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        *["landmarks.csv", "landmarks.json", "skipped.csv", "pictures/group.jpg"],
        *["pictures/trip/one.png", "pictures/trip/turned.JPG"],
    }


def test_boxes_and_points_are_in_pixels_of_the_photo_as_it_is_seen(done, faces):
    rows = read(done[1] / "landmarks.csv")
    places = {
        ("group.jpg", "0"): (1, (250, 120)),
        ("group.jpg", "1"): (0, (480, 60)),
        ("trip/one.png", "0"): (2, (60, 100)),
        ("trip/turned.JPG", "0"): (2, (60, 100)),
    }
    assert [(row["file_name"], row["face"]) for row in rows] == list(places)
    for row, (number, corner) in zip(rows, places.values(), strict=True):
        truth = face_image(faces, number)[1] + np.float32(corner)
        assert is_around(box_of(row), truth)
        points = np.float32(list(row.values())[6:]).reshape(971, 2)
        distances = np.linalg.norm(points - truth, axis=1)
        assert distances.mean() < 0.15 * np.ptp(truth, axis=0).max()


def test_json_and_table_have_the_same_numbers(done):
    rows = iter(read(done[1] / "landmarks.csv"))
    photos = json.loads((done[1] / "landmarks.json").read_text())
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


def test_pictures_show_the_photo_with_its_points(done, album):
    picture = decoding.read_photo(done[1] / "pictures" / "trip" / "one.png")
    photo = decoding.read_photo(album / "trip" / "one.png")
    scale_y, scale_x = np.divide(picture.shape, photo.shape)[:2]
    assert scale_y == pytest.approx(scale_x, rel=0.01)
    assert scale_y > 1.5  # a small face is enlarged
    smaller = cv2.resize(picture, photo.shape[1::-1], interpolation=cv2.INTER_AREA)
    changed = np.abs(smaller.astype(int) - photo).max(axis=2) > 40
    assert 0.02 < changed.mean() < 0.3
    assert not changed[:80].any()


def test_photos_with_nearly_one_name_have_a_picture_each(album, mean_face, tmp_path):
    """Each photo is as wide as no other, by which its picture is known."""
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
    landmarks([tmp_path / "photos"], mean_face, out)
    entries = json.loads((out / "landmarks.json").read_text())
    pictures = {entry["file_name"]: entry["picture"] for entry in entries}
    assert pictures.keys() == widths.keys()
    written = [f"pictures/{name}" for name in os.listdir(out / "pictures")]
    assert sorted(pictures.values()) == sorted(written)
    assert len({picture.lower() for picture in written}) == 5
    for name, picture in pictures.items():
        height, width = decoding.read_photo(out / picture).shape[:2]
        assert width / height == pytest.approx(widths[name] / photo.shape[0], rel=0.01)


def test_several_inputs_are_named_from_the_folder_they_share(album, mean_face, tmp_path):
    out = tmp_path / "out"
    paths = [album / "group.jpg", album / "trip", album / "group.jpg"]
    figures = landmarks(paths, mean_face, out, LandmarksSettings(draw=False))
    assert figures["photos"] == 3
    assert [row["file_name"] for row in read(out / "landmarks.csv")] == [
        *["group.jpg", "group.jpg", "trip/one.png", "trip/turned.JPG"]
    ]
    assert not (out / "pictures").exists()
    landmarks([album / "trip" / "one.png"], mean_face, out, LandmarksSettings(draw=False))
    assert [row["file_name"] for row in read(out / "landmarks.csv")] == ["one.png"]


def test_a_second_run_takes_the_place_of_the_first_once_it_is_done(
    album, mean_face, clip, tmp_path
):
    out = tmp_path / "out"
    landmarks([album / "trip"], mean_face, out)
    before = contents(out)
    with pytest.raises(InputError):
        landmarks([album / "broken.jpg"], mean_face, out)
    assert contents(out) == before
    settings = LandmarksSettings(draw=False, smallest_face=0.06)
    landmarks([clip], mean_face, out, settings)
    videos = ["videos/clip.avi.csv", "videos/clip.avi.json"]
    assert sorted(contents(out)) == ["skipped.csv", *videos]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_output_within_the_folder_is_no_input(album, mean_face, tmp_path):
    folder = shutil.copytree(album / "trip", tmp_path / "trip")
    for _ in range(2):
        assert landmarks([folder], mean_face, folder / "faces")["photos"] == 2


def test_a_folder_with_other_files_is_not_written_to(album, mean_face, tmp_path):
    folder = shutil.copytree(album / "trip", tmp_path / "trip")
    before = contents(folder)
    with pytest.raises(InputError, match=r"trip: holds one\.png; give a new folder as --out"):
        landmarks([folder], mean_face, folder)
    assert contents(folder) == before
    (tmp_path / "own" / "pictures").mkdir(parents=True)
    with pytest.raises(InputError, match="own: holds pictures"):
        landmarks([folder], mean_face, tmp_path / "own")


def test_help_names_the_endings_of_videos():
    assert {word.rstrip(".") for word in module.__doc__.split()} >= video.SUFFIXES


@pytest.mark.parametrize("flag", ["--min_cutoff=2", "--beta=5"])
def test_numbers_of_smoothing_without_smoothing_are_an_error(album, tmp_path, flag):
    command = [sys.executable, "-m", "keras_landmarks.landmarks", album, flag, "--out=out"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert process.returncode != 0
    assert f"{flag.partition('=')[0]}: without --smooth nothing is steadied" in process.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["nothing.jpg"], r"nothing\.jpg: no such file or folder"),
        (["empty"], "empty: no files there"),
        (["notes.txt"], rf"notes\.txt: {NEITHER}$"),
        (["notes.txt", "broken.jpg"], r"\(2 files, none can be used\)"),
        (["clip.mp4"], r"clip\.mp4: not a video that can be read"),
    ],
)
def test_what_cannot_be_used_at_all_is_an_error(album, mean_face, tmp_path, names, says):
    folder = shutil.copytree(album, tmp_path / "album")
    (folder / "empty").mkdir()
    (folder / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=says):
        landmarks([folder / name for name in names], mean_face, tmp_path / "out")


# ── videos ──


@pytest.fixture(scope="module")
def clip(faces, tmp_path_factory):
    """A video of 640 x 480 px, 20 frames/s: a face that moves 3 px a frame, and one that comes."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    still, _ = face_image(faces, 3)
    with video.writer(path, 20) as write:
        for frame in range(12):
            photo, _ = photo_of(faces, (640, 480), [(1, (40 + 3 * frame, 120))])
            if frame >= 4:
                photo[50 : 50 + still.shape[0], 480 : 480 + still.shape[1]] = still
            write(photo)
    return path


@pytest.fixture(scope="module")
def watched(clip, mean_face, tmp_path_factory):
    out = tmp_path_factory.mktemp("watched") / "faces"
    settings = LandmarksSettings(smooth=True, beta=1.0, smallest_face=0.06)
    return landmarks([clip], mean_face, out, settings), out


def test_faces_of_a_video_keep_their_numbers(watched, faces):
    figures, out = watched
    (video_figures,) = figures["videos"].values()
    assert "frames_expected" not in video_figures
    assert set(video_figures["jitter_by_face"]) == {0, 1}
    assert (video_figures["frames"], video_figures["faces"]) == (12, 2)
    rows = read(out / "videos" / "clip.avi.csv")
    seen = {number: [r for r in rows if r["face"] == number] for number in ("0", "1")}
    assert [int(row["frame"]) for row in seen["0"]] == list(range(12))
    assert [int(row["frame"]) for row in seen["1"]] == list(range(4, 12))
    for row in seen["0"]:
        truth = face_image(faces, 1)[1] + np.float32([40 + 3 * int(row["frame"]), 120])
        assert is_around(box_of(row), truth)
    entries = json.loads((out / "videos" / "clip.avi.json").read_text())
    assert [entry["frame"] for entry in entries] == list(range(12))
    assert entries[11]["time_s"] == 0.55
    assert "landmarks.csv" not in {path.name for path in out.iterdir()}


def test_videos_with_nearly_one_name_have_tables_each(mean_face, clip, tmp_path):
    """The drawn clip.avi and clip.avi.mp4 would both be clip.avi.mp4."""
    for name in ("clip.avi", "CLIP.avi", "clip.avi.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    landmarks([tmp_path], mean_face, tmp_path / "out", LandmarksSettings(smallest_face=0.06))
    written = os.listdir(tmp_path / "out" / "videos")
    assert len({name.lower() for name in written}) == 9
    tables = [name for name in written if name.endswith(".csv")]
    named = {read(tmp_path / "out" / "videos" / name)[0]["file_name"] for name in tables}
    assert named == {"clip.avi", "CLIP.avi", "clip.avi.mp4"}


def test_smoothing_takes_jitter_away(watched):
    (figures,) = watched[0]["videos"].values()
    assert 0 < figures["jitter_smoothed"] < 0.6 * figures["jitter"] < 0.05


def test_the_video_is_drawn_at_its_rate_and_size(watched):
    drawn = video.Video(watched[1] / "videos" / "clip.avi.mp4")
    assert (drawn.frames_per_s, drawn.frames) == (20, 12)
    assert next(iter(drawn))[1].shape == (480, 640, 3)


def test_a_broken_video_among_photos_is_skipped(album, mean_face, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    shutil.copy(album / "group.jpg", tmp_path / "group.jpg")
    figures = landmarks([tmp_path], mean_face, tmp_path / "out", LandmarksSettings(draw=False))
    assert (figures["faces"], figures["skipped"], figures["videos"]) == (2, 1, {})
    assert read(tmp_path / "out" / "skipped.csv") == [
        {"file_name": "clip.mp4", "reason": "not a video that can be read"}
    ]
    assert not (tmp_path / "out" / "videos").exists()


@pytest.fixture
def long_names(album, clip, tmp_path):
    """A photo whose picture may have its name, and a photo and a video whose files may not."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    names = "a" * 250 + ".jpg", "b" * 253, "c" * 250 + ".mp4"
    for name, source in zip(names, (album / "trip" / "one.png",) * 2 + (clip,), strict=True):
        shutil.copy(source, folder / name)
    return folder


def test_what_is_written_of_a_long_name_has_a_shorter_one(long_names, mean_face, tmp_path):
    out = tmp_path / "out"
    figures = landmarks([long_names], mean_face, out)
    assert (figures["photos"], figures["faces"], figures["skipped"]) == (2, 2, 0)
    assert [row["file_name"] for row in read(out / "landmarks.csv")] == [
        "a" * 250 + ".jpg",
        "b" * 253,
    ]
    pictures = {path.name for path in (out / "pictures").iterdir()}
    assert pictures == {"a" * 250 + ".jpg", "b" * 249 + "-2.jpg"}
    assert len(list((out / "videos").iterdir())) == 3


def test_a_file_system_that_takes_short_names_alone_costs_pictures_and_no_more(
    long_names, mean_face, tmp_path, monkeypatch
):
    """As eCryptfs, which encrypts names: what is written may be too long in spite of all."""
    check = files.atomic_write

    def atomic_write(path):
        if len(path.name) > 143:
            raise files.NameTooLongError(path)
        return check(path)

    for place in (files, tables, video_files):
        monkeypatch.setattr(place, "atomic_write", atomic_write)
    figures = landmarks([long_names], mean_face, tmp_path / "out")
    assert (figures["photos"], figures["faces"], figures["skipped"]) == (2, 2, 3)
    assert [row["reason"] for row in read(tmp_path / "out" / "skipped.csv")] == [
        "its picture's name would be too long; its points are there",
        "its picture's name would be too long; its points are there",
        "the names of what would be written are too long; give it a shorter one",
    ]


def test_videos_cut_off_or_without_a_face_are_told(mean_face, clip, tmp_path):
    content = clip.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    with video.writer(tmp_path / "sky.mp4", 20) as write:
        for _ in range(3):
            write(np.full((120, 160, 3), 200, np.uint8))
    settings = LandmarksSettings(draw=False, smallest_face=0.06)
    figures = landmarks([tmp_path], mean_face, tmp_path / "out", settings)
    cut = figures["videos"]["cut.avi"]
    assert (cut["frames_expected"], figures["videos"]["sky.mp4"]["faces"]) == (12, 0)
    assert 0 < cut["frames"] < 12
    assert (figures["without_face"], figures["skipped"]) == (1, 1)
    assert read(tmp_path / "out" / "skipped.csv") == [
        {"file_name": "cut.avi", "reason": f"{cut['frames']} of 12 frames can be read"},
        {"file_name": "sky.mp4", "reason": "no face found"},
    ]
    (tmp_path / "cut.avi").unlink()
    assert landmarks([tmp_path], mean_face, tmp_path / "out", settings)["without_face"] == 1


def test_frames_that_vary_in_length_have_their_times(
    mean_face, clip, tmp_path, monkeypatch, caplog
):
    class Uneven(video.Video):
        def __iter__(self):
            for frame, (_, image) in enumerate(super().__iter__()):
                yield frame**2 / 100, image

    monkeypatch.setattr(video, "Video", Uneven)
    landmarks([clip], mean_face, tmp_path / "out", LandmarksSettings(smallest_face=0.06))
    entries = json.loads((tmp_path / "out" / "videos" / "clip.avi.json").read_text())
    assert [entry["time_s"] for entry in entries[:4]] == [0, 0.01, 0.04, 0.09]
    # The last: 121 / 100 s instead of 11 / 20 s.
    assert caplog.text.count("frames vary in length, drawn ones do not: 0.66 s off") == 1
