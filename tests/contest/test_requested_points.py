import re

import numpy as np
import pytest
from dialects import dialects

from keras_landmarks.contest import requested_points
from keras_landmarks.utils.errors import InputError

REQUESTED = 'file_name,point_index_list\na.jpg,"[3, 1]"\nb.jpg,"[0, 2]"\n'
DIALECTS = dialects(REQUESTED) | {
    "semicolons": 'file_name;point_index_list\na.jpg;[3, 1]\nb.jpg;"[0, 2]"\n',
    "an index first": ',file_name,point_index_list\n0,a.jpg,"[3, 1]"\n1,b.jpg,"[0, 2]"\n',
    "a third column": 'file_name,point_index_list,who\na.jpg,"[3, 1]",Ada\nb.jpg,"[0, 2]",Bo\n',
    "tabs": re.sub(r'^([^,]+),"?([^"\n]*)"?', r'\1\t"\2"', REQUESTED, flags=re.MULTILINE),
    "unquoted": REQUESTED.replace('"', ""),
    "padded": REQUESTED.replace("[", " [ ").replace("]", " ] "),
}
MALFORMED = [
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
]


@pytest.mark.parametrize("content", DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_is_read(write, content):
    table = requested_points.read_test_points(write(content))
    assert table.file_names == ["a.jpg", "b.jpg"]
    assert [indices.tolist() for indices in table.point_indices] == [[3, 1], [0, 2]]


def test_written_table_is_read_back(tmp_path):
    path, names = tmp_path / "test_points.csv", ["a.jpg", "b.jpg"]
    requested_points.write_test_points(path, names, [np.array([970, 0]), [5]])
    table = requested_points.read_test_points(path)
    assert table.file_names == names
    assert [indices.tolist() for indices in table.point_indices] == [[970, 0], [5]]


@pytest.mark.parametrize("indices", MALFORMED)
def test_malformed_list_is_not_evaluated(write, indices, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(f"file_name\tpoint_index_list\na.jpg\t[1]\nb.jpg\t{indices}\n")
    with pytest.raises(InputError, match=r"table\.csv, line 3: ") as error:
        requested_points.read_test_points(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "evaluated").exists()


def test_name_outside_folder_is_refused(write):
    path = write("file_name\tpoint_index_list\n../a.jpg\t[1]\n")
    with pytest.raises(InputError, match=r"line 2: .*\.\./a\.jpg"):
        requested_points.read_test_points(path)
