"""Layouts: which part of the face each point marks. The contest's 971 points, and layout files.

"left" is the left side of the picture. Right regions run as the mirror image of the left ones.
Five public solutions of the contest agree on this mirror map.
"""

from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks.utils import files
from keras_landmarks.utils.errors import InputError

CONTEST_POINTS = 971
FILE_NAME = "layout.json"  # the layout file of a contest folder

REGIONS = {
    "jaw_left": slice(0, 64),  # temple to chin
    "jaw_right": slice(64, 128),
    "oval_upper": slice(128, 273),  # left temple, forehead (200 is its middle), right temple
    "brow_left": slice(273, 337),  # closed: outer end, upper edge, inner end, lower edge
    "brow_right": slice(337, 401),
    "nose_left": slice(401, 464),  # inner eye corner, down, round the wing, to below the nose
    "nose_right": slice(464, 527),
    "nose_midline": slice(527, 587),  # brows to upper lip
    "eye_left_upper": slice(587, 650),  # outer to inner corner, both corners included
    "eye_left_lower": slice(650, 714),  # outer to inner corner, without the corners
    "eye_right_upper": slice(714, 777),
    "eye_right_lower": slice(777, 841),
    "lip_upper_outer": slice(841, 873),  # left to right, corners included
    "lip_upper_inner": slice(873, 905),
    "lip_lower_outer": slice(905, 937),  # left to right, without the corners
    "lip_lower_inner": slice(937, 969),
    "pupil_left": slice(969, 970),
    "pupil_right": slice(970, 971),
}

_MAX_FILE_BYTES = 1 << 20

_SWAPPED = [
    ("jaw_left", "jaw_right"),
    ("brow_left", "brow_right"),
    ("nose_left", "nose_right"),
    ("eye_left_upper", "eye_right_upper"),
    ("eye_left_lower", "eye_right_lower"),
    ("pupil_left", "pupil_right"),
]
_REVERSED = [
    "oval_upper",
    "lip_upper_outer",
    "lip_upper_inner",
    "lip_lower_outer",
    "lip_lower_inner",
]


def mirror_map() -> np.ndarray:
    """Returns the contest's mirror map, each point's index in a mirrored image: (971,) int64.

    With it, `mirrored[:, 0] = width - 1 - points[mirror_map(), 0]`.
    """
    mirror = np.arange(CONTEST_POINTS)
    points = mirror.copy()
    for left, right in _SWAPPED:
        mirror[REGIONS[left]] = points[REGIONS[right]]
        mirror[REGIONS[right]] = points[REGIONS[left]]
    for name in _REVERSED:
        mirror[REGIONS[name]] = points[REGIONS[name]][::-1]
    return mirror


def regions_of(num_landmarks: int, path: Path | None = None) -> dict[str, slice]:
    """Returns the regions of a layout by name.

    Args:
        num_landmarks: points of the layout.
        path: a layout file, JSON with first and last point of each region:
            `{"regions": {"nose": [27, 35], ...}}`. A file without `regions` has none. Without a
            file, 971 points have the contest's regions, and other layouts none.

    Raises:
        InputError: the file is missing, too large or invalid.
    """
    if path is None:
        return REGIONS if num_landmarks == CONTEST_POINTS else {}
    regions = read(path).get("regions", {})
    if not isinstance(regions, dict):
        raise InputError(f"{path}: no 'regions' such as {{\"nose\": [27, 35]}}: first, last point")
    return {
        name: _parse_region(ends, num_landmarks, f"{path}: {name!r}")
        for name, ends in regions.items()
    }


def regions_to_json(regions: dict[str, slice]) -> dict[str, list[int]]:
    """Returns regions as a layout file has them: first and last point."""
    return {name: [points.start, points.stop - 1] for name, points in regions.items()}


def read(path: Path) -> dict[str, Any]:
    """Returns what a layout file has of `points` (names), `regions`, `mirror` and `head`.

    The file may also be the list of a mirror map alone. Its values are not checked.

    Raises:
        InputError: the file is missing, too large, or neither a JSON object nor a list.
    """
    value = files.read_json(path, _MAX_FILE_BYTES)
    if isinstance(value, list):
        return {"mirror": value}
    if not isinstance(value, dict):
        raise InputError(f"{path}: neither a JSON object nor the list of a mirror map")
    return value


def read_if_exists(path: Path) -> dict[str, Any]:
    """Returns the same, or nothing if there is no such file; InputError as `read`."""
    return read(path) if path.exists() else {}


def names_of(known: dict[str, Any], path: Path) -> list[str]:
    """Returns the points' names in a layout that `read` gave; [] if it has none.

    Raises:
        InputError: they are not a list of names; it names the layout's file, `path`.
    """
    names = known.get("points", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: 'points' is not a list of names")
    return names


def _parse_region(ends: object, num_landmarks: int, where: str) -> slice:
    if not isinstance(ends, list) or [type(end) for end in ends] != [int, int]:
        raise InputError(f"{where}: a region is its first and its last point: [27, 35]")
    first, last = ends
    if not 0 <= first <= last < num_landmarks:
        raise InputError(
            f"{where}: {first} to {last} is not a range of points within 0 to {num_landmarks - 1}"
        )
    return slice(first, last + 1)
