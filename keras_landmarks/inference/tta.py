"""Test-time augmentation: the mean of predictions for mirrored, shifted and scaled crops.

They are cut from the crop, not from the photo: one function for any framing. flags/README.md has
what they are worth.
"""

from typing import NamedTuple

import cv2
import numpy as np

from keras_landmarks.layouts.mirror import mirror_points

# Scale about the crop's centre; shift to the right and down, as shares of the width and height.
_SCALES_AND_SHIFTS = [
    (1, 0, 0),
    (0.95, 0, 0),
    (1.05, 0, 0),
    (1, 0.03, 0.03),
    (1, -0.03, -0.03),
]


class TTATransform(NamedTuple):
    """A transform of crops before prediction, with the exact inverse for the landmarks.

    With a `mirror_map` the scaled and shifted crops are mirrored as well.
    """

    scale: float = 1
    shift_right: float = 0
    shift_down: float = 0
    mirror_map: np.ndarray | None = None

    def apply(self, crops: np.ndarray) -> np.ndarray:
        """Transforms crops (N, H, W, 3) uint8; reflects the image where it ends."""
        if self[:3] != (1, 0, 0):
            matrix = np.column_stack([self.scale * np.eye(2), self._offset_px(crops)])
            size, border = crops.shape[2:0:-1], cv2.BORDER_REFLECT_101
            crops = np.stack([cv2.warpAffine(c, matrix, size, borderMode=border) for c in crops])
        return crops if self.mirror_map is None else crops[:, :, ::-1]

    def invert(self, landmarks_px: np.ndarray, crops: np.ndarray) -> np.ndarray:
        """Maps landmarks in transformed crops back to the original crops.

        Args:
            landmarks_px: (N, k, 2 or more), x and y in pixels of the transformed crops. Further
                values, such as the log variance, stay with their landmark.
            crops: (N, H, W, 3), of which only the size is read.

        Returns:
            (N, k, 2 or more) float32, x and y in pixels of the original crops.
        """
        if self.mirror_map is not None:
            landmarks_px = mirror_points(landmarks_px, self.mirror_map, crops.shape[2])
        inverted = landmarks_px.astype(np.float32)
        inverted[..., :2] = (landmarks_px[..., :2] - self._offset_px(crops)) / self.scale
        return inverted

    def _offset_px(self, crops: np.ndarray) -> np.ndarray:
        size = np.array(crops.shape[2:0:-1])
        return (1 - self.scale) * (size - 1) / 2 + size * (self.shift_right, self.shift_down)


def tta_transforms(crops: bool, mirror_map: np.ndarray | None) -> list[TTATransform]:
    """Returns the transforms whose predictions are averaged, the identity first.

    Args:
        crops: include the scaled and shifted crops.
        mirror_map: (k,) int; include each transform a second time, mirrored. None: no mirroring.
    """
    placements = _SCALES_AND_SHIFTS if crops else _SCALES_AND_SHIFTS[:1]
    mirror_maps = [None] if mirror_map is None else [None, mirror_map]
    return [TTATransform(*placement, each) for placement in placements for each in mirror_maps]
