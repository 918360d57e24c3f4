import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from keras_landmarks.annotations.formats.coco import read_coco
from keras_landmarks.inference.annotation_files import Predictions, uncertainty, write_annotations
from keras_landmarks.inference.face import Face
from keras_landmarks.inference.face_tables import ImageFaces


def face(sigma=None, score=0.9):
    """Returns a face whose box is 40 px wide and high; its second point is beyond its photo."""
    landmarks = np.float32([[20.5, 30.25], [70, 40]])
    sigmas = None if sigma is None else np.float32([sigma, sigma])
    return Face(np.float32([30, 20, 70, 60]), score, landmarks, sigmas)


@pytest.fixture
def predictions(tmp_path):
    """Photos of 60 x 120 px; the least certain face is the second one of b c.jpg."""
    images = [
        ImageFaces("none.jpg", (60, 120), {}),
        ImageFaces("a.jpg", (60, 120), {0: face(2)}),
        ImageFaces("inner/b c.jpg", (60, 120), {0: face(1), 1: face(4)}),
    ]
    paths = {image.file_name: tmp_path / "photos" / image.file_name for image in images}
    return Predictions(images, paths, ["nose", 'the "eye"'], "work")


def test_uncertainty_is_a_share_of_the_box():
    assert uncertainty(face(2)) == pytest.approx(2 / 40)
    both = Face(face().box_photo_px, 0.5, face().landmarks_photo_px, np.float32([1, 7]))
    assert uncertainty(both) == pytest.approx(5 / 40)  # sqrt((1 + 49) / 2) = 5
    assert uncertainty(face(score=0.75)) == pytest.approx(0.25)


def test_least_certain_faces_are_listed_first(predictions, tmp_path):
    write_annotations("coco", predictions, tmp_path, tmp_path)
    assert (tmp_path / "least_certain.csv").read_text().splitlines() == [
        "file_name\tface\tuncertainty",
        "inner/b c.jpg\t1\t0.10000",
        "a.jpg\t0\t0.05000",
        "inner/b c.jpg\t0\t0.02500",
    ]


# ── COCO ──


def test_coco_file_has_keypoints_by_uncertainty(predictions, tmp_path):
    write_annotations("coco", predictions, tmp_path, tmp_path)
    value = json.loads((tmp_path / "annotations.json").read_text())
    assert value["images"] == [
        {"id": 1, "file_name": "inner/b c.jpg", "width": 60, "height": 120},
        {"id": 2, "file_name": "a.jpg", "width": 60, "height": 120},
        {"id": 3, "file_name": "none.jpg", "width": 60, "height": 120},
    ]
    (category,) = value["categories"]
    assert category["keypoints"] == ["nose", 'the "eye"']
    annotations = value["annotations"]
    assert [(each["id"], each["image_id"]) for each in annotations] == [(1, 1), (2, 1), (3, 2)]
    assert [each["uncertainty"] for each in annotations] == [0.1, 0.025, 0.05]
    assert annotations[0] == {
        "id": 1,
        "image_id": 1,
        "category_id": category["id"],
        "keypoints": [20.5, 30.25, 2, 70, 40, 2],
        "num_keypoints": 2,
        "bbox": [30, 20, 30, 40],  # as far as it lies in the photo
        "area": 1200,
        "segmentation": [],
        "iscrowd": 0,
        "score": 0.9,
        "uncertainty": 0.1,
    }


def test_coco_file_is_read_to_the_same_points(predictions, tmp_path):
    write_annotations("coco", predictions, tmp_path, tmp_path)
    annotations = read_coco(tmp_path / "annotations.json", tmp_path)
    assert annotations.names == ["nose", 'the "eye"']
    faces = list(annotations.faces)
    assert [each.photo for each in faces] == ["inner/b c.jpg", "inner/b c.jpg", "a.jpg"]
    for each in faces:
        np.testing.assert_array_equal(each.landmarks, [[20.5, 30.25], [70, 40]])
        assert (each.photo_size_px, each.box) == ((60, 120), (30, 20, 60, 60))


# ── labelme ──


def test_labelme_file_has_points_in_groups(predictions, tmp_path):
    write_annotations("labelme", predictions, tmp_path / "partial", tmp_path / "out" / "found")
    folder = tmp_path / "partial" / "labelme"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}
    assert files == {"a.json", "none.json", "inner/b c.json"}
    value = json.loads((folder / "inner" / "b c.json").read_text())
    shapes = value.pop("shapes")
    assert value == {
        "version": "5.5.0",
        "flags": {},
        "imagePath": "../../../../photos/inner/b c.jpg",
        "imageData": None,
        "imageHeight": 120,
        "imageWidth": 60,
    }
    assert [(shape["label"], shape["group_id"], shape["shape_type"]) for shape in shapes] == [
        *[("face", 0, "rectangle"), ("nose", 0, "point"), ('the "eye"', 0, "point")],
        *[("face", 1, "rectangle"), ("nose", 1, "point"), ('the "eye"', 1, "point")],
    ]
    places = [shape["points"] for shape in shapes[:3]]
    assert places == [[[30, 20], [60, 60]], [[20.5, 30.25]], [[70, 40]]]
    assert all((shape["flags"], shape["mask"]) == ({}, None) for shape in shapes)


def test_labelme_file_leads_to_the_photo(predictions, tmp_path):
    """Also through a link to the output's folder."""
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "deep")
    out = tmp_path / "link" / "found"
    write_annotations("labelme", predictions, out, out)
    value = json.loads((out / "labelme" / "a.json").read_text())
    photo = os.path.realpath(os.path.join(os.path.realpath(out / "labelme"), value["imagePath"]))
    assert Path(photo) == tmp_path / "photos" / "a.jpg"


def test_photos_of_one_stem_have_own_labelme_files(tmp_path):
    images = [ImageFaces(name, (60, 120), {}) for name in ("a.jpg", "a.png", "A.jpg")]
    paths = {image.file_name: tmp_path / image.file_name for image in images}
    write_annotations("labelme", Predictions(images, paths, ["0"], ""), tmp_path, tmp_path)
    values = [json.loads(path.read_text()) for path in (tmp_path / "labelme").iterdir()]
    assert sorted(value["imagePath"] for value in values) == ["../A.jpg", "../a.jpg", "../a.png"]


# ── Label Studio ──


def test_label_studio_tasks_have_predictions(predictions, tmp_path):
    write_annotations("label_studio", predictions, tmp_path, tmp_path)
    tasks = json.loads((tmp_path / "label_studio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        "/data/local-files/?d=photos/inner/b%20c.jpg",
        "/data/local-files/?d=photos/a.jpg",
        "/data/local-files/?d=photos/none.jpg",
    ]
    assert tasks[2]["predictions"] == []
    assert [task["predictions"][0]["score"] for task in tasks[:2]] == [0.9, 0.95]
    (prediction,) = tasks[1]["predictions"]
    assert prediction["model_version"] == "work"
    common = {
        "to_name": "image",
        "original_width": 60,
        "original_height": 120,
        "image_rotation": 0,
    }
    box = {"x": 50, "y": 16.666667, "width": 50, "height": 33.333333, "rotation": 0}
    point = {"x": 34.166667, "y": 25.208333, "width": 0.4, "keypointlabels": ["nose"]}
    assert prediction["result"] == [
        {
            "id": "face-0",
            "type": "rectanglelabels",
            "from_name": "faces",
            **common,
            "value": box | {"rectanglelabels": ["face"]},
        },
        {
            "id": "face-0-point-0",
            "parentID": "face-0",
            "type": "keypointlabels",
            "from_name": "points",
            **common,
            "value": point,
        },
    ]  # The other point is beyond the photo.


def test_label_studio_configuration_fits_the_tasks(predictions, tmp_path):
    write_annotations("label_studio", predictions, tmp_path, tmp_path)
    view = ElementTree.fromstring((tmp_path / "label_studio.xml").read_text())
    assert view.find("Image").attrib["value"] == "$image"
    controls = {each.attrib["name"]: each for each in view if each.tag != "Image"}
    labels = {
        name: [label.attrib["value"] for label in control] for name, control in controls.items()
    }
    assert labels == {"faces": ["face"], "points": ["nose", 'the "eye"']}
    for task in json.loads((tmp_path / "label_studio.json").read_text()):
        for prediction in task["predictions"]:
            for region in prediction["result"]:
                assert controls[region["from_name"]].tag.lower() == region["type"]
                assert set(region["value"][region["type"]]) <= set(labels[region["from_name"]])
