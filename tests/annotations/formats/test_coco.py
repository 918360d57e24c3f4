import json

import numpy as np
import pytest
from annotation_files import NO, assert_faces, converted, read_faces, write_photo

from keras_landmarks.annotations.face import AnnotatedFace
from keras_landmarks.annotations.reading import read_annotations
from keras_landmarks.contest import grouping
from keras_landmarks.utils.errors import InputError


def coco(*annotations, **more):
    """Returns the text of a COCO file with one photo."""
    images = [{"id": 7, "file_name": "photos/a.jpg"}]
    return json.dumps({"images": images, "annotations": list(annotations), **more})


@pytest.fixture
def write_json(write):
    """Writes a.json and returns its path."""
    return lambda text: write(text, "a.json")


def test_keypoints_are_read_with_names(write_json):
    categories = [{"keypoints": ["left_eye", "right_eye"]}]
    annotation = {"image_id": 7, "keypoints": [1, 2, 2, 3, 4, 1]}
    source = write_json(coco(annotation, categories=categories))
    assert read_faces(source) == [("photos/a.jpg", [[1, 2], [3, 4]])]
    assert read_annotations(source, "auto").names == ["left_eye", "right_eye"]


def test_unlabelled_keypoints_are_gaps(write_json):
    labelled = {"image_id": 7, "id": 5, "keypoints": [1, 2, 2, 0, 0, 0]}
    source = write_json(coco(labelled, {"image_id": 7, "keypoints": []}))
    face, invalid = read_annotations(source, "auto").faces
    np.testing.assert_array_equal(face.landmarks, [[1, 2], [np.nan, np.nan]])
    assert (face.row, face.id) == (1, "5")
    assert invalid.reason == "no points"


def test_place_of_unlabelled_keypoint_counts_for_nothing(write_json):
    """CVAT writes where a point that is outside would be."""
    annotation = {"image_id": 7, "keypoints": [1, 2, 2, 3, 4, 0]}
    [face] = read_annotations(write_json(coco(annotation)), "auto").faces
    np.testing.assert_array_equal(face.landmarks, [[1, 2], NO])


def test_flags_0_and_1_with_coordinates_are_invalid(write_json):
    """There, 1 may stand for a hidden point and 0 for a visible one."""
    annotation = {"image_id": 7, "category_id": 1, "keypoints": [1, 2, 1, 3, 4, 0]}
    categories = [{"id": 1, "keypoints": ["nose", "chin"]}]
    [reason] = read_faces(write_json(coco(annotation, categories=categories)))
    assert reason.endswith(": 1 of 2, point chin")


def test_export_of_roboflow_is_converted(write_json, tmp_path):
    """Two changed copies of one photo belong together; the first category has no keypoints."""
    names = [f"a_jpg.rf.{digit * 32}.jpg" for digit in "12"]
    for name in names:
        write_photo(tmp_path / name)
    value = {
        "info": {"description": "Exported from roboflow.com"},
        "categories": [
            {"id": 0, "name": "faces", "supercategory": "none"},
            {
                "id": 1,
                "name": "face",
                "supercategory": "faces",
                "keypoints": ["nose", "left", "right", "chin"],
                "skeleton": [[1, 2]],
            },
        ],
        "images": [
            {"id": index, "license": 1, "file_name": name, "height": 120, "width": 200}
            for index, name in enumerate(names)
        ],
        "annotations": [
            {
                "id": index,
                "image_id": index,
                "category_id": 1,
                "bbox": [70, 30, 50, 70],
                "segmentation": [],
                "keypoints": [100, 60, 2, 80, 40, 2, 110, 41, 1, *chin],
            }
            for index, chin in enumerate(([100, 90, 2], [0, 0, 0]))
        ],
    }
    faces, names_found, results = converted(write_json(json.dumps(value)), tmp_path / "data")
    assert names_found == ["nose", "left", "right", "chin"]
    points = [[100, 60], [80, 40], [110, 41]]
    assert_faces(faces, [(names[0], [*points, [100, 90]]), (names[1], [*points, NO])])
    assert results["missing_points"] == 1
    sources = grouping.read_group_table(tmp_path / "data" / "train" / "sources.csv")
    assert set(sources.values()) == {"a_jpg.jpg"}


def test_most_frequent_category_is_read(write_json):
    """Roboflow puts a category without keypoints first; other files also have hands."""
    categories = [
        {"id": 0, "name": "all"},
        {"id": 1, "name": "hand", "keypoints": ["a", "b"]},
        {"id": 2, "name": "face", "keypoints": ["nose", "chin"]},
        {"id": 3, "name": "child", "keypoints": ["nose", "chin"]},
    ]
    points = [1, 2, 2, 3, 4, 2]
    annotations = [
        {"image_id": 7, "category_id": category, "keypoints": points} for category in (1, 2, 2, 3)
    ]
    found = read_annotations(write_json(coco(*annotations, categories=categories)), "auto")
    assert found.names == ["nose", "chin"]
    first, *others = found.faces
    assert first.reason == "another category: 1"
    assert len(others) == 3
    assert all(isinstance(face, AnnotatedFace) for face in others)


def test_one_annotation_per_point_is_refused(write_json):
    annotation = {"image_id": 7, "category_id": 1, "segmentation": [[3, 4]], "bbox": [3, 4, 1, 1]}
    with pytest.raises(InputError, match=r"a\.json: .*keypoints"):
        read_annotations(write_json(coco(annotation)), "auto")


@pytest.mark.parametrize(
    ("images", "named"),
    [
        ([(1, "a.jpg"), (2, "a.jpg")], r"a\.jpg .*1 and 2"),
        ([(1, "a.jpg"), (1, "b.jpg")], r"1 .*a\.jpg and b\.jpg"),
    ],
)
def test_ambiguous_photo_id_is_refused(write_json, images, named):
    images = [{"id": number, "file_name": name} for number, name in images]
    text = json.dumps({"images": images, "annotations": []})
    with pytest.raises(InputError, match=rf"a\.json: .*{named}"):
        read_annotations(write_json(text), "auto")


def test_photo_is_longest_end_of_path_that_exists(write_json, tmp_path):
    write_photo(tmp_path / "p" / "a.jpg")
    annotation = {"image_id": 7, "keypoints": [100, 60, 2, 80, 40, 2, 110, 41, 2]}
    source = write_json(coco(annotation))  # of photos/a.jpg
    faces, _, _ = converted(source, tmp_path / "data", photos=tmp_path / "p")
    assert_faces(faces, [("a.jpg", [[100, 60], [80, 40], [110, 41]])])


def test_photos_that_end_in_one_file_are_refused(write_json, tmp_path):
    write_photo(tmp_path / "a.jpg")
    images = [{"id": i, "file_name": name} for i, name in enumerate(("x/a.jpg", "y/a.jpg"))]
    text = json.dumps({"images": images, "annotations": []})
    with pytest.raises(InputError, match=r"/a\.jpg might be two photos, x/a\.jpg and y/a\.jpg"):
        read_annotations(write_json(text), "coco")


def test_photo_size_and_box_are_read(write_json):
    images = [{"id": 7, "file_name": "a.jpg", "width": 640, "height": 480}]
    annotation = {"image_id": 7, "keypoints": [1, 2, 2], "bbox": [0, 1, 10, 20]}
    text = json.dumps({"images": images, "annotations": [annotation]})
    [face] = read_annotations(write_json(text), "auto").faces
    assert face.photo_size_px == (640, 480)
    assert face.box == (0, 1, 10, 21)


def test_wholebody_faces_are_read_rather_than_bodies(write_json):
    annotation = {"image_id": 7, "keypoints": [0] * 51, "face_kpts": [1, 2, 1, 3, 4, 1]}
    assert read_faces(write_json(coco(annotation))) == [("photos/a.jpg", [[1, 2], [3, 4]])]


def test_odd_values_have_reasons(write_json):
    odd = [{"image_id": [], "keypoints": 3}, {"image_id": 7, "keypoints": [None, 2, 2]}]
    assert read_faces(write_json(coco(*odd, categories=[{"keypoints": 3}]))) == [
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
def test_malformed_file_is_refused(write_json, text):
    with pytest.raises(InputError, match=r"a\.json: .*(JSON|COCO)"):
        read_annotations(write_json(text), "auto")
