"""How a face is turned, estimated from its points alone; good to sort faces by, not to measure.

A face lies in the picture as (k, 2) points, x to the right and y down. Which points are left and
right of a face and which lie in its middle follows from the mirror map: the point that each point
becomes in a mirrored picture, (k,).
"""

import numpy as np

# The line of brows, nose and upper lip stands before the outline at the temples by so much of half
# the face's width: measured on MediaPipe's canonical_face_model.obj.
DEPTH = 1.1
_OUTLINE = 0.1  # of the pairs, the widest ones


def mean_face(points_px: np.ndarray, mirror_map: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean of faces (n, k, 2), each brought to its middle and to size 1: (k, 2).

    The size is the square root of the box's area, as NME has it. With a mirror map the mean is made
    symmetric and stands upright; `points_px` are in any unit, and no face's points lie on a line.
    """
    total = np.zeros(points_px.shape[1:])
    for face in points_px:
        face = face.astype(np.float64)  # int16 would overflow
        total += (face - face.mean(axis=0)) / np.sqrt(np.ptp(face, axis=0).prod())
    mean = total / len(points_px)
    if mirror_map is None:
        return mean
    return (mean + mean[mirror_map] * [-1, 1]) / 2


def roll_deg(points_px: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns by how much each face is tilted clockwise in the picture: (n,) degrees.

    It is the rotation of the similarity that brings the mean face (k, 2) nearest to the face's
    points, in the least squares; -180 to 180.
    """
    upright = _as_complex(mean)
    return np.degrees([np.angle(np.vdot(upright, _as_complex(face))) for face in points_px])


def yaw_deg(points_px: np.ndarray, mean: np.ndarray, mirror_map: np.ndarray) -> np.ndarray | None:
    """Returns by how much each face looks to the right of the picture: (n,) degrees, -90 to 90.

    The face is rolled upright. Then, with its middle at x_m and its outline from x_l to x_r (of the
    points without a partner and of the tenth of the pairs that lie furthest apart, the means),

        tan(yaw) = (x_m - (x_l + x_r) / 2) / (DEPTH (x_r - x_l) / 2).

    None if no point is without a partner, or all are.
    """
    every = np.arange(len(mirror_map))
    middle, (first,) = every[mirror_map == every], np.nonzero(mirror_map > every)
    if not len(middle) or not len(first):
        return None
    widths = mean[mirror_map[first], 0] - mean[first, 0]
    widest = np.argsort(-abs(widths))[: max(1, round(_OUTLINE * len(first)))]
    left = np.where(widths > 0, first, mirror_map[first])[widest]
    rolls = np.radians(roll_deg(points_px, mean))
    yaws = []
    for face, roll in zip(points_px, rolls, strict=True):
        x = (_as_complex(face) * np.exp(-1j * roll)).real
        x_m, x_l, x_r = (x[part].mean() for part in (middle, left, mirror_map[left]))
        yaws.append(np.arctan2(x_m - (x_l + x_r) / 2, DEPTH * abs(x_r - x_l) / 2))
    return np.degrees(yaws)


def _as_complex(face: np.ndarray) -> np.ndarray:
    x, y = (face - face.mean(axis=0)).T
    return x + 1j * y
