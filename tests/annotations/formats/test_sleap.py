import h5py
import numpy as np
import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError

FACE = [[100.5, 60], [80, 40], [110, 41], [100, 90]]
NODES = [b"nose", b"left_eye", b"right_eye", b"chin"]


@pytest.fixture
def source(tmp_path):
    """An analysis file as SLEAP exports it: two tracks in five frames, of which three are used."""
    tracks = np.full((5, 4, 2, 2), np.nan)  # frame, node, xy, track
    tracks[0, :, :, 0] = tracks[3, :, :, 1] = FACE
    tracks[3, :, :, 0] = np.add(FACE, [-50, 0])
    tracks[4, :3, :, 1] = FACE[:3]
    path = tmp_path / "v.analysis.h5"
    with h5py.File(path, "w") as file:
        file["tracks"] = tracks.T
        file["track_names"] = [b"a", b"b"]
        file["node_names"] = NODES
        file["track_occupancy"] = (~np.isnan(tracks).all(axis=(1, 2))).astype(np.uint8)
        file["video_path"] = "video.mp4"
    return path


def test_frames_are_converted(source, tmp_path):
    for frame in (0, 3, 4):
        write_photo(tmp_path / "frames" / f"v_{frame:05d}.jpg")
    faces, names, results = converted(source, tmp_path / "data", photos=tmp_path / "frames")
    assert names == ["nose", "left_eye", "right_eye", "chin"]
    moved = np.add(FACE, [-50, 0])
    expected = [("v_00000.jpg", FACE), ("v_00003.jpg", moved), ("v_00003.jpg", FACE)]
    assert_faces(faces, [*expected, ("v_00004.jpg", [*FACE[:3], NO])])
    assert results["missing_points"] == 1


def test_frame_without_photo_has_reason(source, tmp_path):
    write_photo(tmp_path / "0.png")
    first, *others = read_faces(source)
    assert first == ("0.png", FACE)
    assert others == ["no photo of the frame: 3"] * 2 + ["no photo of the frame: 4"]


@pytest.mark.parametrize(
    ("photos", "named"),
    [
        ([], r"frames of a video; .*frame_00012\.png .*--photos=frames"),
        (["1.png", "5.png"], r"5\.png in .* is not one of its 5 frames, .*counted from 0"),
        (["a_1.png", "b_1.png"], r"a_1\.png and b_1\.png .* are both frame 1"),
    ],
)
def test_unclear_frames_are_refused(source, tmp_path, photos, named):
    for name in photos:
        write_photo(tmp_path / name)
    with pytest.raises(InputError, match=rf"v\.analysis\.h5: .*{named}"):
        read_annotations(source, "auto")


def test_other_files_are_refused(source, write):
    with pytest.raises(InputError, match=r"b\.h5: not SLEAP's analysis HDF5"):
        read_annotations(write("text", "b.h5"), "auto")
    with h5py.File(source, "a") as file:
        file["tracks"].attrs["dims"] = '["frame", "track", "node", "xy"]'
    with pytest.raises(InputError, match=r"tracks are \(2, 2, 4, 5\), not"):
        read_annotations(source, "auto")
    with h5py.File(source, "a") as file:
        del file["tracks"]
    with pytest.raises(InputError, match=r"it has no tracks .*CollectedData_<scorer>\.csv"):
        read_annotations(source, "auto")
