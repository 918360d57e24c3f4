"""Opens text files of annotations."""

from pathlib import Path
from typing import TextIO

from keras_landmarks.contest.table_files import refuse_utf16


def open_text(source: Path) -> TextIO:
    """Opens a UTF-8 text, with or without a byte-order mark, leaving its line ends as they are.

    Raises:
        InputError: the text is UTF-16.
    """
    with source.open("rb") as file:
        refuse_utf16(source, file.read(2))
    return source.open(encoding="utf-8-sig", errors="replace", newline="")
