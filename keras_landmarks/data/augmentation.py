"""Variations of an image and its points, by albumentations.

albumentations' defaults do not suit landmarks: points that leave the image vanish, and a reflected
border adds mirrored copies of points. Here a face keeps its k points, in order, whatever happens.
"""

import random
import threading

import albumentations as A
import cv2
import numpy as np

from keras_landmarks.data.mirror import mirror_points


class ShiftScaleRotate(A.Affine):
    """The recipe's transform: albumentations 0.4.5's `ShiftScaleRotate` with its defaults.

    Rotation by up to +-`rotate_limit` degrees and one scale for both axes from 1 +-`scale_limit`
    about the image's middle, then a shift by up to +-`shift_limit` of each side; linear
    interpolation, border reflected without repeating the edge. (albumentations 2's class of this
    name draws a scale for each axis and fills the border with black. Its shifts are cut to whole
    pixels, which the recipe's were not.)
    """

    def __init__(self, rotate_limit: float, shift_limit: float, scale_limit: float):
        super().__init__(
            rotate=(-rotate_limit, rotate_limit),
            translate_percent=(-shift_limit, shift_limit),
            scale=(1 - scale_limit, 1 + scale_limit),
            keep_ratio=True,
            interpolation=cv2.INTER_LINEAR,
            border_mode=cv2.BORDER_REFLECT_101,
            p=1,
        )

    def apply(self, image, matrix, **params):
        """Moves the image, as Affine's own `apply` does, in half its time."""
        height, width = image.shape[:2]
        flags, border = self.interpolation, self.border_mode
        return cv2.warpAffine(image, matrix[:2], (width, height), flags=flags, borderMode=border)

    def apply_to_keypoints(self, keypoints, matrix, **params):
        """Moves the points; the border's mirror images of them are no landmarks."""
        moved = keypoints.copy()
        moved[:, :2] = cv2.transform(keypoints[:, np.newaxis, :2], matrix[:2])[:, 0]
        return moved


class Augmenter:
    """Applies transforms to an image and its points, the same for the same seed."""

    def __init__(self, transforms: list[A.BasicTransform], mirror_map: np.ndarray | None = None):
        """Prepares the transforms; with a `mirror_map` half of the images are mirrored, too."""
        # Without keypoint_params it neither drops points nor spends time on checking them.
        self._transform = A.Compose(transforms)
        self._mirror_map = mirror_map
        self._lock = threading.Lock()  # the transforms draw from generators that they hold

    def __call__(
        self, image: np.ndarray, landmarks_px: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the varied image (H, W, 3) uint8 and its points (k, 2) float32."""
        rng = np.random.default_rng(seed)
        with self._lock:
            # Not set_random_seed: from it each transform gets a generator with the same draws.
            self._transform.set_random_state(rng, random.Random(seed))
            varied = self._transform(image=image, keypoints=_as_keypoints(landmarks_px))
        image, landmarks_px = varied["image"], varied["keypoints"][:, :2].copy()
        if self._mirror_map is not None and rng.random() < 0.5:
            return mirror(image, landmarks_px, self._mirror_map)
        return image, landmarks_px


def online_augmenter(mirror_map: np.ndarray | None) -> Augmenter:
    """What `--augment_online` does: moderate shift, scale, rotation, light, colour and blur.

    With a `mirror_map` half of the images are mirrored, too.
    """
    transforms = [
        ShiftScaleRotate(rotate_limit=20, shift_limit=0.0625, scale_limit=0.1),
        A.RandomBrightnessContrast(p=0.5),
        A.HueSaturationValue(hue_shift_limit=8, p=0.3),
        A.OneOf([A.GaussianBlur(blur_limit=3), A.GaussNoise(std_range=(0.01, 0.05))], p=0.2),
    ]
    return Augmenter(transforms, mirror_map)


def mirror(
    image: np.ndarray, landmarks_px: np.ndarray, mirror_map: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mirrors an image left to right: x becomes width - 1 - x, each point its partner."""
    return cv2.flip(image, 1), mirror_points(landmarks_px, mirror_map, image.shape[1])


def _as_keypoints(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns points as albumentations' transforms pass them on: x, y, z, angle, scale."""
    keypoints = np.zeros((len(landmarks_px), 5), np.float32)
    keypoints[:, :2] = landmarks_px
    return keypoints
