"""Finds the photo and video files among the paths of a command line."""

import os
from collections.abc import Iterable
from pathlib import Path

from keras_landmarks.utils.errors import InputError


def list_input_files(paths: Iterable[str | Path], out: Path) -> tuple[dict[str, Path], list[str]]:
    """Returns the files among paths and inside of folders.

    Leaves out hidden files, hidden folders, and the folder `out`, whose files an earlier run wrote.

    Args:
        paths: files and folders.
        out: the folder that will be written.

    Returns:
        The files by their paths relative to the folder that all inputs share, and the relative
        paths of links to folders, which are not followed.

    Raises:
        InputError: a path does not exist, or there is no file.
    """
    files, folders, links = [], [], []
    for path in map(os.path.abspath, paths):
        if os.path.isdir(path):
            folder_files, folder_links = _walk(path)
            files += folder_files
            links += folder_links
            folders.append(path)
        elif os.path.exists(path):
            files.append(path)
            folders.append(os.path.dirname(path))
        else:
            raise InputError(f"{path}: no such file or folder")
    out_prefix = os.path.join(os.path.abspath(out), "")
    files = [file for file in files if not file.startswith(out_prefix)]
    if not files:
        raise InputError(f"{', '.join(dict.fromkeys(folders))}: no files there")
    root = os.path.commonpath(folders)
    by_name = {os.path.relpath(file, root): Path(file) for file in files}
    return by_name, [os.path.relpath(link, root) for link in links]


def _walk(folder: str) -> tuple[list[str], list[str]]:
    """Returns the files in a folder and its subfolders, and the links to folders."""
    files, links = [], []
    for parent, subfolders, names in os.walk(folder):
        # os.walk descends into what is left here.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        files += [os.path.join(parent, name) for name in sorted(names) if name[0] != "."]
        # Not followed: a link may lead back, or out to the entire disk.
        subpaths = (os.path.join(parent, name) for name in subfolders)
        links += filter(os.path.islink, subpaths)
    return files, links
