import os
import re
import tracemalloc

import numpy as np
import pytest
from dialects import dialects

from keras_landmarks.contest import landmark_tables, table_files
from keras_landmarks.utils.errors import InputError

HEADER = "file_name,Point_M0_X,Point_M0_Y\n"
TABLE = HEADER + "a.jpg,1,-2\nb.jpg,3,40\n"
DIALECTS = dialects(TABLE) | {
    "tabs": TABLE.replace(",", "\t"),
    "quoted": re.sub(r"[^,\n]+", r'"\g<0>"', TABLE),
    "padded": TABLE.replace(",", ", "),
    "decimal points": TABLE.replace("40", "40.0"),
    "semicolons": TABLE.replace(",", ";"),
    "decimal commas": TABLE.replace(",", ";").replace("40", "40,0"),
    "y before x": "file_name,Point_M0_Y,Point_M0_X\na.jpg,-2,1\nb.jpg,40,3\n",
    "an index first": ",file_name,x,y\n0,a.jpg,1,-2\n1,b.jpg,3,40\n",
    "the name last": "x,y,file_name\n1,-2,a.jpg\n3,40,b.jpg\n",
    "other columns": "file_name,width,height,x,y,person\na.jpg,9,9,1,-2,Ada\nb.jpg,9,9,3,40,\n",
    "a box": "file_name,x,y,w,h,nose_x,nose_y\na.jpg,9,9,9,9,1,-2\nb.jpg,9,9,9,9,3,40\n",
    "a quoted comma": 'person,file_name,x,y\n"A, da",a.jpg,1,-2\n"",b.jpg,3,40\n',
}


# ── reading and writing ──


@pytest.mark.parametrize("content", DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_is_read(write, content):
    table = landmark_tables.read_landmarks(write(content))
    assert table.file_names == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(table.landmarks_photo_px, [[[1, -2]], [[3, 40]]])
    assert table.landmarks_photo_px.dtype == np.int16


def test_columns_are_ordered_by_number(write):
    """A program that sorts columns as text puts M10 before M2."""
    columns = sorted(landmark_tables.point_columns(11))
    row = [str(int(title.split("_")[1][1:]) * 10 + "XY".index(title[-1])) for title in columns]
    path = write(f"file_name,{','.join(columns)}\na.jpg,{','.join(row)}\n")
    points = landmark_tables.read_landmarks(path).landmarks_photo_px
    np.testing.assert_array_equal(points, [[[10 * i, 10 * i + 1] for i in range(11)]])
    assert landmark_tables.read_point_names(path) == landmark_tables.point_names(11)
    assert landmark_tables.count_points(path) == 11


def test_all_x_may_precede_all_y(write):
    path = write("file_name,x0,x1,y0,y1\na.jpg,1,3,2,4\n")
    np.testing.assert_array_equal(
        landmark_tables.read_landmarks(path).landmarks_photo_px, [[[1, 2], [3, 4]]]
    )


def test_names_are_normalised_to_nfc(write):
    composed, decomposed = "f\u00fcr.jpg", "fu\u0308r.jpg"
    path = write(f"{HEADER}{composed},1,2\n{decomposed},3,4\n")
    assert landmark_tables.read_landmarks(path).file_names == [composed, composed]


@pytest.mark.parametrize("name", ["two words.jpg", "älteste Straße.jpg", "人/a.jpg", "./a.jpg"])
def test_unusual_names_are_valid(write, name):
    assert landmark_tables.read_landmarks(write(f"{HEADER}{name},1,2\n")).file_names == [name]


@pytest.mark.parametrize("num_landmarks", [1, 5, 971])
@pytest.mark.parametrize(
    "write_table", [landmark_tables.write_landmarks, landmark_tables.write_submission]
)
def test_written_table_is_read_back(tmp_path, write_table, num_landmarks):
    path, names = tmp_path / "new" / "table.csv", ["a.jpg", "inner/b.jpg", "c.png"]
    landmarks = np.random.default_rng(0).integers(-40, 600, (3, num_landmarks, 2)).astype(np.int16)
    write_table(path, names, landmarks)
    table = landmark_tables.read_landmarks(path)
    assert table.file_names == names
    assert table.landmarks_photo_px.dtype == np.int16
    np.testing.assert_array_equal(table.landmarks_photo_px, landmarks)


def test_fractions_are_read_back_as_float32(tmp_path):
    path = tmp_path / "table.csv"
    landmarks = np.random.default_rng(0).uniform(-40, 600, (2, 3, 2)).astype(np.float32)
    landmark_tables.write_landmarks(path, ["a.jpg", "b.jpg"], landmarks)
    points = landmark_tables.read_landmarks(path).landmarks_photo_px
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, landmarks, atol=1e-4)


# ── landmarks without a place ──


GAPS = np.array([[[1, 2], [np.nan, np.nan]], [[np.nan, np.nan], [-3, 4.5]]], np.float32)


@pytest.mark.parametrize("empty", ["", '""', " ", "nan", "NaN", "NA"])
def test_two_empty_cells_are_a_landmark_without_a_place(write, empty):
    path = write(
        f"file_name,x0,y0,x1,y1\na.jpg,1,2,{empty},{empty}\nb.jpg,{empty},{empty},-3,4.5\n"
    )
    (rows,) = landmark_tables.iterate_landmarks(path)
    assert not rows.invalid_samples
    np.testing.assert_array_equal(rows.landmarks_photo_px, GAPS)


def test_gaps_are_written_as_empty_cells(tmp_path):
    path = tmp_path / "table.csv"
    landmark_tables.write_landmarks(path, ["a.jpg", "b.jpg"], GAPS)
    assert path.read_text().splitlines()[1:] == ["a.jpg\t1\t2\t\t", "b.jpg\t\t\t-3\t4.5"]
    (rows,) = landmark_tables.iterate_landmarks(path)
    np.testing.assert_array_equal(rows.landmarks_photo_px, GAPS)


def test_predictions_have_no_gaps(write):
    path = write("file_name,x0,y0,x1,y1\na.jpg,1,2,3,4\nb.jpg,1,2,,\n")
    with pytest.raises(InputError, match=r"table.csv, line 3 \(b.jpg\): points without a place: 1"):
        landmark_tables.read_landmarks(path)


def test_submission_has_contest_format(tmp_path):
    path = tmp_path / "submission.csv"
    landmark_tables.write_submission(path, ["a.jpg"], [np.array([[1.0, 2.0], [-3.0, 40.0]])])
    header, row = path.read_text().splitlines()
    assert header == "file_name,Point_M0_X,Point_M0_Y,Point_M1_X,Point_M1_Y"
    assert row == "a.jpg,1,2,-3,40"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", ""),
        ("a.jpg,1,2\n", "file_name"),
        ("file_name,x\n", "'x'"),
        ("file_name,a,b\n", ""),
        ("file_name,x,y,x,y\n", "'x' and 'x'"),
        ("file_name,x,y,file_name\n", "file_name"),
        ("file_name\tx\ty\n".encode("utf-16"), "UTF-16.*UTF-8"),
        (HEADER, ""),
        (b"\x00\xff\t\x01\n", "file_name"),
    ],
)
def test_malformed_table_is_refused_in_one_line(write, content, named):
    with pytest.raises(InputError, match=rf"table\.csv: .*{named}") as error:
        landmark_tables.read_landmarks(write(content))
    assert "\n" not in str(error.value)


# ── broken rows ──


BROKEN_ROWS = {
    "b.jpg": "fewer cells than the header has: 1, not 3",
    "b.jpg,1": "fewer cells than the header has: 2, not 3",
    "b.jpg,1,2,3": "more cells than the header has: 4, not 3",
    "b.jpg,,2": "only one of x and y",
    "b.jpg,1,": "only one of x and y",
    "b.jpg,,": "no point has a place",
    "b.jpg,1 2,3": "not a number",
    "b.jpg,1,2x": "not a number",
    "b.jpg,nan,2": "only one of x and y",
    "b.jpg,1,-inf": "not a number",
    "b.jpg,32768,2": "beyond 32767 px",
    "b.jpg,1e300,2": "beyond 32767 px",
    "b.jpg,1,99999999999999999999": "beyond 32767 px",
    "b.jpg,1,-9223372036854775808": "beyond 32767 px",
    "../b.jpg,1,2": "not the name of a file",
    "inner/../../b.jpg,1,2": "not the name of a file",
    "/etc/b.jpg,1,2": "not the name of a file",
    ",1,2": "not the name of a file",
    ",": "not the name of a file",
    "b.jpg,-,2": "not a number",
    "b.jpg,1,-": "not a number",
    "b\0.jpg,1,2": "not the name of a file",
    "b\t.jpg,1,2": "not the name of a file",
    "b.jpg,1\0,2": "not a number",
    "b.jpg,\v1,2": "not a number",
    "b.jpg,1_0,2": "not a number",
    "b.jpg,\u0661,2": "not a number",
    "b.jpg,1;2": "fewer cells",
    "b.jpg,1e5,2": "beyond 32767 px",
}


@pytest.mark.parametrize(("row", "reason"), BROKEN_ROWS.items())
def test_broken_row_spoils_no_other(write, row, reason):
    path = write(f"{HEADER}a.jpg,1,2\n{row}\nc.jpg,3,4\n")
    (rows,) = landmark_tables.iterate_landmarks(path)
    assert rows.file_names == ["a.jpg", "c.jpg"]
    assert rows.lines == [2, 4]
    np.testing.assert_array_equal(rows.landmarks_photo_px, [[[1, 2]], [[3, 4]]])
    (broken,) = rows.invalid_samples
    assert broken.file_name == row.partition(",")[0]
    assert broken.line == 3
    assert reason in broken.reason
    with pytest.raises(InputError, match=r"table.csv, line 3 \(") as error:
        landmark_tables.read_landmarks(path)
    assert reason in str(error.value)


def test_name_in_another_encoding_keeps_its_bytes(write):
    path = write(HEADER.encode() + b"b\xe9.jpg,1,2\nc.jpg,3,4\n")
    (rows,) = landmark_tables.iterate_landmarks(path)
    assert rows.file_names == ["c.jpg"]
    (broken,) = rows.invalid_samples
    assert os.fsencode(broken.file_name) == b"b\xe9.jpg"
    assert "not the name of a file" in broken.reason


@pytest.mark.parametrize("end", ["-", "", "\v", "4\0", "4-", "--4"])
def test_last_coordinate_is_checked(write, end):
    (rows,) = landmark_tables.iterate_landmarks(write(f"{HEADER}a.jpg,1,2\nb.jpg,3,{end}"))
    assert rows.file_names == ["a.jpg"]
    assert [sample.line for sample in rows.invalid_samples] == [3]


@pytest.mark.parametrize("end", ["b.jpg,3", "b.jpg,", "b.jpg", "b.j"])
def test_row_cut_in_the_middle_is_invalid(write, end):
    (rows,) = landmark_tables.iterate_landmarks(write(f"{HEADER}a.jpg,1,2\n{end}"))
    assert rows.file_names == ["a.jpg"]
    (broken,) = rows.invalid_samples
    assert broken.line == 3
    assert "fewer cells than the header has" in broken.reason


def test_short_and_long_row_do_not_compensate(write):
    (rows,) = landmark_tables.iterate_landmarks(write(f"{HEADER}a.jpg,1\nb.jpg,2,3,4\nc.jpg,5,6\n"))
    assert rows.file_names == ["c.jpg"]
    assert [sample.line for sample in rows.invalid_samples] == [2, 3]


# ── blocks ──


def test_lines_are_counted_across_blocks(write, monkeypatch):
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 30)
    names = [f"{number}.jpg" for number in range(2, 50)]
    path = write(HEADER + "".join(f"{name},1,{'x' if name == '30.jpg' else 2}\n" for name in names))
    blocks = list(landmark_tables.iterate_landmarks(path))
    assert len(blocks) > 10
    assert [f"{line}.jpg" for rows in blocks for line in rows.lines] == names[:28] + names[29:]
    assert [sample.line for rows in blocks for sample in rows.invalid_samples] == [30]


@pytest.mark.parametrize(("limit", "kept"), [(1, 1), (4, 4), (9, 9), (20, 10), (None, 10)])
def test_limit_counts_rows(write, monkeypatch, limit, kept):
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 30)
    path = write(HEADER + "".join(f"{number}.jpg,1,2\n" for number in range(10)))
    blocks = landmark_tables.iterate_landmarks(path, limit)
    names = [name for rows in blocks for name in rows.file_names]
    assert names == [f"{number}.jpg" for number in range(kept)]


def test_memory_is_bounded_by_block(write, monkeypatch):
    block = 1 << 18
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", block)
    header = ",".join(["file_name", *landmark_tables.point_columns(500)])
    path = write(header + "\n" + ("a.jpg" + ",123,-45" * 500 + "\n") * 5000)
    assert path.stat().st_size > 64 * block
    tracemalloc.start()
    rows = sum(len(rows.file_names) for rows in landmark_tables.iterate_landmarks(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 5000
    assert peak < 16 * block


# ── requested rows ──


@pytest.mark.parametrize("header", [HEADER, "file_name,y,x\n"])
def test_other_rows_are_only_named(write, header):
    """Line 4 is broken and not requested, line 5 broken and requested, line 6 empty."""
    path = write(f"{header}a.jpg,1,2\nb.jpg,3,4\nc.jpg,x\nd.jpg,x\n\n./e.jpg,5,6\n")
    (rows,) = landmark_tables.iterate_landmarks(path, names={"b.jpg", "d.jpg", "e.jpg"})
    assert rows.file_names == ["b.jpg", "./e.jpg"]
    assert rows.lines == [3, 7]
    expected = [[[3, 4]], [[5, 6]]]
    np.testing.assert_array_equal(
        rows.landmarks_photo_px, np.flip(expected, 2) if "y,x" in header else expected
    )
    assert [sample.line for sample in rows.invalid_samples] == [5]
    assert rows.other_names == ["a.jpg", "c.jpg"]
    (rows,) = landmark_tables.iterate_landmarks(path, names={"nobody.jpg"})
    assert rows.landmarks_photo_px.shape == (0, 1, 2)
