"""Files in 300-W's format: `photo.pts` beside `photo.jpg`, one face each.

They count pixels from 1 (Sagonas et al., "300 faces in-the-wild challenge", 2013); that is taken
off, so that (0, 0) is the middle of the upper left pixel.
"""

import re
from pathlib import Path

from keras_landmarks.annotations.face import KINDS_READ, Annotations, Face, face_of
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
_MAC_FOLDER = "__MACOSX"  # what macOS adds to an archive; its files begin with ._


def read_pts(source: Path) -> Annotations:
    """Reads one .pts file or all in a folder and its sub-folders.

    Raises:
        InputError: there is none.
    """
    paths = [source]
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*.pts") if not _is_of_mac(path, source))
    if not paths:
        raise InputError(f"{source}: no .pts file in it; {KINDS_READ}")
    folder = source if source.is_dir() else source.parent
    return Annotations(_read_file(path, folder, row) for row, path in enumerate(paths, start=1))


def _is_of_mac(path: Path, folder: Path) -> bool:
    return path.name.startswith(".") or _MAC_FOLDER in path.relative_to(folder).parts


def _read_file(path: Path, folder: Path, row: int) -> Face | InvalidSample:
    text = path.read_text(encoding="utf-8", errors="replace")
    numbers = re.fullmatch(r"[^{]*\{([^{}]*)\}\s*", text)
    stated = re.search(r"n_points:\s*(\d+)", text)
    photos = [path.with_suffix(s) for suffix in _PHOTO_SUFFIXES for s in (suffix, suffix.upper())]
    photo = next((str(photo.relative_to(folder)) for photo in photos if photo.exists()), None)
    if photo is None:
        return InvalidSample(str(path.relative_to(folder)), row, "no photo of that name beside it")
    if not numbers:
        return InvalidSample(photo, row, "a .pts file has its points in braces")
    face = face_of(photo, numbers[1].split(), row)
    if isinstance(face, InvalidSample):
        return face
    if stated and int(stated[1]) != len(face.landmarks_photo_px):
        count = len(face.landmarks_photo_px)
        return InvalidSample(photo, row, f"n_points: {stated[1]}, but {count} points")
    return face._replace(landmarks_photo_px=face.landmarks_photo_px - 1)
