"""Names for what is written of each photo or video, so that no two write the same file."""

import itertools
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator

_LONGEST_NAME_BYTES = 255  # that file systems take, most of them
_LONGEST_ENDING_BYTES = 20


def own_names(names: Iterable[str], outputs: Callable[[str], list[str]]) -> dict[str, str]:
    """Returns for each name the one by which its outputs are called: the same, if that is free.

    Otherwise it has a number at its end, and one that is too long is cut. No output takes another's
    place, not even where the file system ignores case or how letters are composed.

    Args:
        names: of the inputs, relative paths, each once.
        outputs: returns the files that are written for an input of a name.
    """
    # Who has a picture of just its own name comes first, and numbers when all others have theirs.
    ordered = sorted(names, key=lambda name: (name not in outputs(name), name))
    taken = _Taken(ordered)
    chosen, left = {}, []
    for name in ordered:
        if taken.add(outputs(name)):
            chosen[name] = name
        else:
            left.append(name)
    for name in left:
        others = _numbered(name, outputs)
        chosen[name] = next(other for other in others if taken.add(outputs(other)))
    return chosen


class _Taken:
    """Files that are written, by what all file systems take for one name."""

    def __init__(self, names: Iterable[str]):
        """Takes the names of the inputs: in their folders, and in no others, files are written."""
        self._folders = {folder for name in names for folder in _folders(_key(name))}
        self._files: set[str] = set()

    def add(self, paths: list[str]) -> bool:
        """Takes the paths and returns True, unless one is too long or in the way of another."""
        keys = set(map(_key, paths))
        is_free = (
            len(keys) == len(paths)
            and keys.isdisjoint(self._files)
            and keys.isdisjoint(self._folders)
        )
        if is_free and _is_short(paths):
            self._files |= keys
            return True
        return False


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _folders(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _is_short(paths: list[str]) -> bool:
    return all(len(os.fsencode(os.path.basename(p))) <= _LONGEST_NAME_BYTES for p in paths)


def _numbered(name: str, outputs: Callable[[str], list[str]]) -> Iterator[str]:
    """Yields a-2.jpg, a-3.jpg and so on for a.jpg; the name, if too long, is cut before."""
    stem, ending = os.path.splitext(name)
    if len(os.fsencode(ending)) > _LONGEST_ENDING_BYTES:
        stem, ending = name, ""
    for number in itertools.count(2):
        cut = stem
        while not _is_short(outputs(f"{cut}-{number}{ending}")):
            cut = cut[:-1]
        yield f"{cut}-{number}{ending}"
