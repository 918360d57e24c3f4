import numpy as np
import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError

SINGLE = """scorer,,,me,me,me,me,me,me,me,me
bodyparts,,,nose,nose,left_eye,left_eye,right_eye,right_eye,chin,chin
coords,,,x,y,x,y,x,y,x,y
labeled-data,video,img001.jpg,100.5,60,80,40,110,41,100,90
labeled-data,video,img002.jpg,100.5,60,80,40,110,41,,
"""
FACE = [[100.5, 60], [80, 40], [110, 41]]


@pytest.mark.parametrize("folder", ["labeled-data/video", "photos"])
def test_labelled_frames_are_converted(write, tmp_path, folder):
    """In the project, and copied out of it."""
    for name in ("img001.jpg", "img002.jpg"):
        write_photo(tmp_path / folder / name)
    source = write(SINGLE, f"{folder}/CollectedData_me.csv")
    faces, names, results = converted(source, tmp_path / "data")
    assert names == ["nose", "left_eye", "right_eye", "chin"]
    assert_faces(faces, [("img001.jpg", [*FACE, [100, 90]]), ("img002.jpg", [*FACE, NO])])
    assert results["missing_points"] == 1
    assert results["mirror"]


def test_path_may_be_one_column(write):
    lines = SINGLE.replace(",,,", ",", 3).replace("labeled-data,video,", "labeled-data\\video\\")
    found = read_faces(write(lines, "a.csv"))
    assert found[0] == ("labeled-data/video/img001.jpg", [*FACE, [100, 90]])


def test_individuals_are_faces(write):
    """DeepLabCut calls points that no individual has an individual "single"."""
    text = """scorer,,,me,me,me,me,me,me,me,me,me,me
individuals,,,a,a,a,a,b,b,b,b,single,single
bodyparts,,,nose,nose,chin,chin,nose,nose,chin,chin,door,door
coords,,,x,y,x,y,x,y,x,y,x,y
labeled-data,v,1.png,1,2,3,4,5,6,,,9,9
labeled-data,v,2.png,,,,,5,6,7,8,9,9
labeled-data,v,3.png,,,,,,,,,9,9
"""
    annotations = read_annotations(write(text, "a.csv"), "auto")
    assert annotations.names == ["nose", "chin"]
    assert annotations.ignored == ["the points of single"]
    first, second, third, empty = annotations.faces
    np.testing.assert_array_equal(first.landmarks, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(second.landmarks, [[5, 6], NO])
    np.testing.assert_array_equal(third.landmarks, [[5, 6], [7, 8]])
    assert (first.id, second.id, third.row) == ("a", "b", 6)
    assert empty.reason == "no points"


def test_likelihoods_are_not_used(write):
    text = """scorer,net,net,net
bodyparts,nose,nose,nose
coords,x,y,likelihood
labeled-data/v/1.png,1,2,0.01
"""
    annotations = read_annotations(write(text, "a.csv"), "auto")
    assert annotations.ignored == ["the likelihood of points"]
    assert [face.landmarks.tolist() for face in annotations.faces] == [[[1, 2]]]


def test_half_points_and_short_rows_have_reasons(write):
    rows = SINGLE.splitlines()[:3]
    rows += ["labeled-data,v,1.png,1,2,3,4,5,6,7,", "labeled-data,v,2.png,1,2,x,4,5,6,7,8"]
    rows += ["labeled-data,v,3.png,1,2"]
    assert read_faces(write("\n".join(rows), "a.csv")) == [
        "half a point: point chin has no y",
        "not a number: 'x', x of point left_eye",
        "fewer cells than the headers have: 5",
    ]


def test_videos_of_one_file_name_are_refused(write, tmp_path):
    write_photo(tmp_path / "img001.jpg")
    text = SINGLE.replace("video,img002", "other,img001")
    with pytest.raises(InputError, match=r"img001\.jpg might be .*video/.* and .*other/"):
        read_annotations(write(text, "a.csv"), "auto")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("scorer,a,a\nbodyparts,b,b\n1.png,1,2\n", "not DeepLabCut's headers, such as scorer,me"),
        ("scorer,a,a\nbodyparts,b\ncoords,x,y\n", "not DeepLabCut's headers"),
        ("scorer,a,a\nbodyparts,b,b\ncoords,x,x\n", "two columns are x of b"),
        ("scorer,a,a\nbodyparts,b,c\ncoords,x,y\n", "no columns of x and y"),
        ("scorer,a,a\nbodyparts,b,b\ncoords,x,y\n0,1,2\n1,3,4\n", "frames of a video, the first"),
    ],
)
def test_malformed_file_is_refused(write, text, named):
    with pytest.raises(InputError, match=rf"a\.csv: .*{named}"):
        read_annotations(write(text, "a.csv"), "auto")
