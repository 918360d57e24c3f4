"""The names of the points of a data folder: those in its layout.json, or in its table's header.

Names count only if they are distinct and describe their points, such as nose and left_eye: p0, p1,
... do not.
"""

from collections.abc import Sequence
from pathlib import Path

from keras_landmarks.contest import landmark_tables
from keras_landmarks.layouts import layout, standard_layouts
from keras_landmarks.utils.errors import InputError


def find_names(data: Path, num_landmarks: int) -> list[str] | None:
    """Returns the names of the points that are labelled in a data folder; None without names.

    Args:
        data: the folder, with train/landmarks.csv and, perhaps, layout.json.
        num_landmarks: number of points.

    Raises:
        InputError: layout.json is not JSON or names another number of points; or it and the table
            name a point differently.
    """
    path, table = data / "layout.json", data / "train" / "landmarks.csv"
    known = layout.read_json(path) if path.exists() else None
    listed = known.get("points") if isinstance(known, dict) else None
    listed = _describing(listed) if isinstance(listed, list) else None
    titles = _describing(landmark_tables.read_point_names(table)) if table.exists() else None
    if listed and len(listed) != num_landmarks:
        raise InputError(f"{path}: names of {len(listed)} points, but there are {num_landmarks}")
    for point, (name, title) in enumerate(zip(listed or [], titles or [], strict=False)):
        if name != title:
            raise InputError(f"{path}: point {point} is {name!r}, but {title!r} in {table}")
    return listed or titles


def _describing(names: Sequence[object]) -> list[str] | None:
    """Returns the names if they are distinct texts that describe their points, else None."""
    are_texts = all(isinstance(name, str) and name for name in names)
    if are_texts and len(set(names)) == len(names) and standard_layouts.are_descriptive(names):
        return list(names)
    return None
