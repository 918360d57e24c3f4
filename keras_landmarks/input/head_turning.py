"""Turns the head in a labelled photo: another view of the face, and its landmarks there.

A mean head in 3-D tells how a face is turned and how deep each of its landmarks lies. If the head
turns, each landmark moves by its depth. The rest of the picture moves as the landmarks around it
do, and its border stays where it is. Where parts of the face overlap, the nearer one is visible.

The idea is the face profiling of Zhu et al., "Face alignment across large poses: a 3D solution",
2016 (300W-LP), who fit a morphable model and render its mesh. Here displacements are interpolated
between the landmarks, which takes a millisecond an image.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from absl import logging

from keras_landmarks.layouts import layout
from keras_landmarks.synthetic.faces import FaceParameters, head_points, rotation
from keras_landmarks.utils.errors import InputError

_CELL_PX = 2
_NEARNESS = 8.0  # of two things at one place the one nearer by z half face widths weighs e^(8z)
_BORDER_DEPTH = -1.0  # half face widths: behind the face
CHECKED_FACES = 100  # enough to see whether a head fits them
_MIN_LANDMARKS = 8  # fewer do not tell how a head is turned
_LEAST_DEPTH = 0.02  # of a head's points, as a share of their extent
_MOST_MISFIT = 0.3  # half face widths; 971 points of real faces have 0.06
_PITCH_SHARE = 0.4  # the limit of the pitch is this share of that of the yaw
_AXES = "x to the right, y down, z towards the viewer, in one unit"


def find_head(num_landmarks: int, layout_file: Path, faces: np.ndarray) -> np.ndarray:
    """Returns the mean head (k, 3) of a layout, in the axes of `turn_head`.

    It is the `head` of the layout file, [[x, y, z], ...] in any unit, or for the contest's points
    that of the synthetic faces.

    Args:
        num_landmarks: points of the layout.
        layout_file: need not exist.
        faces: (n, k, 2) landmarks in photos, y down, by which the head is checked.

    Raises:
        InputError: there is no head, or it is flat, upside down, back to front or of other points.
    """
    known = layout.read_if_exists(layout_file)
    if "head" in known:
        head, where = _parse_head(known["head"], num_landmarks, layout_file), f"{layout_file}: "
    elif num_landmarks == layout.CONTEST_POINTS:
        head, where = head_points(FaceParameters()), "--augment_online=turn: the contest's "
    else:
        raise InputError(
            "--augment_online=turn needs the depth of the points: give a 'head' in"
            f" {layout_file}, [[x, y, z], ...], {_AXES}"
        )
    turnable = sum(_find_pose(head, face)[1] is not None for face in faces)
    if turnable < len(faces) / 2:
        raise InputError(
            f"{where}'head' does not look like the faces, or most of them have too few landmarks:"
            f" it must have {_AXES}"
        )
    if turnable < len(faces):
        logging.info(
            "%d of %d faces looked at cannot be turned: they do not look like the head, or have too"
            " few landmarks",
            *(len(faces) - turnable, len(faces)),
        )
    return head


def _parse_head(value: object, num_landmarks: int, path: Path) -> np.ndarray:
    try:
        head = np.array(value, np.float64)
    except (TypeError, ValueError):
        head = np.zeros(0)
    if head.shape != (num_landmarks, 3) or not np.isfinite(head).all():
        raise InputError(f"{path}: 'head' is not a list of {num_landmarks} points [x, y, z]")
    if num_landmarks < _MIN_LANDMARKS:
        raise InputError(f"{path}: {_MIN_LANDMARKS} points or more tell how a head is turned")
    head -= head.mean(axis=0)
    if not _has_depth(head):
        raise InputError(f"{path}: 'head' is flat, or its x, y and z are not in one unit")
    x, _, z = head.T
    if np.cov(np.abs(x), z)[0, 1] > 0:  # the sides of a face lie behind its middle
        raise InputError(f"{path}: 'head' is back to front: it must have {_AXES}")
    return 2 * head / np.ptp(x)


def _has_depth(head: np.ndarray) -> bool:
    """Whether centred points (k, 3) fill three dimensions, as a pose needs."""
    lengths = np.linalg.svd(head, compute_uv=False)
    return bool(lengths[2] > _LEAST_DEPTH * lengths[0])


@dataclass(frozen=True)
class HeadTurner:
    """Turns half of the heads to the left or right, and less up or down.

    Attributes:
        head: (k, 3), from `find_head`.
        limit_deg: the largest change of the yaw.
    """

    head: np.ndarray
    limit_deg: float

    def __call__(
        self, image: np.ndarray, landmarks_px: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image (H, W, 3) uint8 and its landmarks (k, 2), turned at random."""
        yaw_deg, pitch_deg = self.limit_deg * rng.uniform(-1, 1, 2)
        if rng.random() < 0.5:
            return image, landmarks_px
        return turn_head(
            image, landmarks_px, self.head, rotation(yaw_deg, _PITCH_SHARE * pitch_deg)
        )


class Pose(NamedTuple):
    """A weak-perspective view of a head.

    Attributes:
        scale: px per half face width.
        rotation: (3, 3), from the head's axes to the camera's.
        centre_px: (2,), where the head's origin lies in the image.
    """

    scale: float
    rotation: np.ndarray
    centre_px: np.ndarray


def fit_pose(head: np.ndarray, landmarks_px: np.ndarray) -> Pose:
    """Fits the pose of a head (k, 3) to its landmarks (k, 2) in an image."""
    middle, centre_px = head.mean(axis=0), landmarks_px.mean(axis=0)
    centred = head - middle
    # The normal equations, because a least-squares solver takes five times as long.
    affine = np.linalg.solve(centred.T @ centred, centred.T @ (landmarks_px - centre_px)).T
    u, scales, v = np.linalg.svd(affine, full_matrices=False)
    x_axis, y_axis = u @ v
    matrix = np.array([x_axis, y_axis, np.cross(x_axis, y_axis)])
    scale = float(scales.mean())
    return Pose(scale, matrix, centre_px - scale * (matrix[:2] @ middle))


def turn_head(
    image: np.ndarray, landmarks_px: np.ndarray, head: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turns the head in an image.

    Args:
        image: (height, width, 3) uint8.
        landmarks_px: (k, 2); NaN where a landmark has no place.
        head: (k, 3), the mean head: x to the right, y down, z towards the viewer, in half face
            widths, of a face that looks at the viewer.
        turn: (3, 3), a rotation in the head's own axes.

    Returns:
        The image, and the landmarks (k, 2) float32 in it. Both are unchanged if the landmarks that
        have a place are too few for a pose, lie in one plane of the head, or do not look like it.
    """
    present, pose = _find_pose(head, landmarks_px)
    if pose is None:
        return image, landmarks_px
    placed_px = landmarks_px[present].astype(np.float32)
    motion = _turn_landmarks(placed_px, head[present], pose, turn)
    x_px, y_px, depth = _interpolate(placed_px, motion, image.shape[:2])
    moved_px = landmarks_px.astype(np.float32)
    moved_px[present] += np.stack([_sample(plane, placed_px) for plane in (x_px, y_px)], axis=-1)
    return _warp(image, x_px, y_px, depth), moved_px


def _find_pose(head: np.ndarray, landmarks_px: np.ndarray) -> tuple[np.ndarray, Pose | None]:
    """Returns which landmarks (k, 2) of a face have a place, (k,) bool, and the pose of its head.

    The pose is None if these are too few, or lie in one plane of the head, or do not look like it.
    """
    present = ~np.isnan(landmarks_px[:, 0])
    points, placed_px = head[present], landmarks_px[present].astype(np.float32)
    is_part = len(points) < len(head)
    if is_part and (len(points) < _MIN_LANDMARKS or not _has_depth(points - points.mean(axis=0))):
        return present, None
    if not np.ptp(placed_px, axis=0).any():  # all landmarks are one point
        return present, None
    pose = fit_pose(points, placed_px)
    fitted_px = pose.scale * points @ pose.rotation[:2].T + pose.centre_px
    misfit = np.linalg.norm(placed_px - fitted_px, axis=1).mean() / pose.scale
    looks_away = pose.rotation[2, 2] < 0
    return present, None if looks_away or misfit > _MOST_MISFIT else pose


def _turn_landmarks(
    landmarks_px: np.ndarray, head: np.ndarray, pose: Pose, turn: np.ndarray
) -> np.ndarray:
    """Returns how far each landmark moves in x and y, px, and its depth afterwards: (3, k).

    A landmark keeps its own place in the face: only its depth is the mean head's.
    """
    depth = head @ pose.rotation[2]
    seen = np.column_stack([(landmarks_px - pose.centre_px) / pose.scale, depth])
    turned = seen @ (pose.rotation @ turn @ pose.rotation.T).T
    # The middle of the face stays where it is, as in a crop around the turned face.
    move = turned[:, :2] - seen[:, :2]
    move -= move.mean(axis=0)
    return np.column_stack([pose.scale * move, turned[:, 2]]).T


# ── fields: planes (height, width) of float32, one for each quantity ──


def _interpolate(landmarks_px: np.ndarray, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Spreads the landmarks' values (3, k) of `_turn_landmarks` over an image: (3, *size)."""
    sums = _sum_in_cells(*landmarks_px.T, [*values, None], size)
    is_border = np.ones(sums.shape[1:], bool)
    is_border[1:-1, 1:-1] = False
    sums[:, is_border & (sums[-1] == 0)] = [[0], [0], [_BORDER_DEPTH], [1]]
    return _spread(_fill(sums), size)


def _warp(image: np.ndarray, x_px: np.ndarray, y_px: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Moves every pixel of an image by its displacement; the nearest of several is seen."""
    size = image.shape[:2]
    rows, columns = np.indices(size, np.float32)
    nearness = np.exp(_NEARNESS * depth.clip(-2, 2))  # a real head is 2 half widths deep
    values = [x_px * nearness, y_px * nearness, nearness]
    *sums, weights = _sum_in_cells(columns + x_px, rows + y_px, values, size)
    is_hit = weights > 0
    means = np.array([*sums, weights]) / np.where(is_hit, weights, 1)
    back_x_px, back_y_px = _spread(_fill(means), size)
    sources = columns - back_x_px, rows - back_y_px
    return cv2.remap(image, *sources, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _sum_in_cells(
    x_px: np.ndarray, y_px: np.ndarray, values: list[np.ndarray | None], size: tuple[int, int]
) -> np.ndarray:
    """Returns the sums of each of the values over the points in each cell of an image.

    Args:
        x_px: of the points, any shape.
        y_px: of the same shape.
        values: arrays of that shape; None counts the points.
        size: height and width of the image, px.

    Returns:
        (len(values), height / 2, width / 2) float32, rounded up.
    """
    height, width = (-(-side // _CELL_PX) for side in size)
    columns = ((x_px + 0.5) / _CELL_PX).astype(np.int32).clip(0, width - 1)
    rows = ((y_px + 0.5) / _CELL_PX).astype(np.int32).clip(0, height - 1)
    cells = (rows * width + columns).ravel()
    weights = (None if value is None else value.ravel() for value in values)
    sums = [np.bincount(cells, weight, height * width) for weight in weights]
    return np.array(sums, np.float32).reshape(-1, height, width)


def _fill(sums: np.ndarray) -> np.ndarray:
    """Returns values for all cells: the mean where there are some, else between their neighbours.

    Gortler et al., "The lumigraph", 1996, section 3.4: pull-push, over coarser and coarser grids.

    Args:
        sums: (c + 1, height, width), the weighted sums of c values, and the sum of the weights.
    """
    *values, weights = sums
    means = np.array(values) / np.maximum(weights, 1e-9)
    height, width = weights.shape
    if min(height, width) == 1:
        return means
    around = _fill(_resize(sums, ((height + 1) // 2, (width + 1) // 2)))
    around = _resize(around, (height, width))
    return around + np.minimum(weights, 1) * (means - around)


def _spread(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns planes of cells as planes of an image's pixels."""
    height, width = size
    cells = np.multiply(planes.shape[1:], _CELL_PX)  # the last ones may reach beyond the image
    return _resize(planes, tuple(cells.tolist()))[:, :height, :width]


def _resize(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns planes (c, h, w) at another size: means of areas if smaller, else linear."""
    smaller = size[0] < planes.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.array([cv2.resize(plane, size[::-1], interpolation=method) for plane in planes])


def _sample(plane: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Returns a plane's values (k,) at points (k, 2), linear between its pixels."""
    x, y = points_px.T
    return cv2.remap(plane, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
