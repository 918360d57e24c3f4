"""Pictures of faces with their points, and sheets of many of them.

Images are (H, W, 3) uint8 RGB; points are (k, 2), pixels of the image they go with.
"""

import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.layouts import layout
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

# The hues of Okabe and Ito, which colour-blind people can tell apart; a right side has the lighter
# tint of its left side's hue.
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
PLAIN_COLOUR = (86, 180, 233)  # of points in no region
# Of few points without regions, in turn: neighbours and, mostly, left and right can be told apart.
CYCLE = (
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

FILE_NAME = "contact_sheet.png"
_SHEET_SUFFIXES = (".png", ".jpg", ".jpeg")
TILE_HEIGHT = 360
MARGIN = 14  # around each photo, for points outside it
CAPTION_HEIGHT = 26
_LINE_HEIGHT, _LETTER_WIDTH = 17, 7.5
_DOT_RADIUS = 0.9  # px, of many points
_LARGEST_DOT = 3.0
_INK = 28  # a dot's radius times the square root of the points: together they cover as much
_FEW_POINTS = 100
_FACE_SIDE = 220  # px of a face's box, where dots of 1 px show the points and the face
_LARGEST_PICTURE = 1600  # px: small photos are enlarged up to this
_SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel


def point_colours(points: int, regions: dict[str, slice] | None = None) -> np.ndarray:
    """Returns the colour of each of so many points: (points, 3) uint8 RGB.

    `regions` are those of `layout.regions_of` unless given. Few points without any get colours in
    turn.
    """
    if regions is None:
        regions = layout.regions_of(points)
    if not regions and points <= _FEW_POINTS:
        return np.resize(np.uint8(CYCLE), (points, 3))
    colours = np.tile(np.uint8(PLAIN_COLOUR), (points, 1))
    for name, colour in region_colours(regions).items():
        colours[regions[name]] = colour
    return colours


def region_colours(regions: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Returns a colour for each region; other names than the contest's take the hues in turn."""
    hues = itertools.cycle(REGION_COLOURS.values())
    return {name: REGION_COLOURS.get(name) or next(hues) for name in regions}


def dot_radius(points: int) -> float:
    """Returns how large, in pixels, the dots of so many points are on a picture of usual size."""
    return float(np.clip(_INK / np.sqrt(max(points, 1)), _DOT_RADIUS, _LARGEST_DOT))


def draw_landmarks(
    image: np.ndarray,
    landmarks_px: np.ndarray,
    colours: np.ndarray | None = None,
    radius_px: float = _DOT_RADIUS,
) -> np.ndarray:
    """Returns a copy of the image with a dot on each point; points outside it are left out.

    `colours` is (k, 3) uint8 RGB; unless given, points are coloured by region.
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
    """Returns a copy of a photo with each face's box (4,), label and points (k, 2).

    With `enlarge` a small photo is enlarged, so that dots and the faces under them can be seen.
    """
    sides = [box[2] - box[0] for box in boxes_px]
    largest = _LARGEST_PICTURE / max(photo.shape[:2])
    wanted = _FACE_SIDE / min(sides, default=_FACE_SIDE)
    scale = np.clip(wanted, 1, max(1, largest)) if enlarge else 1
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


def enlarge(
    image: np.ndarray, landmarks_px: np.ndarray, height: int, widest: float = 1.5
) -> tuple[np.ndarray, np.ndarray]:
    """Scales an image and its points to fit a height and a width of `widest` x that height."""
    scale = min(height / image.shape[0], widest * height / image.shape[1])
    old_size = np.array(image.shape[1::-1])
    new_size = np.maximum(np.rint(old_size * scale), 1).astype(int)
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    enlarged = cv2.resize(image, new_size.tolist(), interpolation=interpolation)
    # Pixel centres are whole numbers, so the image's edge is at -0.5.
    return enlarged, (landmarks_px + 0.5) * (new_size / old_size) - 0.5


def draw_tile(
    image: np.ndarray,
    landmarks_px: np.ndarray,
    label: str = "",
    height: int = TILE_HEIGHT,
    colours: np.ndarray | None = None,
    widest: float = 1.5,
) -> np.ndarray:
    """Draws an enlarged photo with its points and a margin, labelled in the upper left corner.

    `colours` are as in `draw_landmarks`, `widest` as in `enlarge`. A long label has several lines.
    """
    # Enlarged before it is drawn on: so the dots stay fine and the face stays visible.
    photo, landmarks_photo_px = enlarge(image, landmarks_px, height, widest)
    tile = _blank(photo.shape[0] + 2 * MARGIN, photo.shape[1] + 2 * MARGIN)
    tile[MARGIN:-MARGIN, MARGIN:-MARGIN] = photo
    radius_px = dot_radius(len(landmarks_px))
    tile = draw_landmarks(tile, landmarks_photo_px + MARGIN, colours, radius_px)
    letters = max(1, int((photo.shape[1] - 6) / _LETTER_WIDTH))
    for line, text in enumerate(textwrap.wrap(label, letters)):
        _put_text(tile, text, x=MARGIN + 6, baseline=MARGIN + 18 + line * _LINE_HEIGHT)
    return tile


def side_by_side(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Puts tiles in one row, their lower edges on a line."""
    height = max(len(tile) for tile in tiles)
    blanks = [_blank(height - len(tile), tile.shape[1]) for tile in tiles]
    return np.hstack([np.vstack(pair) for pair in zip(blanks, tiles, strict=True)])


def contact_sheet(
    tiles: Sequence[np.ndarray], titles: Sequence[str], columns: int, legend: Sequence[str] = ()
) -> np.ndarray:
    """Lays tiles out in rows, each with its title under it.

    Args:
        tiles: (H, W, 3) uint8 each; cells are as large as the largest.
        titles: one line a tile.
        columns: tiles in a row.
        legend: regions whose names and colours are added at the bottom.
    """
    columns = min(columns, len(tiles))
    height, width = np.max([tile.shape[:2] for tile in tiles], axis=0)
    cells = [_cell(*item, height, width) for item in zip(tiles, titles, strict=True)]
    cells += [_blank(*cells[0].shape[:2])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack([*rows, region_legend(columns * width, legend)] if legend else rows)


def check_sheet_name(path: Path) -> None:
    """Raises InputError unless a sheet can be written by this name."""
    if path.suffix.lower() not in _SHEET_SUFFIXES:
        raise InputError(f"--out={path}: a picture's name ends in {' or '.join(_SHEET_SUFFIXES)}")


def write_sheet(path: Path, sheet: np.ndarray) -> None:
    """Writes a sheet as PNG or, if its name ends so, as JPEG, a fifth as large; whole."""
    png = path.suffix.lower() == ".png"
    write_atomically(
        path, cv2.imencode(".png", sheet[..., ::-1])[1].tobytes() if png else as_jpeg(sheet)
    )


def as_jpeg(picture: np.ndarray) -> bytes:
    """Encodes a picture as JPEG, light rather than perfect."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 82]
    return cv2.imencode(".jpg", picture[..., ::-1], quality)[1].tobytes()


def region_legend(width: int, regions: Sequence[str]) -> np.ndarray:
    """Draws the regions' names, each beside its colour, in as many lines as the width needs."""
    entry_width = 150
    lines = math.ceil(len(regions) / max(1, (width - MARGIN) // entry_width))
    columns = math.ceil(len(regions) / lines)
    legend = _blank(lines * CAPTION_HEIGHT + MARGIN, width)
    for index, (name, colour) in enumerate(region_colours(regions).items()):
        line, column = divmod(index, columns)
        x, y = MARGIN + column * entry_width, line * CAPTION_HEIGHT + CAPTION_HEIGHT // 2
        cv2.circle(legend, (x + 5, y), 5, colour, cv2.FILLED, cv2.LINE_AA)
        _put_text(legend, name, x=x + 16, baseline=y + 5)
    return legend


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def _cell(tile: np.ndarray, title: str, height: int, width: int) -> np.ndarray:
    """Puts a tile in the lower left corner of the height and width, and its title under it."""
    cell = _blank(height + CAPTION_HEIGHT, width)
    cell[height - tile.shape[0] : height, : tile.shape[1]] = tile
    _put_text(cell, title, x=MARGIN, baseline=height + 6)
    return cell


def _draw_box(canvas, corner, far_corner, label: str, thickness: int) -> None:
    for colour, width in ((BACKGROUND, thickness + 2), (TEXT_COLOUR, thickness)):
        cv2.rectangle(canvas, corner, far_corner, colour, width, cv2.LINE_AA)
    _put_text(canvas, label, corner[0], corner[1] - 4 - thickness, scale=0.42 * thickness)


def _put_text(canvas: np.ndarray, text: str, x: int, baseline: int, scale: float = 0.42) -> None:
    """Writes light text with a dark rim, readable on any photo, smaller if it would not fit."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, _), _ = cv2.getTextSize(text, font, scale, 1)
    scale *= np.clip((canvas.shape[1] - x - MARGIN) / max(width, 1), 0.1, 1)
    for colour, thickness in ((BACKGROUND, 3), (TEXT_COLOUR, 1)):
        cv2.putText(canvas, text, (x, baseline), font, scale, colour, thickness, cv2.LINE_AA)
