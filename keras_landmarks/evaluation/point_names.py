"""The names of a truth's points, for rows and pictures."""

from collections.abc import Sequence
from pathlib import Path

from keras_landmarks.contest import landmark_tables
from keras_landmarks.contest.table_files import printable
from keras_landmarks.layouts import layout, standard_layouts
from keras_landmarks.utils.errors import InputError

LAYOUT_NAME = "layout.json"


def read_point_names(truth: Path, num_landmarks: int, layout_file: Path | None = None) -> list[str]:
    """Returns the names of the points of a table of true landmarks, in their order.

    They are those of the layout file; else those of the table's header if they describe the points;
    else those of a layout.json of as many points in the table's folder or the one above it, where
    `convert` writes it; else the header's, which number the points.

    Raises:
        InputError: a layout file is invalid, or `layout_file` has names of another number of
            points.
    """
    if layout_file and (names := _read_layout_names(layout_file)):
        if len(names) != num_landmarks:
            raise InputError(
                f"{layout_file}: {len(names)} names, {truth} has {num_landmarks} points"
            )
        return names
    header = landmark_tables.read_point_names(truth)
    if standard_layouts.are_descriptive(header):
        return header
    for path in (truth.parent / LAYOUT_NAME, truth.parent.parent / LAYOUT_NAME):
        if path.is_file() and len(names := _read_layout_names(path)) == num_landmarks:
            return names
    return header


def _read_layout_names(path: Path) -> list[str]:
    """Returns the names in a layout file; none if it has none."""
    value = layout.read_json(path)
    names = value.get("points", []) if isinstance(value, dict) else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: 'points' is not a list of names")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two points have the same name")
    return names


def point_labels(names: Sequence[str]) -> list[str]:
    """Returns the names of points as a reader is told them; "point 0", ... if they only count."""
    if standard_layouts.are_descriptive(names):
        return [printable(name) for name in names]
    return [f"point {index}" for index in range(len(names))]
