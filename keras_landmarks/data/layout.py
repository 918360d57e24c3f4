"""What each of the contest's 971 points is, and which point it becomes in a mirror.

"left" is the left side of the picture. Right regions run as the mirror image of the left ones.
Five public solutions of the contest agree on this map.
"""

import numpy as np

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
