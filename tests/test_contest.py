import csv
import io
import os
import re
import struct
import tracemalloc
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_landmarks.data import contest
from keras_landmarks.data.contest import Reject
from keras_landmarks.errors import InputError

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
}
ASKED_DIALECTS = dialects(ASKED) | {
    "tabs": re.sub(r'^([^,]+),"?([^"\n]*)"?', r'\1\t"\2"', ASKED, flags=re.MULTILINE),
    "unquoted": ASKED.replace('"', ""),
    "padded": ASKED.replace("[", " [ ").replace("]", " ] "),
}


@pytest.fixture
def write(tmp_path):
    """Writes a file of the test's own and returns its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# ── landmark tables ──


@pytest.mark.parametrize("content", LANDMARK_DIALECTS.values(), ids=LANDMARK_DIALECTS)
def test_a_landmark_table_is_read_in_every_dialect(write, content):
    table = contest.read_landmarks(write(content))
    assert table.file_names == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(table.points, [[[1, -2]], [[3, 40]]])
    assert table.points.dtype == np.int16


@pytest.mark.parametrize("points", [1, 5, 971])
@pytest.mark.parametrize("write_table", [contest.write_landmarks, contest.write_submission])
def test_a_landmark_table_comes_back(tmp_path, write_table, points):
    path, names = tmp_path / "new" / "table.csv", ["a.jpg", "inner/b.jpg", "c.png"]
    landmarks = np.random.default_rng(0).integers(-40, 600, (3, points, 2)).astype(np.int16)
    write_table(path, names, landmarks)
    table = contest.read_landmarks(path)
    assert table.file_names == names
    assert table.points.dtype == np.int16
    np.testing.assert_array_equal(table.points, landmarks)


def test_fractions_come_back_as_float32(tmp_path):
    path = tmp_path / "table.csv"
    landmarks = np.random.default_rng(0).uniform(-40, 600, (2, 3, 2)).astype(np.float32)
    contest.write_landmarks(path, ["a.jpg", "b.jpg"], landmarks)
    points = contest.read_landmarks(path).points
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, landmarks, atol=1e-4)


def test_a_submission_looks_as_the_contest_wants_it(tmp_path):
    path = tmp_path / "submission.csv"
    contest.write_submission(path, ["a.jpg"], [np.array([[1.0, 2.0], [-3.0, 40.0]])])
    header, row = path.read_text().splitlines()
    assert header == "file_name,Point_M0_X,Point_M0_Y,Point_M1_X,Point_M1_Y"
    assert row == "a.jpg,1,2,-3,40"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("a.jpg,1,2\n", "must be a header"),
        ("file_name;x;y\na.jpg;1;2\n", "another separator"),
        ("file_name,x\n", "2 columns"),
        ("file_name,x,y,z\n", "4 columns"),
        (HEADER, "no row under the header"),
        (b"\x00\xff\t\x01\n", "must be a header"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(write, content, says):
    with pytest.raises(InputError, match=says) as error:
        contest.read_landmarks(write(content))
    assert "table.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "read",
    [
        contest.read_landmarks,
        contest.read_test_points,
        contest.read_groups,
        contest.read_predictions,
    ],
)
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(InputError, match=r"nowhere\.csv: "):
        read(tmp_path / "nowhere.csv")


BROKEN_ROWS = {
    "b.jpg": "fewer numbers than the header has: 0, not 2",
    "b.jpg,1": "fewer numbers than the header has: 1, not 2",
    "b.jpg,1,2,3": "more numbers than the header has: 3, not 2",
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
    "b.jpg,1;2": "fewer numbers",
    "b.jpg,1e5,2": "beyond 32767 px",
}


@pytest.mark.parametrize(("row", "reason"), BROKEN_ROWS.items())
def test_a_broken_row_is_told_and_spoils_no_other(write, row, reason):
    path = write(f"{HEADER}a.jpg,1,2\n{row}\nc.jpg,3,4\n")
    (rows,) = contest.iterate_landmarks(path)
    assert rows.file_names == ["a.jpg", "c.jpg"]
    assert rows.lines == [2, 4]
    np.testing.assert_array_equal(rows.points, [[[1, 2]], [[3, 4]]])
    (reject,) = rows.rejects
    assert reject.file_name == row.partition(",")[0]
    assert reject.line == 3
    assert reason in reject.reason
    with pytest.raises(InputError, match=r"table.csv, line 3 \(") as error:
        contest.read_landmarks(path)
    assert reason in str(error.value)


def test_a_name_that_is_not_utf8_is_told_as_its_bytes_are(write):
    path = write(HEADER.encode() + b"b\xe9.jpg,1,2\nc.jpg,3,4\n")
    (rows,) = contest.iterate_landmarks(path)
    assert rows.file_names == ["c.jpg"]
    (reject,) = rows.rejects
    assert os.fsencode(reject.file_name) == b"b\xe9.jpg"
    assert "not the name of a file" in reject.reason
    contest.write_rejects(path, [reject])
    assert path.read_text().splitlines()[1].startswith("b\\udce9.jpg\t2\tnot the name of a file")


@pytest.mark.parametrize("end", ["-", "", "\v", "4\0", "4-", "--4"])
def test_the_tables_last_number_is_a_number(write, end):
    (rows,) = contest.iterate_landmarks(write(f"{HEADER}a.jpg,1,2\nb.jpg,3,{end}"))
    assert rows.file_names == ["a.jpg"]
    assert [reject.line for reject in rows.rejects] == [3]


@pytest.mark.parametrize("name", ["two words.jpg", "älteste Straße.jpg", "人/a.jpg", "./a.jpg"])
def test_names_have_spaces_letters_of_any_kind_and_folders(write, name):
    assert contest.read_landmarks(write(f"{HEADER}{name},1,2\n")).file_names == [name]


@pytest.mark.parametrize("end", ["b.jpg,3", "b.jpg,", "b.jpg", "b.j"])
def test_a_table_cut_in_mid_row_loses_that_row_and_says_so(write, end):
    (rows,) = contest.iterate_landmarks(write(f"{HEADER}a.jpg,1,2\n{end}"))
    assert rows.file_names == ["a.jpg"]
    (reject,) = rows.rejects
    assert reject.line == 3
    assert "fewer numbers than the header has" in reject.reason


@pytest.mark.parametrize("start", [b"", HEADER.encode(), b"file_name,point_index_list\n"])
def test_a_line_without_an_end_is_refused_and_not_read_whole(tmp_path, start):
    path = tmp_path / "table.csv"
    path.write_bytes(start)
    with path.open("r+b") as file:
        file.truncate(1 << 36)  # 64 GB, none of them on the disk
    read = contest.read_test_points if b"list" in start else contest.read_landmarks
    with pytest.raises(InputError, match=r"table\.csv: a line is over 1,048,576 bytes long"):
        read(path)


def test_a_short_row_and_a_long_one_do_not_make_up_for_each_other(write):
    (rows,) = contest.iterate_landmarks(write(f"{HEADER}a.jpg,1\nb.jpg,2,3,4\nc.jpg,5,6\n"))
    assert rows.file_names == ["c.jpg"]
    assert [reject.line for reject in rows.rejects] == [2, 3]


def test_lines_are_counted_through_all_blocks(write, monkeypatch):
    monkeypatch.setattr(contest, "_BLOCK_BYTES", 30)
    names = [f"{number}.jpg" for number in range(2, 50)]
    path = write(HEADER + "".join(f"{name},1,{'x' if name == '30.jpg' else 2}\n" for name in names))
    blocks = list(contest.iterate_landmarks(path))
    assert len(blocks) > 10
    assert [f"{line}.jpg" for rows in blocks for line in rows.lines] == names[:28] + names[29:]
    assert [reject.line for rows in blocks for reject in rows.rejects] == [30]


@pytest.mark.parametrize(("limit", "kept"), [(1, 1), (4, 4), (9, 9), (20, 10), (None, 10)])
def test_only_the_first_rows_are_read(write, monkeypatch, limit, kept):
    monkeypatch.setattr(contest, "_BLOCK_BYTES", 30)
    path = write(HEADER + "".join(f"{number}.jpg,1,2\n" for number in range(10)))
    names = [name for rows in contest.iterate_landmarks(path, limit) for name in rows.file_names]
    assert names == [f"{number}.jpg" for number in range(kept)]


def test_memory_is_bounded_by_the_block_not_by_the_table(write, monkeypatch):
    block = 1 << 18
    monkeypatch.setattr(contest, "_BLOCK_BYTES", block)
    header = ",".join(["file_name"] + ["x,y"] * 500)
    path = write(header + "\n" + ("a.jpg" + ",123,-45" * 500 + "\n") * 5000)
    assert path.stat().st_size > 64 * block
    tracemalloc.start()
    rows = sum(len(rows.file_names) for rows in contest.iterate_landmarks(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 5000
    assert peak < 16 * block


# ── asked points, groups, rejects ──


@pytest.mark.parametrize("content", ASKED_DIALECTS.values(), ids=ASKED_DIALECTS)
def test_asked_points_are_read_in_every_dialect(write, content):
    asked = contest.read_test_points(write(content))
    assert asked.file_names == ["a.jpg", "b.jpg"]
    assert [indices.tolist() for indices in asked.point_indices] == [[3, 1], [0, 2]]


def test_asked_points_come_back(tmp_path):
    path, names = tmp_path / "test_points.csv", ["a.jpg", "b.jpg"]
    contest.write_test_points(path, names, [np.array([970, 0]), [5]])
    asked = contest.read_test_points(path)
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
        contest.read_test_points(
            write(f"file_name\tpoint_index_list\na.jpg\t[1]\nb.jpg\t{indices}\n")
        )
    assert "\n" not in str(error.value)
    assert not (tmp_path / "evaluated").exists()


def test_asked_points_of_a_name_that_climbs_out_are_refused(write):
    with pytest.raises(InputError, match="line 2: not the name of a file"):
        contest.read_test_points(write("file_name\tpoint_index_list\n../a.jpg\t[1]\n"))


@pytest.mark.parametrize("name", ["test/test_points.csv", "test_points.csv"])
def test_asked_points_lie_in_the_split_or_beside_it(write, tmp_path, name):
    path = write(ASKED, name)
    assert contest.find_test_points(tmp_path, "test") == path


@pytest.mark.parametrize(
    "find", [contest.find_test_points, contest.find_landmarks, contest.find_image_folder]
)
def test_what_a_split_lacks_is_named(tmp_path, find):
    with pytest.raises(InputError, match=str(tmp_path / "test")):
        find(tmp_path, "test")


def test_groups_come_back(tmp_path):
    path = tmp_path / "groups.csv"
    contest.write_groups(path, "person", ["a.jpg", "b.jpg"], ["Ada", "Bo B"])
    assert path.read_text().startswith("file_name\tperson\n")
    assert contest.read_groups(path) == {"a.jpg": "Ada", "b.jpg": "Bo B"}


def test_names_are_the_first_column_of_any_table_each_once(tmp_path):
    names = ["b, c.jpg", "a.jpg", "../a.jpg", "a.jpg"]
    rows = [(name, "7", "2.5", "misplaced: 10 %") for name in names]
    contest.write_rows(tmp_path / "t.tsv", ("file_name", "row", "score", "reason"), rows)
    assert contest.read_names(tmp_path / "t.tsv") == ["b, c.jpg", "a.jpg"]


def test_files_are_listed_by_their_paths_in_the_folder(tmp_path):
    for name in ("b.jpg", "inner/a.jpg", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert contest.list_files(tmp_path) == [".hidden", "b.jpg", "inner/a.jpg"]


@pytest.mark.parametrize("name", ["", "/etc/a.jpg", "../a.jpg", "a\tb.jpg", "a\udce9.jpg"])
def test_some_files_no_table_can_name(name):
    assert not contest.can_be_listed(name)


def test_a_name_in_two_groups_is_told(write):
    with pytest.raises(InputError, match=r"line 3: an earlier row has a\.jpg in another group"):
        contest.read_groups(write("file_name,person\na.jpg,Ada\na.jpg,Bo\n"))


def test_a_row_without_a_group_is_told(write):
    with pytest.raises(InputError, match=r"table.csv, line 3: a row is a file name and a group"):
        contest.read_groups(write("file_name,person\na.jpg,Ada\nb.jpg,\n"))


def test_rejects_are_a_table(tmp_path):
    path = tmp_path / "rejects.csv"
    contest.write_rejects(path, [Reject("a.jpg", 3, "the file is empty")])
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
    [(contest.write_landmarks, "\t"), (contest.write_submission, ",")],
)
def test_odd_names_come_back_in_a_table_of_points(tmp_path, write_table, separator):
    path = tmp_path / "table.csv"
    points = np.arange(len(ODD_NAMES) * 4).reshape(-1, 2, 2)
    write_table(path, ODD_NAMES, points)
    table = contest.read_landmarks(path)
    assert table.file_names == ODD_NAMES
    np.testing.assert_array_equal(table.points, points)
    rows = [[name, *map(str, row.flat)] for name, row in zip(ODD_NAMES, points, strict=True)]
    assert read_as_others_do(path, separator) == rows


def test_odd_names_come_back_in_other_tables(tmp_path):
    path = tmp_path / "table.tsv"
    contest.write_test_points(path, ODD_NAMES, [[3, 1]] * len(ODD_NAMES))
    assert contest.read_test_points(path).file_names == ODD_NAMES
    assert read_as_others_do(path, "\t") == [[name, "[3, 1]"] for name in ODD_NAMES]
    contest.write_groups(path, "group", ODD_NAMES, ODD_NAMES)
    assert contest.read_groups(path) == dict(zip(ODD_NAMES, ODD_NAMES, strict=True))
    assert read_as_others_do(path, "\t") == [[name, name] for name in ODD_NAMES]
    contest.write_rejects(path, [Reject(name, 2, f"no {name!r}") for name in ODD_NAMES])
    assert read_as_others_do(path, "\t") == [[name, "2", f"no {name!r}"] for name in ODD_NAMES]


def test_only_what_needs_quotes_has_them(tmp_path):
    path = tmp_path / "table.csv"
    names = ["a b.jpg", "a,b.jpg", "it's.jpg"]
    contest.write_submission(path, names, np.ones((3, 1, 2)))
    assert path.read_text().splitlines()[1:] == ["a b.jpg,1,1", '"a,b.jpg",1,1', "it's.jpg,1,1"]
    contest.write_landmarks(path, names, np.ones((3, 1, 2)))
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
    assert contest.read_landmarks(write(f"{HEADER}{row}\n")).file_names == [name]


@pytest.mark.parametrize("control", ["\t", "\r", "\v", "\0", "\x1b", "\x7f"])
def test_quotes_do_not_let_control_characters_into_a_name(write, control):
    path = write(f'{HEADER}"a{control}b, c.jpg",1,2\nd.jpg,3,4\n')
    (rows,) = contest.iterate_landmarks(path)
    assert rows.file_names == ["d.jpg"]
    assert rows.rejects[0].file_name == f"a{control}b, c.jpg"
    assert "not the name of a file" in rows.rejects[0].reason


# ── predictions ──


def test_predictions_come_back(tmp_path):
    path = tmp_path / "predictions.npz"
    landmarks = np.random.default_rng(0).uniform(-5, 500, (2, 971, 2)).astype(np.float32)
    contest.write_predictions(path, ["a.jpg", "ä.jpg"], landmarks)
    table = contest.read_predictions(path)
    assert table.file_names == ["a.jpg", "ä.jpg"]
    np.testing.assert_array_equal(table.points, landmarks)
    assert table.points.dtype == np.float32
    assert table.sigmas is None


def test_predictions_come_back_with_their_deviations(tmp_path):
    path = tmp_path / "predictions.npz"
    sigmas = np.random.default_rng(0).uniform(1, 9, (2, 3))
    contest.write_predictions(path, ["a.jpg", "b.jpg"], np.zeros((2, 3, 2)), sigmas)
    table = contest.read_predictions(path)
    np.testing.assert_array_equal(table.sigmas, sigmas.astype(np.float32))
    assert table.sigmas.dtype == np.float32
    contest.write_predictions(path, ["a.jpg", "b.jpg"], np.zeros((2, 3, 2)), sigmas[:, :2])
    with pytest.raises(InputError, match=r"\(2, 2\) sigmas and \(2, 3, 2\) landmarks do not match"):
        contest.read_predictions(path)


def test_predictions_are_read_some_rows_at_a_time(tmp_path):
    path = tmp_path / "predictions.npz"
    landmarks = np.random.default_rng(0).uniform(-5, 500, (5, 3, 2)).astype(np.float32)
    contest.write_predictions(path, list("abcde"), landmarks)
    pieces = list(contest.iterate_predictions(path, rows=2))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(pieces), landmarks)
    assert contest.read_predicted_names(path) == (list("abcde"), 3)
    contest.write_predictions(path, list("abcde"), landmarks, landmarks[..., 0])
    pieces = list(contest.iterate_predictions(path, rows=2))
    np.testing.assert_array_equal(np.concatenate(pieces), landmarks[..., [0, 1, 0]])


def test_a_changed_byte_is_found_when_the_last_rows_are_read(tmp_path):
    path = tmp_path / "predictions.npz"
    contest.write_predictions(path, list("abcde"), np.full((5, 3, 2), 7.0))
    content = path.read_bytes()
    path.write_bytes(content.replace(np.float32(7).tobytes(), np.float32(8).tobytes(), 1))
    with pytest.raises(InputError, match=r"predictions\.npz: not a predictions file \(Bad CRC"):
        list(contest.iterate_predictions(path, rows=2))


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
def test_arrays_that_are_no_predictions_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "predictions.npz", **arrays)
    for read in (contest.read_predictions, contest.read_predicted_names):
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
def test_memory_is_not_taken_for_what_a_predictions_file_claims(tmp_path, compression):
    path = tmp_path / "predictions.npz"
    rows = 1 << 30 if compression == zipfile.ZIP_STORED else 1 << 16
    landmarks = np.zeros((1 if compression == zipfile.ZIP_STORED else rows, 3, 2), np.float32)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("file_names.npy", array_file(np.array(["a.jpg"]), (1,)))
        archive.writestr("landmarks.npy", array_file(landmarks, (rows, 3, 2)))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"predictions\.npz: not a predictions file"):
        contest.read_predictions(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b[40:], lambda b: b"text"])
def test_a_damaged_predictions_file_is_refused(tmp_path, damage):
    path = tmp_path / "predictions.npz"
    contest.write_predictions(path, ["a.jpg"], np.zeros((1, 3, 2)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"predictions\.npz: "):
        contest.read_predictions(path)


# ── images ──


@pytest.fixture
def photo():
    """A smooth photo, 40 x 20: red grows to the right, green downwards, blue is 30."""
    x, y = np.meshgrid(np.arange(40), np.arange(20))
    return np.stack([x * 6, y * 12, np.full_like(x, 30)], axis=-1).astype(np.uint8)


def test_a_jpeg_comes_back_as_rgb(photo):
    decoded = contest.decode_image(contest.encode_jpeg(photo))
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded.astype(int), photo, atol=12)


def test_a_png_named_jpg_is_read(photo, write):
    path = write(cv2.imencode(".png", photo[..., ::-1])[1].tobytes(), "a.jpg")
    np.testing.assert_array_equal(contest.read_image(path.parent, path.name), photo)


def test_grey_becomes_rgb(photo):
    grey = photo[..., 0]
    decoded = contest.decode_image(cv2.imencode(".png", grey)[1].tobytes())
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=-1))


def test_an_image_is_turned_as_its_exif_says(photo):
    jpeg = contest.encode_jpeg(photo)
    # One entry: tag 0x0112 (orientation), one short, 6: the camera was turned to the left.
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    expected = np.rot90(contest.decode_image(jpeg), -1)
    np.testing.assert_array_equal(contest.decode_image(turned), expected)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda jpeg: jpeg[: len(jpeg) // 2], "the JPEG is truncated"),
        (lambda jpeg: jpeg[:-2], "the JPEG is truncated"),
        (lambda jpeg: b"", "the file is empty"),
        (lambda jpeg: jpeg[:20] + jpeg[-2:], "the JPEG is truncated"),
        (lambda jpeg: jpeg[:3], "the JPEG is truncated"),
        (lambda jpeg: jpeg.replace(b"\xff\xdb", b"\xff\xfe"), "the image does not decode"),
        (lambda jpeg: b"<html>not found</html>", "neither a JPEG nor a PNG"),
        (lambda jpeg: b"\x89PNG\r\n\x1a\n", "the image does not decode"),
    ],
)
def test_a_broken_image_is_named(photo, write, damage, says):
    path = write(damage(contest.encode_jpeg(photo)), "a.jpg")
    with pytest.raises(InputError, match=f"{path.parent}/a.jpg: {says}"):
        contest.read_image(path.parent, path.name)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: not an ordinary file"):
        contest.read_image(tmp_path, "a.jpg")


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(InputError, match=r"a\.jpg: over 268,435,456 bytes: 68,719,476,736"):
        contest.read_image(tmp_path, "a.jpg")


def test_cmyk_becomes_rgb(photo):
    buffer = io.BytesIO()
    Image.fromarray(photo).convert("CMYK").save(buffer, "JPEG", quality=95, subsampling=0)
    np.testing.assert_allclose(contest.decode_image(buffer.getvalue()).astype(int), photo, atol=12)


@pytest.mark.parametrize("channels", [slice(None, None, -1), 0], ids=["colour", "grey"])
def test_sixteen_bits_become_eight(photo, channels):
    deep = photo[..., channels].astype(np.uint16) * 257
    decoded = contest.decode_image(cv2.imencode(".png", deep)[1].tobytes())
    expected = photo if deep.ndim == 3 else np.stack([photo[..., 0]] * 3, axis=-1)
    np.testing.assert_array_equal(decoded, expected)


def test_what_is_transparent_keeps_its_colour(photo):
    faint = np.dstack([photo[..., ::-1], np.zeros(photo.shape[:2], np.uint8)])
    decoded = contest.decode_image(cv2.imencode(".png", faint)[1].tobytes())
    np.testing.assert_array_equal(decoded, photo)


def test_an_image_one_pixel_wide_is_read(photo):
    narrow = photo[:, :1]
    decoded = contest.decode_image(cv2.imencode(".png", narrow[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(decoded, narrow)


def test_a_side_over_a_hundred_times_the_other_is_refused():
    assert contest.decode_image(contest.encode_jpeg(np.zeros((100, 1, 3), np.uint8))).size
    with pytest.raises(ValueError, match="a side is over 100 times the other: 1 x 101"):
        contest.decode_image(contest.encode_jpeg(np.zeros((101, 1, 3), np.uint8)))


def test_what_follows_a_jpegs_end_does_not_matter(photo):
    jpeg = contest.encode_jpeg(photo)
    decoded = contest.decode_image(jpeg + bytes(100_000))  # a film, as some telephones append
    np.testing.assert_array_equal(decoded, contest.decode_image(jpeg))


def test_the_end_of_a_thumbnail_is_not_the_jpegs(photo):
    jpeg = contest.encode_jpeg(photo)
    thumbnail = b"\xff\xe1" + (len(jpeg) + 2).to_bytes(2, "big") + jpeg
    whole = jpeg[:2] + thumbnail + jpeg[2:]
    np.testing.assert_array_equal(contest.decode_image(whole), contest.decode_image(jpeg))
    with pytest.raises(ValueError, match="the JPEG is truncated"):
        contest.decode_image(whole[:-40])


@pytest.mark.parametrize("length", [1, 16, 512])
def test_a_jpeg_damaged_in_its_middle_goes_unnoticed(length):
    """libjpeg warns of most such damage, but OpenCV has no way to ask for its warnings."""
    blobs = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    jpeg = contest.encode_jpeg(cv2.resize(blobs, (240, 240)))
    middle = len(jpeg) // 2
    damaged = contest.decode_image(jpeg[:middle] + bytes(length) + jpeg[middle + length :])
    assert (damaged != contest.decode_image(jpeg)).any()


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp", ".gif"])
def test_other_formats_are_refused(photo, suffix):
    with pytest.raises(ValueError, match="neither a JPEG nor a PNG"):
        contest.decode_image(cv2.imencode(suffix, photo)[1].tobytes())


def png_chunk(kind, content):
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(photo, kind, monkeypatch):
    side = 20_000
    if kind == "png":  # 1 bit a pixel: 50 MB of zeros in 49 kB, 1.2 GB decoded
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        pixels = zlib.compress(bytes(side * (side // 8 + 1)), 9)
        chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
        bomb = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
        assert len(bomb) < 50_000
    else:
        jpeg = contest.encode_jpeg(photo)
        size = jpeg.index(b"\xff\xc0") + 5
        bomb = jpeg[:size] + struct.pack(">HH", side, side) + jpeg[size + 4 :]
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ValueError, match="over 100,000,000 pixels: 20000 x 20000"):
        contest.decode_image(bomb)


@pytest.fixture
def photo_folder(tmp_path, photo):
    """A folder `images` with a.png, and a.png beside it."""
    for folder in (tmp_path, tmp_path / "images"):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "a.png"), photo[..., ::-1])
    return tmp_path / "images"


def test_a_link_within_the_images_folder_is_followed(photo_folder, photo):
    (photo_folder / "inner").mkdir()
    (photo_folder / "inner" / "b.png").symlink_to("../a.png")
    (photo_folder / "c.png").symlink_to(photo_folder / "inner" / "b.png")
    for name in ("a.png", "inner/b.png", "c.png"):
        np.testing.assert_array_equal(contest.read_listed_image(photo_folder, name), photo)


def test_the_images_folder_may_be_a_link(photo_folder, photo):
    link = photo_folder.with_name("link")
    link.symlink_to(photo_folder)
    (photo_folder / "b.png").symlink_to("a.png")
    for name in ("a.png", "b.png"):
        np.testing.assert_array_equal(contest.read_listed_image(link, name), photo)


def test_a_link_that_leaves_the_images_folder_is_refused(photo_folder):
    (photo_folder / "file.png").symlink_to("../a.png")
    (photo_folder / "outside").symlink_to("..")
    (photo_folder / "twice.png").symlink_to("file.png")
    (photo_folder / "away.png").symlink_to(photo_folder.parent / "nowhere.png")
    for name in ("file.png", "outside/a.png", "twice.png", "away.png"):
        with pytest.raises(ValueError, match=r"^a link that leaves the images folder"):
            contest.read_listed_image(photo_folder, name)
        with pytest.raises(InputError, match=f"{name}: a link that leaves the images folder"):
            contest.read_image(photo_folder, name)


@pytest.mark.parametrize("name", ["../a.png", "inner/../../a.png", "{folder}/a.png", "", "a\n.png"])
def test_what_is_no_name_of_a_file_in_the_folder_is_not_looked_for(photo_folder, name):
    """Tables are read with such rows refused; a file of predictions has any names."""
    name = name.format(folder=photo_folder)
    (photo_folder / "inner").mkdir()
    with pytest.raises(ValueError, match=r"^not the name of a file in the images folder: "):
        contest.read_listed_image(photo_folder, name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b.png", "there is no such image"),
        ("dangling.png", "there is no such image"),
        ("circle.png", "Too many levels of symbolic links"),
        (".", "not an ordinary file"),
        ("a.png/b.png", "Not a directory"),
        ("b" * 300, "File name too long"),
    ],
)
def test_what_is_no_image_is_told(photo_folder, name, reason):
    (photo_folder / "dangling.png").symlink_to("b.png")
    (photo_folder / "circle.png").symlink_to("circle.png")
    with pytest.raises(ValueError, match=f"^{reason}$"):
        contest.read_listed_image(photo_folder, name)


def test_blank_lines_are_passed_over(tmp_path):
    table, asked, groups = tmp_path / "l.csv", tmp_path / "t.csv", tmp_path / "g.csv"
    table.write_text("file_name\tX\tY\na.jpg\t1\t2\n\nb.jpg\t3\t4\n\n")
    asked.write_text("file_name\tpoint_index_list\na.jpg\t[1]\n\n")
    groups.write_text("file_name\tgroup\na.jpg\tann\n\n")
    assert contest.read_landmarks(table).file_names == ["a.jpg", "b.jpg"]
    assert contest.read_test_points(asked).file_names == ["a.jpg"]
    assert contest.read_groups(groups) == {"a.jpg": "ann"}
