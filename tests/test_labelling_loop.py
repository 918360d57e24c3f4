"""Once round the loop of labelling: label, train, predict more photos, correct, convert."""

import csv
import json
import shutil

import numpy as np
import pytest

from keras_landmarks.contest import landmark_tables, listed_images
from keras_landmarks.layouts.layout import mirror_map

NAMES = ["temple_left", "temple_right", "pupil_left", "pupil_right", "chin"]
POINTS = [0, 64, 969, 970, 63]
TRAIN = ["--model=tiny", "--image_size=48x64", "--framing=stretch", "--epochs=2", "--batch_size=8"]
TRAIN += ["--augment_online=mirror", "--processes=1", "--prepared=prepared"]


@pytest.fixture
def labelled(faces, tmp_path):
    """A folder with photos/ and labels.json, COCO of 24 photos; chins are missing in some."""
    photos = shutil.copytree(faces / "train" / "images", tmp_path / "photos")
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    images, annotations = [], []
    for row, name in enumerate(table.file_names, start=1):
        height, width = listed_images.read_image(photos, name).shape[:2]
        images.append({"id": row, "file_name": name, "width": width, "height": height})
        triples = [[*xy, 2] for xy in table.landmarks_photo_px[row - 1, POINTS].tolist()]
        if row % 3 == 0:
            triples[-1] = [0, 0, 0]
        annotations.append({"id": row, "image_id": row, "category_id": 1})
        annotations[-1]["keypoints"] = [number for triple in triples for number in triple]
    categories = [{"id": 1, "name": "face", "keypoints": NAMES}]
    value = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "labels.json").write_text(json.dumps(value))
    return tmp_path


def correct(path, name):
    """Moves the chin of a photo's face by 9 px, as a person does who corrects it; returns it."""
    value = json.loads(path.read_text())
    (image_id,) = [image["id"] for image in value["images"] if image["file_name"] == name]
    (face,) = [each for each in value["annotations"] if each["image_id"] == image_id]
    face["keypoints"][-2] += 9
    path.write_text(json.dumps(value))
    return np.reshape(face["keypoints"], (5, 3))[:, :2]


def test_once_round_the_loop(run, faces, labelled):
    assert POINTS[1] == mirror_map()[POINTS[0]]
    first = run(
        *("convert", "--source=labels.json", "--photos=photos", "--data=round1"),
        *("--face_share=0", "--processes=1"),
        folder=labelled,
    ).results
    assert (first["faces"], first["points"], first["missing_points"]) == (24, 5, 8)
    assert first["mirror"]  # by the names

    def train(data, workdir, start):
        flags = [f"--data={data}", f"--workdir={workdir}", f"--mirror={data}/layout.json"]
        return run("train", *flags, f"--init_weights={start}", *TRAIN, folder=labelled).results

    assert train("round1", "work1", "none")["missing_points"] == 8

    next_photos = sorted((faces / "test" / "images").iterdir())[:4]
    for path in next_photos:
        shutil.copy(path, labelled / path.name)
    flags = ["--workdir=work1", "--data=round1", "--format=coco"]
    run("landmarks", *[path.name for path in next_photos], *flags, folder=labelled)
    found = labelled / "found"
    with (found / "landmarks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 4
    assert "chin_x" in rows[0]

    wanted = correct(found / "annotations.json", rows[0]["file_name"])
    second = run(
        *("convert", "--source=found/annotations.json", "--photos=.", "--data=round2"),
        *("--face_share=0", "--processes=1"),
        folder=labelled,
    ).results
    assert (second["faces"], second["points"], second["missing_points"]) == (4, 5, 0)
    table = landmark_tables.read_landmarks(labelled / "round2" / "train" / "landmarks.csv")
    with (labelled / "round2" / "train" / "crops.csv").open(newline="") as file:
        names = [row["photo"] for row in csv.DictReader(file, delimiter="\t")]
    corrected = table.landmarks_photo_px[names.index(rows[0]["file_name"])]
    np.testing.assert_allclose(corrected, wanted, atol=1e-3)
