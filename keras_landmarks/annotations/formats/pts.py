"""Reads annotations in 300-W's format: `photo.pts` beside `photo.jpg`, one face each.

The format counts pixels from 1 (Sagonas et al., "300 faces in-the-wild challenge", 2013). One is
subtracted, so that (0, 0) is the centre of the upper left pixel.
"""

import re
from pathlib import Path

from keras_landmarks.annotations.face import (
    SUPPORTED_FORMATS,
    AnnotatedFace,
    Annotations,
    face_from_cells,
)
from keras_landmarks.annotations.photo_names import photo_beside
from keras_landmarks.annotations.text import list_files
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError


def read_pts(source: Path) -> Annotations:
    """Reads one .pts file, or all in a folder and its sub-folders.

    Raises:
        InputError: there is none.
    """
    paths = list_files(source, ".pts")
    if not paths:
        raise InputError(f"{source}: no .pts file in it; {SUPPORTED_FORMATS}")
    folder = source if source.is_dir() else source.parent
    faces = (_read_file(path, folder, row) for row, path in enumerate(paths, start=1))
    return Annotations(faces)


def _read_file(path: Path, folder: Path, row: int) -> AnnotatedFace | InvalidSample:
    photo = photo_beside(path)
    if photo is None:
        name = str(path.relative_to(folder))
        return InvalidSample(name, row, "no photo of the same name beside it")
    name = str(photo.relative_to(folder))
    text = path.read_text(encoding="utf-8", errors="replace")
    numbers = re.fullmatch(r"[^{]*\{([^{}]*)\}\s*", text)
    if not numbers:
        return InvalidSample(name, row, "a .pts file has its points in braces")
    face = face_from_cells(name, numbers[1].split(), row)
    if isinstance(face, InvalidSample):
        return face
    count, stated = len(face.landmarks), re.search(r"n_points:\s*(\d+)", text)
    if stated and int(stated[1]) != count:
        return InvalidSample(name, row, f"n_points: {stated[1]}, but {count} points")
    return face._replace(landmarks=face.landmarks - 1)
