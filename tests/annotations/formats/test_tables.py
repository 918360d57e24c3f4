import numpy as np
import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.landmark_tables import EMPTY_CELLS
from keras_landmarks.utils.errors import InputError

# ── a row per face ──


@pytest.mark.parametrize(
    ("header", "points"),
    [
        ("file_name,Point_M0_X,Point_M0_Y,Point_M1_X,Point_M1_Y", [[1, 2], [3, 4]]),
        ("image,x0,y0,x1,y1", [[1, 2], [3, 4]]),
        ("image,x0,x1,y0,y1", [[1, 3], [2, 4]]),  # all x first
        ("filename;eye_left_x;eye_left_y;nose_x;nose_y", [[1, 2], [3, 4]]),
        ("path\tp1y\tp1x\tp2y\tp2x", [[2, 1], [4, 3]]),
        ("Image;LeftEyeX;LeftEyeY;RightEyeX;RightEyeY", [[1, 2], [3, 4]]),
    ],
)
def test_columns_are_found_by_title(write, header, points):
    separator = next(c for c in ",;\t" if c in header)
    row = separator.join(["a.jpg", "1", "2", "3", "4"])
    assert read_faces(write(f"{header}\n{row}\n")) == [("a.jpg", points)]


def test_other_columns_are_ignored(write):
    header = "sex,box_x0,xMin,yMin,file_name,nose_x,nose_y"
    table = write(f"{header}\nm,0,0,0,a.jpg,5,6.5\n")
    assert read_faces(table) == [("a.jpg", [[5, 6.5]])]
    assert read_annotations(table, "auto").names == ["nose"]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("file,LeftEyeX,LeftEyeY,NOSE_X,NOSE_Y", ["LeftEye", "NOSE"]),
        ("file,left eye (x),left eye (y),M0.X,M0.Y", ["left_eye", "M0"]),
        ("file,x_0,y_0,X1,Y1", ["0", "1"]),
    ],
)
def test_landmarks_are_named_by_titles(write, header, names):
    assert read_annotations(write(header + "\n"), "auto").names == names


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read(write, separator):
    rows = "file x0 y0\na.jpg 1,5 2\n".replace(" ", separator)
    assert read_faces(write(rows)) == [("a.jpg", [[1.5, 2]])]


def test_thousands_separators_are_refused(write):
    table = write("file x0 y0\na.jpg 1,148 980\nb.jpg 148 980\n".replace(" ", "\t"))
    refused, read = read_faces(table)
    assert refused.startswith("1,148 could be a thousand or a fraction")
    assert read == ("b.jpg", [[148, 980]])


def test_broken_rows_have_reasons(write):
    rows = ["a.jpg,1", "b.jpg,1,two", "c.jpg,inf,1", 'd.jpg,"1,5",2']
    table = write("\n".join(["file_name,nose_x,nose_y", *rows]))
    assert list(read_annotations(table, "table").faces) == [
        InvalidSample("a.jpg", 2, "fewer cells than the header has: 2, not 3"),
        InvalidSample("b.jpg", 3, "not a number: 'two', y of point nose"),
        InvalidSample("c.jpg", 4, "not a finite number"),
        InvalidSample("d.jpg", 5, "not a number: '1,5', x of point nose"),
    ]


def test_empty_cells_and_nan_are_gaps(write):
    table = write("file,x0,y0,x1,y1\na.jpg,1,2, ,\nb.jpg,1,NaN,3,4\n")
    first, second = read_annotations(table, "auto").faces
    np.testing.assert_array_equal(first.landmarks, [[1, 2], [np.nan, np.nan]])
    assert second.reason == "half a point: point 0 has no y"


@pytest.mark.parametrize("cell", EMPTY_CELLS)
def test_empty_cells_are_those_of_the_contests_tables(write, cell):
    table = write(f"file,x0,y0,x1,y1\na.jpg,1,2,{cell}, {cell}\n")
    [face] = read_annotations(table, "auto").faces
    np.testing.assert_array_equal(face.landmarks, [[1, 2], [np.nan, np.nan]])


def test_table_without_rows_is_refused(write):
    table = write("file,x0,y0\n\n")
    with pytest.raises(InputError, match=r"table\.csv: "):
        list(read_annotations(table, "auto").faces)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("file_name,a,b", "x0, y0"),
        ("file_name,x0,y0,x1", "'x1'"),
        ("who,x0,y0", "file_name"),
        ("", "x0, y0"),
        ("file_name,nose_x,nose_y,nose_x,nose_y", "'nose_x' and 'nose_x'"),
        ("a.jpg,1,2,3,4", "--source_format=list"),
        ("scorer,me,me", "DeepLabCut"),
    ],
)
def test_unusable_header_is_refused(write, header, named):
    with pytest.raises(InputError, match=rf"table\.csv: .*{named}"):
        read_annotations(write(header + "\n"), "auto")


def test_name_column_is_the_one_with_existing_files(write, tmp_path):
    (tmp_path / "a.jpg").touch()
    table = write("image,path,x0,y0\nid7,a.jpg,1,2\n")
    assert read_faces(table) == [("a.jpg", [[1, 2]])]


def test_column_of_pixels_holds_no_names(write):
    table = write("x0,y0,Image\n1,2," + "12 " * 90 + "\n")
    with pytest.raises(InputError, match=r"table\.csv: .*pixels.*file_name") as error:
        read_annotations(table, "auto")
    assert len(str(error.value)) < 300


def test_photo_size_and_box_are_read(write):
    header = "file_name,image_width,image_height,bbox_x,bbox_y,bbox_w,bbox_h,nose_x,nose_y"
    [face] = read_annotations(write(f"{header}\na.jpg,64,48,1,2,10,20,5,6\n"), "auto").faces
    assert face.photo_size_px == (64, 48)
    assert face.box == (1, 2, 11, 22)


@pytest.mark.parametrize(
    ("size", "box"), [("inf,48", "1,2,0,20"), ("0,48", "1,2,nan,20"), ("64,", "1,2,inf,20")]
)
def test_what_is_no_size_or_box_is_ignored(write, size, box):
    header = "file_name,image_width,image_height,bbox_x,bbox_y,bbox_w,bbox_h,nose_x,nose_y"
    [face] = read_annotations(write(f"{header}\na.jpg,{size},{box},5,6\n"), "auto").faces
    assert (face.photo_size_px, face.box) == (None, None)


def test_box_of_corners_is_read(write):
    header = "file_name,bbox_x1,bbox_y1,bbox_x2,bbox_y2,nose_x,nose_y"
    [face] = read_annotations(write(f"{header}\na.jpg,1,2,11,22,5,6\n"), "auto").faces
    assert face.box == (1, 2, 11, 22)


def test_utf16_is_named(write):
    table = write("file_name\tx\ty\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"table\.csv: UTF-16.*UTF-8"):
        read_annotations(table, "auto")


# ── a row per landmark ──


LONG = "image,landmark,x,y\na.jpg,nose,1,2\na.jpg,chin,3,4\nb.jpg,chin,7,8\nb.jpg,nose,5,6\n"


@pytest.mark.parametrize("title", ["landmark", "keypoint_idx", "Point name", "name", "label"])
def test_rows_per_landmark_are_joined(write, title):
    table = write(LONG.replace("landmark", title))
    assert read_faces(table) == [("a.jpg", [[1, 2], [3, 4]]), ("b.jpg", [[5, 6], [7, 8]])]
    assert read_annotations(table, "auto").names == ["nose", "chin"]


def test_numbered_rows_are_sorted(write):
    rows = [f"a.jpg,{number},{number},5" for number in (0, 1, 10, 2)]
    table = write("\n".join(["image,landmark,x,y", *rows]))
    assert read_annotations(table, "auto").names == ["0", "1", "2", "10"]
    assert read_faces(table) == [("a.jpg", [[0, 5], [1, 5], [2, 5], [10, 5]])]


def test_landmark_without_row_is_a_gap(write):
    table = write(LONG.replace("a.jpg,chin,3,4\n", ""))
    first, _ = read_annotations(table, "auto").faces
    np.testing.assert_array_equal(first.landmarks, [[1, 2], [np.nan, np.nan]])


def test_existing_layout_orders_and_fills_landmarks_of_rows(write, tmp_path):
    """p2 stands first in the table, and nobody marked p0."""
    write_photo(tmp_path / "a.jpg")
    write('{"points": ["p0", "p1", "p2"]}', "data/layout.json")
    table = write("image,landmark,x,y\na.jpg,p2,40,50\na.jpg,p1,10,20\n")
    faces, _, _ = converted(table, tmp_path / "data")
    assert_faces(faces, [("a.jpg", [NO, [10, 20], [40, 50]])])


def test_landmark_with_two_rows_is_invalid(write):
    (first, *_) = read_faces(write(LONG + "a.jpg,nose,9,9\n"))
    assert first.endswith(": nose, line 6")


def test_rows_without_labels_are_refused(write):
    table = write(LONG.replace("landmark", "colour"))
    with pytest.raises(InputError, match=r"table\.csv: a\.jpg has 2 .*landmark"):
        read_annotations(table, "auto")


def test_photo_may_have_several_faces_of_one_landmark(write):
    rows = "image,x,y\na.jpg,1,2\na.jpg,3,4\nb.jpg,5,6\nc.jpg,7,8\n"
    assert len(read_faces(write(rows))) == 4
