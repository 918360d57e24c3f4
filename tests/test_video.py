import numpy as np
import pytest
from folders import no_file_beyond

from keras_landmarks.data import video


def write(path, frames, rate=20):
    with video.writer(path, rate) as add:
        for frame in frames:
            add(frame)


def plain(red, size=(64, 48)):
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    frame[..., 0] = red
    return frame


def test_frames_come_back_in_order_in_rgb(tmp_path):
    reds = [0, 80, 160, 240]
    write(tmp_path / "clip.mp4", map(plain, reds))
    clip = video.Video(tmp_path / "clip.mp4")
    assert (clip.frames_per_s, clip.frames) == (20, 4)
    frames = list(clip)
    assert frames[0].shape == (48, 64, 3)
    np.testing.assert_allclose([frame[..., 0].mean() for frame in frames], reds, atol=6)
    np.testing.assert_allclose([frame[..., 2].mean() for frame in frames], 0, atol=6)


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(5000)])
def test_what_is_no_video_is_refused_without_a_word_of_opencvs(tmp_path, capfd, content):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(video.UnreadableError, match="not a video that can be read"):
        video.Video(tmp_path / "clip.mp4")
    assert capfd.readouterr() == ("", "")


def test_a_name_with_a_pattern_is_a_name(tmp_path):
    write(tmp_path / "clip_%02d.mp4", [plain(9)] * 3)
    assert len(list(video.Video(tmp_path / "clip_%02d.mp4"))) == 3


def test_a_full_disk_is_told(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, 96, 128, 3), np.uint8)
    with no_file_beyond(50_000), pytest.raises(OSError, match="is the disk full"):
        write(tmp_path / "clip.mp4", frames)
