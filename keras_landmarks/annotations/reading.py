"""Reads annotations in any supported format: tables, COCO's JSON, lists and .pts files.

Landmarks are in pixels of the photo, where (0, 0) is the centre of the upper left pixel, unless the
file uses another unit, which nothing in it states.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_landmarks.annotations.coco import read_coco, read_json
from keras_landmarks.annotations.face import SUPPORTED_FORMATS, Annotations
from keras_landmarks.annotations.lists import read_list
from keras_landmarks.annotations.pts import read_pts
from keras_landmarks.annotations.tables import read_table
from keras_landmarks.utils.errors import InputError

# By format: a function of the annotations and the folder of the photos.
READERS: dict[str, Callable[[Path, Path], Annotations]] = {
    "table": read_table,
    "coco": lambda source, photos: read_coco(source),
    "list": lambda source, photos: read_list(source),
    "pts": lambda source, photos: read_pts(source),
}
_FORMATS = {".json": "coco", ".txt": "list", ".pts": "pts"}  # by suffix; of others, table
_UNSUPPORTED = {
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


def read_annotations(source: Path, source_format: str, photos: Path | None = None) -> Annotations:
    """Reads annotations.

    Args:
        source: a file or a folder.
        source_format: a key of `READERS`, or "auto" for the format that `source` looks like.
        photos: the folder that the photos' names are relative to; None for the folder of `source`.

    Raises:
        InputError: `source` does not exist, or its format is another one or not supported.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if photos is None:
        photos = source if source.is_dir() else source.parent
    if source_format == "auto":
        source_format = _detect_format(source)
    return READERS[source_format](source, photos)


def _detect_format(source: Path) -> str:
    suffix = source.suffix.lower()
    if source.is_dir():
        return "pts"
    if suffix in _UNSUPPORTED:
        raise InputError(f"{source}: {_UNSUPPORTED[suffix]} is not read; {SUPPORTED_FORMATS}")
    source_format = _FORMATS.get(suffix, "table")
    if source_format == "coco" and (program := _detect_program(read_json(source))):
        raise InputError(
            f"{source}: JSON of {program} is not read, export COCO keypoints from it;"
            f" {SUPPORTED_FORMATS}"
        )
    return source_format


def _detect_program(value: Any) -> str:
    """Returns the program that writes such JSON, if it is known and does not write COCO."""
    if isinstance(value, dict) and "shapes" in value:
        return "labelme"
    if isinstance(value, dict) and ("_via_img_metadata" in value or _is_via(value)):
        return "the VGG Image Annotator"
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, dict) and (
        "annotations" in first or "completions" in first or _has_percentages(first)
    ):
        return "Label Studio (percent of the photo, not pixels)"
    return ""


def _is_via(value: dict) -> bool:
    first = next(iter(value.values()), None)
    return isinstance(first, dict) and "regions" in first and "filename" in first


def _has_percentages(task: dict) -> bool:
    points = [point for each in task.values() if isinstance(each, list) for point in each]
    return any(isinstance(point, dict) and "keypointlabels" in point for point in points)
