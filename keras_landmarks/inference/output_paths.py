"""Distinct output files for photos and videos whose names are alike."""

import itertools
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator

_MAX_NAME_BYTES = 255  # of most file systems
_MAX_EXTENSION_BYTES = 20


def assign_output_names(
    names: Iterable[str], outputs_for: Callable[[str], list[str]]
) -> dict[str, str]:
    """Returns the name after which the outputs of each input are called.

    That is the input's own name if no other input has taken it. Otherwise it gets a number at its
    end; a name that is too long is cut. No two output files are the same, not even on a file
    system that ignores case or the composition of letters.

    Args:
        names: distinct relative paths of the inputs.
        outputs_for: returns the paths of the files that are written for an input of a name.
    """
    # Inputs whose outputs include just their own name come first; numbers are assigned last.
    ordered = sorted(names, key=lambda name: (name not in outputs_for(name), name))
    taken = _TakenPaths(ordered)
    assigned, conflicting = {}, []
    for name in ordered:
        if taken.add(outputs_for(name)):
            assigned[name] = name
        else:
            conflicting.append(name)
    for name in conflicting:
        candidates = _numbered_names(name, outputs_for)
        assigned[name] = next(other for other in candidates if taken.add(outputs_for(other)))
    return assigned


class _TakenPaths:
    """Output paths in use, in a form that is the same for paths that some file system equates."""

    def __init__(self, names: Iterable[str]):
        """Reserves the folders of the inputs, the only ones in which files are written."""
        self._folders = {folder for name in names for folder in _parent_folders(_key(name))}
        self._files: set[str] = set()

    def add(self, paths: list[str]) -> bool:
        """Takes the paths and returns True, unless one of them is too long or conflicts."""
        keys = set(map(_key, paths))
        is_free = (
            len(keys) == len(paths)
            and keys.isdisjoint(self._files)
            and keys.isdisjoint(self._folders)
        )
        if is_free and _is_short_enough(paths):
            self._files |= keys
            return True
        return False


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _parent_folders(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _is_short_enough(paths: list[str]) -> bool:
    return all(len(os.fsencode(os.path.basename(p))) <= _MAX_NAME_BYTES for p in paths)


def _numbered_names(name: str, outputs_for: Callable[[str], list[str]]) -> Iterator[str]:
    """Yields a-2.jpg, a-3.jpg and so on for a.jpg; cuts a name that is too long."""
    stem, extension = os.path.splitext(name)
    if len(os.fsencode(extension)) > _MAX_EXTENSION_BYTES:
        stem, extension = name, ""
    for number in itertools.count(2):
        cut = stem
        while not _is_short_enough(outputs_for(f"{cut}-{number}{extension}")):
            cut = cut[:-1]
        yield f"{cut}-{number}{extension}"
