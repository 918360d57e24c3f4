"""Photos in files: their faces into tables, and drawn on them."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.images import decoding, drawing, video
from keras_landmarks.inference.following import in_batches
from keras_landmarks.inference.landmarker import Face, Landmarker
from keras_landmarks.inference.output_names import own_names
from keras_landmarks.inference.tables import Picture, face_tables
from keras_landmarks.utils import cores
from keras_landmarks.utils.files import NameTooLongError, write_atomically
from keras_landmarks.utils.progress import progress

NO_FACE = "no face found"


def landmark_photos(
    photos: dict[str, Path], landmarker: Landmarker, out: Path, draw: bool
) -> tuple[dict, dict[str, str]]:
    """Writes `landmarks.csv`, `landmarks.json` and, if asked, `pictures/` into the folder `out`.

    Returns:
        Figures, of the photos that could be read, and by their names why some are without points
        or picture.
    """
    skipped, read, count, started = {}, 0, 0, time.monotonic()
    own_name = own_names(photos, lambda name: [_picture_name(name)])
    tables = out / "landmarks.csv", out / "landmarks.json"
    with face_tables(*tables, landmarker.points) as write:
        every = _landmark_each(photos, landmarker)
        for name, image, faces in progress(every, "photos", "photos", len(photos)):
            if isinstance(image, str):
                skipped[name] = image
                continue
            read += 1
            numbered, drawn = dict(enumerate(faces)), None
            count += len(faces)
            if not faces:
                skipped[name] = NO_FACE
            elif draw:
                drawn = os.path.join("pictures", _picture_name(own_name[name]))
                try:
                    _write_picture(out / drawn, draw_on(image, numbered, enlarge=True))
                except NameTooLongError:
                    drawn = None
                    skipped[name] = "its picture's name would be too long; its points are there"
            write(Picture(name, image.shape[1::-1], numbered, drawn=drawn))
    rate = read / (time.monotonic() - started)
    return {"photos": read, "faces": count, "photos_per_s": round(rate, 2)}, skipped


def draw_on(image: np.ndarray, faces: dict[int, Face], enlarge: bool) -> np.ndarray:
    """Draws numbered faces on a photo; `enlarge` has small ones enlarged first."""
    boxes = [face.box_photo_px for face in faces.values()]
    points = [face.landmarks_photo_px for face in faces.values()]
    return drawing.draw_faces(image, boxes, points, list(map(str, faces)), enlarge)


def _landmark_each(
    photos: dict[str, Path], landmarker: Landmarker
) -> Iterator[tuple[str, np.ndarray | str, list[Face]]]:
    """Yields each photo's name, the photo, or what is wrong with it, and its faces."""
    with ThreadPoolExecutor(cores.usable()) as pool:
        for some in in_batches(photos.items()):
            names, paths = zip(*some, strict=True)
            images = list(pool.map(_read, paths))
            found = iter(landmarker([image for image in images if not isinstance(image, str)]))
            for name, image in zip(names, images, strict=True):
                yield name, image, [] if isinstance(image, str) else next(found)


def _read(path: Path) -> np.ndarray | str:
    """Returns the photo, or what is wrong with it."""
    try:
        return decoding.read_photo(path)
    except ValueError as error:
        nor_video = f", nor named as a video: {' '.join(sorted(video.SUFFIXES))}"
        return f"{error}{nor_video if str(error) == decoding.NO_PHOTO else ''}"


def _picture_name(name: str) -> str:
    """Returns a name whose ending says what is written: a PNG if it is one's name, else a JPEG."""
    ending = os.path.splitext(name)[1].lower()
    return name if ending in (".png", ".jpg", ".jpeg") else f"{name}.jpg"


def _write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as its name says."""
    if path.suffix.lower() == ".png":
        write_atomically(path, cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    else:
        write_atomically(path, decoding.encode_jpeg(picture))
