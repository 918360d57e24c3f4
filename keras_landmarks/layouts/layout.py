"""What each point is: the contest's 971, and which each becomes in a mirror; or as a file says.

"left" is the left side of the picture. Right regions run as the mirror image of the left ones.
Five public solutions of the contest agree on this map.
"""

import json
from pathlib import Path

import numpy as np

from keras_landmarks.utils.errors import InputError

CONTEST_POINTS = 971

REGIONS = {
    "jaw_left": slice(0, 64),  # temple to chin
    "jaw_right": slice(64, 128),
    "oval_upper": slice(128, 273),  # left temple, forehead (200 is its middle), right temple
    "brow_left": slice(273, 337),  # closed: outer end, upper edge, inner end, lower edge
    "brow_right": slice(337, 401),
    "nose_left": slice(401, 464),  # inner eye corner, down, round the wing, to under the nose
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

_LARGEST_FILE_BYTES = 1 << 20

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
    """Returns the point that each point becomes in a mirrored picture: (971,) int64.

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


def regions_of(points: int, path: Path | None = None) -> dict[str, slice]:
    """Returns the regions of faces with so many points: the contest's for 971, otherwise none.

    A file has its own, as JSON: `{"regions": {"nose": [27, 35], ...}}`, first and last point; or
    none, if there are no `regions` in it.

    Raises:
        InputError: the file is missing or too large, is no object, or its regions are not such.
    """
    if path is None:
        return REGIONS if points == CONTEST_POINTS else {}
    value = read_json(path)
    regions = value.get("regions", {}) if isinstance(value, dict) else None
    if not isinstance(regions, dict):
        raise InputError(f"{path}: no 'regions' such as {{\"nose\": [27, 35]}}: first, last point")
    return {name: _as_slice(ends, points, f"{path}: {name!r}") for name, ends in regions.items()}


def as_json(regions: dict[str, slice]) -> dict[str, list[int]]:
    """Returns regions as a layout file has them: first and last point."""
    return {name: [points.start, points.stop - 1] for name, points in regions.items()}


def _as_slice(ends: object, points: int, where: str) -> slice:
    if not isinstance(ends, list) or [type(end) for end in ends] != [int, int]:
        raise InputError(f"{where}: a region is its first and its last point: [27, 35]")
    first, last = ends
    if not 0 <= first <= last < points:
        raise InputError(f"{where}: {first} to {last} are no points of 0 to {points - 1}")
    return slice(first, last + 1)


def read_json(path: Path) -> object:
    """Reads a layout's JSON.

    Raises:
        InputError: the file is missing, too large, or no JSON.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    if len(content) > _LARGEST_FILE_BYTES:
        raise InputError(f"{path}: larger than any layout of points")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: no JSON") from None
