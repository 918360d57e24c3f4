"""Regions and mirror maps of points: by names, or of the contest's 971, 68 and 98 points.

300-W's 68 points: Sagonas et al., "300 faces in-the-wild challenge", 2013. WFLW's 98: Wu et al.,
"Look at boundary", 2018. Right and left are the picture's, as in `layout`.
"""

import re
from collections.abc import Sequence

from keras_landmarks.layouts import layout

# Regions by their first and last point.
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
# From where to where the mirror image is the same list read backwards, and single points' partners.
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


def describe(points: int, names: Sequence[str] | None) -> dict:
    """Returns what is known of so many points: `points` (names), `regions`, `mirror`.

    As JSON has it, in the form of a layout file; what is not known is left out. Names of their own
    tell more of points than their number does.
    """
    known = {"points": list(names)} if names else {}
    if names and are_names(names):
        mirror = mirror_by_names(names)
        return known | {"mirror": mirror} if mirror else known
    if points == layout.CONTEST_POINTS:
        regions = layout.as_json(layout.REGIONS)
        return known | {"regions": regions, "mirror": layout.mirror_map().tolist()}
    if points in _REGIONS:
        regions = {name: list(ends) for name, ends in _REGIONS[points].items()}
        return known | {"regions": regions, "mirror": _mirror_map(points)}
    return known


def are_names(names: Sequence[object]) -> bool:
    """Whether these say what the points are: p0, p1, ... only count them."""
    return len({re.sub("[0-9]+", "", str(name)) for name in names}) > 1


def mirror_by_names(names: Sequence[str]) -> list[int] | None:
    """Returns the point each becomes in a mirror, left_eye right_eye; None if one has no partner.

    A name without left or right, in small letters or capitals, is its own partner.
    """
    places = {name: place for place, name in enumerate(names)}
    partners = [places.get(_other_side(name)) for name in names]
    swaps = any(partner != place for place, partner in enumerate(partners))
    return partners if swaps and None not in partners and len(places) == len(names) else None


def _other_side(name: str) -> str:
    for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        if left in name:
            return name.replace(left, right)
        if right in name:
            return name.replace(right, left)
    return name


def _mirror_map(points: int) -> list[int]:
    mirror = list(range(points))
    for first, last in _REVERSED[points]:
        mirror[first : last + 1] = range(last, first - 1, -1)
    for point, partner in _PARTNERS[points].items():
        mirror[point], mirror[partner] = partner, point
    return mirror
