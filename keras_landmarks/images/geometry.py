"""From a photo's pixels to the model's input, here called the crop, and exactly back.

A `CropSpec` says how photos become crops of one size:

    crop     scaled by one factor until the frame is full, the middle cut out: the recipe's way
    stretch  the whole photo, each side scaled to the frame's
    pad      the whole photo, scaled by one factor until it is inside, in the middle, black around

Photos that were cut out beyond the edge of a larger one have black bands there; they may be trimmed
first. In both frames (0, 0) is the middle of the upper left pixel, so scaling by s moves x to
(x + 0.5) s - 0.5. The whole way is one multiplication and one addition per axis:

    landmarks_crop_px = landmarks_photo_px * scale + offset

x and y have a scale each, because a scaled photo's sides are whole numbers of pixels.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np

FRAMINGS = ("crop", "stretch", "pad")
_LEAST_SIDE = 32
_BLACK = 12  # the brightest that black pixels become by JPEG


class CropTransform(NamedTuple):
    """Maps photo pixels to crop pixels; both fields are (..., 2) float64, x before y."""

    scale: np.ndarray
    offset: np.ndarray


class Region(NamedTuple):
    """A rectangle of a photo, px; right and bottom are the first beyond it."""

    left: int
    top: int
    right: int
    bottom: int


class CropSettings(Protocol):
    """Anything with the values of the flags of these names."""

    image_size: str
    framing: str
    trim_bands: bool


@dataclass(frozen=True)
class CropSpec:
    """How photos are framed.

    Attributes:
        width, height: of the crop, px.
        framing: one of FRAMINGS.
        trim_bands: black bands at a photo's edges are left out.
    """

    width: int
    height: int
    framing: str = "crop"
    trim_bands: bool = False

    def __post_init__(self):
        if self.framing not in FRAMINGS:
            raise ValueError(f"framing {self.framing!r} is none of {', '.join(FRAMINGS)}")

    @classmethod
    def of(cls, settings: CropSettings) -> "CropSpec":
        """Returns the frame that settings ask for; ValueError if there is none such."""
        return cls(*parse_size(settings.image_size), settings.framing, settings.trim_bands)

    @property
    def image_size(self) -> str:
        """Width and height as in 128x160."""
        return f"{self.width}x{self.height}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a crop's array."""
        return self.height, self.width, 3

    def __str__(self) -> str:
        return f"{self.image_size}-{self.framing}" + ("-trimmed" if self.trim_bands else "")

    def apply(self, photo: np.ndarray) -> tuple[np.ndarray, CropTransform]:
        """Returns the crop (height, width, 3) of a photo (H, W, 3), and its framing."""
        region = _find_content(photo) if self.trim_bands else whole_image(photo.shape[1::-1])
        left, top, right, bottom = region
        return self._draw(photo[top:bottom, left:right]), self.framing_of(region)

    def framing_of(self, region: Region) -> CropTransform:
        """Returns the framing of a photo of which this region is shown."""
        corner, size = np.array(region[:2]), np.subtract(region[2:], region[:2])
        scaled, start = self._fit(size)
        scale = scaled / size
        return CropTransform(scale, (0.5 - corner) * scale - 0.5 - start)

    def _fit(self, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the size that a photo is scaled to, and where in it the frame starts.

        The frame starts before it, below 0, where the photo is padded.
        """
        frame = np.array([self.width, self.height])
        if self.framing == "stretch":
            return frame, np.zeros(2, int)
        factors = frame / size
        fitting = factors.argmax() if self.framing == "crop" else factors.argmin()
        scaled = np.rint(size * frame[fitting] / size[fitting]).astype(int).clip(1)
        return scaled, (scaled - frame) // 2

    def _draw(self, photo: np.ndarray) -> np.ndarray:
        scaled, (left, top) = self._fit(np.array(photo.shape[1::-1]))
        if self.framing == "crop":
            # The recipe's interpolation, also where it enlarges and others would be finer.
            image = cv2.resize(photo, scaled.tolist(), interpolation=cv2.INTER_AREA)
            return image[top : top + self.height, left : left + self.width]
        image = resize(photo, scaled)
        if self.framing == "stretch":
            return image
        padded = np.zeros(self.shape, np.uint8)
        padded[-top : scaled[1] - top, -left : scaled[0] - left] = image
        return padded


def parse_size(text: str) -> tuple[int, int]:
    """Returns the width and height of "128x160", or of "128", a square's.

    Raises:
        ValueError: the text is neither, or a side is too small for the networks.
    """
    if found := re.fullmatch(r"([0-9]{1,4})(?:x([0-9]{1,4}))?", str(text)):
        width, height = int(found[1]), int(found[2] or found[1])
        if min(width, height) >= _LEAST_SIDE:
            return width, height
    raise ValueError(f"{text} is no size such as 128 or 128x160, sides of {_LEAST_SIDE} or more")


def whole_image(size_px: tuple[int, int]) -> Region:
    """Returns the region that is all of a photo of this width and height."""
    return Region(0, 0, *size_px)


def to_crop(landmarks_photo_px: np.ndarray, framing: CropTransform) -> np.ndarray:
    """Maps (..., k, 2) photo pixels to crop pixels, float32."""
    scale, offset = framing.scale[..., None, :], framing.offset[..., None, :]
    return (landmarks_photo_px * scale + offset).astype(np.float32)


def to_photo(landmarks_crop_px: np.ndarray, framing: CropTransform) -> np.ndarray:
    """Maps (..., k, 2) crop pixels back to photo pixels, float32."""
    scale, offset = framing.scale[..., None, :], framing.offset[..., None, :]
    return ((landmarks_crop_px - offset) / scale).astype(np.float32)


def rotate_back(points_px: np.ndarray, turn: int, size_px: tuple[int, int]) -> np.ndarray:
    """Maps points (..., 2) of `np.rot90(photo, turn)` back to the photo, of this width, height."""
    quarter = np.array([[0, 1], [-1, 0]])
    turned_size = size_px[::-1] if turn % 2 else size_px
    from_middle = points_px - (np.array(turned_size) - 1) / 2
    return from_middle @ np.linalg.matrix_power(quarter, turn) + (np.array(size_px) - 1) / 2


def resize(image: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Scales an image to a width and height: each axis by area down, linearly up.

    OpenCV's area interpolation repeats pixels, along both axes, if it enlarges along either.
    """
    smaller = np.minimum(image.shape[1::-1], size)
    image = cv2.resize(image, smaller.tolist(), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size.tolist(), interpolation=cv2.INTER_LINEAR)


def cut_region(photo: np.ndarray, region: Region) -> np.ndarray:
    """Returns a region of a photo, black where it reaches beyond the photo."""
    height, width = photo.shape[:2]
    left, top, right, bottom = np.clip(region, 0, [width, height, width, height])
    cut = np.zeros((region.bottom - region.top, region.right - region.left, 3), np.uint8)
    inside = cut[top - region.top : bottom - region.top, left - region.left : right - region.left]
    inside[...] = photo[top:bottom, left:right]
    return cut


def _find_content(photo: np.ndarray) -> Region:
    """Returns what the black bands at a photo's edges leave of it."""
    height, width, channels = photo.shape
    rows = photo.reshape(height, -1)  # so that the maxima are taken along memory: six times faster
    left, right = _content_range(rows.max(axis=0).reshape(width, channels).max(axis=1))
    top, bottom = _content_range(rows.max(axis=1))
    return Region(left, top, right, bottom)


def _content_range(brightest: np.ndarray) -> tuple[int, int]:
    """Returns the first line that is not black and the one after the last, by their maxima.

    All lines are content where black ones are more than half: a dark photo rather than bands.
    """
    bright = np.flatnonzero(brightest > _BLACK)
    if len(bright) and 2 * (bright[-1] + 1 - bright[0]) >= len(brightest):
        return int(bright[0]), int(bright[-1]) + 1
    return 0, len(brightest)
