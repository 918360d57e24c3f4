"""Writes predicted faces as annotations that a labelling program opens, the least certain first.

Coordinates are those of `landmarks.csv`, as `convert` reads them. Boxes end at the photo's edges,
because programs refuse others. Formats: COCO keypoints (Lin et al., "Microsoft COCO", 2014);
labelme 5 (https://github.com/wkentaro/labelme); Label Studio's tasks with predictions
(https://labelstud.io/guide/predictions).
"""

import json
import os
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np

from keras_landmarks.contest import table_files
from keras_landmarks.inference.face import Face
from keras_landmarks.inference.face_tables import ImageFaces
from keras_landmarks.inference.output_paths import assign_output_names
from keras_landmarks.utils.files import write_atomically, write_json

_ORDER = "least_certain.csv"
ANNOTATIONS = {"annotations.json", "labelme", "label_studio.json"}
OUTPUTS = ANNOTATIONS | {"label_studio.xml", _ORDER}
_DECIMALS, _PERCENT_DECIMALS, _UNCERTAINTY_DECIMALS = 3, 6, 5
_LABELME_VERSION = "5.5.0"
_DOT_PERCENT = 0.4  # width of a point on Label Studio's screen, percent of the photo's width


class Predictions(NamedTuple):
    """The faces of photos, for annotations.

    Attributes:
        images: the photos with their faces.
        paths: the path of each photo by its `file_name`.
        point_names: the names of the landmarks, or their numbers.
        model: what the annotations call the model.
    """

    images: Sequence[ImageFaces]
    paths: Mapping[str, Path]
    point_names: Sequence[str]
    model: str


def write_annotations(format_name: str, predictions: Predictions, folder: Path, out: Path) -> None:
    """Writes annotations of photos, and least_certain.csv, which lists their faces in this order.

    Args:
        format_name: a key of `WRITERS`.
        predictions: the photos with their faces, in any order.
        folder: the folder to write.
        out: the path that the folder will have at the end.
    """
    images = sorted(predictions.images, key=_greatest_uncertainty, reverse=True)
    WRITERS[format_name](predictions._replace(images=images), folder, out)
    faces = [
        (table_files.printable(image.file_name), str(number), uncertainty(face))
        for image in images
        for number, face in image.faces.items()
    ]
    faces.sort(key=lambda row: row[2], reverse=True)
    rows = ((*row, f"{value:.{_UNCERTAINTY_DECIMALS}f}") for *row, value in faces)
    header = ("file_name", "face", "uncertainty")
    table_files.write_rows(folder / _ORDER, header, rows)


def uncertainty(face: Face) -> float:
    """Returns how uncertain a face's landmarks are.

    That is the root mean square of their standard deviations as a share of the side of the face's
    box; if the model predicts none, 1 minus the detector's score.
    """
    if face.sigmas_photo_px is None:
        return 1 - face.score
    width, height = face.box_photo_px[2:] - face.box_photo_px[:2]
    return float(np.sqrt(np.mean(np.square(face.sigmas_photo_px)) / (width * height)))


def _greatest_uncertainty(image: ImageFaces) -> float:
    """Returns the uncertainty of the least certain face; photos without a face come last."""
    return max(map(uncertainty, image.faces.values()), default=-1)


def _box_within(image: ImageFaces, face: Face) -> list[float]:
    """Returns left, top, width and height of a face's box as far as it lies in the photo."""
    low, high = np.clip(face.box_photo_px.reshape(2, 2).astype(float), 0, image.size_px)
    return np.concatenate([low, high - low]).round(_DECIMALS).tolist()


def _points(face: Face) -> list[list[float]]:
    return face.landmarks_photo_px.astype(float).round(_DECIMALS).tolist()


# ── COCO ──


def _write_coco(predictions: Predictions, folder: Path, out: Path) -> None:
    """Writes annotations.json: image ids and annotations are in the order of the images."""
    images, annotations = [], []
    for image_id, image in enumerate(predictions.images, start=1):
        width, height = image.size_px
        name = image.file_name
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for face in sorted(image.faces.values(), key=uncertainty, reverse=True):
            identity = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1}
            annotations.append(identity | _coco_face(image, face))
    category = {"id": 1, "name": "face", "supercategory": "face", "skeleton": []}
    value = {
        "info": {"description": f"Predictions of {predictions.model}"},
        "images": images,
        "annotations": annotations,
        "categories": [category | {"keypoints": list(predictions.point_names)}],
    }
    write_atomically(folder / "annotations.json", json.dumps(value) + "\n")


def _coco_face(image: ImageFaces, face: Face) -> dict[str, Any]:
    box, points = _box_within(image, face), _points(face)
    return {
        "keypoints": [value for x, y in points for value in (x, y, 2)],
        "num_keypoints": len(points),
        "bbox": box,
        "area": round(box[2] * box[3], _DECIMALS),
        "segmentation": [],
        "iscrowd": 0,
        "score": round(face.score, _DECIMALS),
        "uncertainty": round(uncertainty(face), _UNCERTAINTY_DECIMALS),
    }


# ── labelme ──


def _write_labelme(predictions: Predictions, folder: Path, out: Path) -> None:
    """Writes labelme/, a file for each photo, in folders as the photos are.

    `labelme photos --output labelme` finds a photo's file by its name without the extension.
    """
    names = [image.file_name for image in predictions.images]
    stems = assign_output_names(names, lambda name: [f"{os.path.splitext(name)[0]}.json"])
    for image in predictions.images:
        name = os.path.join("labelme", f"{os.path.splitext(stems[image.file_name])[0]}.json")
        # The way to the photo leads from where the file will be; a link there would mislead it.
        start = os.path.realpath((out / name).parent)
        photo = os.path.relpath(os.path.realpath(predictions.paths[image.file_name]), start)
        write_json(folder / name, _labelme_file(image, predictions, photo))


def _labelme_file(image: ImageFaces, predictions: Predictions, photo: str) -> dict[str, Any]:
    shapes = []
    for number, face in image.faces.items():
        left, top, width, height = _box_within(image, face)
        corners = [[left, top], [left + width, top + height]]
        shapes.append(_labelme_shape("face", number, "rectangle", corners))
        for name, point in zip(predictions.point_names, _points(face), strict=True):
            shapes.append(_labelme_shape(name, number, "point", [point]))
    return {
        "version": _LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": photo,
        "imageData": None,
        "imageHeight": image.size_px[1],
        "imageWidth": image.size_px[0],
    }


def _labelme_shape(label: str, group: int, kind: str, points: list) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }


# ── Label Studio ──


def _write_label_studio(predictions: Predictions, folder: Path, out: Path) -> None:
    """Writes label_studio.json, the tasks, and label_studio.xml, the labelling configuration."""
    tasks = [_label_studio_task(image, predictions) for image in predictions.images]
    write_atomically(folder / "label_studio.json", json.dumps(tasks) + "\n")
    labels = [f"    <Label value={quoteattr(name)}/>" for name in predictions.point_names]
    lines = [
        "<View>",
        '  <Image name="image" value="$image" zoom="true"/>',
        '  <RectangleLabels name="faces" toName="image"><Label value="face"/></RectangleLabels>',
        '  <KeyPointLabels name="points" toName="image">',
        *labels,
        "  </KeyPointLabels>",
        "</View>",
    ]
    write_atomically(folder / "label_studio.xml", "\n".join(lines) + "\n")


def _label_studio_task(image: ImageFaces, predictions: Predictions) -> dict[str, Any]:
    task = {"data": {"image": _local_files_address(image, predictions.paths)}, "predictions": []}
    if image.faces:
        certainty = 1 - min(1, _greatest_uncertainty(image))
        prediction = {
            "model_version": predictions.model,
            "score": round(certainty, _UNCERTAINTY_DECIMALS),  # a task's lowest score sorts first
            "result": [
                region
                for number, face in image.faces.items()
                for region in _label_studio_regions(image, number, face, predictions)
            ],
        }
        task["predictions"].append(prediction)
    return task


def _local_files_address(image: ImageFaces, paths: Mapping[str, Path]) -> str:
    """Returns the photo's address in Label Studio's local files.

    It begins with the name of the folder of all photos, since Label Studio serves folders within
    its document root, and not the document root itself.
    """
    root = Path(os.path.abspath(paths[image.file_name]))
    for _ in Path(image.file_name).parts:
        root = root.parent
    place = os.path.join(root.name, image.file_name)
    return f"/data/local-files/?d={urllib.parse.quote(os.fsencode(place))}"


def _label_studio_regions(
    image: ImageFaces, number: int, face: Face, predictions: Predictions
) -> Iterable[dict[str, Any]]:
    """Yields a rectangle and the points that belong to it.

    Points beyond the photo are left out: Label Studio refuses to import them.
    """
    width, height = image.size_px
    common = {"to_name": "image", "original_width": width, "original_height": height}
    common |= {"image_rotation": 0}
    box = np.divide(_box_within(image, face), (width, height) * 2) * 100
    sides = dict(zip(("x", "y", "width", "height"), _percent(box), strict=True))
    yield {
        "id": f"face-{number}",
        "type": "rectanglelabels",
        "from_name": "faces",
        **common,
        "value": sides | {"rotation": 0, "rectanglelabels": ["face"]},
    }
    places = _percent(np.divide(face.landmarks_photo_px.astype(float), (width, height)) * 100)
    for point, (name, (x, y)) in enumerate(zip(predictions.point_names, places, strict=True)):
        if min(x, y) >= 0 and max(x, y) <= 100:
            yield {
                "id": f"face-{number}-point-{point}",
                "parentID": f"face-{number}",
                "type": "keypointlabels",
                "from_name": "points",
                **common,
                "value": {"x": x, "y": y, "width": _DOT_PERCENT, "keypointlabels": [name]},
            }


def _percent(values: np.ndarray) -> list:
    return values.round(_PERCENT_DECIMALS).tolist()


WRITERS: dict[str, Callable[[Predictions, Path, Path], None]] = {
    "coco": _write_coco,
    "labelme": _write_labelme,
    "label_studio": _write_label_studio,
}
