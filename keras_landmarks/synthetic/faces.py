"""Procedural faces with the contest's 971 points, for the demo and the tests.

A face is drawn in three steps: a 3-D head with an identity and an expression, its pose and place
in a crop like the contest's, and the picture itself (`face_painting`).

Head frame: x to the right of the picture, y down, z towards the viewer; one unit is half the
face's width, and the eyes lie on y = 0. The front of the head is a height field z(x, y), so every
curve is designed in the frontal view and then lifted onto it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from keras_landmarks.layouts.layout import CONTEST_POINTS, REGIONS
from keras_landmarks.synthetic import painting

_CANVAS_WIDTH = 200  # px; faces are painted at this size and then shrunk
_OVAL = slice(0, REGIONS["oval_upper"].stop)  # jaw and upper oval: the whole outline of the face
_TEMPLE_Y = 0.26  # where the jaw's curves meet the upper oval
_CROWN_Y = -1.3
_MIRRORED = np.array([-1.0, 1.0])
_ACROSS = np.linspace(-1, 1, 65)  # parameter of the curves from corner to corner
_ALONG = np.linspace(0, 1, 65)  # parameter of all others


@dataclass(frozen=True)
class Face:
    """Identity and expression; the defaults are the neutral, symmetric face.

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
    smile: tuple[float, float] = (0.0, 0.0)  # how far the corner of the mouth rises
    eye_opening: tuple[float, float] = (1.0, 1.0)  # 0 is shut
    brow_raise: tuple[float, float] = (0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)  # (x, y) of the pupils from the eyes' middles


def random_face(rng: np.random.Generator) -> Face:
    """Draws an identity and a more or less one-sided expression."""
    chin_y = rng.uniform(1.45, 1.8)
    nose_base_y = rng.uniform(0.57, 0.74)
    smile = rng.choice([0.0, rng.uniform(-0.06, 0.17)])
    eye_opening = rng.choice([1.0, rng.uniform(0.1, 1.35)], p=[0.3, 0.7])
    brow_raise = rng.uniform(-0.05, 0.1)
    return Face(
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


def head_points(face: Face) -> np.ndarray:
    """Returns the 971 points in the head frame: (971, 3) float64, half face widths."""
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
    return _lifted(face, xy)


def _oval(face: Face) -> dict[str, np.ndarray]:
    chin_y = face.chin_y + 0.8 * face.mouth_opening
    jaw = _quarter(chin_y - _TEMPLE_Y, face.jaw_squareness)
    # Every second of 129: no point on the temple or the chin, which the halves would share.
    jaw = _resampled(jaw, 129)[1::2]
    upper = _resampled(_quarter(-face.forehead_height - _TEMPLE_Y, 2.6), 73)
    return {
        "jaw_left": jaw * _MIRRORED,
        "jaw_right": jaw,
        "oval_upper": np.concatenate([upper * _MIRRORED, upper[-2::-1]]),
    }


def _quarter(height: float, squareness: float) -> np.ndarray:
    """A superellipse from the right temple to x = 0, `height` below the temple."""
    angle = _ALONG * np.pi / 2
    x = np.cos(angle).clip(0) ** (2 / squareness)
    y = np.sin(angle) ** (2 / squareness)
    return np.stack([x, _TEMPLE_Y + height * y], axis=1)


def _eye_and_brow(face: Face, side: int) -> dict[str, np.ndarray]:
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
        "eye_{side}_upper": _resampled(np.stack([x, upper], axis=1), 63),
        "eye_{side}_lower": _resampled(np.stack([x, lower], axis=1), 66)[1:-1],
        "brow_{side}": _resampled(np.concatenate([upper_edge, lower_edge[::-1]]), 65)[:-1],
    }


def _pupil(face: Face, side: int) -> np.ndarray:
    middle = np.array([face.eye_x, -0.1 * face.eye_height])
    return (middle if side else middle * _MIRRORED) + face.gaze


def _nose_side(face: Face) -> dict[str, np.ndarray]:
    wing, base = face.nose_half_width, face.nose_base_y
    widest = (wing, 0.82 * base)
    bridge = _bezier((0.5 * wing, 0.06), (0.85 * wing, 0.5 * base), (wing, 0.6 * base), widest)
    wing_and_base = _bezier(widest, (wing, 1.02 * base), (0.65 * wing, base), (0, base))
    return {"nose_{side}": _resampled(np.concatenate([bridge, wing_and_base[1:]]), 63)}


def _lips(face: Face) -> dict[str, np.ndarray]:
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
        "lip_upper_outer": _resampled(np.stack([x, upper_outer], axis=1), 32),
        "lip_upper_inner": _resampled(np.stack([inner_x, upper_inner], axis=1), 32),
        "lip_lower_outer": _resampled(np.stack([x, lower_outer], axis=1), 34)[1:-1],
        "lip_lower_inner": _resampled(np.stack([inner_x, lower_inner], axis=1), 34)[1:-1],
    }


def _bezier(*controls: tuple[float, float]) -> np.ndarray:
    """The cubic Bezier curve of four control points."""
    t = _ALONG
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    return np.stack(weights, axis=1) @ np.array(controls)


def _resampled(curve: np.ndarray, count: int) -> np.ndarray:
    """Returns `count` points at even arc length, both ends included: (count, 2)."""
    arc = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    even = np.linspace(0, arc[-1], count)
    return np.stack([np.interp(even, arc, curve[:, axis]) for axis in (0, 1)], axis=1)


def _lifted(face: Face, xy: np.ndarray) -> np.ndarray:
    """Puts frontal points (..., 2) on the front of the head: (..., 3)."""
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


def head_surface(face: Face, rows: int = 28, columns: int = 21) -> np.ndarray:
    """Returns a grid over the head, ear to ear and crown to chin: (rows, columns + 2, 3)."""
    chin_y = face.chin_y + 0.8 * face.mouth_opening
    y = np.linspace(_CROWN_Y, chin_y, rows)
    below = (y - _TEMPLE_Y) / (chin_y - _TEMPLE_Y)
    above = (_TEMPLE_Y - y) / (_TEMPLE_Y - _CROWN_Y)
    squareness = np.where(below > 0, face.jaw_squareness, 2.4)
    half_width = (1 - np.maximum(below, above) ** squareness).clip(0) ** (1 / squareness)
    x = half_width[:, None] * np.linspace(-1, 1, columns)
    front = _lifted(face, np.stack([x, np.broadcast_to(y[:, None], x.shape)], axis=-1))
    # Below the temples the sides of the head run straight back; above, hair takes over.
    back = front[:, [0, -1]] - np.array([0, 0, 0.5]) * (below > 0)[:, None, None]
    return np.concatenate([back[:, :1], front, back[:, 1:]], axis=1)


@dataclass(frozen=True)
class Placement:
    """Where a head is in a picture: a rotation, then a perspective view, then pixels."""

    rotation: np.ndarray  # (3, 3)
    distance: float  # of the viewer from the head's middle, half face widths
    scale: float = 1.0  # px per half face width
    offset: tuple[float, float] = (0.0, 0.0)  # px

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Maps points (..., 3) of the head frame to x, y and depth in px: (..., 3)."""
        turned = points @ self.rotation.T
        zoom = self.distance / (self.distance - turned[..., 2:])
        placed = self.scale * np.concatenate([turned[..., :2] * zoom, turned[..., 2:]], axis=-1)
        placed[..., :2] += self.offset
        return placed


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turns the head to the right, then up, then clockwise in the picture; angles in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return tilt @ nod @ turn


def place_in_crop(
    rng: np.random.Generator, points: np.ndarray
) -> tuple[Placement, tuple[int, int]]:
    """Draws a pose and a crop around the face, as tight as the contest's.

    Args:
        rng: source of all choices.
        points: (971, 3), head frame.

    Returns:
        The placement of the head in the crop, and the crop's (width, height) in canvas px.
    """
    yaw, pitch, roll = np.clip(rng.normal(0, [16, 7, 8]), -35, 35)
    posed = Placement(rotation(yaw, pitch, roll), distance=rng.uniform(6, 14))
    oval = posed(points[_OVAL])[:, :2]
    low, high = oval.min(axis=0), oval.max(axis=0)
    share = np.clip(rng.normal([0.59, 0.545], [0.035, 0.033]), 0.48, 0.7)
    scale = share[0] * _CANVAS_WIDTH / (high - low)[0]
    height = np.clip(scale * (high - low)[1] / share[1], 1.05 * _CANVAS_WIDTH, 1.5 * _CANVAS_WIDTH)
    size = np.array([_CANVAS_WIDTH, round(height)])
    centre = 0.5 + rng.normal(0, 0.037, 2)
    if rng.random() < 0.02:  # the face leaves the crop
        centre[rng.integers(2)] += rng.choice([-1, 1]) * rng.uniform(0.22, 0.32)
    offset = size * centre - scale * (low + high) / 2
    return Placement(posed.rotation, posed.distance, scale, tuple(offset)), tuple(size.tolist())


def draw_face(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws one face, another with every call.

    Args:
        rng: source of all choices; the same state gives the same face.

    Returns:
        image: (height, width, 3) uint8 RGB, mostly portrait, about 64 to 300 px a side.
        landmarks: (971, 2) float32, the contest's points in pixels of the image; (0, 0) is the
            middle of the upper left pixel. A few may lie outside.
    """
    face = random_face(rng)
    points = head_points(face)
    placement, canvas_size = place_in_crop(rng, points)
    canvas_points = placement(points)[:, :2]
    sitter = painting.Sitter(canvas_points, placement(head_surface(face)), placement)
    canvas = painting.paint(rng, sitter, canvas_size)

    shrink = np.exp(rng.uniform(np.log(72), np.log(_CANVAS_WIDTH))) / _CANVAS_WIDTH
    width, height = (round(side * shrink) for side in canvas_size)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    image = painting.photograph(rng, image)
    # Both frames have their origin in the middle of a pixel, so the pixels' edges correspond.
    landmarks = (canvas_points + 0.5) * [width / canvas_size[0], height / canvas_size[1]] - 0.5
    return image, landmarks.astype(np.float32)
