"""Names of image files: which are valid in a table, and which file a name refers to.

Names match in both of Unicode's normal forms: macOS and some archives store ü as u and a combining
diaeresis. For a name without a file, messages suggest the most similar one: spreadsheets turn
00001.jpg into 1, and people leave out file extensions.
"""

import functools
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath

from keras_landmarks.contest import locations

# Control characters, and the surrogates that stand for bytes that are not UTF-8.
_INVALID_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def is_valid_name(name: str) -> bool:
    """Whether a table can list this name: a relative path that stays in the images folder."""
    climbs = name.startswith("/") or ".." in name.split("/")
    return bool(name) and not climbs and not _INVALID_CHARACTERS.search(name)


def validate_name(name: str) -> str:
    """Returns the name; raises ValueError, with the reason, if it is not a valid name."""
    if not is_valid_name(name):
        raise ValueError(f"not the name of a file in the images folder: {name!r}")
    return name


def find_path(folder: str | os.PathLike, name: str) -> str:
    """Returns the path of the file that `name` refers to, in whichever Unicode form it exists.

    If there is no such file, that is the path of the name as it is.
    """
    path = os.path.join(folder, name)
    if name.isascii() or os.path.lexists(path):
        return path
    forms = (os.path.join(folder, form) for form in unicode_forms(name))
    return next(filter(os.path.lexists, forms), path)


def unicode_forms(name: str) -> list[str]:
    """Returns the name in each Unicode normal form that a file system may hold, NFC first."""
    if name.isascii():
        return [name]
    return [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]


def nearest_file(folder: str | os.PathLike, name: str) -> str:
    """Returns the file in `folder` that a misspelt name most likely refers to, or "" if none does.

    A similar name differs only in case, in its extension, in leading zeros, or in the folders
    before it.
    """
    return _find_similar(_files_by_stem(os.fspath(folder)), name)


def nearest_name(names: Iterable[str], name: str) -> str:
    """Returns the one of `names` that is similar to `name` as in `nearest_file`, or ""."""
    return _find_similar(_by_stem(names), name)


def _find_similar(by_stem: dict[str, str], name: str) -> str:
    slashed = name.replace("\\", "/")
    nearest = by_stem.get(_stem(slashed)) or by_stem.get(_stem(PurePath(slashed).name), "")
    return "" if nearest == name else nearest  # a broken link is listed, too


@functools.lru_cache(maxsize=1)  # a table may have many such names
def _files_by_stem(folder: str) -> dict[str, str]:
    return _by_stem(locations.list_files(Path(folder)))


def _by_stem(names: Iterable[str]) -> dict[str, str]:
    stems: dict[str, str] = {}
    for name in names:
        stems.setdefault(_stem(name), name)
        stems.setdefault(_stem(PurePath(name).name), name)
    return stems


def _stem(name: str) -> str:
    """Returns the part that similar names have in common."""
    stem = os.path.splitext(unicodedata.normalize("NFC", name).casefold())[0]
    return stem.lstrip("0") or "0"
