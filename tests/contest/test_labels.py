import tracemalloc

import numpy as np
import pytest

from keras_landmarks.contest import labels, landmark_tables, table_files
from keras_landmarks.input.samples import load_samples
from keras_landmarks.utils.errors import InputError

HEADER = "file_name,Point_M0_X,Point_M0_Y\n"
# Line 4 is broken, 6 repeats 3, and 7 and 8 disagree.
TABLE = f"{HEADER}a.jpg,1,2\nb.jpg,3,4\nc.jpg,5\nd.jpg,7,8\nb.jpg,3,4.0\ne.jpg,9,9\ne.jpg,9,8\n"
REJECTS = {
    4: "fewer cells than the header has: 2, not 3",
    6: "an earlier row has this name: 3",
    7: "another row of this name disagrees: 8",
    8: "another row of this name disagrees: 7",
}


@pytest.fixture
def table(write):
    return write(TABLE)


def by_line(rejects):
    return {reject.line: reject.reason for reject in rejects}


def test_rows_that_cannot_be_used_are_left_out_and_told(write, caplog):
    path = write(f"{TABLE}f.jpg,0,1\n")
    read = labels.read(path)
    assert read.file_names == ["a.jpg", "b.jpg", "d.jpg", "f.jpg"]
    np.testing.assert_array_equal(read.points, [[[1, 2]], [[3, 4]], [[7, 8]], [[0, 1]]])
    assert read.points.dtype == np.int16
    assert by_line(read.rejects) == REJECTS
    assert list(read.listed) == [f"{letter}.jpg" for letter in "abdefc"]
    assert caplog.messages == [
        f"{path}, line 4 (c.jpg): {REJECTS[4]}; 4 of 8 rows cannot be used and are skipped"
    ]


def test_sound_tables_are_read_as_they_are(faces, caplog):
    path = faces / "train" / "landmarks.csv"
    read, expected = labels.read(path), landmark_tables.read_landmarks(path)
    assert read.file_names == expected.file_names
    np.testing.assert_array_equal(read.points, expected.points)
    assert (read.rejects, caplog.messages) == ([], [])


def test_train_rejects_the_same_rows(own_faces, tmp_path):
    path = own_faces / "train" / "landmarks.csv"
    rows = path.read_text().splitlines(keepends=True)
    name, _, numbers = rows[9].partition("\t")
    rows += [rows[4], "./" + rows[5], f"{name}\t0\t{numbers.partition(chr(9))[2]}", rows[9]]
    rows[12] = rows[12].rpartition("\t")[0] + "\n"
    path.write_text("".join(rows))
    samples, read = load_samples(own_faces, "train", tmp_path / "prepared"), labels.read(path)
    assert read.rejects == samples.rejects
    assert len(read.rejects) == 6
    assert read.file_names == samples.file_names
    np.testing.assert_array_equal(read.points, samples.landmarks_photo_px)


@pytest.mark.parametrize(
    ("names", "kept", "lines"),
    [
        (["d.jpg", "a.jpg", "x.jpg"], ["a.jpg", "d.jpg"], []),
        (["a.jpg", "b.jpg", "./b.jpg"], ["a.jpg", "b.jpg"], [6]),
        (["a.jpg", "b.jpg", "c.jpg"], ["a.jpg", "b.jpg"], [4, 6]),
        (["x.jpg"], [], []),
    ],
)
def test_only_rows_that_are_asked_for_count(table, names, kept, lines):
    read = labels.read(table, names)
    assert read.file_names == kept
    assert read.points.shape == (len(kept), 1, 2)
    assert list(by_line(read.rejects)) == lines
    assert len(read.listed) == 5


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (None, r"line 4 \(c\.jpg\): fewer cells .*; 4 of 7 rows cannot be used: is it the right"),
        (["c.jpg", "d.jpg", "e.jpg"], r"line 4 .*; 3 of 4 rows cannot be used"),
        (["e.jpg"], r"line 7 \(e\.jpg\): another row of this name disagrees: 8; 2 of 2 rows"),
    ],
)
def test_a_table_that_is_mostly_broken_is_refused(table, names, says):
    with pytest.raises(InputError, match=rf"table\.csv, {says}"):
        labels.read(table, names)


def test_a_table_without_rows_is_refused(write):
    with pytest.raises(InputError, match=r"table\.csv: there is no row under the header"):
        labels.read(write(HEADER), ["a.jpg"])


def test_where_every_row_counts_a_broken_one_is_an_error(table):
    assert labels.read(table, ["a.jpg", "d.jpg"], strict=True).rejects == []
    with pytest.raises(InputError, match=r"table\.csv, line 6 \(b\.jpg\): an earlier row has this"):
        labels.read(table, ["a.jpg", "b.jpg"], strict=True)


def test_only_the_first_rows_are_read(table):
    read = labels.read(table, limit=3)
    assert (read.file_names, list(by_line(read.rejects))) == (["a.jpg", "b.jpg"], [4])


def test_rows_that_nobody_asked_for_take_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 1 << 17)
    points = np.random.default_rng(0).integers(0, 300, (500, 971, 2), np.int16)
    names = [f"{row}.jpg" for row in range(500)]
    landmark_tables.write_landmarks(tmp_path / "table.csv", names, points)
    tracemalloc.start()
    read = labels.read(tmp_path / "table.csv", names[::100])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(read.points, points[::100])
    assert peak < points.nbytes
