"""The names of points: those in a layout.json, or in the header of their table.

Names count only if they are distinct and describe their points, such as nose and left_eye: p0, p1,
... do not.
"""

from collections.abc import Sequence
from pathlib import Path

from keras_landmarks.contest import landmark_tables
from keras_landmarks.contest.table_files import printable
from keras_landmarks.layouts import layout, standard_layouts
from keras_landmarks.utils.errors import InputError


def find_names(
    table: Path, num_landmarks: int, layout_file: Path | None = None
) -> list[str] | None:
    """Returns the names of the points of a landmark table; None without names.

    Args:
        table: the table, which need not exist.
        num_landmarks: number of points.
        layout_file: has the names; None for a layout.json in the table's folder or the one above
            it, where `convert` writes it.

    Raises:
        InputError: the layout file is invalid or names another number of points; or one that was
            not asked for and the table name a point differently.
    """
    near = (table.parent / layout.FILE_NAME, table.parent.parent / layout.FILE_NAME)
    path = layout_file or next(filter(Path.is_file, near), None)
    listed = _describing(layout.names_of(layout.read(path), path)) if path else None
    if listed and len(listed) != num_landmarks:
        raise InputError(f"{path}: names of {len(listed)} points, but there are {num_landmarks}")
    titles = _describing(landmark_tables.read_point_names(table)) if table.exists() else None
    if layout_file and listed:
        _validate_same_order(path, listed, table, titles)
        return listed
    for point, (name, title) in enumerate(zip(listed or [], titles or [], strict=False)):
        if name != title:
            raise InputError(f"{path}: point {point} is {name!r}, but {title!r} in {table}")
    return listed or titles


def validate_same_order(
    source: Path, names: Sequence[str] | None, table: Path, num_landmarks: int
) -> None:
    """Raises InputError if a table has one of the points' names at another place than `source`.

    Args:
        source: where `names` come from.
        names: k names; None if they are not known.
        table: a landmark table.
        num_landmarks: its number of points, k.
    """
    if names:
        _validate_same_order(source, names, table, find_names(table, num_landmarks))


def _validate_same_order(
    source: Path, names: Sequence[str], other: Path, other_names: Sequence[str] | None
) -> None:
    index_of = {name: point for point, name in enumerate(other_names or [])}
    for point, name in enumerate(names):
        if index_of.get(name, point) != point:
            raise InputError(
                f"{source}: point {point} is {name!r}, which is point {index_of[name]} in {other}"
            )


def point_labels(names: Sequence[str] | None, num_landmarks: int) -> list[str]:
    """Returns what a reader is told points are: their names, or "point 0" and so on."""
    return [printable(name) for name in names or map("point {}".format, range(num_landmarks))]


def _describing(names: Sequence[str]) -> list[str] | None:
    """Returns the names if they are distinct and describe their points, else None."""
    are_names = all(names) and len(set(names)) == len(names)
    return list(names) if are_names and standard_layouts.are_descriptive(names) else None
