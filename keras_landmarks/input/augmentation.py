"""Variations of an image and its points, by albumentations.

albumentations' defaults do not suit landmarks: points that leave the image vanish, and a reflected
border adds mirrored copies of points. Here a face keeps its k points, in order, whatever happens.
"""

import itertools
import random
import threading

import cv2
import numpy as np

from keras_landmarks.input.augmentation_config import KINDS, AugmentationConfig
from keras_landmarks.layouts.mirror import mirror_points
from keras_landmarks.utils import process

# Imported, albumentations asks the network for news of itself unless told not to.
with process.environment(NO_ALBUMENTATIONS_UPDATE="1"):
    import albumentations as A


class Affine(A.Affine):
    """albumentations' `Affine` that moves the image in half its time, and k points to k points.

    Its own, where the border is reflected, adds the points' mirror images.
    """

    def apply(self, image, matrix, **params):
        """Moves the image."""
        height, width = image.shape[:2]
        flags, border = self.interpolation, self.border_mode
        return cv2.warpAffine(image, matrix[:2], (width, height), flags=flags, borderMode=border)

    def apply_to_keypoints(self, keypoints, matrix, **params):
        """Moves the points."""
        moved = keypoints.copy()
        moved[:, :2] = cv2.transform(keypoints[:, np.newaxis, :2], matrix[:2])[:, 0]
        return moved


class ShiftScaleRotate(Affine):
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


class CutOut(A.CoarseDropout):
    """Covers a rectangle of a tenth to four tenths of each side with one colour, half the time.

    DeVries and Taylor, "Improved regularization with cutout", 2017. Covered points stay.
    """

    def __init__(self):
        sides = (0.1, 0.4)
        super().__init__((1, 1), sides, sides, fill="random_uniform", p=0.5)

    def apply_to_keypoints(self, keypoints, **params):
        """Leaves the points as they are."""
        return keypoints


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


def online_augmenter(how: AugmentationConfig, mirror_map: np.ndarray | None) -> Augmenter:
    """What `--augment_online` does.

    Where an image is moved, each axis has a scale of its own, and black comes in, as in photos that
    were cut out beyond an edge. Half of the images are mirrored; `mirror_map` is for that.
    """
    rotate, shift, scale = how.rotate_limit, how.shift_limit, how.scale_limit
    transforms = {
        "affine": [
            Affine(
                rotate=(-rotate, rotate),
                translate_percent=(-shift, shift),
                scale=(1 - scale, 1 + scale),
                interpolation=cv2.INTER_LINEAR,
                border_mode=cv2.BORDER_CONSTANT,
                p=1,
            )
        ],
        "colour": [
            A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.4, p=0.8),
            A.HueSaturationValue(hue_shift_limit=8, p=0.3),
            A.ToGray(p=0.1),
        ],
        "blur": [A.OneOf([A.GaussianBlur(blur_limit=3), A.GaussNoise((0.01, 0.05))], p=0.2)],
        "cut_out": [CutOut()],
        "mirror": [],
    }
    chosen = [transforms[kind] for kind in KINDS if kind in how.kinds]
    chosen = list(itertools.chain(*chosen))
    return Augmenter(chosen, mirror_map if "mirror" in how.kinds else None)


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
