"""Which faces of a file of annotations can be used, before their photos are decoded."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_landmarks.annotations.face import Face
from keras_landmarks.contest import image_names
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.images import decoding

_LONGEST_TOLD = 80  # characters of a name in a reason


def validate(faces: Sequence[Face | InvalidSample], photos: Path) -> Iterator[Face | InvalidSample]:
    """Yields the faces with their photos' paths from `photos`; rejects for those of no use.

    How many points a face has is what most faces have.
    """
    count = Counter(len(face.landmarks_photo_px) for face in faces if isinstance(face, Face))
    points = max(count, key=count.get, default=0)
    first_rows: dict[tuple[str, bytes], int] = {}
    for face in faces:
        if isinstance(face, Face):
            face = face._replace(photo=_path_below(photos, face.photo))
            key = face.photo, face.landmarks_photo_px.tobytes()
            first = first_rows.setdefault(key, face.row)
            if reason := _fault(face, points, first, photos):
                face = InvalidSample(face.photo, face.row, reason)
        yield face


def leave_out_shared_photos(
    faces: Iterable[Face | InvalidSample],
) -> Iterator[Face | InvalidSample]:
    """Yields the faces, with rejects for those that share a photo.

    Of a whole photo with several faces the network could not know which one is meant.
    """
    faces = list(faces)
    count = Counter(face.photo for face in faces if isinstance(face, Face))
    for face in faces:
        if isinstance(face, Face) and count[face.photo] > 1:
            reason = f"several faces in one photo, which stays whole: {count[face.photo]}"
            face = InvalidSample(face.photo, face.row, reason)
        yield face


def _path_below(photos: Path, name: str) -> str:
    """Returns the path below the photos' folder of a name that may be absolute or Windows'."""
    for folder in (os.path.abspath(photos), os.path.realpath(photos)):
        name = name.removeprefix(f"{folder}/")
    slashed = name.replace("\\", "/")
    if name != slashed and image_names.can_be_listed(slashed):
        return slashed if os.path.exists(image_names.find_path(photos, slashed)) else name
    return name


def _fault(face: Face, points: int, first_row: int, photos: Path) -> str:
    """Returns why a face cannot be used; nothing if it can."""
    landmarks = face.landmarks_photo_px
    if gaps := int(np.isnan(landmarks).any(axis=1).sum()):
        return f"points without a place: {gaps} of {len(landmarks)}"
    if len(landmarks) != points:
        return f"not as many points as most faces: {len(landmarks)}, not {points}"
    if first_row != face.row:
        return f"repeated: the same as row {first_row}"
    name = face.photo
    if not image_names.can_be_listed(name):
        return f"not a path below the photos' folder: {name[:_LONGEST_TOLD]!r}"
    if os.path.exists(image_names.find_path(photos, name)):
        return ""
    reason = f"{decoding.NO_FILE}: {photos / name[:_LONGEST_TOLD]}"
    if "\\" in name:
        return f"{reason}; folders are separated by /"
    nearest = image_names.nearest_name(photos, name)
    return f"{reason}; the nearest name there is {nearest}" if nearest else reason
