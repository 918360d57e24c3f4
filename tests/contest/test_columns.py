import pytest

from keras_landmarks.contest.columns import BoxColumns, find_point_columns, title_words


def pairs(header):
    """Returns the landmarks' names with their columns of x and y."""
    found = find_point_columns(header.split(","))
    return list(zip(found.names, found.x, found.y, strict=True))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("x0,y0,x1,y1", [("0", 0, 1), ("1", 2, 3)]),
        ("x0,x1,y0,y1", [("0", 0, 2), ("1", 1, 3)]),
        ("nose_y,nose_x", [("nose", 1, 0)]),
        ("LeftEyeX,LeftEyeY,NOSE_X,NOSE_Y", [("LeftEye", 0, 1), ("NOSE", 2, 3)]),
        ("left eye (x),left eye (y)", [("left_eye", 0, 1)]),
        ("NoseX,noseY", [("Nose", 0, 1)]),
        ("Größe_x,Größe_y,Größe2_x,Größe2_y", [("Größe", 0, 1), ("Größe2", 2, 3)]),
        ("Ähre_x,Ähre_y,Öhre_x,Öhre_y", [("Ähre", 0, 1), ("Öhre", 2, 3)]),
        ("鼻x,鼻y,目x,目y", [("鼻", 0, 1), ("目", 2, 3)]),
        ("नाक_x,नाक_y,नाखू_x,नाखू_y", [("नाक", 0, 1), ("नाखू", 2, 3)]),
        ("a_x,a_y,A_x,A_y", [("a", 0, 1), ("A", 2, 3)]),
        ("gro\u0308_x,gr\u00f6_y", [("gr\u00f6", 0, 1)]),
        (" x_0, y_0", [("0", 0, 1)]),
        ("x,y,x.1,y.1", [("", 0, 1), ("1", 2, 3)]),
        ("w_x,w_y,h_x,h_y", [("w", 0, 1), ("h", 2, 3)]),
    ],
)
def test_titles_are_paired_by_name(header, expected):
    assert pairs(header) == expected


def test_numbered_landmarks_are_sorted():
    assert pairs("p10_x,p10_y,p2_x,p2_y") == [("p2", 2, 3), ("p10", 0, 1)]
    assert pairs("b_x,b_y,a_x,a_y") == [("b", 0, 1), ("a", 2, 3)]


@pytest.mark.parametrize(
    "columns",
    [
        "width,height",
        "score,person",
        "nose_z",
        "nose_likelihood",
        "nose_x_mm,nose_y_mm",
        "xMin,yMin",
    ],
)
def test_other_columns_are_ignored(columns):
    assert pairs(f"nose_x,nose_y,{columns}") == [("nose", 0, 1)]


@pytest.mark.parametrize(
    ("columns", "has_size"),
    [
        ("x,y,w,h", True),
        ("x,y,width,height", True),
        ("face_x,face_y,face_w,face_h", True),
        ("bbox_x,bbox_y,bbox_width,bbox_height", True),
        ("x1,y1,x2,y2", False),
        ("box_x0,box_y0,box_x1,box_y1", False),
        ("FaceX1,FaceY1,FaceX2,FaceY2", False),
        ("top_left_x,top_left_y,bottom_right_x,bottom_right_y", False),
    ],
)
def test_box_is_not_a_landmark(columns, has_size):
    found = find_point_columns(f"{columns},nose_x,nose_y,chin_x,chin_y".split(","))
    assert (found.names, found.x, found.y) == (["nose", "chin"], [4, 6], [5, 7])
    assert found.box == BoxColumns((0, 1, 2, 3), has_size)
    assert found.ignored == [
        title for title in columns.split(",") if {"x", "y"} & set(title_words(title))
    ]


def test_centre_of_box_is_not_a_landmark():
    assert pairs("center_x,center_y,width,height,nose_x,nose_y") == [("nose", 4, 5)]
    assert pairs("center_x,center_y,nose_x,nose_y") == [("center", 0, 1), ("nose", 2, 3)]


def test_size_before_landmark_is_the_photos():
    assert pairs("width,height,x,y") == [("", 2, 3)]


def test_two_numbered_points_are_landmarks():
    assert pairs("x1,y1,x2,y2") == [("1", 0, 1), ("2", 2, 3)]


def test_openface_pixel_columns_are_found():
    axes = [f"{axis}_{i}" for axis in "xyXYZ" for i in range(68)]
    titles = ["frame", " confidence", " gaze_0_x", " gaze_0_y", " gaze_0_z", " pose_Tx", *axes]
    found = find_point_columns(titles)
    assert found.names == [str(i) for i in range(68)]
    assert (found.x, found.y) == (list(range(6, 74)), list(range(74, 142)))


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("a,b", "x0, y0"),
        ("", "x0, y0"),
        ("x,y,w,h", "x0, y0.* box"),
        ("x0,y0,x1", "'x1'"),
        ("nose_x,nose_y,nose_x,nose_y", "'nose_x' and 'nose_x' .*'nose'"),
        ("nose_x,nose_y,nose_X,nose_Y", "'nose_x' and 'nose_X' .*'nose'"),
        ("nose-x,nose-y,nose_x,nose_y", "'nose-x' and 'nose_x' .*'nose'"),
        ("p1_x,p1_y,p01_x,p01_y", "'p1' and 'p01'"),
        ("a_x,a_y,b_x,b_y,b_z", "'b_x' .*'a_x'"),
    ],
)
def test_contradictory_header_is_refused(header, named):
    with pytest.raises(ValueError, match=named):
        find_point_columns(header.split(","))
