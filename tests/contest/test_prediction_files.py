import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from keras_landmarks.contest import prediction_files
from keras_landmarks.utils.errors import InputError


def test_written_file_is_read_back(tmp_path):
    path = tmp_path / "predictions.npz"
    landmarks = np.random.default_rng(0).uniform(-5, 500, (2, 971, 2)).astype(np.float32)
    prediction_files.write(path, ["a.jpg", "ä.jpg"], landmarks)
    table = prediction_files.read(path)
    assert table.file_names == ["a.jpg", "ä.jpg"]
    np.testing.assert_array_equal(table.landmarks_photo_px, landmarks)
    assert table.landmarks_photo_px.dtype == np.float32
    assert table.sigmas_px is None


def test_sigmas_are_read_back(tmp_path):
    path = tmp_path / "predictions.npz"
    sigmas = np.random.default_rng(0).uniform(1, 9, (2, 3))
    prediction_files.write(path, ["a.jpg", "b.jpg"], np.zeros((2, 3, 2)), sigmas)
    table = prediction_files.read(path)
    np.testing.assert_array_equal(table.sigmas_px, sigmas.astype(np.float32))
    assert table.sigmas_px.dtype == np.float32
    prediction_files.write(path, ["a.jpg", "b.jpg"], np.zeros((2, 3, 2)), sigmas[:, :2])
    with pytest.raises(InputError, match=r"predictions\.npz: .*\(2, 2\).*\(2, 3, 2\)"):
        prediction_files.read(path)


def test_names_of_points_and_imputed_images_are_read_back(tmp_path):
    path, landmarks = tmp_path / "predictions.npz", np.zeros((2, 3, 2))
    names = ["nose", "chin", "brow"]
    prediction_files.write(path, ["a.jpg", "b.jpg"], landmarks, None, names, ["b.jpg"])
    table, header = prediction_files.read(path), prediction_files.read_header(path)
    assert table.point_names == header.point_names == names
    assert table.imputed == header.imputed == {"b.jpg"}
    prediction_files.write(path, ["a.jpg", "b.jpg"], landmarks, None, names[:2])
    with pytest.raises(InputError, match=r"predictions\.npz: .*2 names for 3 points"):
        prediction_files.read(path)


def test_iterate_yields_pieces(tmp_path):
    path = tmp_path / "predictions.npz"
    landmarks = np.random.default_rng(0).uniform(-5, 500, (5, 3, 2)).astype(np.float32)
    prediction_files.write(path, list("abcde"), landmarks)
    pieces = list(prediction_files.iterate(path, rows=2))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(pieces), landmarks)
    assert prediction_files.read_header(path) == (list("abcde"), 3, None, frozenset())
    prediction_files.write(path, list("abcde"), landmarks, landmarks[..., 0])
    pieces = list(prediction_files.iterate(path, rows=2))
    np.testing.assert_array_equal(np.concatenate(pieces), landmarks[..., [0, 1, 0]])


def test_iterate_finds_changed_byte(tmp_path):
    path = tmp_path / "predictions.npz"
    prediction_files.write(path, list("abcde"), np.full((5, 3, 2), 7.0))
    content = path.read_bytes()
    path.write_bytes(content.replace(np.float32(7).tobytes(), np.float32(8).tobytes(), 1))
    with pytest.raises(InputError, match=r"predictions\.npz: .*CRC"):
        list(prediction_files.iterate(path, rows=2))


@pytest.mark.parametrize(
    "arrays",
    [
        {"file_names": np.array(["a.jpg", {}], object), "landmarks": np.zeros((2, 3, 2))},
        {"file_names": np.array(["a.jpg"])},
        {"file_names": np.array(["a.jpg"]), "landmarks": np.zeros((2, 3, 2))},
        {"file_names": np.array(["a.jpg"]), "landmarks": np.zeros((1, 3, 3))},
        {"file_names": np.array(["a.jpg"]), "landmarks": np.zeros((1, 2))},
        {"file_names": np.array("a.jpg"), "landmarks": np.zeros((1, 3, 2))},
        {"file_names": np.array(["a.jpg"]), "landmarks": np.zeros((1, 3, 2), "m8[s]")},
    ],
    ids=["pickle", "no landmarks", "too many", "three axes", "no points", "one name", "times"],
)
def test_other_arrays_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "predictions.npz", **arrays)
    for read in (prediction_files.read, prediction_files.read_header):
        with pytest.raises(InputError, match=r"predictions\.npz: ") as error:
            read(tmp_path / "predictions.npz")
        assert "\n" not in str(error.value)


def array_file(array, shape):
    """The bytes of an .npy file that says `shape` and holds `array`."""
    file = io.BytesIO()
    description = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)
    return file.getvalue() + array.tobytes()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_claimed_size_takes_no_memory(tmp_path, compression):
    path = tmp_path / "predictions.npz"
    rows = 1 << 30 if compression == zipfile.ZIP_STORED else 1 << 16
    landmarks = np.zeros((1 if compression == zipfile.ZIP_STORED else rows, 3, 2), np.float32)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("file_names.npy", array_file(np.array(["a.jpg"]), (1,)))
        archive.writestr("landmarks.npy", array_file(landmarks, (rows, 3, 2)))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"predictions\.npz: "):
        prediction_files.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b[40:], lambda b: b"text"])
def test_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "predictions.npz"
    prediction_files.write(path, ["a.jpg"], np.zeros((1, 3, 2)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"predictions\.npz: "):
        prediction_files.read(path)
