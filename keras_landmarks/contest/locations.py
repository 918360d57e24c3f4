"""Where the tables and images of a folder in the contest's form lie."""

import os
from pathlib import Path

from keras_landmarks.utils.errors import InputError


def find_image_folder(data: Path, split: str) -> Path:
    """Returns the folder of the split's images; InputError if there is none."""
    folder = data / split / "images"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --data must be a folder in the contest's form")
    return folder


def find_photos(truth: Path | None, data: Path | None, split: str | None) -> Path | None:
    """Returns the folder of the photos that a table of true points is of; None if it is not known.

    The split's, where one is named; else `images` beside the table; else the test split's.

    Raises:
        InputError: `data` has no such folder.
    """
    beside = truth.parent / "images" if truth else None
    if beside and beside.is_dir() and split is None:
        return beside
    return find_image_folder(data, split or "test") if data else None


def list_files(folder: Path) -> list[str]:
    """Returns the files below the folder by their paths from it, sorted.

    What macOS adds to archives and folders is left out: __MACOSX, ._photo.jpg, .DS_Store.
    """
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__MACOSX"]
        inner = os.path.relpath(parent, folder)
        names = [name for name in names if not name.startswith(("._", ".DS_Store"))]
        paths += [os.path.normpath(os.path.join(inner, name)) for name in names]
    return sorted(paths)


def find_landmarks(data: Path, split: str) -> Path:
    """Returns the split's own table of points; InputError if there is none."""
    return _first_file(data / split / "landmarks.csv", data / split / "test_landmarks.csv")


def find_test_points(data: Path, split: str) -> Path:
    """Returns `test_points.csv` in the split's folder or, for the test split, beside it.

    Raises:
        InputError: there is none.
    """
    return _first_file(*_test_points(data, split))


def find_test_points_or_landmarks(data: Path, split: str) -> Path:
    """Returns what `find_test_points` does or, where that is missing, the split's landmarks.csv.

    Raises:
        InputError: there is neither.
    """
    return _first_file(*_test_points(data, split), data / split / "landmarks.csv")


def _test_points(data: Path, split: str) -> list[Path]:
    folders = [data / split, data] if split == "test" else [data / split]
    return [folder / "test_points.csv" for folder in folders]


def _first_file(*candidates: Path) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(f"none of these files exists: {', '.join(map(str, candidates))}")
