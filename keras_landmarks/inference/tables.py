"""The points of faces in photos, or in a video's frames: a table, and the same as JSON."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_landmarks.contest import landmark_tables, table_files
from keras_landmarks.inference.landmarker import Face
from keras_landmarks.utils.files import atomic_write

_DECIMALS = 3


class Picture(NamedTuple):
    """A photo or, with its number and time, a frame of a video; its faces by their numbers.

    `drawn` is where the photo with its points was written, a path below the folder of the tables.
    """

    file_name: str
    size_px: tuple[int, int]
    faces: dict[int, Face]
    frame: int | None = None
    time_s: float | None = None
    drawn: str | None = None


@contextlib.contextmanager
def face_tables(
    table: Path, listing: Path, points: int, frames: bool = False
) -> Iterator[Callable[[Picture], None]]:
    """Yields what adds a picture to a tab separated table, a row a face, and to a JSON list.

    Pictures without a face are in the list alone, and so are scores and standard deviations. Both
    files are written whole, or not at all.

    Args:
        table: to write: file name, frame of a video, number of the face, its box, its points.
        listing: to write: the same, an object a picture.
        points: of a face.
        frames: pictures are a video's frames.
    """
    columns = ["file_name", "frame", "face"] if frames else ["file_name", "face"]
    columns += ["box_x0", "box_y0", "box_x1", "box_y1", *landmark_tables.point_columns(points)]
    with (
        atomic_write(table) as partial_table,
        atomic_write(listing) as partial_listing,
        partial_table.open("w", encoding="utf-8", newline="\n") as rows,
        partial_listing.open("w", encoding="utf-8", newline="\n") as objects,
    ):
        before = "[\n"

        def write(picture: Picture) -> None:
            nonlocal before
            entry = _as_object(picture)
            objects.write(before + json.dumps(entry))
            rows.writelines(table_files.as_line(row) + "\n" for row in _as_rows(entry))
            before = ",\n"

        rows.write(table_files.as_line(columns) + "\n")
        yield write
        objects.write("\n]\n" if before == ",\n" else "[]\n")


def _as_object(picture: Picture) -> dict[str, Any]:
    width, height = picture.size_px
    entry = {"file_name": table_files.printable(picture.file_name)}
    if picture.frame is not None:
        entry |= {"frame": picture.frame, "time_s": round(picture.time_s, _DECIMALS)}
    if picture.drawn is not None:
        entry |= {"picture": table_files.printable(picture.drawn)}
    faces = [{"face": number, **_as_numbers(face)} for number, face in picture.faces.items()]
    return entry | {"width": width, "height": height, "faces": faces}


def _as_numbers(face: Face) -> dict[str, Any]:
    numbers = {
        "score": round(face.score, _DECIMALS),
        "box": _rounded(face.box_photo_px),
        "landmarks": _rounded(face.landmarks_photo_px),
    }
    if face.sigmas_photo_px is not None:
        numbers["sigmas"] = _rounded(face.sigmas_photo_px)
    return numbers


def _rounded(array: np.ndarray) -> list:
    return (array.astype(np.float64).round(_DECIMALS) + 0).tolist()  # + 0: no -0.0


def _as_rows(entry: dict[str, Any]) -> Iterator[list[str]]:
    names = [str(entry[name]) for name in ("file_name", "frame") if name in entry]
    for face in entry["faces"]:
        numbers = [*face["box"], *(value for point in face["landmarks"] for value in point)]
        yield [*names, str(face["face"]), *(f"{value:.7g}" for value in numbers)]
