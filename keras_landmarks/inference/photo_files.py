"""Predicts photo files: writes their faces into tables and draws them on the photos."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.images import decoding, drawing, image_header, video
from keras_landmarks.inference.batching import in_batches
from keras_landmarks.inference.face import Face
from keras_landmarks.inference.face_tables import ImageFaces, face_table_writer
from keras_landmarks.inference.landmarker import Landmarker
from keras_landmarks.inference.output_paths import assign_output_names
from keras_landmarks.utils import cores
from keras_landmarks.utils.files import NameTooLongError, write_atomically
from keras_landmarks.utils.progress import progress

NO_FACE = "no face found"
_PICTURE_NAME_TOO_LONG = "its picture's name would be too long; its points are there"


def predict_photos(
    photos: dict[str, Path],
    landmarker: Landmarker,
    out: Path,
    draw: bool,
    point_names: Sequence[str] | None = None,
    keep: Callable[[ImageFaces], None] | None = None,
) -> tuple[dict, dict[str, str]]:
    """Writes landmarks.csv, landmarks.json and, with `draw`, pictures/ into a folder.

    Args:
        photos: the photo files by their names in the tables.
        landmarker: predicts the faces.
        out: the folder to write into.
        draw: draw the faces on the photos.
        point_names: as `face_table_writer` takes them.
        keep: is called with the faces of each photo as well.

    Returns:
        The results (number of readable photos, number of faces, rate), and the reason why a photo
        is without landmarks or picture, by name.
    """
    skipped, num_readable, num_faces, started = {}, 0, 0, time.monotonic()
    output_names = assign_output_names(photos, lambda name: [_picture_name(name)])
    tables = out / "landmarks.csv", out / "landmarks.json"
    with face_table_writer(*tables, landmarker.num_landmarks, point_names=point_names) as write:
        predicted = _predict_each(photos, landmarker)
        for name, image, faces in progress(predicted, "photos", "photos", len(photos)):
            if isinstance(image, str):
                skipped[name] = image
                continue
            num_readable += 1
            num_faces += len(faces)
            numbered, picture = dict(enumerate(faces)), None
            if not faces:
                skipped[name] = NO_FACE
            elif draw:
                picture = _write_picture(image, numbered, out, output_names[name])
                if picture is None:
                    skipped[name] = _PICTURE_NAME_TOO_LONG
            written = ImageFaces(name, image.shape[1::-1], numbered, drawing=picture)
            write(written)
            if keep:
                keep(written)
    photos_per_s = num_readable / (time.monotonic() - started)
    results = {
        "photos": num_readable,
        "faces": num_faces,
        "photos_per_s": round(photos_per_s, 2),
    }
    return results, skipped


def draw_faces(image: np.ndarray, faces: dict[int, Face], enlarge: bool) -> np.ndarray:
    """Draws numbered faces on a photo (H, W, 3) uint8; `enlarge` first enlarges a small photo."""
    boxes = [face.box_photo_px for face in faces.values()]
    landmarks = [face.landmarks_photo_px for face in faces.values()]
    return drawing.draw_faces(image, boxes, landmarks, list(map(str, faces)), enlarge)


def _predict_each(
    photos: dict[str, Path], landmarker: Landmarker
) -> Iterator[tuple[str, np.ndarray | str, list[Face]]]:
    """Yields each photo's name, the photo or the reason why it is not readable, and its faces."""
    with ThreadPoolExecutor(cores.usable()) as pool:
        for batch in in_batches(photos.items()):
            names, paths = zip(*batch, strict=True)
            images = list(pool.map(_read_or_reason, paths))
            readable = [image for image in images if not isinstance(image, str)]
            predicted = iter(landmarker(readable))
            for name, image in zip(names, images, strict=True):
                yield name, image, [] if isinstance(image, str) else next(predicted)


def _read_or_reason(path: Path) -> np.ndarray | str:
    """Returns the photo, or the reason why it is not readable."""
    try:
        return decoding.read_photo(path)
    except ValueError as error:
        if str(error) != image_header.NO_PHOTO:
            return str(error)
        return f"{error}, and not named as a video: {' '.join(sorted(video.SUFFIXES))}"


def _picture_name(name: str) -> str:
    """Returns the photo's name with an extension of the format written: PNG for .png, or JPEG."""
    extension = os.path.splitext(name)[1].lower()
    return name if extension in (".png", ".jpg", ".jpeg") else f"{name}.jpg"


def _write_picture(image: np.ndarray, faces: dict[int, Face], out: Path, name: str) -> str | None:
    """Draws the faces on a photo and writes it below `out`.

    Returns its path relative to `out`; None if the file system does not take so long a name.
    """
    path = os.path.join("pictures", _picture_name(name))
    picture = draw_faces(image, faces, enlarge=True)
    is_png = path.lower().endswith(".png")
    content = _encode_png(picture) if is_png else decoding.encode_jpeg(picture)
    try:
        write_atomically(out / path, content)
    except NameTooLongError:
        return None
    return path


def _encode_png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()
