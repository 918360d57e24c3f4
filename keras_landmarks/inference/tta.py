"""Views of one image for a prediction that is the mean of several: mirrored, shifted, scaled."""

from typing import NamedTuple

import cv2
import numpy as np

from keras_landmarks.layouts.mirror import mirror_points

TTA = ("none", "mirror", "crops", "mirror,crops")  # which views to take the mean of
# Scale about the image's middle, and the shift to the right and down as a share of its sides.
_CROPS = [(1, 0, 0), (0.95, 0, 0), (1.05, 0, 0), (1, 0.03, 0.03), (1, -0.03, -0.03)]


class View(NamedTuple):
    """How framed images are shown to a model, and points in them brought back exactly.

    With a `mirror_map` the scaled and shifted images are mirrored, too.
    """

    scale: float = 1
    right: float = 0
    down: float = 0
    mirror_map: np.ndarray | None = None

    def of(self, images: np.ndarray) -> np.ndarray:
        """Shows images (N, H, W, 3) uint8; what comes in over a border is the image reflected."""
        if self[:3] != (1, 0, 0):
            matrix = np.column_stack([self.scale * np.eye(2), self._offset_px(images)])
            size, border = images.shape[2:0:-1], cv2.BORDER_REFLECT_101
            shown = [cv2.warpAffine(image, matrix, size, borderMode=border) for image in images]
            images = np.stack(shown)
        return images if self.mirror_map is None else images[:, :, ::-1]

    def back(self, landmarks_px: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Brings points (N, k, 2 or more) in the view of `images` back to them, float32.

        Numbers after x and y stay with their point.
        """
        if self.mirror_map is not None:
            landmarks_px = mirror_points(landmarks_px, self.mirror_map, images.shape[2])
        brought = landmarks_px.astype(np.float32)
        brought[..., :2] = (landmarks_px[..., :2] - self._offset_px(images)) / self.scale
        return brought

    def _offset_px(self, images: np.ndarray) -> np.ndarray:
        size = np.array(images.shape[2:0:-1])
        return (1 - self.scale) * (size - 1) / 2 + size * (self.right, self.down)


def tta_views(crops: bool, mirror_map: np.ndarray | None) -> list[View]:
    """Returns the plain view, or the crops; with a `mirror_map` each of them mirrored as well."""
    places = _CROPS if crops else _CROPS[:1]
    maps = [None] if mirror_map is None else [None, mirror_map]
    return [View(*place, mirror_map) for place in places for mirror_map in maps]
