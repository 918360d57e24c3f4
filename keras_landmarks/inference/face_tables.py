"""Writes the faces of photos, or of a video's frames, as a table and as JSON."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_landmarks.contest import landmark_tables, table_files
from keras_landmarks.contest.columns import find_point_columns
from keras_landmarks.inference.face import Face
from keras_landmarks.utils.files import atomic_write

_DECIMALS = 3
_BOX_COLUMNS = ["box_x0", "box_y0", "box_x1", "box_y1"]


class ImageFaces(NamedTuple):
    """The faces of a photo or of a video frame.

    Attributes:
        file_name: name of the photo or video.
        size_px: width and height.
        faces: the faces by number.
        frame: number of the video frame; None for a photo.
        time_s: time of the video frame; None for a photo.
        drawing: where the photo with its landmarks was written, relative to the tables' folder.
    """

    file_name: str
    size_px: tuple[int, int]
    faces: dict[int, Face]
    frame: int | None = None
    time_s: float | None = None
    drawing: str | None = None


@contextlib.contextmanager
def face_table_writer(
    csv_path: Path,
    json_path: Path,
    num_landmarks: int,
    is_video: bool = False,
    point_names: Sequence[str] | None = None,
) -> Iterator[Callable[[ImageFaces], None]]:
    """Yields a function that adds the faces of an image to a table and to a JSON list.

    The table is tab separated and has a row for each face: file name, frame number (videos only),
    number of the face, box and landmarks. The JSON list has an object for each image, with the
    same values, the scores and the standard deviations; images without a face are in it alone.
    Both files are written completely or not at all.

    Args:
        csv_path: the table to write.
        json_path: the JSON file to write.
        num_landmarks: number of landmarks of a face.
        is_video: the images are the frames of a video.
        point_names: names that head the landmarks' columns, if they can (`can_head_columns`); None
            for the contest's titles.
    """
    columns = ["file_name", "frame", "face"] if is_video else ["file_name", "face"]
    columns += _BOX_COLUMNS
    columns += _point_columns(num_landmarks, point_names)
    with (
        atomic_write(csv_path) as partial_csv,
        atomic_write(json_path) as partial_json,
        partial_csv.open("w", encoding="utf-8", newline="\n") as csv_file,
        partial_json.open("w", encoding="utf-8", newline="\n") as json_file,
    ):
        separator = "[\n"

        def write(image: ImageFaces) -> None:
            nonlocal separator
            entry = _to_json(image)
            json_file.write(separator + json.dumps(entry))
            csv_file.writelines(table_files.format_row(row) + "\n" for row in _to_rows(entry))
            separator = ",\n"

        csv_file.write(table_files.format_row(columns) + "\n")
        yield write
        json_file.write("\n]\n" if separator == ",\n" else "[]\n")


def can_head_columns(point_names: Sequence[str]) -> bool:
    """Whether a table whose columns have these names is read as it was written.

    A name such as "box" or "width" means something else in a header.
    """
    columns = [*_BOX_COLUMNS, *_point_columns(len(point_names), point_names)]
    try:
        found = find_point_columns(columns)
    except ValueError:
        return False
    places = range(len(_BOX_COLUMNS), len(columns), 2)
    return found.x == list(places) and found.y == [place + 1 for place in places]


def _point_columns(num_landmarks: int, point_names: Sequence[str] | None) -> list[str]:
    if point_names is None:
        return landmark_tables.point_columns(num_landmarks)
    return [f"{table_files.printable(name)}_{axis}" for name in point_names for axis in "xy"]


def _to_json(image: ImageFaces) -> dict[str, Any]:
    width, height = image.size_px
    entry = {"file_name": table_files.printable(image.file_name)}
    if image.frame is not None:
        entry |= {"frame": image.frame, "time_s": round(image.time_s, _DECIMALS)}
    if image.drawing is not None:
        entry |= {"picture": table_files.printable(image.drawing)}
    faces = [{"face": number, **_face_to_json(face)} for number, face in image.faces.items()]
    return entry | {"width": width, "height": height, "faces": faces}


def _face_to_json(face: Face) -> dict[str, Any]:
    values = {
        "score": round(face.score, _DECIMALS),
        "box": _round(face.box_photo_px),
        "landmarks": _round(face.landmarks_photo_px),
    }
    if face.sigmas_photo_px is not None:
        values["sigmas"] = _round(face.sigmas_photo_px)
    return values


def _round(array: np.ndarray) -> list:
    return (array.astype(np.float64).round(_DECIMALS) + 0).tolist()  # + 0 turns -0.0 into 0.0.


def _to_rows(entry: dict[str, Any]) -> Iterator[list[str]]:
    image_cells = [str(entry[name]) for name in ("file_name", "frame") if name in entry]
    for face in entry["faces"]:
        values = [*face["box"], *(value for point in face["landmarks"] for value in point)]
        yield [*image_cells, str(face["face"]), *(f"{value:.7g}" for value in values)]
