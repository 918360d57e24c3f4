import json

import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError


def point(x, y, **attributes):
    return {
        "shape_attributes": {"name": "point", "cx": x, "cy": y},
        "region_attributes": attributes,
    }


def rect(x, y, width, height, **attributes):
    place = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
    return {"shape_attributes": place, "region_attributes": attributes}


def entries(**regions):
    """Returns what VIA 2 exports, by photo; sizes are unknown."""
    return {
        f"{name}.jpg-1": {
            "filename": f"{name}.jpg",
            "size": -1,
            "regions": each,
            "file_attributes": {},
        }
        for name, each in regions.items()
    }


def face(x, **attributes):
    places = {"nose": (x, 60), "left_eye": (x - 20, 40), "right_eye": (x + 10, 41)}
    return [point(*place, landmark=name, **attributes) for name, place in places.items()]


@pytest.mark.parametrize("is_project", [True, False])
def test_annotations_are_converted(write, tmp_path, is_project):
    for name in "ab":
        write_photo(tmp_path / f"{name}.jpg")
    line = {
        "shape_attributes": {"name": "polyline", "all_points_x": [1], "all_points_y": [2]},
        "region_attributes": {"landmark": "jaw"},
    }
    value = entries(a=[*face(100), line], b=face(60)[:2])
    value["a.jpg-1"]["size"] = (tmp_path / "a.jpg").stat().st_size
    if is_project:
        attributes = {"region": {"landmark": {"type": "text"}}, "file": {}}
        value = {"_via_settings": {}, "_via_img_metadata": value, "_via_attributes": attributes}
    faces, names, results = converted(write(json.dumps(value), "via.json"), tmp_path / "data")
    assert names == ["left_eye", "nose", "right_eye"]
    assert_faces(
        faces,
        [("a.jpg", [[80, 40], [100, 60], [110, 41]])],
    )
    assert (results["rejected"], results["missing_points"]) == (1, 0)
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert "no box, and too few points to crop the face by" in rejects


def test_shapes_that_are_not_points_are_counted(write):
    circle = {"shape_attributes": {"name": "circle", "cx": 1, "cy": 2, "r": 3}}
    source = write(json.dumps(entries(a=[*face(100), rect(1, 2, 3, 4), circle])), "via.json")
    assert read_annotations(source, "auto").ignored == ["shapes that are not points: 1 (circle)"]


def test_whole_photos_need_no_box(write, tmp_path):
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "b.jpg")
    source = write(json.dumps(entries(a=face(100), b=face(60)[:2])), "via.json")
    faces, _, results = converted(source, tmp_path / "data", face_share=0)
    assert_faces(
        faces, [("a.jpg", [[80, 40], [100, 60], [110, 41]]), ("b.jpg", [[40, 40], [60, 60], NO])]
    )
    assert results["missing_points"] == 1


def test_faces_are_told_apart_by_attribute_or_box(write):
    two = [point(10, 20, landmark="nose", face="1"), point(60, 20, landmark="nose", face="2")]
    assert len(read_faces(write(json.dumps(entries(a=two)), "via.json"))) == 2
    two = [point(10, 20, landmark="nose"), point(60, 20, landmark="nose")]
    boxed = [*two, rect(0, 10, 20, 30), rect(50, 10, 20, 30)]
    assert read_faces(write(json.dumps(entries(a=boxed)), "via.json")) == [
        ("a.jpg", [[10, 20]]),
        ("a.jpg", [[60, 20]]),
    ]
    [reason] = read_faces(write(json.dumps(entries(a=two)), "via.json"))
    assert reason.startswith("two points 'nose' in one face")


def test_attribute_with_most_values_names_points(write):
    regions = [
        point(1, 2, landmark="nose", visible="yes"),
        point(3, 4, landmark="chin", visible="yes", comment="by guess"),
    ]
    source = write(json.dumps(entries(a=regions)), "via.json")
    assert read_annotations(source, "auto").names == ["chin", "nose"]


def test_point_without_name_spoils_its_photo_only(write):
    """An attribute that all points have, such as a default, does not become their name."""
    unnamed = [*face(60, quality="good")[:2], point(70, 41, quality="good")]
    value = entries(a=face(100, quality="good"), b=unnamed)
    assert read_faces(write(json.dumps(value), "via.json")) == [
        ("a.jpg", [[80, 40], [100, 60], [110, 41]]),
        "a point without a name",
    ]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (entries(a=[point(1, 2)]), 'no attribute .*"landmark": "nose"'),
        (entries(a=[point(1, 2, k="1", m="2")]), "several attributes .*: k, m; keep one"),
        ({"_via_img_metadata": {}}, "not VIA 2"),
        ({"_via_img_metadata": {"a": 3}}, "not VIA 2"),
        (
            {"k": entries(a=[])["a.jpg-1"], "l": entries(a=[])["a.jpg-1"]},
            r"two photos are called a\.jpg",
        ),
        ({"project": {}, "config": {}, "file": {}, "view": {}, "metadata": {}}, "VIA 3"),
    ],
)
def test_malformed_file_is_refused(write, value, named):
    with pytest.raises(InputError, match=rf"via\.json: .*{named}"):
        read_annotations(write(json.dumps(value), "via.json"), "auto")


def test_malformed_photo_has_reason(write, tmp_path):
    write_photo(tmp_path / "c.jpg")
    value = entries(a=[point(1, None, landmark="nose")], b=[*face(60), point(1, 2)], c=face(60))
    value["c.jpg-1"]["size"] = 77
    reasons = read_faces(write(json.dumps(value), "via.json"))
    assert reasons[0] == "not a number: None, y of point nose"
    assert reasons[1] == "a point without a name"
    assert reasons[2].startswith("another file than the annotated one: ")
