import pytest
from photos import photo_of

from keras_landmarks import landmarks
from keras_landmarks.images import decoding, video


def test_command_predicts_photos(run, faces, mean_face, tmp_path):
    photo, _ = photo_of(faces, (640, 480), [(0, (480, 60)), (1, (250, 120))])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "group.jpg").write_bytes(decoding.encode_jpeg(photo))
    (tmp_path / "photos" / "notes.txt").write_text("eggs, milk")
    ended = run(
        "landmarks",
        "photos",
        f"--workdir={mean_face}",
        "--nosmooth",
        "--out=faces",
        folder=tmp_path,
    )
    results = ended.results
    assert (results["photos"], results["faces"]) == (1, 2)
    assert (results["without_face"], results["skipped"]) == (0, 1)
    assert "notes.txt" in ended.stderr
    out = tmp_path / "faces"
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        *["landmarks.csv", "landmarks.json", "skipped.csv", "pictures/group.jpg"]
    }


def test_help_lists_all_video_extensions():
    assert {word.rstrip(".") for word in landmarks.__doc__.split()} >= video.SUFFIXES


@pytest.mark.parametrize("flag", ["--min_cutoff=2", "--beta=5"])
def test_smoothing_parameters_need_smooth(run, tmp_path, flag):
    ended = run("landmarks", "photo.jpg", flag, "--out=out", folder=tmp_path)
    assert ended.returncode != 0
    assert f"{flag.partition('=')[0]} needs --smooth" in ended.stderr
    assert list(tmp_path.iterdir()) == []
