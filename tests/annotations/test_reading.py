import json

import numpy as np
import pytest

from keras_landmarks.annotations.face import Face
from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError


def write(path, text):
    path.write_text(text)
    return path


def read(source, kind="auto"):
    """Faces as (photo, points) and rejects as their reasons."""
    found = read_annotations(source, kind)
    return [
        (face.photo, face.landmarks_photo_px.tolist()) if isinstance(face, Face) else face.reason
        for face in found.faces
    ]


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
def test_columns_of_a_table_are_known_by_the_letters_x_and_y(tmp_path, header, points):
    separator = next(c for c in ",;\t" if c in header)
    row = separator.join(["a.jpg", "1", "2", "3", "4"])
    table = write(tmp_path / "points.csv", f"{header}\n{row}\n")
    assert read(table) == [("a.jpg", points)]


def test_other_columns_of_a_table_do_not_count(tmp_path):
    table = write(
        tmp_path / "points.csv",
        "sex,box_x0,xMin,yMin,file_name,nose_x,nose_y\nm,0,0,0,a.jpg,5,6.5\n",
    )
    assert read(table) == [("a.jpg", [[5, 6.5]])]
    assert read_annotations(table, "auto").names == ["nose"]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("file,LeftEyeX,LeftEyeY,NOSE_X,NOSE_Y", ["LeftEye", "NOSE"]),
        ("file,left eye (x),left eye (y),M0.X,M0.Y", ["left_eye", "M0"]),
        ("file,x_0,y_0,X1,Y1", ["0", "1"]),
    ],
)
def test_points_are_called_what_their_columns_are(tmp_path, header, names):
    assert read_annotations(write(tmp_path / "a.csv", header + "\n"), "auto").names == names


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read(tmp_path, separator):
    rows = "file x0 y0\na.jpg 1,5 2\n".replace(" ", separator)
    assert read(write(tmp_path / "points.csv", rows)) == [("a.jpg", [[1.5, 2]])]


def test_broken_rows_of_a_table_are_told(tmp_path):
    rows = ["a.jpg,1", "b.jpg,1,two", "c.jpg,inf,1", 'd.jpg,"1,5",2']
    table = write(tmp_path / "points.csv", "\n".join(["file_name,nose_x,nose_y", *rows]))
    faces = list(read_annotations(table, "table").faces)
    assert faces == [
        InvalidSample("a.jpg", 2, "fewer cells than the header: 2 of 3"),
        InvalidSample("b.jpg", 3, "not a number: 'two', y of point nose"),
        InvalidSample("c.jpg", 4, "not a finite number"),
        InvalidSample("d.jpg", 5, "not a number: '1,5', x of point nose"),
    ]


def test_points_of_empty_cells_and_nan_have_no_place(tmp_path):
    table = write(tmp_path / "points.csv", "file,x0,y0,x1,y1\na.jpg,1,2, ,\nb.jpg,1,NaN,3,4\n")
    first, second = read_annotations(table, "auto").faces
    np.testing.assert_array_equal(first.landmarks_photo_px, [[1, 2], [np.nan, np.nan]])
    np.testing.assert_array_equal(second.landmarks_photo_px, [[1, np.nan], [3, 4]])


def test_a_table_without_rows_is_refused(tmp_path):
    table = write(tmp_path / "points.csv", "file,x0,y0\n\n")
    with pytest.raises(InputError, match="there is no row under the header"):
        list(read_annotations(table, "auto").faces)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("file_name,a,b", "no columns of points"),
        ("file_name,x0,y0,x1", "'x1' has no partner"),
        ("who,x0,y0", "no column of file names"),
        ("", "no columns of points"),
        ("file_name,nose_x,nose_y,nose_x,nose_y", "'nose_x' and 'nose_x' are both the x of"),
        ("a.jpg,1,2,3,4", "there is no header"),
        ("scorer,me,me", "DeepLabCut's three header lines"),
    ],
)
def test_a_table_without_the_columns_is_refused(tmp_path, header, says):
    with pytest.raises(InputError, match=says):
        read_annotations(write(tmp_path / "points.csv", header + "\n"), "auto")


def coco(*annotations, **more):
    images = [{"id": 7, "file_name": "photos/a.jpg"}]
    return json.dumps({"images": images, "annotations": list(annotations), **more})


def test_coco_keypoints_with_their_names(tmp_path):
    categories = [{"keypoints": ["left_eye", "right_eye"]}]
    text = coco({"image_id": 7, "keypoints": [1, 2, 2, 3, 4, 1]}, categories=categories)
    source = write(tmp_path / "a.json", text)
    assert read(source) == [("photos/a.jpg", [[1, 2], [3, 4]])]
    assert read_annotations(source, "auto").names == ["left_eye", "right_eye"]


def test_points_of_coco_that_nobody_placed_have_no_place(tmp_path):
    text = coco(
        {"image_id": 7, "id": 5, "keypoints": [1, 2, 2, 0, 0, 0]}, {"image_id": 7, "keypoints": []}
    )
    face, reject = read_annotations(write(tmp_path / "a.json", text), "auto").faces
    np.testing.assert_array_equal(face.landmarks_photo_px, [[1, 2], [np.nan, np.nan]])
    assert (face.row, face.id) == (1, "5")
    assert reject.reason == "no points"


def test_points_that_are_not_labelled_but_have_a_place_are_named(tmp_path):
    text = coco(
        {"image_id": 7, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 0]},
        categories=[{"id": 1, "keypoints": ["nose", "chin"]}],
    )
    [reason] = read(write(tmp_path / "a.json", text))
    assert reason == "points with v = 0, not labelled, that have a place: 1 of 2, point chin"


def test_the_names_are_those_of_the_category_that_most_faces_have(tmp_path):
    """Roboflow puts a category without keypoints first; other files have hands besides."""
    categories = [
        {"id": 0, "name": "all"},
        {"id": 1, "name": "hand", "keypoints": ["a", "b"]},
        {"id": 2, "name": "face", "keypoints": ["nose", "chin"]},
        {"id": 3, "name": "child", "keypoints": ["nose", "chin"]},
    ]
    points = [1, 2, 2, 3, 4, 2]
    kinds = [1, 2, 2, 3]
    annotations = [{"image_id": 7, "category_id": kind, "keypoints": points} for kind in kinds]
    source = write(tmp_path / "a.json", coco(*annotations, categories=categories))
    found = read_annotations(source, "auto")
    assert found.names == ["nose", "chin"]
    first, *others = found.faces
    assert first.reason == "another category: 1"
    assert all(isinstance(face, Face) for face in others)


def test_points_that_are_annotations_by_themselves_are_refused(tmp_path):
    text = coco({"image_id": 7, "category_id": 1, "segmentation": [[3, 4]], "bbox": [3, 4, 1, 1]})
    with pytest.raises(InputError, match="no annotation has keypoints"):
        read_annotations(write(tmp_path / "a.json", text), "auto")


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([(1, "a.jpg"), (2, "a.jpg")], "a.jpg has two ids, 1 and 2"),
        ([(1, "a.jpg"), (1, "b.jpg")], "image id 1 is both a.jpg and b.jpg"),
    ],
)
def test_a_photo_has_one_id(tmp_path, images, says):
    images = [{"id": number, "file_name": name} for number, name in images]
    text = json.dumps({"images": images, "annotations": []})
    with pytest.raises(InputError, match=says):
        read_annotations(write(tmp_path / "a.json", text), "auto")


def test_coco_states_the_photos_size_and_the_faces_box(tmp_path):
    images = [{"id": 7, "file_name": "a.jpg", "width": 640, "height": 480}]
    annotation = {"image_id": 7, "keypoints": [1, 2, 2], "bbox": [0, 1, 10, 20]}
    text = json.dumps({"images": images, "annotations": [annotation]})
    [face] = read_annotations(write(tmp_path / "a.json", text), "auto").faces
    assert face.photo_size == (640, 480)
    assert face.box_photo_px == (0, 1, 10, 21)


def test_the_faces_of_coco_wholebody_are_taken_not_its_bodies(tmp_path):
    text = coco({"image_id": 7, "keypoints": [0] * 51, "face_kpts": [1, 2, 1, 3, 4, 1]})
    assert read(write(tmp_path / "a.json", text)) == [("photos/a.jpg", [[1, 2], [3, 4]])]


def test_odd_values_in_coco_are_told(tmp_path):
    odd = [{"image_id": [], "keypoints": 3}, {"image_id": 7, "keypoints": [None, 2, 2]}]
    text = coco(*odd, categories=[{"keypoints": 3}])
    assert read(write(tmp_path / "a.json", text)) == [
        "no image has the annotation's image_id: []",
        "not a number: None, x of point 0",
    ]


@pytest.mark.parametrize(
    "text",
    [
        *["{", "[]", "{}", '{"images": [], "annotations": 3}'],
        *['{"images": [], "annotations": [3]}', coco(categories=["face"])],
    ],
)
def test_what_is_no_coco_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"a\.json: (no JSON|not COCO)"):
        read_annotations(write(tmp_path / "a.json", text), "auto")


def test_a_list_has_the_path_last_or_first(tmp_path):
    source = write(tmp_path / "list.txt", "1 2 3 4 a/b.jpg\n")
    assert read(source) == [("a/b.jpg", [[1, 2], [3, 4]])]
    celeba = "1\nlefteye_x lefteye_y nose_x nose_y\n000001.jpg 69 109 70 110\n"
    assert read(write(source, celeba)) == [("000001.jpg", [[69, 109], [70, 110]])]


@pytest.mark.parametrize(
    ("line", "photo"),
    [
        ("my photos/a b.jpg 1 2 3 4", "my photos/a b.jpg"),
        ("1 2 3 4 my photos/a b.jpg", "my photos/a b.jpg"),
        ("a.jpg,1,2,3,4", "a.jpg"),
        ("a.jpg, 1, 2, 3, 4", "a.jpg"),
    ],
)
def test_paths_in_a_list_may_have_spaces(tmp_path, line, photo):
    assert read(write(tmp_path / "list.txt", line + "\n")) == [(photo, [[1, 2], [3, 4]])]


def test_decimal_commas_in_a_list_are_no_separators(tmp_path):
    source = write(tmp_path / "list.txt", "a.jpg 1,5 2 3 4\n")
    assert read(source) == ["not a number: '1,5', x of point 0"]


FIVE = [30, 31, 50, 32, 40, 44, 33, 55, 48, 56]


def test_a_box_before_five_points_is_none_of_them(tmp_path):
    lines = [f"a.jpg {20 + i} {70 + i} {25} {60} " + " ".join(map(str, FIVE)) for i in range(3)]
    found = read(write(tmp_path / "list.txt", "\n".join(lines)))
    assert found == [("a.jpg", np.reshape(FIVE, (5, 2)).tolist())] * 3


def test_mtfl_has_all_x_before_all_y_and_attributes_last(tmp_path):
    numbers = [*FIVE[::2], *FIVE[1::2], 1, 2, 2, 3]
    source = write(tmp_path / "list.txt", "a.jpg " + " ".join(map(str, numbers)))
    assert read(source) == [("a.jpg", np.reshape(FIVE, (5, 2)).tolist())]


def test_fourteen_numbers_of_another_kind_are_refused(tmp_path):
    source = write(tmp_path / "list.txt", "a.jpg " + " ".join(map(str, range(90, 76, -1))))
    with pytest.raises(InputError, match="14 numbers a line are a box"):
        read_annotations(source, "auto")


def test_menpos_box_and_five_points_are_none_of_the_68(tmp_path):
    points = np.random.default_rng(0).uniform(20, 80, (68, 2)).round(1)
    numbers = [10, 10, 90, 90, *FIVE, *points.ravel().tolist()]
    source = write(tmp_path / "list.txt", " ".join(["a.jpg", *map(str, numbers)]))
    assert read(source) == [("a.jpg", points.tolist())]


def test_the_column_of_names_is_the_one_whose_files_are_there(tmp_path):
    (tmp_path / "a.jpg").touch()
    table = write(tmp_path / "points.csv", "image,path,x0,y0\nid7,a.jpg,1,2\n")
    assert read(table) == [("a.jpg", [[1, 2]])]


def test_a_column_of_pixels_holds_no_names(tmp_path):
    table = write(tmp_path / "points.csv", "x0,y0,Image\n1,2," + "12 " * 90 + "\n")
    with pytest.raises(InputError, match="no column of file names") as error:
        read_annotations(table, "auto")
    assert len(str(error.value)) < 300


LONG = "image,landmark,x,y\na.jpg,nose,1,2\na.jpg,chin,3,4\nb.jpg,chin,7,8\nb.jpg,nose,5,6\n"


@pytest.mark.parametrize("title", ["landmark", "keypoint_idx", "Point name", "name", "label"])
def test_rows_of_one_point_each_are_put_together(tmp_path, title):
    table = write(tmp_path / "points.csv", LONG.replace("landmark", title))
    assert read(table) == [("a.jpg", [[1, 2], [3, 4]]), ("b.jpg", [[5, 6], [7, 8]])]
    assert read_annotations(table, "auto").names == ["nose", "chin"]


def test_a_point_that_has_no_row_has_no_place(tmp_path):
    table = write(tmp_path / "points.csv", LONG.replace("a.jpg,chin,3,4\n", ""))
    first, _ = read_annotations(table, "auto").faces
    np.testing.assert_array_equal(first.landmarks_photo_px, [[1, 2], [np.nan, np.nan]])


def test_a_point_that_has_two_rows_is_refused(tmp_path):
    table = write(tmp_path / "points.csv", LONG + "a.jpg,nose,9,9\n")
    assert read(table)[0] == "a point is there twice: nose, line 6"


def test_rows_of_points_that_nothing_tells_apart_are_refused(tmp_path):
    table = write(tmp_path / "points.csv", LONG.replace("landmark", "colour"))
    with pytest.raises(InputError, match=r"a\.jpg has 2 rows of one point each"):
        read_annotations(table, "auto")


def test_a_photo_may_have_several_faces_of_one_point(tmp_path):
    rows = "image,x,y\na.jpg,1,2\na.jpg,3,4\nb.jpg,5,6\nc.jpg,7,8\n"
    assert len(read(write(tmp_path / "points.csv", rows))) == 4


def test_columns_tell_the_photos_size_and_a_box(tmp_path):
    header = "file_name,image_width,image_height,bbox_x,bbox_y,bbox_w,bbox_h,nose_x,nose_y"
    table = write(tmp_path / "points.csv", f"{header}\na.jpg,64,48,1,2,10,20,5,6\n")
    [face] = read_annotations(table, "auto").faces
    assert face.photo_size == (64, 48)
    assert face.box_photo_px == (1, 2, 11, 22)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.xml", "<dataset/>", "XML"),
        ("a.mat", "", "MATLAB"),
        ("a.json", '{"shapes": []}', "labelme"),
        ("a.json", '{"a.jpg1": {"filename": "a.jpg", "regions": []}}', "VGG Image Annotator"),
        ("a.json", '[{"annotations": [], "data": {}}]', "Label Studio"),
        ("a.json", '[{"img": "a.jpg", "kp": [{"keypointlabels": ["nose"]}]}]', "Label Studio"),
        ("a.txt", "5\n301.0 231.0\n", "no line has a file name and numbers"),
        ("a.txt", "photo_00\n301.0 , 231.0\n", "no line has a file name and numbers"),
    ],
)
def test_files_of_other_programs_are_refused_with_the_kinds_that_are_read(
    tmp_path, name, content, says
):
    with pytest.raises(InputError, match=f"{says}.* are read"):
        read_annotations(write(tmp_path / name, content), "auto")


def test_utf16_is_named(tmp_path):
    path = tmp_path / "points.csv"
    path.write_bytes("file_name\tx\ty\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"UTF-16.* save it as CSV UTF-8"):
        read_annotations(path, "auto")


def test_wflws_box_and_attributes_are_no_points(tmp_path):
    numbers = [*range(196), 10, 20, 30, 40, 0, 0, 1, 0, 0, 0]
    source = write(tmp_path / "list.txt", " ".join(map(str, numbers)) + " 1/a.jpg\n")
    [(photo, points)] = read(source)
    assert photo == "1/a.jpg"
    assert np.array_equal(np.ravel(points), np.arange(196))


def test_pts_files_count_pixels_from_1(tmp_path):
    text = "version: 1\nn_points: 2\n{\n1 1\n30.5 40\n}\n"
    write(tmp_path / "a.pts", text)
    (tmp_path / "a.png").touch()
    assert read(tmp_path) == [("a.png", [[0, 0], [29.5, 39]])]
    assert read(tmp_path / "a.pts") == [("a.png", [[0, 0], [29.5, 39]])]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version: 1\nn_points: 3\n{\n1 1\n2 2\n}\n", "n_points: 3, but 2 points"),
        ("1 1\n2 2\n", "a .pts file has its points in braces"),
        ("{\n1 1\n2\n}\n", "not x and y of each point: 3 numbers"),
    ],
)
def test_broken_pts_files_are_told(tmp_path, text, reason):
    write(tmp_path / "a.pts", text)
    (tmp_path / "a.jpg").touch()
    assert read(tmp_path) == [reason]


def test_files_that_macos_adds_to_archives_are_passed_over(tmp_path):
    (tmp_path / "__MACOSX").mkdir()
    for name in ("a.pts", "._a.pts", "__MACOSX/b.pts"):
        write(tmp_path / name, "{\n1 1\n}")
    (tmp_path / "a.jpg").touch()
    assert read(tmp_path) == [("a.jpg", [[0, 0]])]


def test_a_pts_file_without_its_photo_is_told(tmp_path):
    write(tmp_path / "a.pts", "{\n1 1\n}")
    assert read(tmp_path) == ["no photo of that name beside it"]


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        read_annotations(tmp_path / "none.csv", "auto")
    with pytest.raises(InputError, match=r"no \.pts file"):
        read_annotations(tmp_path, "auto")
