import csv

import numpy as np
import pytest

from keras_landmarks.contest import (
    grouping,
    invalid_samples,
    landmark_tables,
    prediction_files,
    requested_points,
    table_files,
)
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

HEADER = "file_name,Point_M0_X,Point_M0_Y\n"
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


def read_with_csv_module(path, separator):
    """Returns the rows under the header as Python's csv module reads them."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=separator, strict=True))[1:]


# ── names ──


def test_distinct_names_are_read_from_any_table(tmp_path):
    names = ["b, c.jpg", "a.jpg", "../a.jpg", "a.jpg"]
    rows = [(name, "7", "2.5", "misplaced: 10 %") for name in names]
    table_files.write_rows(tmp_path / "t.tsv", ("file_name", "row", "score", "reason"), rows)
    assert table_files.read_names(tmp_path / "t.tsv") == ["b, c.jpg", "a.jpg"]


def test_names_need_no_second_column(write):
    assert table_files.read_names(write("file_name\r\na.jpg\r\nb.jpg\r\n")) == ["a.jpg", "b.jpg"]
    assert table_files.read_names(write("file_name\na.jpg\n")) == ["a.jpg"]


@pytest.mark.parametrize(
    "read",
    [
        landmark_tables.read_landmarks,
        requested_points.read_test_points,
        grouping.read_group_table,
        prediction_files.read,
    ],
)
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(InputError, match=r"nowhere\.csv: "):
        read(tmp_path / "nowhere.csv")


# ── lines ──


@pytest.mark.parametrize("start", [b"", HEADER.encode(), b"file_name,point_index_list\n"])
def test_endless_line_is_not_read_whole(tmp_path, start):
    path = tmp_path / "table.csv"
    path.write_bytes(start)
    with path.open("r+b") as file:
        file.truncate(1 << 36)  # 64 GB, none of them on the disk
    read = requested_points.read_test_points if b"list" in start else landmark_tables.read_landmarks
    with pytest.raises(InputError, match=r"table\.csv: .*1,048,576 bytes"):
        read(path)


def test_blank_lines_are_skipped(tmp_path):
    table, requested, groups = tmp_path / "l.csv", tmp_path / "t.csv", tmp_path / "g.csv"
    table.write_text("file_name\tX\tY\na.jpg\t1\t2\n\nb.jpg\t3\t4\n\n")
    requested.write_text("file_name\tpoint_index_list\na.jpg\t[1]\n\n")
    groups.write_text("file_name\tgroup\na.jpg\tann\n\n")
    assert landmark_tables.read_landmarks(table).file_names == ["a.jpg", "b.jpg"]
    assert requested_points.read_test_points(requested).file_names == ["a.jpg"]
    assert grouping.read_group_table(groups) == {"a.jpg": "ann"}


# ── quoting ──


@pytest.mark.parametrize(
    ("write_table", "separator"),
    [(landmark_tables.write_landmarks, "\t"), (landmark_tables.write_submission, ",")],
)
def test_odd_names_survive_landmark_tables(tmp_path, write_table, separator):
    path = tmp_path / "table.csv"
    points = np.arange(len(ODD_NAMES) * 4).reshape(-1, 2, 2)
    write_table(path, ODD_NAMES, points)
    table = landmark_tables.read_landmarks(path)
    assert table.file_names == ODD_NAMES
    np.testing.assert_array_equal(table.landmarks_photo_px, points)
    rows = [[name, *map(str, row.flat)] for name, row in zip(ODD_NAMES, points, strict=True)]
    assert read_with_csv_module(path, separator) == rows


def test_odd_names_survive_other_tables(tmp_path):
    path = tmp_path / "table.tsv"
    requested_points.write_test_points(path, ODD_NAMES, [[3, 1]] * len(ODD_NAMES))
    assert requested_points.read_test_points(path).file_names == ODD_NAMES
    assert read_with_csv_module(path, "\t") == [[name, "[3, 1]"] for name in ODD_NAMES]
    grouping.write_group_table(path, "group", ODD_NAMES, ODD_NAMES)
    assert grouping.read_group_table(path) == dict(zip(ODD_NAMES, ODD_NAMES, strict=True))
    assert read_with_csv_module(path, "\t") == [[name, name] for name in ODD_NAMES]
    samples = [InvalidSample(name, 2, f"no {name!r}") for name in ODD_NAMES]
    invalid_samples.write_invalid_samples(path, samples)
    assert read_with_csv_module(path, "\t") == [[name, "2", f"no {name!r}"] for name in ODD_NAMES]


def test_quotes_are_written_only_where_needed(tmp_path):
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
def test_only_enclosing_quotes_are_removed(write, row, name):
    assert landmark_tables.read_landmarks(write(f"{HEADER}{row}\n")).file_names == [name]


@pytest.mark.parametrize("control", ["\t", "\r", "\v", "\0", "\x1b", "\x7f"])
def test_quoted_control_characters_are_invalid(write, control):
    path = write(f'{HEADER}"a{control}b, c.jpg",1,2\nd.jpg,3,4\n')
    (rows,) = landmark_tables.iterate_landmarks(path)
    assert rows.file_names == ["d.jpg"]
    assert rows.invalid_samples[0].file_name == f"a{control}b, c.jpg"
    assert "not the name of a file" in rows.invalid_samples[0].reason


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,5", "2"], ["1.5", "2"]),
        (["-1,25", "", "0,125"], ["-1.25", "", "0.125"]),
        (["148,250", "980,125"], ["148.250", "980.125"]),  # every number has three digits
        (["1,148", "98,5"], ["1.148", "98.5"]),
    ],
)
def test_decimal_commas_become_points(cells, expected):
    assert table_files.with_decimal_points(cells) == expected


@pytest.mark.parametrize("cells", [["1,148", "980"], ["", "-1,148,000", "980"]])
def test_commas_between_thousands_are_refused(cells):
    with pytest.raises(ValueError, match=r"1,148.* could be a thousand"):
        table_files.with_decimal_points(cells)
