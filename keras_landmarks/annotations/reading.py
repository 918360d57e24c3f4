"""Annotations of any kind that is read: tables, COCO, lists, .pts files.

Points are in pixels of the photo, (0, 0) the middle of the upper left one, unless the file has
another unit, which nothing in it tells.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_landmarks.annotations.coco import read_coco, read_json
from keras_landmarks.annotations.face import KINDS_READ, Annotations
from keras_landmarks.annotations.lists import read_list
from keras_landmarks.annotations.pts import read_pts
from keras_landmarks.annotations.tables import read_table
from keras_landmarks.utils.errors import InputError

KINDS: dict[str, Callable[[Path, Path], Annotations]] = {
    "table": read_table,
    "coco": lambda source, photos: read_coco(source),
    "list": lambda source, photos: read_list(source),
    "pts": lambda source, photos: read_pts(source),
}
_SUFFIXES = {".json": "coco", ".txt": "list", ".pts": "pts"}
_NOT_READ = {
    ".xml": "XML (dlib, CVAT)",
    ".mat": "MATLAB's format",
    ".ljson": "Menpo's LJSON",
    ".xlsx": "an Excel workbook",
    ".xls": "an Excel workbook",
    ".ods": "a spreadsheet",
    ".h5": "HDF5 (DeepLabCut, SLEAP)",
    ".pkl": "a pickle",
    ".npy": "a NumPy array",
    ".npz": "NumPy arrays",
}


def read_annotations(source: Path, kind: str, photos: Path | None = None) -> Annotations:
    """Opens annotations of one of `KINDS`, or of the kind that `source` looks like for `auto`.

    `photos` is the folder that the photos' names are relative to, that of `source` unless given.

    Raises:
        InputError: there is no such file, it is not of that kind, or its kind is not read.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if photos is None:
        photos = source if source.is_dir() else source.parent
    return KINDS[_kind_of(source) if kind == "auto" else kind](source, photos)


def _kind_of(source: Path) -> str:
    suffix = source.suffix.lower()
    if source.is_dir():
        return "pts"
    if suffix in _NOT_READ:
        raise InputError(f"{source}: {_NOT_READ[suffix]} is not read; {KINDS_READ}")
    kind = _SUFFIXES.get(suffix, "table")
    if kind == "coco" and (program := _program_of(read_json(source))):
        raise InputError(
            f"{source}: JSON of {program} is not read, export COCO keypoints from it; {KINDS_READ}"
        )
    return kind


def _program_of(value: Any) -> str:
    """Returns which program writes such JSON, if it is known and not COCO."""
    if isinstance(value, dict) and "shapes" in value:
        return "labelme"
    if isinstance(value, dict) and ("_via_img_metadata" in value or _is_via(value)):
        return "the VGG Image Annotator"
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, dict) and ("annotations" in first or "completions" in first):
        return "Label Studio (percent of the photo, not pixels)"
    if isinstance(first, dict) and _has_percents(first):
        return "Label Studio (percent of the photo, not pixels)"
    return ""


def _is_via(value: dict) -> bool:
    first = next(iter(value.values()), None)
    return isinstance(first, dict) and "regions" in first and "filename" in first


def _has_percents(task: dict) -> bool:
    points = [point for each in task.values() if isinstance(each, list) for point in each]
    return any(isinstance(point, dict) and "keypointlabels" in point for point in points)
