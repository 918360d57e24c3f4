"""From a photo's pixels to the model's crop and exactly back.

The crop is the recipe's: the shorter side scaled to N pixels, then the middle N x N cut out. In
both frames (0, 0) is the middle of the upper left pixel, so scaling by s moves x to
(x + 0.5) s - 0.5. The whole way is one multiplication and one addition per axis:

    landmarks_crop_px = landmarks_photo_px * scale + offset

x and y have a scale each, because the scaled photo's longer side is a whole number of pixels.
"""

from typing import NamedTuple

import cv2
import numpy as np


class Framing(NamedTuple):
    """Maps photo pixels to crop pixels; both fields are (..., 2) float64, x before y."""

    scale: np.ndarray
    offset: np.ndarray


def centre_crop(sizes_px: np.ndarray, crop_size: int) -> Framing:
    """Returns the framing of photos of these sizes.

    Args:
        sizes_px: (..., 2) widths and heights.
        crop_size: side of the crop, px.
    """
    sizes_px = np.asarray(sizes_px)
    scaled = _scaled_sizes(sizes_px, crop_size)
    scale = scaled / sizes_px
    return Framing(scale, 0.5 * scale - 0.5 - _margins(scaled, crop_size))


def crop_image(image: np.ndarray, crop_size: int) -> np.ndarray:
    """Scales (area interpolation) and crops an (H, W, 3) image to (crop_size, crop_size, 3)."""
    height, width = image.shape[:2]
    scaled = _scaled_sizes(np.array([width, height]), crop_size)
    left, top = _margins(scaled, crop_size)
    image = cv2.resize(image, scaled.tolist(), interpolation=cv2.INTER_AREA)
    return image[top : top + crop_size, left : left + crop_size]


def to_crop(landmarks_photo_px: np.ndarray, framing: Framing) -> np.ndarray:
    """Maps (..., k, 2) photo pixels to crop pixels, float32."""
    scale, offset = framing.scale[..., None, :], framing.offset[..., None, :]
    return (landmarks_photo_px * scale + offset).astype(np.float32)


def to_photo(landmarks_crop_px: np.ndarray, framing: Framing) -> np.ndarray:
    """Maps (..., k, 2) crop pixels back to photo pixels, float32."""
    scale, offset = framing.scale[..., None, :], framing.offset[..., None, :]
    return ((landmarks_crop_px - offset) / scale).astype(np.float32)


def _scaled_sizes(sizes_px: np.ndarray, crop_size: int) -> np.ndarray:
    shorter = sizes_px.min(axis=-1, keepdims=True)
    return np.rint(sizes_px * crop_size / shorter).astype(int)


def _margins(scaled_px: np.ndarray, crop_size: int) -> np.ndarray:
    """What is cut off at the left and at the top."""
    return (scaled_px - crop_size) // 2
