"""Paths within a data folder in the contest's format.

    train/images/*.jpg       train/landmarks.csv     file_name, Point_M0_X, Point_M0_Y, ...
    test/images/*.jpg        test/test_points.csv    file_name, point_index_list

`test_points.csv` may also lie directly in the data folder, beside `test`.
"""

import os
from pathlib import Path

from keras_landmarks.utils.errors import InputError


def find_image_folder(data: Path, split: str) -> Path:
    """Returns the folder of a split's images; raises InputError if it does not exist."""
    folder = data / split / "images"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --data must be a folder in the contest's form")
    return folder


def find_photos(truth: Path | None, data: Path | None, split: str | None) -> Path | None:
    """Returns the folder of the photos that a table of true landmarks refers to, if it is known.

    That is the folder of `split` if a split is given, else `images` beside the table, else the
    folder of the test split.

    Args:
        truth: the table.
        data: the data folder.
        split: a split of `data`.

    Returns:
        The folder; None if there is neither `data` nor a folder beside the table.

    Raises:
        InputError: `data` has no such folder.
    """
    beside = truth.parent / "images" if truth else None
    if beside and beside.is_dir() and split is None:
        return beside
    return find_image_folder(data, split or "test") if data else None


def find_landmarks(data: Path, split: str) -> Path:
    """Returns the split's landmark table; raises InputError if there is none."""
    return _first_existing(data / split / "landmarks.csv", data / split / "test_landmarks.csv")


def find_test_points(data: Path, split: str) -> Path:
    """Returns `test_points.csv` in the split's folder or, for the test split, in the data folder.

    Raises:
        InputError: there is no such file.
    """
    return _first_existing(*_test_points_candidates(data, split))


def find_test_points_or_landmarks(data: Path, split: str) -> Path:
    """Returns the split's `test_points.csv` or, if there is none, its `landmarks.csv`.

    Raises:
        InputError: there is neither.
    """
    return _first_existing(*_test_points_candidates(data, split), data / split / "landmarks.csv")


def list_files(folder: Path) -> list[str]:
    """Returns the paths of all files below a folder, relative to it and sorted.

    Files that macOS adds to archives and folders (__MACOSX, ._photo.jpg, .DS_Store) are left out.
    """
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__MACOSX"]
        inner = os.path.relpath(parent, folder)
        names = [name for name in names if not name.startswith(("._", ".DS_Store"))]
        paths += [os.path.normpath(os.path.join(inner, name)) for name in names]
    return sorted(paths)


def _test_points_candidates(data: Path, split: str) -> list[Path]:
    folders = [data / split, data] if split == "test" else [data / split]
    return [folder / "test_points.csv" for folder in folders]


def _first_existing(*candidates: Path) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(f"none of these files exists: {', '.join(map(str, candidates))}")
