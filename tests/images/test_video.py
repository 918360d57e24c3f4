import struct

import cv2
import numpy as np
import pytest
from folders import no_file_beyond

from keras_landmarks.images import video


def write(path, frames, rate=20):
    with video.writer(path, rate) as add:
        for frame in frames:
            add(frame)


def plain(red, size=(64, 48)):
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    frame[..., 0] = red
    return frame


def test_frames_are_read_back_as_rgb(tmp_path):
    reds = [0, 80, 160, 240]
    write(tmp_path / "clip.mp4", map(plain, reds))
    clip = video.Video(tmp_path / "clip.mp4")
    assert (clip.frames_per_s, clip.frames) == (20, 4)
    times_s, frames = zip(*clip, strict=True)
    np.testing.assert_allclose(times_s, [0, 0.05, 0.1, 0.15])
    assert frames[0].shape == (48, 64, 3)
    np.testing.assert_allclose([frame[..., 0].mean() for frame in frames], reds, atol=6)
    np.testing.assert_allclose([frame[..., 2].mean() for frame in frames], 0, atol=6)


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(5000)])
def test_non_videos_are_rejected_silently(tmp_path, capfd, content):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(video.UnreadableVideoError, match="video"):
        video.Video(tmp_path / "clip.mp4")
    assert capfd.readouterr() == ("", "")


def test_percent_in_name_is_literal(tmp_path):
    write(tmp_path / "clip_%02d.mp4", [plain(9)] * 3)
    assert len(list(video.Video(tmp_path / "clip_%02d.mp4"))) == 3


def test_variable_frame_times_are_read(tmp_path):
    """Phones write frames of varying duration. Here one lasts 0.3 s, the others 0.1 s."""
    write(tmp_path / "clip.mp4", map(plain, range(0, 50, 10)), rate=10)
    content = bytearray((tmp_path / "clip.mp4").read_bytes())
    # stts is a table of frame counts and durations. It has one entry; two are added.
    place = content.index(b"stts") - 4
    *_, count, length = struct.unpack_from(">I4sIIII", content, place)
    assert count == 5
    entries = [2, length, 1, 3 * length, 2, length]
    table = struct.pack(">I4sII6I", 40, b"stts", 0, 3, *entries)
    content[place : place + 24] = table
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = content.index(name) - 4
        struct.pack_into(">I", content, place, struct.unpack_from(">I", content, place)[0] + 16)
    place = content.index(b"elst") + 12  # duration to be shown, ms
    struct.pack_into(">I", content, place, 700)
    (tmp_path / "clip.mp4").write_bytes(content)
    times_s, _ = zip(*video.Video(tmp_path / "clip.mp4"), strict=True)
    np.testing.assert_allclose(times_s, [0, 0.1, 0.2, 0.5, 0.6], atol=1e-3)


@pytest.mark.parametrize(
    ("file_times_ms", "expected_s"),
    [
        ([0, 0, 0, 0], [0, 0.05, 0.1, 0.15]),
        ([50, 100, 150, 200], [0, 0.05, 0.1, 0.15]),  # measured at the ends of frames
        ([0, 70, 60, 200], [0, 0.07, 0.12, 0.2]),
    ],
)
def test_bad_frame_times_are_replaced(tmp_path, monkeypatch, file_times_ms, expected_s):
    class Capture:
        def __init__(self, *_):
            self.remaining_ms = list(file_times_ms)

        def isOpened(self):
            return True

        def read(self):
            return bool(self.remaining_ms), plain(0)

        def get(self, name):
            return 20 if name != cv2.CAP_PROP_POS_MSEC else self.remaining_ms.pop(0)

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    times_s = [time_s for time_s, _ in video.Video(tmp_path / "clip.mp4")]
    np.testing.assert_allclose(times_s, expected_s)


def test_odd_sides_are_padded(tmp_path):
    write(tmp_path / "clip.mp4", [plain(200, size=(65, 47))])
    ((_, frame),) = video.Video(tmp_path / "clip.mp4")
    assert frame.shape == (48, 66, 3)
    np.testing.assert_allclose(frame[..., 0], 200, atol=6)


@pytest.mark.parametrize(("suffix", "codec"), [("ts", "mpg2"), ("flv", "FLV1"), ("ogv", "VP80")])
def test_other_containers_are_read(tmp_path, suffix, codec):
    path = tmp_path / f"clip.{suffix}"
    output = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48)
    )
    for red in range(0, 240, 30):
        output.write(plain(red))
    output.release()
    assert path.suffix in video.SUFFIXES
    times_s, _ = zip(*video.Video(path), strict=True)
    np.testing.assert_allclose(times_s, np.arange(8) / 25)


def test_full_disk_is_reported(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, 96, 128, 3), np.uint8)
    with no_file_beyond(50_000), pytest.raises(OSError, match=r"clip\.mp4: .*disk"):
        write(tmp_path / "clip.mp4", frames)
