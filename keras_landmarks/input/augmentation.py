"""Augmentation of an image and its landmarks with albumentations.

The defaults of albumentations do not suit landmarks: points that leave the image are dropped, and a
reflected border adds mirrored copies of points. Here a face always keeps its k points in order.
"""

import itertools
import random
import threading

import cv2
import numpy as np

from keras_landmarks.input.head_turning import HeadTurner
from keras_landmarks.layouts.mirror import mirror_points
from keras_landmarks.settings import AUGMENTATIONS, AugmentationSettings
from keras_landmarks.utils import process

# Otherwise albumentations looks for a newer version on the network when it is imported.
with process.environment(NO_ALBUMENTATIONS_UPDATE="1"):
    import albumentations as A


class Affine(A.Affine):
    """albumentations' `Affine`, twice as fast, and without additional points.

    The original adds mirrored copies of the points if the border is reflected.
    """

    def apply(self, image, matrix, **params):
        """Warps the image."""
        height, width = image.shape[:2]
        flags, border = self.interpolation, self.border_mode
        return cv2.warpAffine(image, matrix[:2], (width, height), flags=flags, borderMode=border)

    def apply_to_keypoints(self, keypoints, matrix, **params):
        """Transforms the keypoints."""
        moved = keypoints.copy()
        moved[:, :2] = cv2.transform(keypoints[:, np.newaxis, :2], matrix[:2])[:, 0]
        return moved


class ShiftScaleRotate(Affine):
    """The recipe's transform: albumentations 0.4.5's `ShiftScaleRotate` with its defaults.

    It rotates by up to +-`rotate_limit` degrees and scales both axes by one factor of
    1 +- `scale_limit`, about the centre of the image, then shifts by up to +-`shift_limit` of each
    side. Interpolation is linear; the border is reflected without repeating the edge.

    albumentations 2 has a class of this name that draws a scale for each axis, fills the border
    with black and truncates shifts to whole pixels.
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


class CoarseDropout(A.CoarseDropout):
    """Covers one rectangle of 10 to 40 % of each side with one colour in half of the images.

    Covered landmarks stay. Source: DeVries and Taylor, "Improved regularization with cutout", 2017.
    """

    def __init__(self):
        sides = (0.1, 0.4)
        super().__init__((1, 1), sides, sides, fill="random_uniform", p=0.5)

    def apply_to_keypoints(self, keypoints, **params):
        """Keeps the keypoints."""
        return keypoints


class Augmenter:
    """Applies transforms to an image and its landmarks; the same seed gives the same result."""

    def __init__(
        self,
        transforms: list[A.BasicTransform],
        mirror_map: np.ndarray | None = None,
        turner: HeadTurner | None = None,
    ):
        """Composes the transforms.

        Args:
            transforms: of albumentations.
            mirror_map: (k,), to mirror half of the images as well, afterwards.
            turner: turns heads before all else.
        """
        # Without keypoint_params albumentations neither drops keypoints nor checks them. This and
        # our own affine transform make 3,000 images/s per core instead of 1,700, bit for bit equal.
        self._transform = A.Compose(transforms)
        self._mirror_map, self._turner = mirror_map, turner
        self._lock = threading.Lock()  # the transforms hold their random generators

    def __call__(
        self, image: np.ndarray, landmarks_px: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the augmented image (H, W, 3) uint8 and its landmarks (k, 2) float32."""
        rng = np.random.default_rng(seed)
        if self._turner is not None:
            image, landmarks_px = self._turner(image, landmarks_px, rng)
        with self._lock:
            # set_random_seed would give every transform a generator with the same draws.
            self._transform.set_random_state(rng, random.Random(seed))
            augmented = self._transform(image=image, keypoints=_as_keypoints(landmarks_px))
        image, landmarks_px = augmented["image"], augmented["keypoints"][:, :2].copy()
        if self._mirror_map is not None and rng.random() < 0.5:
            return mirror(image, landmarks_px, self._mirror_map)
        return image, landmarks_px


def online_augmenter(
    settings: AugmentationSettings,
    mirror_map: np.ndarray | None = None,
    head: np.ndarray | None = None,
) -> Augmenter:
    """Returns the augmentation of `--augment_online`.

    `turn` shows half of the heads as seen from another side, with the mean `head` (k, 3).
    `affine` draws a scale for each axis and fills the border with black, as in photos that were
    cropped beyond an edge. `misplace` draws from wider limits, which are fixed, for a quarter of
    the images, and `affine` leaves these alone: faces that lie off the middle, are cut off, tilted,
    too large or too small. `degrade` makes images small, compressed, blurred or dark. `mirror`
    mirrors half of the images by the `mirror_map` (k,).
    """
    kinds = settings.augment_online
    both = {"affine", "misplace"} <= set(kinds)
    limits = settings.rotate_limit, settings.shift_limit, settings.scale_limit
    affine = _affine(*limits, p=0.75 if both else 1)
    misplace = _affine(rotate_limit=40, shift_limit=0.3, scale_limit=0.3, p=0.25)
    transforms = {
        "turn": [],
        "affine": [A.OneOf([affine, misplace], p=1) if both else affine],
        "misplace": [] if both else [misplace],
        "colour": [
            A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.4, p=0.8),
            A.HueSaturationValue(hue_shift_limit=8, p=0.3),
            A.ToGray(p=0.1),
        ],
        "blur": [A.OneOf([A.GaussianBlur(blur_limit=3), A.GaussNoise((0.01, 0.05))], p=0.2)],
        "degrade": [
            A.RandomGamma(gamma_limit=(60, 170), p=0.2),
            A.OneOf(
                [
                    # The defaults of the first and the last move the image by up to 2 px.
                    A.Downscale(
                        scale_range=(0.35, 0.8),
                        interpolation_pair={
                            "downscale": cv2.INTER_AREA,
                            "upscale": cv2.INTER_LINEAR,
                        },
                    ),
                    A.ImageCompression(quality_range=(15, 60)),
                    A.MotionBlur(blur_limit=(3, 7), allow_shifted=False, direction_range=(0, 0)),
                ],
                p=0.35,
            ),
        ],
        "coarse_dropout": [CoarseDropout()],
        "mirror": [],
    }
    chosen = [transforms[kind] for kind in AUGMENTATIONS if kind in kinds]
    if "turn" in kinds and head is None:
        raise ValueError("turn: no head")
    return Augmenter(
        [*itertools.chain(*chosen)],
        mirror_map if "mirror" in kinds else None,
        HeadTurner(head, settings.turn_limit) if "turn" in kinds else None,
    )


def _affine(rotate_limit: float, shift_limit: float, scale_limit: float, p: float = 1) -> Affine:
    return Affine(
        rotate=(-rotate_limit, rotate_limit),
        translate_percent=(-shift_limit, shift_limit),
        scale=(1 - scale_limit, 1 + scale_limit),
        interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_CONSTANT,
        p=p,
    )


def mirror(
    image: np.ndarray, landmarks_px: np.ndarray, mirror_map: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mirrors an image left to right: x becomes width - 1 - x, and points swap with partners."""
    return cv2.flip(image, 1), mirror_points(landmarks_px, mirror_map, image.shape[1])


def _as_keypoints(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns landmarks in albumentations' internal form: x, y, z, angle, scale."""
    keypoints = np.zeros((len(landmarks_px), 5), np.float32)
    keypoints[:, :2] = landmarks_px
    return keypoints
