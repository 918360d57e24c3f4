"""Contact sheets: many photos with their landmarks in one picture, with titles and a legend.

Images and tiles are (H, W, 3) uint8 RGB.
"""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from keras_landmarks.images import decoding
from keras_landmarks.images.drawing import (
    BACKGROUND,
    MARGIN,
    dot_radius,
    draw_landmarks,
    draw_text,
    region_colours,
)
from keras_landmarks.utils.chunks import in_chunks
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

DEFAULT_NAME = "contact_sheet.png"
JPEG_QUALITY = 82  # a fifth of the size of the PNG
TILE_HEIGHT = 360
CAPTION_HEIGHT = 26
_SUFFIXES = (".png", ".jpg", ".jpeg")
_LINE_HEIGHT, _LETTER_WIDTH = 17, 7.5
_LEGEND_ENTRY_WIDTH = 150


def validate_path(path: Path) -> None:
    """Raises InputError unless a sheet can be written to a file of this name."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--out={path}: the name must end in {' or '.join(_SUFFIXES)}")


def draw_tile(
    image: np.ndarray,
    landmarks_px: np.ndarray,
    label: str = "",
    height: int = TILE_HEIGHT,
    colours: np.ndarray | None = None,
    max_aspect: float = 1.5,
) -> np.ndarray:
    """Draws a photo, scaled to a height, with its points, a margin and a label in its upper left.

    Args:
        image: (H, W, 3) uint8.
        landmarks_px: (k, 2) pixels of the image; points outside it show in the margin.
        label: broken into as many lines as it needs.
        height: of the photo in the tile, px; a wide photo is lower.
        colours: (k, 3) uint8 RGB; by default by region.
        max_aspect: largest width of the photo, as a multiple of `height`.
    """
    # Scale first, then draw: the dots stay small and the face stays visible.
    photo, landmarks_tile_px = scale_to_fit(image, landmarks_px, height, max_aspect)
    tile = _blank(photo.shape[0] + 2 * MARGIN, photo.shape[1] + 2 * MARGIN)
    tile[MARGIN:-MARGIN, MARGIN:-MARGIN] = photo
    radius_px = dot_radius(len(landmarks_px))
    tile = draw_landmarks(tile, landmarks_tile_px + MARGIN, colours, radius_px)
    letters = max(1, int((photo.shape[1] - 6) / _LETTER_WIDTH))
    for line, text in enumerate(textwrap.wrap(label, letters)):
        draw_text(tile, text, x=MARGIN + 6, baseline=MARGIN + 18 + line * _LINE_HEIGHT)
    return tile


def scale_to_fit(
    image: np.ndarray, landmarks_px: np.ndarray, height: int, max_aspect: float = 1.5
) -> tuple[np.ndarray, np.ndarray]:
    """Scales an image and its points to fit a height and a width of `max_aspect` * height."""
    scale = min(height / image.shape[0], max_aspect * height / image.shape[1])
    old_size = np.array(image.shape[1::-1])
    new_size = np.maximum(np.rint(old_size * scale), 1).astype(int)
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    scaled = cv2.resize(image, new_size.tolist(), interpolation=interpolation)
    # Pixel centres are whole numbers, so the image's edge is at -0.5.
    return scaled, (landmarks_px + 0.5) * (new_size / old_size) - 0.5


def side_by_side(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Puts tiles in one row, aligned at their lower edges."""
    height = max(len(tile) for tile in tiles)
    blanks = [_blank(height - len(tile), tile.shape[1]) for tile in tiles]
    return np.hstack([np.vstack(pair) for pair in zip(blanks, tiles, strict=True)])


def assemble(
    tiles: Sequence[np.ndarray], titles: Sequence[str], columns: int, legend: Sequence[str] = ()
) -> np.ndarray:
    """Lays tiles out in rows, each with its title below it.

    Args:
        tiles: (H, W, 3) uint8 each; every cell is as large as the largest tile.
        titles: one line per tile.
        columns: tiles in a row.
        legend: regions whose names and colours are added at the bottom.
    """
    columns = min(columns, len(tiles))
    height, width = np.max([tile.shape[:2] for tile in tiles], axis=0)
    cells = [_cell(*item, height, width) for item in zip(tiles, titles, strict=True)]
    cells += [_blank(*cells[0].shape[:2])] * (-len(cells) % columns)
    rows = [np.hstack(row) for row in in_chunks(cells, columns)]
    return np.vstack([*rows, region_legend(columns * width, legend)] if legend else rows)


def region_legend(width: int, regions: Sequence[str]) -> np.ndarray:
    """Draws the names of regions beside their colours, in as many lines as the width needs."""
    lines = math.ceil(len(regions) / max(1, (width - MARGIN) // _LEGEND_ENTRY_WIDTH))
    columns = math.ceil(len(regions) / lines)
    legend = _blank(lines * CAPTION_HEIGHT + MARGIN, width)
    for index, (name, colour) in enumerate(region_colours(regions).items()):
        line, column = divmod(index, columns)
        x = MARGIN + column * _LEGEND_ENTRY_WIDTH
        y = line * CAPTION_HEIGHT + CAPTION_HEIGHT // 2
        cv2.circle(legend, (x + 5, y), 5, colour, cv2.FILLED, cv2.LINE_AA)
        draw_text(legend, name, x=x + 16, baseline=y + 5)
    return legend


def write(path: Path, sheet: np.ndarray) -> None:
    """Writes a sheet atomically, as PNG or JPEG by the suffix of `path`."""
    if path.suffix.lower() == ".png":
        content = cv2.imencode(".png", sheet[..., ::-1])[1].tobytes()
    else:
        content = decoding.encode_jpeg(sheet, JPEG_QUALITY)
    write_atomically(path, content)


def _cell(tile: np.ndarray, title: str, height: int, width: int) -> np.ndarray:
    """Puts a tile in the lower left corner of the height and width, and its title below it."""
    cell = _blank(height + CAPTION_HEIGHT, width)
    cell[height - tile.shape[0] : height, : tile.shape[1]] = tile
    draw_text(cell, title, x=MARGIN, baseline=height + 6)
    return cell


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, np.uint8)
