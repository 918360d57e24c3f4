"""Finds the photos that annotation tools name by paths of their own."""

import os
from collections.abc import Iterable
from pathlib import Path

from keras_landmarks.contest import image_names
from keras_landmarks.utils.errors import InputError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic")


def find_photos(source: Path, photos: Path, names: Iterable[str]) -> dict[str, str]:
    """Returns the path, relative to `photos`, of each photo that a tool names.

    A tool's path may begin with folders of another machine. The longest end of it that is a file
    below `photos` is the photo; without such a file it is the path without its "..".

    Args:
        source: the annotations, for messages.
        photos: the folder of the photos.
        names: the paths, one for each photo.

    Raises:
        InputError: a name stands for two photos, or two names end in the same file, so that one of
            them is another photo.
    """
    found: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name in names:
        if name in found:
            raise InputError(f"{source}: two photos are called {name}; keep one, or rename it")
        path = found[name] = find_photo(photos, name) or "/".join(_parts(name))
        if (owner := owners.setdefault(path, name)) != name:
            raise InputError(
                f"{source}: {photos / path} might be two photos, {owner} and {name}; keep their"
                " folders, and give the folder above these with --photos"
            )
    return found


def find_photo(photos: Path, name: str) -> str:
    """Returns the longest end of a path that is a file below `photos`, or "" if there is none."""
    parts = _parts(name)
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    usable = (end for end in ends if image_names.is_valid_name(end))
    return next((end for end in usable if _is_file(photos, end)), "")


def is_photo_name(name: str) -> bool:
    """Whether a name ends as those of photos do."""
    return name.lower().endswith(_SUFFIXES)


def photo_beside(path: Path) -> Path | None:
    """Returns the photo that differs from a file in its suffix only, if there is one."""
    suffixes = (form for suffix in _SUFFIXES for form in (suffix, suffix.upper()))
    return next(filter(Path.exists, map(path.with_suffix, suffixes)), None)


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _is_file(photos: Path, name: str) -> bool:
    return os.path.isfile(image_names.find_path(photos, name))
