"""Finds the files of a folder by the names that tables give them.

Names meet in both of Unicode's forms: macOS and some archives write ü as u and two dots. Where a
name is of no file, the nearest one is looked for, to be named beside it: programs for tables make
the number 1 of 00001.jpg, and people leave endings out.
"""

import functools
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath

from keras_landmarks.contest import locations


def find_path(folder: str | os.PathLike, name: str) -> str:
    """Returns the path of a file by its name in the folder, in whichever Unicode form it is there.

    That of the name as it is where there is no such file.
    """
    path = os.path.join(folder, name)
    if name.isascii() or os.path.lexists(path):
        return path
    forms = (os.path.join(folder, form) for form in unicode_forms(name))
    return next(filter(os.path.lexists, forms), path)


def unicode_forms(name: str) -> list[str]:
    """Returns the name in each form that a file system may have it in; the first is NFC."""
    if name.isascii():
        return [name]
    return [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]


def nearest_name(folder: str | os.PathLike, name: str) -> str:
    """Returns the folder's file that a name without a file most likely means; "" if none is near.

    Near are names that differ in capitals, in their ending, in zeros before a number, or in the
    folders before them.
    """
    return _nearest(_files_by_stem(os.fspath(folder)), name)


def nearest_of(names: Iterable[str], name: str) -> str:
    """Returns the one of the names that is near to `name` as in `nearest_name`."""
    return _nearest(_by_stem(names), name)


def _nearest(by_stem: dict[str, str], name: str) -> str:
    slashed = name.replace("\\", "/")
    nearest = by_stem.get(_stem(slashed)) or by_stem.get(_stem(PurePath(slashed).name), "")
    return "" if nearest == name else nearest  # a link that leads nowhere is listed, too


@functools.lru_cache(maxsize=1)  # a table may have many such names; it is for a message only
def _files_by_stem(folder: str) -> dict[str, str]:
    return _by_stem(locations.list_files(Path(folder)))


def _by_stem(names: Iterable[str]) -> dict[str, str]:
    stems: dict[str, str] = {}
    for name in names:
        stems.setdefault(_stem(name), name)
        stems.setdefault(_stem(PurePath(name).name), name)
    return stems


def _stem(name: str) -> str:
    """Returns what names that mean the same file share."""
    stem = os.path.splitext(unicodedata.normalize("NFC", name).casefold())[0]
    return stem.lstrip("0") or "0"


# Control characters, and what `_unquote` makes of bytes that are not UTF-8.
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def checked_name(name: str) -> str:
    """Returns the name; ValueError, with the reason, if no table can name such a file."""
    if not can_be_listed(name):
        raise ValueError(f"not the name of a file in the images folder: {name!r}")
    return name


def can_be_listed(name: str) -> bool:
    """Whether a table can name this file of the images folder."""
    climbs = name.startswith("/") or ".." in name.split("/")
    return bool(name) and not climbs and not _NOT_IN_NAMES.search(name)
