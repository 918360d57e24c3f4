"""Opens text files of annotations."""

from pathlib import Path
from typing import TextIO

from keras_landmarks.utils.errors import InputError

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def open_text(source: Path) -> TextIO:
    """Opens a UTF-8 text, with or without a byte-order mark, leaving its line ends as they are.

    Raises:
        InputError: the text is UTF-16.
    """
    with source.open("rb") as file:
        if file.read(2) in _UTF16_MARKS:
            raise InputError(
                f"{source}: UTF-16, which Excel calls Unicode text; save it as CSV UTF-8 instead"
            )
    return source.open(encoding="utf-8-sig", errors="replace", newline="")
