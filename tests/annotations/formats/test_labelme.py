import json

import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError


def shape(label, *points, kind="point", group=None):
    return {
        "label": label,
        "points": [list(point) for point in points],
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }


def labelme(*shapes, path="a.jpg", size=(200, 120)):
    """Returns the text of a file as labelme 5 writes it."""
    return json.dumps(
        {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": path,
            "imageData": "/9j/4AAQ",
            "imageHeight": size[1],
            "imageWidth": size[0],
        }
    )


FACE = [shape("nose", (100.5, 60)), shape("left_eye", (80, 40)), shape("right_eye", (110, 41))]


def test_folder_of_files_is_converted(write, tmp_path):
    """The photos lie elsewhere; one file is from Windows, one face has no chin."""
    write_photo(tmp_path / "img" / "a.jpg")
    write_photo(tmp_path / "img" / "b.jpg")
    polygon = shape("hair", (1, 2), (3, 4), (5, 6), kind="polygon")
    write(labelme(*FACE, shape("chin", (100, 90)), polygon, path="../img/a.jpg"), "ann/a.json")
    write(labelme(*FACE[::-1], path="..\\img\\b.jpg"), "ann/b.json")
    faces, names, results = converted(tmp_path / "ann", tmp_path / "data", photos=tmp_path / "img")
    assert names == ["chin", "left_eye", "nose", "right_eye"]
    points = [[80, 40], [100.5, 60], [110, 41]]
    assert_faces(faces, [("a.jpg", [[100, 90], *points]), ("b.jpg", [NO, *points])])
    assert results["missing_points"] == 1
    assert results["mirror"]


def test_points_are_sorted_by_number(write):
    shapes = [shape(f"p{index}", (index, 0)) for index in (10, 2, 1)]
    assert read_faces(write(labelme(*shapes), "a.json")) == [("a.jpg", [[1, 0], [2, 0], [10, 0]])]


def test_corners_are_not_taken_for_a_box(write, tmp_path):
    """In a table, a box around the points would be an error; here somebody drew the corners."""
    places = {"a": (10, 10), "b": (90, 90), "c": (40, 50), "d": (50, 40), "e": (60, 60)}
    for name in "xyz":
        write_photo(tmp_path / f"{name}.jpg")
        shapes = [shape(label, place) for label, place in places.items()]
        write(labelme(*shapes, path=f"{name}.jpg"), f"{name}.json")
    faces, _, _ = converted(tmp_path, tmp_path / "data")
    assert len(faces) == 3


def test_existing_layout_orders_points(write, tmp_path):
    write_photo(tmp_path / "a.jpg")
    write('{"points": ["right_eye", "nose", "left_eye"]}', "data/layout.json")
    faces, _, _ = converted(write(labelme(*FACE), "a.json"), tmp_path / "data")
    assert_faces(faces, [("a.jpg", [[110, 41], [100.5, 60], [80, 40]])])


def test_existing_layout_fills_points(write, tmp_path, caplog):
    write_photo(tmp_path / "a.jpg")
    write('{"points": ["right_eye", "chin", "nose", "left_eye"]}', "data/layout.json")
    faces, _, _ = converted(write(labelme(*FACE), "a.json"), tmp_path / "data")
    assert_faces(faces, [("a.jpg", [[110, 41], NO, [100.5, 60], [80, 40]])])
    assert "points that are missing in all faces: point chin" in caplog.text


def test_point_that_existing_layout_lacks_is_named(write, tmp_path):
    """There are as many points as in the layout, so that the order of names would fit it, too."""
    write('{"points": ["p1", "p2"]}', "data/layout.json")
    source = write(labelme(shape("p2", (1, 2)), shape("p3", (3, 4))), "a.json")
    with pytest.raises(InputError, match=r"a\.json: .*layout\.json has no point p3; .*--data"):
        converted(source, tmp_path / "data")


def test_shapes_that_are_not_points_are_counted(write):
    kinds = ("polygon", "line", "polygon", "rectangle")
    others = [shape("hair", (1, 2), (3, 4), kind=kind) for kind in kinds]
    source = write(labelme(*FACE, *others), "a.json")
    ignored = read_annotations(source, "auto").ignored
    assert ignored == ["shapes that are not points: 3 (line, polygon)"]
    assert not read_annotations(write(labelme(*FACE), "a.json"), "auto").ignored


@pytest.mark.parametrize("use_boxes", [False, True])
def test_groups_and_boxes_are_faces(write, use_boxes):
    group = [None, None] if use_boxes else [1, 2]
    shapes = [shape("nose", (10, 20), group=group[0]), shape("chin", (10, 30), group=group[0])]
    shapes += [shape("nose", (60, 20), group=group[1]), shape("chin", (60, 30), group=group[1])]
    boxes = [shape("face", (x, 40), (x + 20, 10), kind="rectangle") for x in (0, 50)]
    source = write(labelme(*shapes, *(boxes if use_boxes else [])), "a.json")
    assert read_faces(source) == [("a.jpg", [[10, 30], [10, 20]]), ("a.jpg", [[60, 30], [60, 20]])]
    face = next(iter(read_annotations(source, "auto").faces))
    assert face.box == ((0, 10, 20, 40) if use_boxes else None)
    assert face.photo_size_px == (200, 120)


@pytest.mark.parametrize(("place", "is_inside"), [((20, 30), True), ((90, 90), False)])
def test_point_without_group_joins_the_box_around_it(write, place, is_inside):
    """Where points have groups, one without a group and outside the only box is nobody's."""
    box = shape("face", (10, 10), (40, 40), kind="rectangle", group=0)
    nose = shape("nose", (20, 20), group=0)
    faces = read_faces(write(labelme(box, nose, shape("chin", place)), "a.json"))
    if is_inside:
        assert_faces(faces, [("a.jpg", [place, (20, 20)])])
    else:
        assert_faces(faces[:1], [("a.jpg", [NO, (20, 20)])])
        assert faces[1] == "points in no group, in a photo with groups: 1"


def test_only_box_takes_points_outside_it(write):
    box = shape("face", (10, 10), (40, 40), kind="rectangle")
    shapes = [box, shape("nose", (20, 20)), shape("chin", (20, 45))]
    assert read_faces(write(labelme(*shapes), "a.json")) == [("a.jpg", [[20, 45], [20, 20]])]


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([shape("a", (1, 2)), shape("a", (3, 4))], "two points 'a' in one face; group"),
        ([shape("a", (1, 2), group=1), shape("a", (3, 4))], "points in no group"),
        ([shape("a", (1, 2), (3, 4))], "not a number: None"),
        ([shape("hair", (1, 2), (3, 4), (5, 6), kind="polygon")], "no points"),
    ],
)
def test_malformed_shapes_have_reasons(write, shapes, reason):
    reasons = read_faces(write(labelme(*shapes), "a.json"))
    assert any(str(each).startswith(reason) for each in reasons)


def test_photo_of_another_size_is_rejected(write, tmp_path):
    write_photo(tmp_path / "a.jpg")
    source = write(labelme(*FACE, size=(400, 240)), "a.json")
    with pytest.raises(InputError, match="400 x 240, not 200 x 120"):
        converted(source, tmp_path / "data")


def test_photos_of_one_name_are_refused(write, tmp_path):
    write_photo(tmp_path / "img" / "a.jpg")
    for folder in ("x", "y"):
        write(labelme(*FACE, path=f"/home/me/{folder}/a.jpg"), f"ann/{folder}.json")
    with pytest.raises(InputError, match=r"img/a\.jpg might be .*x/a\.jpg and .*y/a\.jpg; "):
        read_annotations(tmp_path / "ann", "auto", tmp_path / "img")


def test_folder_of_other_json_is_refused(write, tmp_path):
    write('{"images": [], "annotations": []}', "ann/coco.json")
    with pytest.raises(InputError, match=r"ann: a folder; .*coco\.json"):
        read_annotations(tmp_path / "ann", "auto")
