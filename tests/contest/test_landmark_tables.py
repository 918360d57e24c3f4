import csv
import os
import re
import tracemalloc

import numpy as np
import pytest

from keras_landmarks.contest import (
    grouping,
    image_names,
    invalid_samples,
    landmark_tables,
    locations,
    prediction_files,
    requested_points,
    table_files,
)
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

HEADER = "file_name,Point_M0_X,Point_M0_Y\n"
TABLE = HEADER + "a.jpg,1,-2\nb.jpg,3,40\n"
ASKED = 'file_name,point_index_list\na.jpg,"[3, 1]"\nb.jpg,"[0, 2]"\n'


def dialects(table):
    """The same table as several programs write it."""
    return {
        "commas": table,
        "CRLF": table.replace("\n", "\r\n"),
        "byte-order mark": "\ufeff" + table,
        "no newline at the end": table.rstrip(),
    }


LANDMARK_DIALECTS = dialects(TABLE) | {
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
ASKED_DIALECTS = dialects(ASKED) | {
    "semicolons": 'file_name;point_index_list\na.jpg;[3, 1]\nb.jpg;"[0, 2]"\n',
    "an index first": ',file_name,point_index_list\n0,a.jpg,"[3, 1]"\n1,b.jpg,"[0, 2]"\n',
    "a column more": 'file_name,point_index_list,who\na.jpg,"[3, 1]",Ada\nb.jpg,"[0, 2]",Bo\n',
    "tabs": re.sub(r'^([^,]+),"?([^"\n]*)"?', r'\1\t"\2"', ASKED, flags=re.MULTILINE),
    "unquoted": ASKED.replace('"', ""),
    "padded": ASKED.replace("[", " [ ").replace("]", " ] "),
}


# ── landmark tables ──


@pytest.mark.parametrize("content", LANDMARK_DIALECTS.values(), ids=LANDMARK_DIALECTS)
def test_a_landmark_table_is_read_in_every_dialect(write, content):
    table = landmark_tables.read_landmarks(write(content))
    assert table.file_names == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(table.points, [[[1, -2]], [[3, 40]]])
    assert table.points.dtype == np.int16


def test_points_are_ordered_by_their_numbers(write):
    """A program that sorts columns as text puts M10 before M2."""
    columns = sorted(landmark_tables.point_columns(11))
    row = [str(int(title.split("_")[1][1:]) * 10 + "XY".index(title[-1])) for title in columns]
    path = write(f"file_name,{','.join(columns)}\na.jpg,{','.join(row)}\n")
    points = landmark_tables.read_landmarks(path).points
    np.testing.assert_array_equal(points, [[[10 * i, 10 * i + 1] for i in range(11)]])
    assert landmark_tables.read_point_names(path) == landmark_tables.point_names(11)


def test_all_x_may_come_before_all_y(write):
    path = write("file_name,x0,x1,y0,y1\na.jpg,1,3,2,4\n")
    np.testing.assert_array_equal(landmark_tables.read_landmarks(path).points, [[[1, 2], [3, 4]]])


def test_a_name_is_the_same_in_both_unicode_forms(write):
    composed, decomposed = "f\u00fcr.jpg", "fu\u0308r.jpg"
    path = write(f"{HEADER}{composed},1,2\n{decomposed},3,4\n")
    assert landmark_tables.read_landmarks(path).file_names == [composed, composed]


@pytest.mark.parametrize("points", [1, 5, 971])
@pytest.mark.parametrize(
    "write_table", [landmark_tables.write_landmarks, landmark_tables.write_submission]
)
def test_a_landmark_table_comes_back(tmp_path, write_table, points):
    path, names = tmp_path / "new" / "table.csv", ["a.jpg", "inner/b.jpg", "c.png"]
    landmarks = np.random.default_rng(0).integers(-40, 600, (3, points, 2)).astype(np.int16)
    write_table(path, names, landmarks)
    table = landmark_tables.read_landmarks(path)
    assert table.file_names == names
    assert table.points.dtype == np.int16
    np.testing.assert_array_equal(table.points, landmarks)


def test_fractions_come_back_as_float32(tmp_path):
    path = tmp_path / "table.csv"
    landmarks = np.random.default_rng(0).uniform(-40, 600, (2, 3, 2)).astype(np.float32)
    landmark_tables.write_landmarks(path, ["a.jpg", "b.jpg"], landmarks)
    points = landmark_tables.read_landmarks(path).points
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, landmarks, atol=1e-4)


def test_a_submission_looks_as_the_contest_wants_it(tmp_path):
    path = tmp_path / "submission.csv"
    landmark_tables.write_submission(path, ["a.jpg"], [np.array([[1.0, 2.0], [-3.0, 40.0]])])
    header, row = path.read_text().splitlines()
    assert header == "file_name,Point_M0_X,Point_M0_Y,Point_M1_X,Point_M1_Y"
    assert row == "a.jpg,1,2,-3,40"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("a.jpg,1,2\n", "must be a header"),
        ("file_name,x\n", "column 'x' has no partner of the other axis"),
        ("file_name,a,b\n", "no columns of points"),
        ("file_name,x,y,x,y\n", "columns 'x' and 'x' are both the x of one point"),
        ("file_name,x,y,file_name\n", "two columns are called file_name"),
        ("file_name\tx\ty\n".encode("utf-16"), "UTF-16.* save it as CSV UTF-8"),
        (HEADER, "no row under the header"),
        (b"\x00\xff\t\x01\n", "must be a header"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(write, content, says):
    with pytest.raises(InputError, match=says) as error:
        landmark_tables.read_landmarks(write(content))
    assert "table.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "read",
    [
        landmark_tables.read_landmarks,
        requested_points.read_test_points,
        grouping.read_group_table,
        prediction_files.read,
    ],
)
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(InputError, match=r"nowhere\.csv: "):
        read(tmp_path / "nowhere.csv")


BROKEN_ROWS = {
    "b.jpg": "fewer cells than the header has: 1, not 3",
    "b.jpg,1": "fewer cells than the header has: 2, not 3",
    "b.jpg,1,2,3": "more cells than the header has: 4, not 3",
    "b.jpg,,2": "empty or not a number",
    "b.jpg,1,": "empty or not a number",
    "b.jpg,1 2,3": "empty or not a number",
    "b.jpg,1,2x": "empty or not a number",
    "b.jpg,nan,2": "not a number",
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
    "b.jpg,-,2": "empty or not a number",
    "b.jpg,1,-": "empty or not a number",
    "b\0.jpg,1,2": "not the name of a file",
    "b\t.jpg,1,2": "not the name of a file",
    "b.jpg,1\0,2": "empty or not a number",
    "b.jpg,\v1,2": "empty or not a number",
    "b.jpg,1_0,2": "empty or not a number",
    "b.jpg,\u0661,2": "empty or not a number",
    "b.jpg,1;2": "fewer cells",
    "b.jpg,1e5,2": "beyond 32767 px",
}


@pytest.mark.parametrize(("row", "reason"), BROKEN_ROWS.items())
def test_a_broken_row_is_told_and_spoils_no_other(write, row, reason):
    path = write(f"{HEADER}a.jpg,1,2\n{row}\nc.jpg,3,4\n")
    (rows,) = landmark_tables.iterate_landmarks(path)
    assert rows.file_names == ["a.jpg", "c.jpg"]
    assert rows.lines == [2, 4]
    np.testing.assert_array_equal(rows.points, [[[1, 2]], [[3, 4]]])
    (reject,) = rows.rejects
    assert reject.file_name == row.partition(",")[0]
    assert reject.line == 3
    assert reason in reject.reason
    with pytest.raises(InputError, match=r"table.csv, line 3 \(") as error:
        landmark_tables.read_landmarks(path)
    assert reason in str(error.value)


def test_a_name_that_is_not_utf8_is_told_as_its_bytes_are(write):
    path = write(HEADER.encode() + b"b\xe9.jpg,1,2\nc.jpg,3,4\n")
    (rows,) = landmark_tables.iterate_landmarks(path)
    assert rows.file_names == ["c.jpg"]
    (reject,) = rows.rejects
    assert os.fsencode(reject.file_name) == b"b\xe9.jpg"
    assert "not the name of a file" in reject.reason
    invalid_samples.write_invalid_samples(path, [reject])
    assert path.read_text().splitlines()[1].startswith("b\\udce9.jpg\t2\tnot the name of a file")


@pytest.mark.parametrize("end", ["-", "", "\v", "4\0", "4-", "--4"])
def test_the_tables_last_number_is_a_number(write, end):
    (rows,) = landmark_tables.iterate_landmarks(write(f"{HEADER}a.jpg,1,2\nb.jpg,3,{end}"))
    assert rows.file_names == ["a.jpg"]
    assert [reject.line for reject in rows.rejects] == [3]


@pytest.mark.parametrize("name", ["two words.jpg", "älteste Straße.jpg", "人/a.jpg", "./a.jpg"])
def test_names_have_spaces_letters_of_any_kind_and_folders(write, name):
    assert landmark_tables.read_landmarks(write(f"{HEADER}{name},1,2\n")).file_names == [name]


@pytest.mark.parametrize("end", ["b.jpg,3", "b.jpg,", "b.jpg", "b.j"])
def test_a_table_cut_in_mid_row_loses_that_row_and_says_so(write, end):
    (rows,) = landmark_tables.iterate_landmarks(write(f"{HEADER}a.jpg,1,2\n{end}"))
    assert rows.file_names == ["a.jpg"]
    (reject,) = rows.rejects
    assert reject.line == 3
    assert "fewer cells than the header has" in reject.reason


@pytest.mark.parametrize("start", [b"", HEADER.encode(), b"file_name,point_index_list\n"])
def test_a_line_without_an_end_is_refused_and_not_read_whole(tmp_path, start):
    path = tmp_path / "table.csv"
    path.write_bytes(start)
    with path.open("r+b") as file:
        file.truncate(1 << 36)  # 64 GB, none of them on the disk
    read = requested_points.read_test_points if b"list" in start else landmark_tables.read_landmarks
    with pytest.raises(InputError, match=r"table\.csv: a line is over 1,048,576 bytes long"):
        read(path)


def test_a_short_row_and_a_long_one_do_not_make_up_for_each_other(write):
    (rows,) = landmark_tables.iterate_landmarks(write(f"{HEADER}a.jpg,1\nb.jpg,2,3,4\nc.jpg,5,6\n"))
    assert rows.file_names == ["c.jpg"]
    assert [reject.line for reject in rows.rejects] == [2, 3]


def test_lines_are_counted_through_all_blocks(write, monkeypatch):
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 30)
    names = [f"{number}.jpg" for number in range(2, 50)]
    path = write(HEADER + "".join(f"{name},1,{'x' if name == '30.jpg' else 2}\n" for name in names))
    blocks = list(landmark_tables.iterate_landmarks(path))
    assert len(blocks) > 10
    assert [f"{line}.jpg" for rows in blocks for line in rows.lines] == names[:28] + names[29:]
    assert [reject.line for rows in blocks for reject in rows.rejects] == [30]


@pytest.mark.parametrize(("limit", "kept"), [(1, 1), (4, 4), (9, 9), (20, 10), (None, 10)])
def test_only_the_first_rows_are_read(write, monkeypatch, limit, kept):
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 30)
    path = write(HEADER + "".join(f"{number}.jpg,1,2\n" for number in range(10)))
    names = [
        name for rows in landmark_tables.iterate_landmarks(path, limit) for name in rows.file_names
    ]
    assert names == [f"{number}.jpg" for number in range(kept)]


def test_memory_is_bounded_by_the_block_not_by_the_table(write, monkeypatch):
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


# ── asked points, groups, rejects ──


@pytest.mark.parametrize("content", ASKED_DIALECTS.values(), ids=ASKED_DIALECTS)
def test_asked_points_are_read_in_every_dialect(write, content):
    asked = requested_points.read_test_points(write(content))
    assert asked.file_names == ["a.jpg", "b.jpg"]
    assert [indices.tolist() for indices in asked.point_indices] == [[3, 1], [0, 2]]


def test_asked_points_come_back(tmp_path):
    path, names = tmp_path / "test_points.csv", ["a.jpg", "b.jpg"]
    requested_points.write_test_points(path, names, [np.array([970, 0]), [5]])
    asked = requested_points.read_test_points(path)
    assert asked.file_names == names
    assert [indices.tolist() for indices in asked.point_indices] == [[970, 0], [5]]


@pytest.mark.parametrize(
    "indices",
    [
        "__import__('pathlib').Path('evaluated').touch()",
        "",
        "7",
        "[]",
        "[1, 2",
        "[1, 2, ]",
        "[1 2]",
        "[1,, 2]",
        "[+1]",
        "[1_0]",
        "[007]",
        "[\u0661]",
        "[0x1]",
        "[" + "9" * 5000 + "]",
        "(1, 2)",
        "[-1]",
        "[True]",
        "[1.0]",
        "['1']",
        "[[1]]",
        "[99999]",
        "{[1]: 2}",
        "[" * 5000,
    ],
)
def test_what_is_no_index_list_is_told_and_never_evaluated(write, indices, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"table.csv, line 3: ") as error:
        requested_points.read_test_points(
            write(f"file_name\tpoint_index_list\na.jpg\t[1]\nb.jpg\t{indices}\n")
        )
    assert "\n" not in str(error.value)
    assert not (tmp_path / "evaluated").exists()


def test_asked_points_of_a_name_that_climbs_out_are_refused(write):
    with pytest.raises(InputError, match="line 2: not the name of a file"):
        requested_points.read_test_points(write("file_name\tpoint_index_list\n../a.jpg\t[1]\n"))


@pytest.mark.parametrize("name", ["test/test_points.csv", "test_points.csv"])
def test_asked_points_lie_in_the_split_or_beside_it(write, tmp_path, name):
    path = write(ASKED, name)
    assert locations.find_test_points(tmp_path, "test") == path


@pytest.mark.parametrize(
    "find", [locations.find_test_points, locations.find_landmarks, locations.find_image_folder]
)
def test_what_a_split_lacks_is_named(tmp_path, find):
    with pytest.raises(InputError, match=str(tmp_path / "test")):
        find(tmp_path, "test")


def test_groups_come_back(tmp_path):
    path = tmp_path / "groups.csv"
    grouping.write_group_table(path, "person", ["a.jpg", "b.jpg"], ["Ada", "Bo B"])
    assert path.read_text().startswith("file_name\tperson\n")
    assert grouping.read_group_table(path) == {"a.jpg": "Ada", "b.jpg": "Bo B"}


def test_names_are_the_first_column_of_any_table_each_once(tmp_path):
    names = ["b, c.jpg", "a.jpg", "../a.jpg", "a.jpg"]
    rows = [(name, "7", "2.5", "misplaced: 10 %") for name in names]
    table_files.write_rows(tmp_path / "t.tsv", ("file_name", "row", "score", "reason"), rows)
    assert table_files.read_names(tmp_path / "t.tsv") == ["b, c.jpg", "a.jpg"]


def test_files_are_listed_by_their_paths_in_the_folder(tmp_path):
    for name in ("b.jpg", "inner/a.jpg", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert locations.list_files(tmp_path) == [".hidden", "b.jpg", "inner/a.jpg"]


@pytest.mark.parametrize("name", ["", "/etc/a.jpg", "../a.jpg", "a\tb.jpg", "a\udce9.jpg"])
def test_some_files_no_table_can_name(name):
    assert not image_names.can_be_listed(name)


def test_a_name_in_two_groups_is_told(write):
    with pytest.raises(InputError, match=r"line 3: an earlier row has a\.jpg in another group"):
        grouping.read_group_table(write("file_name,person\na.jpg,Ada\na.jpg,Bo\n"))


def test_a_row_without_a_group_is_told(write):
    with pytest.raises(InputError, match=r"table.csv, line 3: a row is a file name and a group"):
        grouping.read_group_table(write("file_name,person\na.jpg,Ada\nb.jpg,\n"))


def test_rejects_are_a_table(tmp_path):
    path = tmp_path / "rejects.csv"
    invalid_samples.write_invalid_samples(path, [InvalidSample("a.jpg", 3, "the file is empty")])
    assert path.read_text() == "file_name\trow\treason\na.jpg\t3\tthe file is empty\n"


# ── names with commas and quotes ──

ODD_NAMES = [
    "a, b.jpg",
    'the "best".jpg',
    '"quoted".jpg',
    '"all quoted.jpg"',
    'ends with "',
    '"',
    ' "',
    '",',
    '""',
    "' single'.jpg",
    " spaces around ",
    "[1, 2].jpg",
    "plain.jpg",
]


def read_as_others_do(path, separator):
    """The rows under the header as Python's csv module, and pandas, see them."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=separator, strict=True))[1:]


@pytest.mark.parametrize(
    ("write_table", "separator"),
    [(landmark_tables.write_landmarks, "\t"), (landmark_tables.write_submission, ",")],
)
def test_odd_names_come_back_in_a_table_of_points(tmp_path, write_table, separator):
    path = tmp_path / "table.csv"
    points = np.arange(len(ODD_NAMES) * 4).reshape(-1, 2, 2)
    write_table(path, ODD_NAMES, points)
    table = landmark_tables.read_landmarks(path)
    assert table.file_names == ODD_NAMES
    np.testing.assert_array_equal(table.points, points)
    rows = [[name, *map(str, row.flat)] for name, row in zip(ODD_NAMES, points, strict=True)]
    assert read_as_others_do(path, separator) == rows


def test_odd_names_come_back_in_other_tables(tmp_path):
    path = tmp_path / "table.tsv"
    requested_points.write_test_points(path, ODD_NAMES, [[3, 1]] * len(ODD_NAMES))
    assert requested_points.read_test_points(path).file_names == ODD_NAMES
    assert read_as_others_do(path, "\t") == [[name, "[3, 1]"] for name in ODD_NAMES]
    grouping.write_group_table(path, "group", ODD_NAMES, ODD_NAMES)
    assert grouping.read_group_table(path) == dict(zip(ODD_NAMES, ODD_NAMES, strict=True))
    assert read_as_others_do(path, "\t") == [[name, name] for name in ODD_NAMES]
    invalid_samples.write_invalid_samples(
        path, [InvalidSample(name, 2, f"no {name!r}") for name in ODD_NAMES]
    )
    assert read_as_others_do(path, "\t") == [[name, "2", f"no {name!r}"] for name in ODD_NAMES]


def test_only_what_needs_quotes_has_them(tmp_path):
    path = tmp_path / "table.csv"
    names = ["a b.jpg", "a,b.jpg", "it's.jpg"]
    landmark_tables.write_submission(path, names, np.ones((3, 1, 2)))
    assert path.read_text().splitlines()[1:] == ["a b.jpg,1,1", '"a,b.jpg",1,1', "it's.jpg,1,1"]
    landmark_tables.write_landmarks(path, names, np.ones((3, 1, 2)))
    assert '"' not in path.read_text()


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ('"a,b.jpg","1","2"', "a,b.jpg"),
        (' "a,b.jpg" , 1, 2', "a,b.jpg"),
        ('"a""b"".jpg",1,2', 'a"b".jpg'),
        ('a "b".jpg,1,2', 'a "b".jpg'),
        ('a".jpg,1,2', 'a".jpg'),
        ('"a.jpg,1,2', '"a.jpg'),
        ('a.jpg",1,2', 'a.jpg"'),
    ],
)
def test_quotes_around_a_cell_are_taken_off_and_others_left(write, row, name):
    assert landmark_tables.read_landmarks(write(f"{HEADER}{row}\n")).file_names == [name]


@pytest.mark.parametrize("control", ["\t", "\r", "\v", "\0", "\x1b", "\x7f"])
def test_quotes_do_not_let_control_characters_into_a_name(write, control):
    path = write(f'{HEADER}"a{control}b, c.jpg",1,2\nd.jpg,3,4\n')
    (rows,) = landmark_tables.iterate_landmarks(path)
    assert rows.file_names == ["d.jpg"]
    assert rows.rejects[0].file_name == f"a{control}b, c.jpg"
    assert "not the name of a file" in rows.rejects[0].reason


def test_blank_lines_are_passed_over(tmp_path):
    table, asked, groups = tmp_path / "l.csv", tmp_path / "t.csv", tmp_path / "g.csv"
    table.write_text("file_name\tX\tY\na.jpg\t1\t2\n\nb.jpg\t3\t4\n\n")
    asked.write_text("file_name\tpoint_index_list\na.jpg\t[1]\n\n")
    groups.write_text("file_name\tgroup\na.jpg\tann\n\n")
    assert landmark_tables.read_landmarks(table).file_names == ["a.jpg", "b.jpg"]
    assert requested_points.read_test_points(asked).file_names == ["a.jpg"]
    assert grouping.read_group_table(groups) == {"a.jpg": "ann"}


def test_a_list_of_names_needs_no_second_column(write):
    assert table_files.read_names(write("file_name\r\na.jpg\r\nb.jpg\r\n")) == ["a.jpg", "b.jpg"]
    assert table_files.read_names(write("file_name\na.jpg\n")) == ["a.jpg"]
    with pytest.raises(InputError, match="no column is called group; the header has file_name"):
        grouping.read_group_table(write("file_name\na.jpg\n"))


@pytest.mark.parametrize("header", [HEADER, "file_name,y,x\n"])
def test_rows_of_other_files_are_only_named(write, header):
    """Line 4 is broken and not asked for, line 5 broken and asked for, line 6 empty."""
    path = write(f"{header}a.jpg,1,2\nb.jpg,3,4\nc.jpg,x\nd.jpg,x\n\n./e.jpg,5,6\n")
    (rows,) = landmark_tables.iterate_landmarks(path, names={"b.jpg", "d.jpg", "e.jpg"})
    assert rows.file_names == ["b.jpg", "./e.jpg"]
    assert rows.lines == [3, 7]
    expected = [[[3, 4]], [[5, 6]]]
    np.testing.assert_array_equal(
        rows.points, np.flip(expected, 2) if "y,x" in header else expected
    )
    assert [reject.line for reject in rows.rejects] == [5]
    assert rows.others == ["a.jpg", "c.jpg"]
    (rows,) = landmark_tables.iterate_landmarks(path, names={"nobody.jpg"})
    assert rows.points.shape == (0, 1, 2)
