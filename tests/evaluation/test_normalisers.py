import numpy as np
import pytest

from keras_landmarks.evaluation import matching, normalisers
from keras_landmarks.evaluation.matching import Truth
from keras_landmarks.utils.errors import InputError

# Boxes 30 x 40 and 40 x 90.
FACES_PX = np.array(
    [[[10, 20], [40, 60], [13, 24], [20, 50]], [[0, 0], [40, 90], [30, 40], [0, 9]]]
)
NAMES = ["a.jpg", "b.jpg"]


@pytest.fixture
def true(tmp_path):
    return Truth(tmp_path / "truth.csv", NAMES, FACES_PX, 0, NAMES)


def with_gap(true, face, point):
    faces_px = true.landmarks_px.astype(np.float32)
    faces_px[face, point] = np.nan
    return Truth(true.path, true.file_names, faces_px, 0, true.listed_names)


@pytest.mark.parametrize(
    ("normaliser", "sizes_px"),
    [
        ("box", [np.sqrt(30 * 40), 60]),
        ("diagonal", [50, np.hypot(40, 90)]),
        ("points:0,2", [5, 50]),
        # From (10, 20) and (0, 0) to (16.5, 37) and (15, 24.5).
        ("points:0,2-3", [np.hypot(6.5, 17), np.hypot(15, 24.5)]),
        ("points:0-1,2-3", [np.hypot(8.5, 3), np.hypot(5, 20.5)]),
    ],
)
def test_sizes_by_hand(true, normaliser, sizes_px):
    np.testing.assert_allclose(normalisers.face_sizes(normaliser, true), sizes_px)


def test_missing_points_leave_their_faces_without_a_distance(true, caplog):
    gapped = with_gap(true, face=1, point=2)
    np.testing.assert_array_equal(normalisers.face_sizes("points:0,2", gapped), [5, np.nan])
    assert "1 of 2 faces have no size to divide by and no NME: b.jpg" in caplog.text
    np.testing.assert_array_equal(normalisers.face_sizes("points:0,2-3", gapped)[1:], [np.nan])
    np.testing.assert_allclose(normalisers.face_sizes("diagonal", gapped), [50, np.hypot(40, 90)])


def test_most_faces_need_a_size(true):
    gapped = with_gap(with_gap(true, face=1, point=0), face=0, point=0)
    with pytest.raises(InputError, match=r"truth\.csv: 2 of 2 .*a\.jpg.*true points 0 and 2 is"):
        normalisers.face_sizes("points:0,2", gapped)


def test_faces_of_two_points_have_no_box_but_a_distance(true):
    pairs = Truth(true.path, NAMES, FACES_PX[:, [0, 2]], 0, NAMES)
    assert normalisers.face_sizes("box", pairs) is normalisers.face_sizes("diagonal", pairs) is None
    assert normalisers.face_sizes("points:0,1", pairs).tolist() == [5, 50]


def test_unknown_points_are_rejected(true):
    with pytest.raises(InputError, match=r"truth\.csv: --normaliser needs point 45; .* 0 to 3"):
        normalisers.face_sizes("points:0,45", true)


# ── a column of the table ──

HEADER = "file_name,head size,x0,y0,x1,y1\n"


def test_sizes_of_a_column(write):
    table = HEADER + "b.jpg,40.5,1,2,3,4\na.jpg,60,5,6,7,9\nb.jpg,40.5,1,2,3,4\n"
    true = matching.read_truth(write(table))
    assert true.file_names == ["b.jpg", "a.jpg"]
    assert normalisers.face_sizes("size:head size", true).tolist() == [40.5, 60]


@pytest.mark.parametrize("cell", ["0", "", "  ", "NA", "nan", "NaN"])
def test_empty_and_zero_cells_are_no_size(write, cell, caplog):
    true = matching.read_truth(write(HEADER + f"a.jpg,{cell},1,2,3,4\nb.jpg,8,5,6,7,9\n"))
    sizes_px = normalisers.face_sizes("size:head size", true)
    np.testing.assert_array_equal(sizes_px, [np.nan, 8])
    assert "no NME: a.jpg" in caplog.text


@pytest.mark.parametrize("cell", ["-3", "wide", "inf", "1e999"])
def test_other_cells_are_rejected(write, cell):
    true = matching.read_truth(write(HEADER + f"a.jpg,{cell},1,2,3,4\n"))
    with pytest.raises(InputError, match=rf"csv, line 2 \(a\.jpg\): '{cell}' is not the size"):
        normalisers.face_sizes("size:head size", true)


def test_decimal_comma_in_a_size(write):
    table = HEADER.replace(",", ";") + "a.jpg;40,5;1;2;3;4\n"
    true = matching.read_truth(write(table))
    assert normalisers.face_sizes("size:head size", true).tolist() == [40.5]


def test_unknown_column_is_rejected(write):
    true = matching.read_truth(write(HEADER + "a.jpg,1,1,2,3,4\n"))
    with pytest.raises(InputError, match=r"no column is called width; the header has .*head size"):
        normalisers.face_sizes("size:width", true)


def test_descriptions_complete_the_sentence():
    assert normalisers.describe("points:36,45") == "the distance between the true points 36 and 45"
    assert normalisers.describe("size:\x07") == "the truth's column \\x07"
    middles = "the distance between the middles of the true points 36 to 41 and 42"
    assert normalisers.describe("points:36-41,42") == middles
