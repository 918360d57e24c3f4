import tracemalloc

import numpy as np
import pytest

from keras_landmarks.contest import labels, landmark_tables, table_files
from keras_landmarks.input.samples import load_samples
from keras_landmarks.utils.errors import InputError

HEADER = "file_name,Point_M0_X,Point_M0_Y\n"
# Line 4 is broken, 6 repeats 3, and 7 and 8 contradict each other.
TABLE = f"{HEADER}a.jpg,1,2\nb.jpg,3,4\nc.jpg,5\nd.jpg,7,8\nb.jpg,3,4.0\ne.jpg,9,9\ne.jpg,9,8\n"
INVALID = {
    4: "fewer cells than the header has: 2, not 3",
    6: "duplicate of an earlier row: line 3",
    7: "contradicts another row of this file: line 8",
    8: "contradicts another row of this file: line 7",
}


@pytest.fixture
def table(write):
    return write(TABLE)


def by_line(samples):
    return {sample.line: sample.reason for sample in samples}


def test_invalid_rows_are_skipped_and_logged(write, caplog):
    path = write(f"{TABLE}f.jpg,0,1\n")
    read = labels.read(path)
    assert read.file_names == ["a.jpg", "b.jpg", "d.jpg", "f.jpg"]
    np.testing.assert_array_equal(read.landmarks_photo_px, [[[1, 2]], [[3, 4]], [[7, 8]], [[0, 1]]])
    assert read.landmarks_photo_px.dtype == np.int16
    assert by_line(read.invalid_samples) == INVALID
    assert list(read.listed) == [f"{letter}.jpg" for letter in "abdefc"]
    assert caplog.messages == [
        f"{path}, line 4 (c.jpg): {INVALID[4]}; 4 of 8 rows cannot be used and are skipped"
    ]


def test_valid_table_is_read_unchanged(faces, caplog):
    path = faces / "train" / "landmarks.csv"
    read, expected = labels.read(path), landmark_tables.read_landmarks(path)
    assert read.file_names == expected.file_names
    np.testing.assert_array_equal(read.landmarks_photo_px, expected.landmarks_photo_px)
    assert (read.invalid_samples, caplog.messages) == ([], [])


def test_train_skips_the_same_rows(own_faces, tmp_path):
    path = own_faces / "train" / "landmarks.csv"
    rows = path.read_text().splitlines(keepends=True)
    name, _, numbers = rows[9].partition("\t")
    rows += [rows[4], "./" + rows[5], f"{name}\t0\t{numbers.partition(chr(9))[2]}", rows[9]]
    rows[12] = rows[12].rpartition("\t")[0] + "\n"
    path.write_text("".join(rows))
    samples, read = load_samples(own_faces, "train", tmp_path / "prepared"), labels.read(path)
    assert read.invalid_samples == samples.invalid_samples
    assert len(read.invalid_samples) == 6
    assert read.file_names == samples.file_names
    np.testing.assert_array_equal(read.landmarks_photo_px, samples.landmarks_photo_px)


@pytest.mark.parametrize(
    ("names", "kept", "lines"),
    [
        (["d.jpg", "a.jpg", "x.jpg"], ["a.jpg", "d.jpg"], []),
        (["a.jpg", "b.jpg", "./b.jpg"], ["a.jpg", "b.jpg"], [6]),
        (["a.jpg", "b.jpg", "c.jpg"], ["a.jpg", "b.jpg"], [4, 6]),
        (["x.jpg"], [], []),
    ],
)
def test_only_requested_rows_count(table, names, kept, lines):
    read = labels.read(table, names)
    assert read.file_names == kept
    assert read.landmarks_photo_px.shape == (len(kept), 1, 2)
    assert list(by_line(read.invalid_samples)) == lines
    assert len(read.listed) == 5


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, r"line 4 \(c\.jpg\): .*4 of 7 rows"),
        (["c.jpg", "d.jpg", "e.jpg"], r"line 4 .*3 of 4 rows"),
        (
            ["e.jpg"],
            r"line 7 \(e\.jpg\): .*line 8; 2 of 2 rows",
        ),
    ],
)
def test_mostly_invalid_table_is_refused(table, names, message):
    with pytest.raises(InputError, match=rf"table\.csv, {message}"):
        labels.read(table, names)


def test_table_without_rows_is_refused(write):
    with pytest.raises(InputError, match=r"table\.csv: "):
        labels.read(write(HEADER), ["a.jpg"])


def test_strict_refuses_any_invalid_row(table):
    assert labels.read(table, ["a.jpg", "d.jpg"], strict=True).invalid_samples == []
    with pytest.raises(InputError, match=r"table\.csv, line 6 \(b\.jpg\): "):
        labels.read(table, ["a.jpg", "b.jpg"], strict=True)


def test_limit_counts_rows(table):
    read = labels.read(table, limit=3)
    assert (read.file_names, list(by_line(read.invalid_samples))) == (["a.jpg", "b.jpg"], [4])


def test_other_rows_take_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 1 << 17)
    points = np.random.default_rng(0).integers(0, 300, (500, 971, 2), np.int16)
    names = [f"{row}.jpg" for row in range(500)]
    landmark_tables.write_landmarks(tmp_path / "table.csv", names, points)
    tracemalloc.start()
    read = labels.read(tmp_path / "table.csv", names[::100])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(read.landmarks_photo_px, points[::100])
    assert peak < points.nbytes
