"""Regions and mirror maps of common layouts: the contest's 971 points, 300-W's 68, WFLW's 98.

300-W: Sagonas et al., "300 faces in-the-wild challenge", 2013. WFLW: Wu et al., "Look at boundary",
2018. For other layouts the names of the points may tell the mirror map. Left and right are the
picture's, as in `layout`.
"""

import re
from collections.abc import Sequence

from keras_landmarks.layouts import layout

# First and last point of each region.
_REGIONS = {
    68: {
        "jaw": (0, 16),
        "brow_left": (17, 21),
        "brow_right": (22, 26),
        "nose_bridge": (27, 30),
        "nose_base": (31, 35),
        "eye_left": (36, 41),
        "eye_right": (42, 47),
        "lips_outer": (48, 59),
        "lips_inner": (60, 67),
    },
    98: {
        "jaw": (0, 32),
        "brow_left": (33, 41),
        "brow_right": (42, 50),
        "nose_bridge": (51, 54),
        "nose_base": (55, 59),
        "eye_left": (60, 67),
        "eye_right": (68, 75),
        "lips_outer": (76, 87),
        "lips_inner": (88, 95),
        "pupil_left": (96, 96),
        "pupil_right": (97, 97),
    },
}
# Ranges, first and last point, that mirroring reverses; and the partners of other points.
_REVERSED = {
    68: [(0, 16), (17, 26), (31, 35), (48, 54), (55, 59), (60, 64), (65, 67)],
    98: [(0, 32), (55, 59), (76, 82), (83, 87), (88, 92), (93, 95)],
}
_PARTNERS = {
    68: dict(zip(range(36, 42), (45, 44, 43, 42, 47, 46), strict=True)),
    98: dict(zip(range(33, 42), (46, 45, 44, 43, 42, 50, 49, 48, 47), strict=True))
    | dict(zip(range(60, 68), (72, 71, 70, 69, 68, 75, 74, 73), strict=True))
    | {96: 97},
}


def describe(num_landmarks: int, names: Sequence[str] | None) -> dict:
    """Returns what is known about a layout, in the form of a layout file.

    Args:
        num_landmarks: points of the layout.
        names: of the points, if they have any. Descriptive names tell more than the number of
            points does.

    Returns:
        `points` (names), `regions` and `mirror`, each only if it is known.
    """
    description = {"points": list(names)} if names else {}
    if names and are_descriptive(names):
        mirror = mirror_by_names(names)
        return description | {"mirror": mirror} if mirror else description
    if num_landmarks == layout.CONTEST_POINTS:
        regions = layout.regions_to_json(layout.REGIONS)
        return description | {"regions": regions, "mirror": layout.mirror_map().tolist()}
    if num_landmarks in _REGIONS:
        regions = {name: list(ends) for name, ends in _REGIONS[num_landmarks].items()}
        return description | {"regions": regions, "mirror": _mirror_map(num_landmarks)}
    return description


def are_descriptive(names: Sequence[object]) -> bool:
    """Whether names describe their points; p0, p1, ... only count them."""
    return len({re.sub("[0-9]+", "", str(name)) for name in names}) > 1


def mirror_by_names(names: Sequence[str]) -> list[int] | None:
    """Returns the mirror map that names such as left_eye and right_eye imply.

    A name without left or right, in any of the usual capitalisations, is its own partner. Returns
    None if a point has no partner, names repeat, or none of them mentions a side.
    """
    indices = {name: index for index, name in enumerate(names)}
    partners = [indices.get(_other_side(name)) for name in names]
    swaps = any(partner != index for index, partner in enumerate(partners))
    return partners if swaps and None not in partners and len(indices) == len(names) else None


def _other_side(name: str) -> str:
    for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        if left in name:
            return name.replace(left, right)
        if right in name:
            return name.replace(right, left)
    return name


def _mirror_map(num_landmarks: int) -> list[int]:
    mirror = list(range(num_landmarks))
    for first, last in _REVERSED[num_landmarks]:
        mirror[first : last + 1] = range(last, first - 1, -1)
    for point, partner in _PARTNERS[num_landmarks].items():
        mirror[point], mirror[partner] = partner, point
    return mirror
