"""Copies of one picture among many: recompressed, resized, mirrored, or cropped at the edges.

Two steps. A hash of 63 numbers an image is compared with all others, as products of matrices; that
leaves the pairs that look alike at a glance, frames of one video among them. Then the pixels of
each such pair are laid on each other and looked at: a copy agrees everywhere and shows nothing that
the original does not, whereas between two frames of a video something has moved.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

# ── the hash ──
_HASHED_SIDE = 32  # px
_FREQUENCIES = 8  # in each direction
_INNER_MARGIN = 0.03  # of each side: between an image as it is and one cropped by 5 %
_LEAST_LIKENESS = 0.8  # of hashes; a copy cropped by 5 % at each edge has 0.82 in 999 of 1,000
_BLOCK = 2048  # images whose hashes are compared with as many others at once

_Y, _X = np.divmod(np.arange(1, _FREQUENCIES**2), _FREQUENCIES)
_WEIGHTS = np.hypot(_X, _Y)  # pictures have less of a frequency, the higher it is
# In a mirror, waves of odd horizontal frequency change their sign.
_MIRRORED = np.where(_X % 2, -1, 1).astype(np.float32)

# ── the look at the pixels ──
PICTURE_SIDE = 96  # px
_LEAST_CORRELATION = 0.8  # of pictures half as large, laid on each other
_MOST_CROPPED = 0.12  # of a side, both ends together; 5 % at each end, in whole pixels
_MOST_BEYOND = 0.01  # of a side that a copy shows and its original does not
_MOST_SHEAR = 0.006
_LEAST_SIMILARITY = 0.87  # 99 of 100 copies have more, however they were made
_FINE_PX, _COARSE_PX, _WINDOW_PX = 1.5, 3.0, 6.0  # Gaussians
_NOISE = 16.0  # variance of what JPEG adds at those sizes, grey levels squared

_CHANGED = 0.02  # share by which a size differs for a copy to be called cropped or resized


class Looks(NamedTuple):
    """What is known of an image for the first step.

    Attributes:
        digest: equal for images of equal pixels.
        size_px: width and height.
        hashes: (2, 63) float32: of the whole image and of its inner part.
    """

    digest: bytes
    size_px: tuple[int, int]
    hashes: np.ndarray


class Match(NamedTuple):
    """A picture that is a part of another, or all of it.

    Attributes:
        similarity: the least structural similarity of any place; 1 if they agree to the bit.
        extent: the part's width and height over the whole's.
        second_is_whole: whether the first picture is the part.
    """

    similarity: float
    extent: np.ndarray
    second_is_whole: bool


def look_at(image: np.ndarray) -> Looks:
    """Hashes an (H, W, 3) uint8 image."""
    size_px = image.shape[1], image.shape[0]
    digest = hashlib.sha256(repr(size_px).encode() + image.tobytes()).digest()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    margins = np.rint(np.multiply(_INNER_MARGIN, size_px)).astype(int)
    right, bottom = size_px - margins
    inner = grey[margins[1] : bottom, margins[0] : right]
    return Looks(digest, size_px, np.stack([_hash(grey), _hash(inner)]))


def _hash(grey: np.ndarray) -> np.ndarray:
    """Returns the lowest frequencies, of like weight, as a vector of length 1, or 0 if blank."""
    small = cv2.resize(grey, (_HASHED_SIDE, _HASHED_SIDE), interpolation=cv2.INTER_AREA)
    spectrum = cv2.dct(small.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES]
    vector = spectrum.reshape(-1)[1:] * _WEIGHTS
    return (vector / max(np.linalg.norm(vector), 1.0)).astype(np.float32)


def candidates(hashes: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Yields pairs of images that look alike: first, second, whether the second is mirrored.

    `hashes` is (n, 2, 63). Takes time in proportion to n squared, some 20 ns of a core a pair.
    """
    starts = range(0, len(hashes), _BLOCK)
    for start in starts:
        for other in starts[start // _BLOCK :]:
            for first, second, mirrored in sorted(
                _alike(hashes[start:][:_BLOCK], hashes[other:][:_BLOCK])
            ):
                if start + first < other + second:
                    yield start + first, other + second, mirrored


def _alike(first: np.ndarray, second: np.ndarray) -> set[tuple[int, int, bool]]:
    """Returns what (n, 2, 63) and (m, 2, 63) hashes have in common, as rows of each."""
    pairs = set()
    for mirrored, signs in enumerate((1, _MIRRORED)):
        for one, other in ((0, 0), (0, 1), (1, 0)):  # either may be the one that was cropped
            likeness = (first[:, one] * signs) @ second[:, other].T
            found = np.flatnonzero(likeness > _LEAST_LIKENESS).tolist()
            pairs.update((*divmod(place, len(second)), bool(mirrored)) for place in found)
    return pairs


def small_picture(image: np.ndarray) -> np.ndarray:
    """Returns a grey picture for `match`: (96, 96) uint8."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (PICTURE_SIDE, PICTURE_SIDE), interpolation=cv2.INTER_AREA)


def match(first: np.ndarray, second: np.ndarray) -> Match | None:
    """Returns how one small picture is a part of the other; None if neither is."""
    for whole, part, second_is_whole in ((first, second, False), (second, first, True)):
        warp = _register(whole, part)
        if warp is not None and (similarity := _similarity(whole, part, warp)) > _LEAST_SIMILARITY:
            return Match(similarity, warp.diagonal(), second_is_whole)
    return None


def _register(whole: np.ndarray, part: np.ndarray) -> np.ndarray | None:
    """Returns the matrix (2, 3) that takes the part's pixels to the whole's, if there is one."""
    warp, half = np.eye(2, 3, dtype=np.float32), (PICTURE_SIDE // 2,) * 2
    try:
        halves = [
            cv2.resize(picture, half, interpolation=cv2.INTER_AREA) for picture in (part, whole)
        ]
        correlation, warp = _improve(*halves, warp, iterations=20, blur_px=5)
        if correlation < _LEAST_CORRELATION or not _is_inside(warp, half[0], tolerance=3):
            return None
        # From pixels twice as large, whose middles lie between ours.
        warp[:, 2] = 2 * warp[:, 2] + warp[:, :2].sum(axis=1) / 2 - 0.5
        _, warp = _improve(part, whole, warp, iterations=50, blur_px=3)
    except cv2.error:  # nothing to go by, or it runs away
        return None
    return warp if _is_inside(warp, PICTURE_SIDE, tolerance=1) else None


def _improve(
    part: np.ndarray, whole: np.ndarray, warp: np.ndarray, iterations: int, blur_px: int
) -> tuple[float, np.ndarray]:
    """Evangelidis and Psarakis, "Parametric image alignment using ECC maximization", 2008."""
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, 1e-5)
    return cv2.findTransformECC(part, whole, warp, cv2.MOTION_AFFINE, until, None, blur_px)


def _is_inside(warp: np.ndarray, side: int, tolerance: float) -> bool:
    """Whether the part is an upright crop of the whole, not much smaller; both have this side."""
    scale, start = warp.diagonal(), warp[:, 2]
    beyond = max(-start.min(), (start + scale * (side - 1)).max() - (side - 1)) / side
    shear = max(abs(warp[0, 1]), abs(warp[1, 0]))
    return (
        beyond < tolerance * _MOST_BEYOND
        and shear < tolerance * _MOST_SHEAR
        and scale.min() > 1 - tolerance * _MOST_CROPPED
    )


def _similarity(whole: np.ndarray, part: np.ndarray, warp: np.ndarray) -> float:
    """Returns the least structural similarity (Wang et al., 2004) of any place.

    It is that of the details alone, which is where frames differ: not of the light, nor of what
    compression takes away.
    """
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(whole, warp, part.shape, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    cut, part = _details(cut), _details(part)
    shared = _blurred(cut * part, _WINDOW_PX)
    total = _blurred(cut**2 + part**2, _WINDOW_PX)
    return float(((2 * shared + _NOISE) / (total + _NOISE)).min())


def _details(picture: np.ndarray) -> np.ndarray:
    picture = picture.astype(np.float32)
    return _blurred(picture, _FINE_PX) - _blurred(picture, _COARSE_PX)


def _blurred(picture: np.ndarray, sigma_px: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma_px)


def kind(
    found: Match, mirrored: bool, first_size_px: tuple[int, int], second_size_px: tuple[int, int]
) -> str:
    """Says what was done to a copy: mirrored, cropped, resized or, if none of these, copy."""
    sizes = np.array([first_size_px, second_size_px])
    whole_size, part_size = sizes[::-1] if found.second_is_whole else sizes
    cropped = found.extent.min() < 1 - _CHANGED
    resized = np.abs(part_size / (whole_size * found.extent) - 1).max() > _CHANGED
    done = {"mirrored": mirrored, "cropped": cropped, "resized": resized}
    return " ".join(name for name, is_so in done.items() if is_so) or "copy"
