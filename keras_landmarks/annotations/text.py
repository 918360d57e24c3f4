"""Text files of annotations, opened alike."""

from pathlib import Path
from typing import TextIO

from keras_landmarks.utils.errors import InputError

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def open_text(source: Path) -> TextIO:
    """Opens a text in UTF-8, with or without a byte-order mark, its line ends as they are.

    Raises:
        InputError: it is UTF-16.
    """
    with source.open("rb") as file:
        if file.read(2) in _UTF16_MARKS:
            raise InputError(
                f"{source}: UTF-16, which Excel calls Unicode text; save it as CSV UTF-8 instead"
            )
    return source.open(encoding="utf-8-sig", errors="replace", newline="")
