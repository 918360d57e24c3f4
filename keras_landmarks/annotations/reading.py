"""Reads annotations in any supported format.

Landmarks are in pixels of the photo, where (0, 0) is the centre of the upper left pixel, unless the
file uses another unit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_landmarks.annotations.face import SUPPORTED_FORMATS, Annotations
from keras_landmarks.annotations.formats.coco import read_coco
from keras_landmarks.annotations.formats.cvat import read_cvat
from keras_landmarks.annotations.formats.deeplabcut import is_deeplabcut, read_deeplabcut
from keras_landmarks.annotations.formats.label_studio import is_label_studio, read_label_studio
from keras_landmarks.annotations.formats.labelme import is_labelme, read_labelme
from keras_landmarks.annotations.formats.lists import read_list
from keras_landmarks.annotations.formats.ljson import read_ljson
from keras_landmarks.annotations.formats.pts import read_pts
from keras_landmarks.annotations.formats.sleap import read_sleap
from keras_landmarks.annotations.formats.tables import read_table
from keras_landmarks.annotations.formats.via import is_via, read_via
from keras_landmarks.annotations.text import list_files, read_json
from keras_landmarks.utils.errors import InputError

# By format: a function of the annotations and the folder of the photos.
READERS: dict[str, Callable[[Path, Path], Annotations]] = {
    "table": read_table,
    "coco": read_coco,
    "list": lambda source, photos: read_list(source),
    "pts": lambda source, photos: read_pts(source),
    "ljson": lambda source, photos: read_ljson(source),
    "cvat": read_cvat,
    "label_studio": read_label_studio,
    "labelme": read_labelme,
    "via": read_via,
    "deeplabcut": read_deeplabcut,
    "sleap": read_sleap,
}
# By suffix; .json and tables, which have any other suffix, are told apart by their contents.
_FORMATS = {
    ".txt": "list",
    ".pts": "pts",
    ".ljson": "ljson",
    ".xml": "cvat",
    ".h5": "sleap",
    ".hdf5": "sleap",
}
_FOLDER_FORMATS = {".pts": "pts", ".ljson": "ljson", ".json": "labelme"}
_UNSUPPORTED = {
    ".mat": "MATLAB's format",
    ".xlsx": "an Excel workbook",
    ".xls": "an Excel workbook",
    ".ods": "a spreadsheet",
    ".slp": "SLEAP's project (export its analysis HDF5 or COCO)",
    ".pkl": "a pickle",
    ".npy": "a NumPy array",
    ".npz": "NumPy arrays",
    ".zip": "an archive (unpack it)",
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
    elif source.is_dir() and source_format not in _FOLDER_FORMATS.values():
        raise InputError(f"{source}: a folder; give the file of annotations in it")
    return READERS[source_format](source, photos)


def _detect_format(source: Path) -> str:
    suffix = source.suffix.lower()
    if source.is_dir():
        return _detect_folder(source)
    if suffix in _UNSUPPORTED:
        raise InputError(f"{source}: {_UNSUPPORTED[suffix]} is not read; {SUPPORTED_FORMATS}")
    if suffix == ".json":
        return _detect_json(source, read_json(source))
    return _FORMATS.get(suffix) or ("deeplabcut" if is_deeplabcut(source) else "table")


def _detect_folder(source: Path) -> str:
    """Returns the format of the files in a folder that has one file for each photo."""
    found = [suffix for suffix in (".pts", ".ljson") if list_files(source, suffix)]
    if len(found) > 1:
        raise InputError(
            f"{source}: it has {' and '.join(found)} files; give --source_format=pts or ljson"
        )
    others = [] if found else list_files(source, ".json")
    if others and not any(is_labelme(read_json(path)) for path in others):
        raise InputError(f"{source}: a folder; give the file in it, such as {others[0].name}")
    if not found and not others:
        raise InputError(f"{source}: no .pts, .ljson or .json file in it; {SUPPORTED_FORMATS}")
    return _FOLDER_FORMATS[found[0] if found else ".json"]


def _detect_json(source: Path, value: Any) -> str:
    """Returns the format of JSON, which is COCO if no other program is known to write it."""
    if is_labelme(value):
        return "labelme"
    if is_via(value):
        return "via"
    if is_label_studio(value):
        return "label_studio"
    if isinstance(value, dict) and _is_via_3(value):
        raise InputError(
            f"{source}: a project of VIA 3 is not read; use VIA 2 for points in photos"
        )
    return "coco"


def _is_via_3(value: dict) -> bool:
    return isinstance(value.get("project"), dict) and {"metadata", "view", "file"} <= value.keys()
