"""Lists and opens the text and JSON files of annotations."""

from pathlib import Path
from typing import Any, TextIO

from keras_landmarks.contest import locations
from keras_landmarks.contest.table_files import refuse_utf16
from keras_landmarks.utils import files

_MAX_JSON_BYTES = 1 << 30


def list_files(source: Path, suffix: str) -> list[Path]:
    """Returns `source` if it is a file, else all files with a suffix in it and its sub-folders."""
    if not source.is_dir():
        return [source]
    paths = (source / name for name in locations.list_files(source))
    return sorted(p for p in paths if p.suffix.lower() == suffix and not p.name.startswith("."))


def open_text(source: Path) -> TextIO:
    """Opens a UTF-8 text, with or without a byte-order mark, leaving its line ends as they are.

    Raises:
        InputError: the text is UTF-16.
    """
    with source.open("rb") as file:
        refuse_utf16(source, file.read(2))
    return source.open(encoding="utf-8-sig", errors="replace", newline="")


def read_json(source: Path) -> Any:
    """Returns the value of a JSON file; InputError if it is not JSON, or larger than 1 GB."""
    return files.read_json(source, _MAX_JSON_BYTES)
