"""Draws landmarks on photos: point and region colours, dots, face boxes and labels.

Images are (H, W, 3) uint8 RGB. Points are (k, 2) pixels of the image that they go with; (0, 0) is
the centre of the upper left pixel.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from keras_landmarks.layouts import layout

# The palette of Okabe and Ito (2008), which colour-blind people can tell apart; a right side has a
# lighter tint of its left side's hue. page/drawing.js has the same colours.
REGION_COLOURS = {
    "jaw_left": (0, 114, 210),
    "jaw_right": (86, 180, 233),
    "oval_upper": (225, 225, 225),
    "brow_left": (230, 140, 0),
    "brow_right": (255, 190, 80),
    "nose_left": (0, 158, 115),
    "nose_right": (110, 220, 180),
    "nose_midline": (0, 110, 80),
    "eye_left_upper": (240, 228, 66),
    "eye_left_lower": (190, 178, 0),
    "eye_right_upper": (255, 250, 170),
    "eye_right_lower": (220, 210, 110),
    "lip_upper_outer": (204, 121, 167),
    "lip_upper_inner": (150, 60, 115),
    "lip_lower_outer": (240, 180, 215),
    "lip_lower_inner": (180, 90, 180),
    "pupil_left": (213, 94, 0),
    "pupil_right": (255, 140, 60),
}
PLAIN_COLOUR = (86, 180, 233)  # for points outside all regions
# For small layouts without regions, repeated: neighbours and, mostly, left and right differ.
COLOUR_CYCLE = (
    PLAIN_COLOUR,
    (230, 140, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 210),
)
BACKGROUND = (44, 44, 48)
TEXT_COLOUR = (235, 235, 235)
MARGIN = 14  # px around a photo, for points outside it

_DOT_RADIUS = 0.9  # px, in dense layouts
_MAX_DOT_RADIUS = 3.0
_INK = 28  # radius * sqrt(number of points), so that all dots together cover the same area
_FEW_POINTS = 100
_FACE_SIDE = 220  # px of a face box at which dots of 1 px show both the points and the face
_MAX_PICTURE_SIDE = 1600  # px: small photos are enlarged up to this
_SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel


def point_colours(num_landmarks: int, regions: dict[str, slice] | None = None) -> np.ndarray:
    """Returns the colour of each point: (num_landmarks, 3) uint8 RGB.

    Args:
        num_landmarks: points of the layout.
        regions: the layout's regions; by default those of `layout.regions_of`. A small layout
            without regions gets colours in turn.
    """
    if regions is None:
        regions = layout.regions_of(num_landmarks)
    if not regions and num_landmarks <= _FEW_POINTS:
        return np.resize(np.uint8(COLOUR_CYCLE), (num_landmarks, 3))
    colours = np.tile(np.uint8(PLAIN_COLOUR), (num_landmarks, 1))
    for name, colour in region_colours(regions).items():
        colours[regions[name]] = colour
    return colours


def region_colours(regions: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Returns a colour for each region; names that are not the contest's take the hues in turn."""
    hues = itertools.cycle(REGION_COLOURS.values())
    return {name: REGION_COLOURS.get(name) or next(hues) for name in regions}


def dot_radius(num_landmarks: int) -> float:
    """Returns the radius, px, of dots in a picture of usual size: fewer points, larger dots."""
    return float(np.clip(_INK / np.sqrt(max(num_landmarks, 1)), _DOT_RADIUS, _MAX_DOT_RADIUS))


def draw_landmarks(
    image: np.ndarray,
    landmarks_px: np.ndarray,
    colours: np.ndarray | None = None,
    radius_px: float = _DOT_RADIUS,
) -> np.ndarray:
    """Returns a copy of the image with a dot on each point.

    Args:
        image: (H, W, 3) uint8.
        landmarks_px: (k, 2); points outside the image and missing ones (NaN) are not drawn.
        colours: (k, 3) uint8 RGB; by default by region.
        radius_px: of the dots.
    """
    canvas = image.copy()
    colours = point_colours(len(landmarks_px)) if colours is None else colours
    width_height = np.array(image.shape[1::-1])
    inside = np.all((landmarks_px >= -0.5) & (landmarks_px <= width_height - 0.5), axis=-1)
    unit = 1 << _SUBPIXEL_BITS
    radius = round(radius_px * unit)
    centres = np.rint(landmarks_px[inside].astype(np.float64) * unit).astype(int)
    for centre, colour in zip(centres.tolist(), colours[inside].tolist(), strict=True):
        cv2.circle(canvas, centre, radius, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas


def draw_faces(
    photo: np.ndarray,
    boxes_px: Sequence[np.ndarray],
    landmarks_px: Sequence[np.ndarray],
    labels: Sequence[str],
    enlarge: bool = False,
) -> np.ndarray:
    """Returns a copy of a photo with the box, label and points of each face.

    Args:
        photo: (H, W, 3) uint8.
        boxes_px: (4,) per face: left, top, right, bottom.
        landmarks_px: (k, 2) per face.
        labels: one per face, drawn above its box.
        enlarge: enlarge a small photo, so that both the dots and the faces can be seen.
    """
    sides = [box[2] - box[0] for box in boxes_px]
    largest = _MAX_PICTURE_SIDE / max(photo.shape[:2])
    ideal = _FACE_SIDE / min(sides, default=_FACE_SIDE)
    scale = np.clip(ideal, 1, max(1, largest)) if enlarge else 1
    size = np.rint(np.array(photo.shape[1::-1]) * scale).astype(int)
    canvas = cv2.resize(photo, size.tolist(), interpolation=cv2.INTER_CUBIC)
    for box, points, side, label in zip(boxes_px, landmarks_px, sides, labels, strict=True):
        box, points = ((px + 0.5) * scale - 0.5 for px in (box.reshape(2, 2), points))
        zoom = side * scale / _FACE_SIDE
        dot = max(_DOT_RADIUS, zoom * dot_radius(len(points)) / _DOT_RADIUS)
        canvas = draw_landmarks(canvas, points, radius_px=dot)
        thickness = math.ceil(max(_DOT_RADIUS, zoom))
        _draw_box(canvas, *np.rint(box).astype(int).tolist(), label, thickness)
    return canvas


def draw_text(canvas: np.ndarray, text: str, x: int, baseline: int, scale: float = 0.42) -> None:
    """Writes light text with a dark outline, in place; text that is too wide gets smaller."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, _), _ = cv2.getTextSize(text, font, scale, 1)
    scale *= np.clip((canvas.shape[1] - x - MARGIN) / max(width, 1), 0.1, 1)
    for colour, thickness in ((BACKGROUND, 3), (TEXT_COLOUR, 1)):
        cv2.putText(canvas, text, (x, baseline), font, scale, colour, thickness, cv2.LINE_AA)


def _draw_box(canvas, corner, far_corner, label: str, thickness: int) -> None:
    for colour, width in ((BACKGROUND, thickness + 2), (TEXT_COLOUR, thickness)):
        cv2.rectangle(canvas, corner, far_corner, colour, width, cv2.LINE_AA)
    draw_text(canvas, label, corner[0], corner[1] - 4 - thickness, scale=0.42 * thickness)
