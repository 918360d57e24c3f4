import json

import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError

POINTS_YX = [[60, 100.5], [40, 80], [41, 110], [None, None]]
POINTS = [[100.5, 60], [80, 40], [110, 41], NO]


def labels(**masks):
    return [{"label": label, "mask": mask} for label, mask in masks.items()]


NAMED = labels(nose=[0], left_eye=[1], right_eye=[2], chin=[3])
VERSIONS = [
    {
        "version": 1,
        "groups": [
            {"label": each["label"], "landmarks": [{"point": place}], "connectivity": []}
            for each, place in zip(NAMED, POINTS_YX, strict=True)
        ],
    },
    {"version": 2, "labels": NAMED, "landmarks": {"points": POINTS_YX, "connectivity": [[0, 1]]}},
    {"version": 3, "groups": {"LJSON": {"labels": NAMED, "landmarks": {"points": POINTS_YX}}}},
]


@pytest.mark.parametrize("value", VERSIONS)
def test_folder_is_converted(write, tmp_path, value):
    """y stands before x, and pixels are counted from 0."""
    write_photo(tmp_path / "in" / "sub" / "a.jpg")
    write_photo(tmp_path / "in" / "b.png")
    write(json.dumps(value), "in/sub/a.ljson")
    full = json.dumps(value).replace("null, null", "90, 100")
    write(full, "in/b.ljson")
    faces, names, results = converted(tmp_path / "in", tmp_path / "data")
    assert names == ["nose", "left_eye", "right_eye", "chin"]
    assert_faces(faces, [("b.png", [*POINTS[:3], [100, 90]]), ("sub/a.jpg", POINTS)])
    assert results["missing_points"] == 1


def test_regions_name_no_points(write, tmp_path):
    write_photo(tmp_path / "a.jpg")
    value = {**VERSIONS[1], "labels": labels(eyes=[1, 2], nose=[0])}
    assert read_annotations(write(json.dumps(value), "a.ljson"), "auto").names is None


def test_points_are_matched_by_name(write, tmp_path):
    """The second file has the points of the first in the opposite order."""
    for name, value in (("a", VERSIONS[1]), ("b", VERSIONS[0])):
        write_photo(tmp_path / "in" / f"{name}.jpg")
        groups = value.get("groups")
        value = value if groups is None else {**value, "groups": groups[::-1]}
        write(json.dumps(value).replace("null, null", "90, 100"), f"in/{name}.ljson")
    assert read_annotations(tmp_path / "in", "auto").names[0] == "nose"
    points = [*POINTS[:3], [100, 90]]
    assert read_faces(tmp_path / "in") == [("a.jpg", points), ("b.jpg", points)]


@pytest.mark.parametrize("others", [labels(nose=[0], mouth=[1]), labels(all=[0, 1]), []])
def test_file_that_names_other_points_is_refused(write, tmp_path, others):
    for name, each in (("a", labels(nose=[0], chin=[1])), ("b", others)):
        write_photo(tmp_path / "in" / f"{name}.jpg")
        value = {"version": 2, "labels": each, "landmarks": {"points": [[1, 2], [3, 4]]}}
        write(json.dumps(value), f"in/{name}.ljson")
    with pytest.raises(InputError, match=r"b\.ljson: .*same points as .*a\.ljson: .*has chin"):
        read_annotations(tmp_path / "in", "auto")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "not LJSON: it has no landmarks with points"),
        ({"version": 2, "landmarks": {}}, "not LJSON: it has no landmarks with points"),
        ({"landmarks": {"points": [[1, 2, 3]]}}, "a point is not y and x of a photo"),
        ({"landmarks": {"points": [[1, None]]}}, "half a point: point 0 has no x"),
        ({"groups": {"a": {}, "b": {}}}, "several sets of points: a, b; keep one"),
    ],
)
def test_malformed_file_has_reason(write, tmp_path, value, reason):
    write_photo(tmp_path / "a.jpg")
    assert read_faces(write(json.dumps(value), "a.ljson")) == [reason]


def test_file_without_photo_has_reason(write):
    assert read_faces(write("{}", "a.ljson")) == ["no photo of the same name beside it"]


def test_folder_of_two_formats_is_refused(write, tmp_path):
    write("{}", "a.ljson")
    write("{\n1 1\n}", "a.pts")
    with pytest.raises(InputError, match=r"\.pts and \.ljson files; give --source_format"):
        read_annotations(tmp_path, "auto")
