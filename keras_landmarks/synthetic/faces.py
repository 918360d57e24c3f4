"""Draws synthetic faces with the contest's 971 points, for the demo and the tests.

A face is drawn in three steps: a 3-D head with an identity and an expression, its pose and position
in a crop like the contest's, and the picture itself (`painting`).

Head coordinates: x to the right of the picture, y down, z towards the viewer. One unit is half the
face's width, and the eyes lie on y = 0. The front of the head is a height field z(x, y), so every
curve is designed in the frontal view and then lifted onto it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from keras_landmarks.layouts.layout import CONTEST_POINTS, REGIONS
from keras_landmarks.synthetic import painting

_CANVAS_WIDTH = 200  # px; faces are painted at this size and then scaled down
_OVAL = slice(0, REGIONS["oval_upper"].stop)  # jaw and upper oval: the whole outline of the face
_TEMPLE_Y = 0.26  # where the jaw's curves meet the upper oval
_CROWN_Y = -1.3
_MIRRORED = np.array([-1.0, 1.0])
_ACROSS = np.linspace(-1, 1, 65)  # parameter of curves from corner to corner
_ALONG = np.linspace(0, 1, 65)  # parameter of all other curves


@dataclass(frozen=True)
class FaceParameters:
    """Identity and expression. The defaults are a neutral, symmetric face.

    Lengths are in half face widths. Pairs are (left, right) in the picture.
    """

    chin_y: float = 1.66
    forehead_height: float = 0.77
    jaw_squareness: float = 2.2
    eye_x: float = 0.45
    eye_half_width: float = 0.19
    eye_height: float = 0.15
    eye_slant: float = 0.0
    brow_height: float = 0.27
    brow_thickness: float = 0.1
    brow_arch: float = 0.08
    nose_base_y: float = 0.67
    nose_half_width: float = 0.28
    nose_depth: float = 0.4
    mouth_y: float = 1.0
    mouth_half_width: float = 0.36
    lip_thickness: float = 0.11

    mouth_opening: float = 0.0
    smile: tuple[float, float] = (0.0, 0.0)  # rise of each corner of the mouth
    eye_opening: tuple[float, float] = (1.0, 1.0)  # 0 is shut
    brow_raise: tuple[float, float] = (0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)  # (x, y) of the pupils from the eyes' centres


def random_face(rng: np.random.Generator) -> FaceParameters:
    """Draws a random identity and a more or less asymmetric expression."""
    chin_y = rng.uniform(1.45, 1.8)
    nose_base_y = rng.uniform(0.57, 0.74)
    smile = rng.choice([0.0, rng.uniform(-0.06, 0.17)])
    eye_opening = rng.choice([1.0, rng.uniform(0.1, 1.35)], p=[0.3, 0.7])
    brow_raise = rng.uniform(-0.05, 0.1)
    return FaceParameters(
        chin_y=chin_y,
        forehead_height=rng.uniform(0.68, 0.9),
        jaw_squareness=rng.uniform(1.85, 2.7),
        eye_x=rng.uniform(0.41, 0.49),
        eye_half_width=rng.uniform(0.165, 0.215),
        eye_height=rng.uniform(0.11, 0.18),
        eye_slant=rng.uniform(-0.03, 0.05),
        brow_height=rng.uniform(0.22, 0.32),
        brow_thickness=rng.uniform(0.08, 0.15),
        brow_arch=rng.uniform(0.02, 0.13),
        nose_base_y=nose_base_y,
        nose_half_width=rng.uniform(0.22, 0.34),
        nose_depth=rng.uniform(0.3, 0.5),
        mouth_y=nose_base_y + (chin_y - nose_base_y) * rng.uniform(0.31, 0.38),
        mouth_half_width=rng.uniform(0.3, 0.42),
        lip_thickness=rng.uniform(0.06, 0.15),
        mouth_opening=rng.choice([0.0, rng.uniform(0.02, 0.4)], p=[0.4, 0.6]),
        smile=tuple(smile + rng.normal(0, 0.02, 2)),
        eye_opening=tuple(np.clip(eye_opening + rng.normal(0, 0.08, 2), 0.05, 1.4)),
        brow_raise=tuple(brow_raise + rng.normal(0, 0.02, 2)),
        gaze=tuple(rng.uniform([-0.08, -0.025], [0.08, 0.025])),
    )


def head_points(face: FaceParameters) -> np.ndarray:
    """Returns the 971 points: (971, 3) float64, head coordinates."""
    outlines = {**_oval(face), **_lips(face)}
    outlines["nose_midline"] = np.linspace((0, -0.3), (0, face.nose_base_y + 0.08), 60)
    for side, name in enumerate(("left", "right")):
        for part, outline in {**_eye_and_brow(face, side), **_nose_side(face)}.items():
            region = part.format(side=name)
            outlines[region] = outline * _MIRRORED if name == "left" else outline
        outlines[f"pupil_{name}"] = _pupil(face, side)
    xy = np.empty((CONTEST_POINTS, 2))
    for region, outline in outlines.items():
        xy[REGIONS[region]] = outline
    return _lift(face, xy)


def _oval(face: FaceParameters) -> dict[str, np.ndarray]:
    chin_y = face.chin_y + 0.8 * face.mouth_opening
    jaw = _quarter(chin_y - _TEMPLE_Y, face.jaw_squareness)
    # Every second point of 129, so that the halves share no point at the chin or temples.
    jaw = _resample(jaw, 129)[1::2]
    upper = _resample(_quarter(-face.forehead_height - _TEMPLE_Y, 2.6), 73)
    return {
        "jaw_left": jaw * _MIRRORED,
        "jaw_right": jaw,
        "oval_upper": np.concatenate([upper * _MIRRORED, upper[-2::-1]]),
    }


def _quarter(height: float, squareness: float) -> np.ndarray:
    """Returns a quarter of a superellipse, from the right temple to x = 0, `height` below it."""
    angle = _ALONG * np.pi / 2
    x = np.cos(angle).clip(0) ** (2 / squareness)
    y = np.sin(angle) ** (2 / squareness)
    return np.stack([x, _TEMPLE_Y + height * y], axis=1)


def _eye_and_brow(face: FaceParameters, side: int) -> dict[str, np.ndarray]:
    bulge = (1 - _ACROSS**2) ** 0.8
    x = face.eye_x - face.eye_half_width * _ACROSS  # outer to inner corner
    corners = face.eye_slant * _ACROSS
    lower = corners + 0.4 * face.eye_height * bulge
    upper = lower - face.eye_height * face.eye_opening[side] * bulge

    brow_x = 0.81 - 0.63 * _ALONG  # outer to inner end
    arch = 1 - (1.8 * _ALONG - 1.1) ** 2
    spine = -face.brow_height - face.brow_raise[side] - face.brow_arch * (arch - 0.5)
    rounded_ends = np.sqrt(1 - _ACROSS**8)
    half_thickness = face.brow_thickness * (0.3 + 0.3 * _ALONG) * rounded_ends
    upper_edge = np.stack([brow_x, spine - half_thickness], axis=1)
    lower_edge = np.stack([brow_x, spine + half_thickness], axis=1)
    return {
        "eye_{side}_upper": _resample(np.stack([x, upper], axis=1), 63),
        "eye_{side}_lower": _resample(np.stack([x, lower], axis=1), 66)[1:-1],
        "brow_{side}": _resample(np.concatenate([upper_edge, lower_edge[::-1]]), 65)[:-1],
    }


def _pupil(face: FaceParameters, side: int) -> np.ndarray:
    centre = np.array([face.eye_x, -0.1 * face.eye_height])
    return (centre if side else centre * _MIRRORED) + face.gaze


def _nose_side(face: FaceParameters) -> dict[str, np.ndarray]:
    wing, base = face.nose_half_width, face.nose_base_y
    widest = (wing, 0.82 * base)
    bridge = _bezier((0.5 * wing, 0.06), (0.85 * wing, 0.5 * base), (wing, 0.6 * base), widest)
    wing_and_base = _bezier(widest, (wing, 1.02 * base), (0.65 * wing, base), (0, base))
    return {"nose_{side}": _resample(np.concatenate([bridge, wing_and_base[1:]]), 63)}


def _lips(face: FaceParameters) -> dict[str, np.ndarray]:
    rise = np.where(_ACROSS < 0, *face.smile)
    x = _ACROSS * (face.mouth_half_width + 0.5 * rise - 0.12 * face.mouth_opening)
    seam = face.mouth_y + 0.3 * face.mouth_opening - rise * _ACROSS**2
    bulge = (1 - _ACROSS**2) ** 0.8
    cupids_bow = 1 - 0.25 * np.exp(-((_ACROSS / 0.15) ** 2))
    upper_inner = seam - (0.3 * face.mouth_opening + 0.01) * bulge
    lower_inner = seam + (0.5 * face.mouth_opening + 0.01) * bulge
    upper_outer = upper_inner - face.lip_thickness * bulge * cupids_bow
    lower_outer = lower_inner + 1.2 * face.lip_thickness * bulge
    inner_x = 0.93 * x
    return {
        "lip_upper_outer": _resample(np.stack([x, upper_outer], axis=1), 32),
        "lip_upper_inner": _resample(np.stack([inner_x, upper_inner], axis=1), 32),
        "lip_lower_outer": _resample(np.stack([x, lower_outer], axis=1), 34)[1:-1],
        "lip_lower_inner": _resample(np.stack([inner_x, lower_inner], axis=1), 34)[1:-1],
    }


def _bezier(*controls: tuple[float, float]) -> np.ndarray:
    """Returns the cubic Bezier curve of four control points: (65, 2)."""
    t = _ALONG
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    return np.stack(weights, axis=1) @ np.array(controls)


def _resample(curve: np.ndarray, count: int) -> np.ndarray:
    """Returns `count` points, evenly spaced along a curve, both ends included: (count, 2)."""
    arc_length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    even = np.linspace(0, arc_length[-1], count)
    return np.stack([np.interp(even, arc_length, curve[:, axis]) for axis in (0, 1)], axis=1)


def _lift(face: FaceParameters, xy: np.ndarray) -> np.ndarray:
    """Lifts frontal points (..., 2) onto the front of the head: (..., 3)."""
    x, y = np.abs(xy[..., 0]), xy[..., 1]
    skull = 0.95 * (1 - x**2.2) - 0.8 * np.maximum(0, -0.4 - y) ** 2
    sockets = -0.1 * _bump((x - face.eye_x) / 0.25, (y + 0.02) / 0.16)
    mouth = 0.09 * _bump(x / 0.4, (y - face.mouth_y) / 0.25)
    chin = 0.08 * _bump(x / 0.3, (y - face.chin_y + 0.15) / 0.2)

    down_the_nose = (y + 0.25) / (face.nose_base_y + 0.15)  # 0 between the brows, 1 at the tip
    ridge = np.interp(down_the_nose, [0, 0.2, 1, 1.18], [0, 0.15, 1, 0])
    half_width = face.nose_half_width * np.interp(down_the_nose, [0.3, 1], [0.45, 0.75])
    nose = face.nose_depth * ridge * _bump(x / half_width, 0)
    return np.stack([xy[..., 0], y, skull + sockets + mouth + chin + nose], axis=-1)


def _bump(x: np.ndarray, y: np.ndarray | float) -> np.ndarray:
    return np.exp(-(x**2) - y**2)


def head_surface(face: FaceParameters, rows: int = 28, columns: int = 21) -> np.ndarray:
    """Returns a grid of points on the head, ear to ear, crown to chin: (rows, columns + 2, 3)."""
    chin_y = face.chin_y + 0.8 * face.mouth_opening
    y = np.linspace(_CROWN_Y, chin_y, rows)
    below = (y - _TEMPLE_Y) / (chin_y - _TEMPLE_Y)
    above = (_TEMPLE_Y - y) / (_TEMPLE_Y - _CROWN_Y)
    squareness = np.where(below > 0, face.jaw_squareness, 2.4)
    half_width = (1 - np.maximum(below, above) ** squareness).clip(0) ** (1 / squareness)
    x = half_width[:, None] * np.linspace(-1, 1, columns)
    front = _lift(face, np.stack([x, np.broadcast_to(y[:, None], x.shape)], axis=-1))
    # Below the temples the sides of the head run straight back; above, hair covers them.
    back = front[:, [0, -1]] - np.array([0, 0, 0.5]) * (below > 0)[:, None, None]
    return np.concatenate([back[:, :1], front, back[:, 1:]], axis=1)


@dataclass(frozen=True)
class Projection:
    """From head coordinates to pixels: a rotation, then a perspective projection, then a scale.

    Attributes:
        rotation: (3, 3) matrix.
        distance: of the viewer from the head's centre, half face widths.
        scale: px per half face width.
        offset: (x, y) of the head's centre in the picture, px.
    """

    rotation: np.ndarray
    distance: float
    scale: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Maps points (..., 3) in head coordinates to x, y and depth in px: (..., 3)."""
        rotated = points @ self.rotation.T
        zoom = self.distance / (self.distance - rotated[..., 2:])
        projected = self.scale * np.concatenate(
            [rotated[..., :2] * zoom, rotated[..., 2:]], axis=-1
        )
        projected[..., :2] += self.offset
        return projected


def rotation(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Returns the matrix (3, 3) that turns a head, angles in degrees.

    Positive angles turn it to the right of the picture, then up, then clockwise.
    """
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    yaw_matrix = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch_matrix = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll_matrix = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return roll_matrix @ pitch_matrix @ yaw_matrix


def place_in_crop(
    rng: np.random.Generator, points: np.ndarray
) -> tuple[Projection, tuple[int, int]]:
    """Draws a random pose, and a crop around the face that is as tight as the contest's.

    Args:
        rng: source of all choices.
        points: (971, 3), head coordinates.

    Returns:
        The projection into the crop, and the crop's (width, height) in canvas px.
    """
    yaw, pitch, roll = np.clip(rng.normal(0, [16, 7, 8]), -35, 35)
    pose = Projection(rotation(yaw, pitch, roll), distance=rng.uniform(6, 14))
    oval = pose(points[_OVAL])[:, :2]
    low, high = oval.min(axis=0), oval.max(axis=0)
    share = np.clip(rng.normal([0.59, 0.545], [0.035, 0.033]), 0.48, 0.7)
    scale = share[0] * _CANVAS_WIDTH / (high - low)[0]
    height = np.clip(scale * (high - low)[1] / share[1], 1.05 * _CANVAS_WIDTH, 1.5 * _CANVAS_WIDTH)
    size = np.array([_CANVAS_WIDTH, round(height)])
    centre = 0.5 + rng.normal(0, 0.037, 2)
    if rng.random() < 0.02:  # the face leaves the crop
        centre[rng.integers(2)] += rng.choice([-1, 1]) * rng.uniform(0.22, 0.32)
    offset = size * centre - scale * (low + high) / 2
    return Projection(pose.rotation, pose.distance, scale, tuple(offset)), tuple(size.tolist())


def draw_face(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a random face.

    Args:
        rng: source of all choices; the same state gives the same face.

    Returns:
        image: (height, width, 3) uint8 RGB, mostly portrait, about 64 to 300 px a side.
        landmarks_px: (971, 2) float32, the contest's points in pixels of the image; (0, 0) is the
            centre of the upper left pixel. A few points may lie outside.
    """
    face = random_face(rng)
    points = head_points(face)
    project, canvas_size = place_in_crop(rng, points)
    canvas_points = project(points)[:, :2]
    head = painting.PlacedHead(canvas_points, project(head_surface(face)), project)
    canvas = painting.paint(rng, head, canvas_size)

    scale = np.exp(rng.uniform(np.log(72), np.log(_CANVAS_WIDTH))) / _CANVAS_WIDTH
    width, height = (round(side * scale) for side in canvas_size)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    image = painting.photograph(rng, image)
    # Pixel centres are whole numbers, so edges of pixels, which correspond, are at halves.
    landmarks_px = (canvas_points + 0.5) * [width / canvas_size[0], height / canvas_size[1]] - 0.5
    return image, landmarks_px.astype(np.float32)
