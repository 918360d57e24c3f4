"""Photos in files: their faces into tables, and drawn on them."""

import itertools
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from keras_landmarks.data import contest
from keras_landmarks.files import write_whole
from keras_landmarks.landmarking.landmarker import Face, Landmarker
from keras_landmarks.landmarking.tables import Picture, face_tables
from keras_landmarks.progress import progress
from keras_landmarks.reports import drawing

NO_FACE = "no face found"
_IN_MEMORY = 8  # photos, or frames of a video
Item = TypeVar("Item")


def landmark_photos(
    photos: dict[str, Path], landmarker: Landmarker, out: Path, draw: bool
) -> tuple[dict, dict[str, str]]:
    """Writes `landmarks.csv`, `landmarks.json` and, if asked, `pictures/` into the folder `out`.

    Returns:
        Figures, and by their names why some photos are without points.
    """
    skipped, faces_found, started = {}, 0, time.monotonic()
    tables = out / "landmarks.csv", out / "landmarks.json"
    with face_tables(*tables, landmarker.points) as write:
        for images in in_batches(_read_all(photos, skipped)):
            found = landmarker([image for _, image in images])
            for (name, image), faces in zip(images, found, strict=True):
                numbered = dict(enumerate(faces))
                write(Picture(name, image.shape[1::-1], numbered))
                faces_found += len(faces)
                if not faces:
                    skipped[name] = NO_FACE
                elif draw:
                    _write_picture(out / "pictures" / name, draw_on(image, numbered, enlarge=True))
    rate = len(photos) / (time.monotonic() - started)
    return {"photos": len(photos), "faces": faces_found, "photos_per_s": round(rate, 2)}, skipped


def in_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yields as many of the items at a time as should be in memory."""
    items = iter(items)
    while some := list(itertools.islice(items, _IN_MEMORY)):
        yield some


def draw_on(image: np.ndarray, faces: dict[int, Face], enlarge: bool) -> np.ndarray:
    """Draws numbered faces on a photo; `enlarge` has small ones enlarged first."""
    boxes = [face.box_photo_px for face in faces.values()]
    points = [face.landmarks_photo_px for face in faces.values()]
    return drawing.draw_faces(image, boxes, points, list(map(str, faces)), enlarge)


def _read_all(photos: dict[str, Path], skipped: dict[str, str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the photos by name; adds those that cannot be read to `skipped`."""
    with ThreadPoolExecutor() as pool:
        for some in in_batches(progress(photos.items(), "photos", "photos", len(photos))):
            names, paths = zip(*some, strict=True)
            for name, image in zip(names, pool.map(_read, paths), strict=True):
                if isinstance(image, str):
                    skipped[name] = image
                else:
                    yield name, image


def _read(path: Path) -> np.ndarray | str:
    """Returns the photo, or what is wrong with it."""
    try:
        return contest.read_photo(path)
    except ValueError as error:
        return str(error)


def _write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a picture by the photo's name: PNG if that is one, else JPEG."""
    if path.suffix.lower() == ".png":
        write_whole(path, cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        return
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    name = path.name if is_jpeg else f"{path.name}.jpg"
    write_whole(path.with_name(name), contest.encode_jpeg(picture))
