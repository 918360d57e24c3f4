"""Files that appear whole or not at all."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there becomes `path` at the end.

    If the block fails, the temporary file is removed and an earlier `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, "partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; at the end it takes the place of `path`.

    If the block fails, the temporary folder is removed and an earlier `path` stays as it was.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, earlier = _beside(path, "partial"), _beside(path, "earlier")
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(earlier)
        partial.rename(path)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(path: Path, kind: str) -> Path:
    # Process numbers recur in containers. The ending stays last: writers choose a format by it.
    return path.with_name(f".{kind}-{secrets.token_hex(4)}-{path.name}")


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes `content` (text as UTF-8) to `path` whole."""
    with whole_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path` whole."""
    write_whole(path, json.dumps(value, indent=1) + "\n")
