import json

import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.utils.errors import InputError


def keypoint(name, x, y, **more):
    """Returns a result at x, y percent of a photo of 200 x 120 px."""
    return {
        "original_width": 200,
        "original_height": 120,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]},
        "id": f"{name}{x}",
        "from_name": "kp",
        "to_name": "img",
        "type": "keypointlabels",
        "origin": "manual",
        **more,
    }


def rectangle(key, x, y, width, height):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    value |= {"rectanglelabels": ["face"]}
    return keypoint("", 0, 0) | {"id": key, "type": "rectanglelabels", "value": value}


def task(*results, image="/data/upload/1/1b2c3d4e-a.jpg", **annotation):
    """Returns a task as the export "JSON" has it."""
    annotation = {"id": 7, "completed_by": 1, "was_cancelled": False, **annotation}
    return {
        "id": 1,
        "annotations": [{**annotation, "result": list(results)}],
        "file_upload": "1b2c3d4e-a.jpg",
        "predictions": [],
        "data": {"img": image},
        "meta": {},
    }


@pytest.fixture
def write_tasks(write):
    return lambda *tasks: write(json.dumps(tasks), "export.json")


FACE = [keypoint("nose", 50, 50), keypoint("left_eye", 40, 40), keypoint("right_eye", 55, 40)]
PLACES_PX = [[80, 48], [100, 60], [110, 48]]  # left eye, nose, right eye


def test_export_is_converted(write_tasks, tmp_path):
    """One photo as uploaded, with the digits; one as it was; one from local storage, no nose."""
    for name in ("1b2c3d4e-a", "b", "in/c"):
        write_photo(tmp_path / f"{name}.jpg")
    tasks = [
        task(*FACE),
        task(*FACE, image="/data/upload/1/0a0b0c0d-b.jpg"),
        task(*FACE[1:], keypoint("chin", 50, 75), image="/data/local-files/?d=photos%2Fin/c.jpg"),
    ]
    faces, names, results = converted(write_tasks(*tasks), tmp_path / "data")
    assert names == ["chin", "left_eye", "nose", "right_eye"]
    left, _, right = PLACES_PX
    assert_faces(
        faces,
        [
            ("1b2c3d4e-a.jpg", [NO, *PLACES_PX]),
            ("b.jpg", [NO, *PLACES_PX]),
            ("in/c.jpg", [[100, 90], left, NO, right]),
        ],
    )
    assert results["missing_points"] == 3


def test_json_min_is_converted(write_tasks, tmp_path):
    write_photo(tmp_path / "a.jpg")
    points = [{**each["value"], "original_width": 200, "original_height": 120} for each in FACE]
    row = {"img": "http://there/x/a.jpg?v=1", "id": 1, "kp-1": points, "annotator": 1}
    empty = {"img": "http://there/x/b.jpg", "id": 2, "annotator": 1}  # nobody drew a point
    faces, _, results = converted(write_tasks(empty, row), tmp_path / "data")
    assert_faces(faces, [("a.jpg", PLACES_PX)])
    assert results["rejected"] == 1


@pytest.mark.parametrize("how", ["parent", "relation", "place"])
def test_points_of_rectangles_are_faces(write_tasks, how):
    boxes = [rectangle("A", 0, 10, 30, 80), rectangle("B", 50, 10, 30, 80)]
    results = []
    for box, x in zip("AB", (10, 60), strict=True):
        for name, y in (("nose", 20), ("chin", 60)):
            more = {"parentID": box} if how == "parent" else {}
            results.append(keypoint(name, x, y, **more))
            if how == "relation":
                ends = {"from_id": results[-1]["id"], "to_id": box}
                results.append({**ends, "type": "relation", "direction": "right"})
    source = write_tasks(task(*results, *boxes))
    first, second = read_annotations(source, "auto").faces
    assert first.landmarks.tolist() == [[10, 60], [10, 20]]
    assert second.landmarks.tolist() == [[60, 60], [60, 20]]
    assert (first.id, second.id, second.box) == ("A", "B", (50, 10, 80, 90))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (task(*FACE, *FACE), "two points 'nose' in one face; group the points of each face"),
        (task(keypoint("nose", 50, None)), "not a number: None, y of point nose"),
        (task(keypoint("a", 1, 2, image_rotation=90)), "a photo that was turned in Label Studio"),
        (task(), "no points"),
        (task(*FACE, was_cancelled=True), "no points"),
        (task(*FACE, image="data:image/png;base64,AAAA"), "no photo: a task needs an address"),
        (
            task(keypoint("a", 1, 2), keypoint("b", 1, 2, original_width=300)),
            "the points state photos of different sizes",
        ),
    ],
)
def test_unusable_task_has_reason(write_tasks, item, reason):
    [found] = read_faces(write_tasks(item))
    assert found.startswith(reason)


def test_predictions_that_nobody_accepted_are_not_labels(write_tasks):
    predicted = {"data": {"img": "a.jpg"}, "predictions": [{"result": FACE}]}
    faces = read_faces(write_tasks(task(*FACE, image="b.jpg"), predicted))
    assert faces[1].startswith("predictions only: accept them")
    assert read_faces(write_tasks(predicted)) == faces[1:]


def test_ground_truth_is_read_of_several_annotations(write_tasks):
    both = task(*FACE)
    both["annotations"].append({"result": [keypoint("nose", 1, 2)], "ground_truth": True})
    assert read_faces(write_tasks(both)) == [("data/upload/1/1b2c3d4e-a.jpg", [[1, 2]])]
    both["annotations"][1]["ground_truth"] = False
    [reason] = read_faces(write_tasks(both))
    assert reason.startswith("several annotations of one photo: 2; keep one")


def test_tasks_of_one_photo_are_refused(write_tasks, tmp_path):
    with pytest.raises(InputError, match=r"export\.json: two photos are called .*a\.jpg; "):
        read_annotations(write_tasks(task(*FACE), task(*FACE)), "auto")
    write_photo(tmp_path / "a.jpg")
    again = task(*FACE, image="/data/upload/1/ffffffff-a.jpg")
    with pytest.raises(InputError, match=r"two photos are called .*a\.jpg"):
        read_annotations(write_tasks(task(*FACE), again), "auto")


def test_other_unit_is_refused(write_tasks, tmp_path):
    with pytest.raises(InputError, match=r"export\.json: its points are in percent; .*unit"):
        converted(write_tasks(task(*FACE)), tmp_path / "data", points_unit="share")


def test_other_list_is_refused(write):
    with pytest.raises(InputError, match=r"a\.json: not Label Studio's JSON"):
        read_annotations(write("[3]", "a.json"), "label_studio")
