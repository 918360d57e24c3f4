"""Validates annotated faces, before their photos are decoded."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from keras_landmarks.annotations.face import AnnotatedFace
from keras_landmarks.contest import image_names
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.images import decoding

_MAX_NAME_CHARACTERS = 80  # in a reason


def validate_faces(
    faces: Sequence[AnnotatedFace | InvalidSample], photos: Path
) -> Iterator[AnnotatedFace | InvalidSample]:
    """Yields each face, with its photo's path relative to `photos`, or why it cannot be used.

    A face must have as many landmarks as most faces have, missing ones included, must not repeat an
    earlier face, and its photo must exist.
    """
    counts = Counter(len(face.landmarks) for face in faces if isinstance(face, AnnotatedFace))
    usual_count = max(counts, key=counts.get, default=0)
    first_rows: dict[tuple[str, bytes], int] = {}
    for face in faces:
        if isinstance(face, AnnotatedFace):
            face = face._replace(photo=_relative_path(photos, face.photo))
            first_row = first_rows.setdefault((face.photo, face.landmarks.tobytes()), face.row)
            if reason := _find_problem(face, usual_count, first_row, photos):
                face = InvalidSample(face.photo, face.row, reason)
        yield face


def reject_shared_photos(
    faces: Iterable[AnnotatedFace | InvalidSample],
) -> Iterator[AnnotatedFace | InvalidSample]:
    """Yields the faces; those that share a photo with another face become invalid.

    For photos that are not cropped: the network could not know which of the faces is meant.
    """
    faces = list(faces)
    counts = Counter(face.photo for face in faces if isinstance(face, AnnotatedFace))
    for face in faces:
        if isinstance(face, AnnotatedFace) and counts[face.photo] > 1:
            reason = f"several faces in one photo, which is not cropped: {counts[face.photo]}"
            face = InvalidSample(face.photo, face.row, reason)
        yield face


def _relative_path(photos: Path, name: str) -> str:
    """Returns a photo's path, which may be absolute or a Windows path, relative to `photos`."""
    for folder in (os.path.abspath(photos), os.path.realpath(photos)):
        name = name.removeprefix(f"{folder}/")
    slashed = name.replace("\\", "/")
    if name != slashed and image_names.is_valid_name(slashed):
        return slashed if os.path.exists(image_names.find_path(photos, slashed)) else name
    return name


def _find_problem(face: AnnotatedFace, usual_count: int, first_row: int, photos: Path) -> str:
    """Returns why a face cannot be used, or "" if it can."""
    landmarks = face.landmarks
    if len(landmarks) != usual_count:
        return f"not as many points as most faces: {len(landmarks)}, not {usual_count}"
    if first_row != face.row:
        return f"duplicate of an earlier face: row {first_row}"
    if not image_names.is_valid_name(face.photo):
        return f"not a path below the photos' folder: {face.photo[:_MAX_NAME_CHARACTERS]!r}"
    if not os.path.exists(image_names.find_path(photos, face.photo)):
        return _describe_missing(photos, face.photo)
    return ""


def _describe_missing(photos: Path, name: str) -> str:
    reason = f"{decoding.NO_FILE}: {photos / name[:_MAX_NAME_CHARACTERS]}"
    if "\\" in name:
        return f"{reason}; folders are separated by /"
    nearest = image_names.nearest_file(photos, name)
    return f"{reason}; the nearest name there is {nearest}" if nearest else reason
