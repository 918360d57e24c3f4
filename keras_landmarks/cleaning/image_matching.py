"""Tells whether an image is a copy of another: recompressed, resized, mirrored, or cropped.

There are two steps. First, perceptual hashes of 63 numbers are compared for all pairs of images, as
matrix products; that leaves pairs that look alike at a glance, including frames of one video. Then
the pixels of each such pair are registered and compared: a copy agrees everywhere and shows nothing
that the original does not, whereas between two frames of a video something has moved.

Comparing all hashes with all is exact: 1 s for 10,000 images, 13 s for 40,000, half an hour for
400,000; what looks alike then costs 2 ms a pair. Banding by bits would lose copies that are cropped
by 5 %. A second hash, of the inner 94 %, has such a copy reach a threshold that one in a million
pairs of strangers reaches; without it, one in a thousand would. `find_duplicates --help` has what
is found.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

# ── hashes ──
_HASHED_SIDE = 32  # px
_FREQUENCIES = 8  # in each direction
_INNER_MARGIN = 0.03  # of each side: halfway between the whole image and one cropped by 5 %
_MIN_HASH_SIMILARITY = 0.8  # 999 of 1,000 copies that are cropped by 5 % at each edge have 0.82
_BLOCK = 2048  # images that are compared with as many others by one matrix product

_Y, _X = np.divmod(np.arange(1, _FREQUENCIES**2), _FREQUENCIES)
_WEIGHTS = np.hypot(_X, _Y)  # natural images have less energy at higher frequencies
# Mirroring changes the sign of odd horizontal frequencies.
_MIRRORED = np.where(_X % 2, -1, 1).astype(np.float32)

# ── pixels ──
_THUMBNAIL_SIDE = 96  # px
_MIN_CORRELATION = 0.8  # of registered thumbnails of half the size
_MAX_CROPPED = 0.12  # of a side, both ends together: 5 % at each end, and rounding to pixels
_MAX_OVERHANG = 0.01  # of a side, by which a copy may reach beyond its original
_MAX_SHEAR = 0.006
_MIN_SIMILARITY = 0.87  # 99 of 100 copies of every kind have more
_FINE_PX, _COARSE_PX, _WINDOW_PX = 1.5, 3.0, 6.0  # sigmas of Gaussian blurs
_NOISE = 16.0  # variance of JPEG artefacts at these scales, grey levels squared

_MIN_CHANGE = 0.02  # relative change of size from which a copy is called cropped or resized


class ImageHashes(NamedTuple):
    """The hashes of an image.

    Attributes:
        digest: equal for images with equal pixels.
        size_px: width and height.
        vectors: (2, 63) float32 perceptual hashes, of the whole image and of its inner part.
    """

    digest: bytes
    size_px: tuple[int, int]
    vectors: np.ndarray


class Match(NamedTuple):
    """How one image is a part of another, or all of it.

    Attributes:
        similarity: the lowest local structural similarity; 1 if they are equal to the bit.
        extent: the part's width and height over the whole's.
        second_is_whole: whether the first image is the part.
    """

    similarity: float
    extent: np.ndarray
    second_is_whole: bool


def hash_image(image: np.ndarray) -> ImageHashes:
    """Returns the hashes of an (H, W, 3) uint8 RGB image."""
    size_px = image.shape[1], image.shape[0]
    digest = hashlib.sha256(repr(size_px).encode() + image.tobytes()).digest()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    margins = np.rint(np.multiply(_INNER_MARGIN, size_px)).astype(int)
    right, bottom = size_px - margins
    inner = grey[margins[1] : bottom, margins[0] : right]
    return ImageHashes(digest, size_px, np.stack([_hash(grey), _hash(inner)]))


def _hash(grey: np.ndarray) -> np.ndarray:
    """Returns the weighted low DCT frequencies as a unit vector (63,), or about 0 if blank."""
    small = cv2.resize(grey, (_HASHED_SIDE, _HASHED_SIDE), interpolation=cv2.INTER_AREA)
    spectrum = cv2.dct(small.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES]
    vector = spectrum.reshape(-1)[1:] * _WEIGHTS
    return (vector / max(np.linalg.norm(vector), 1.0)).astype(np.float32)


def find_candidates(vectors: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Yields pairs of images with similar hashes: first, second, whether the second is mirrored.

    `vectors` is (n, 2, 63). The time is quadratic in n: about 20 ns of a core per pair.
    """
    starts = range(0, len(vectors), _BLOCK)
    for start in starts:
        for other in starts[start // _BLOCK :]:
            for first, second, mirrored in sorted(
                _similar_rows(vectors[start:][:_BLOCK], vectors[other:][:_BLOCK])
            ):
                if start + first < other + second:
                    yield start + first, other + second, mirrored


def _similar_rows(first: np.ndarray, second: np.ndarray) -> set[tuple[int, int, bool]]:
    """Returns the similar pairs of (n, 2, 63) and (m, 2, 63) hashes: rows of each, mirrored."""
    pairs = set()
    for mirrored, signs in enumerate((1, _MIRRORED)):
        for one, other in ((0, 0), (0, 1), (1, 0)):  # either may be cropped
            similarities = (first[:, one] * signs) @ second[:, other].T
            found = np.flatnonzero(similarities > _MIN_HASH_SIMILARITY).tolist()
            pairs.update((*divmod(place, len(second)), bool(mirrored)) for place in found)
    return pairs


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Returns the grey thumbnail of an (H, W, 3) RGB image for `match`: (96, 96) uint8."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)


def match(first: np.ndarray, second: np.ndarray) -> Match | None:
    """Returns how one thumbnail is a part of the other; None if neither is."""
    for whole, part, second_is_whole in ((first, second, False), (second, first, True)):
        warp = _register(whole, part)
        if warp is not None and (similarity := _similarity(whole, part, warp)) > _MIN_SIMILARITY:
            return Match(similarity, warp.diagonal(), second_is_whole)
    return None


def _register(whole: np.ndarray, part: np.ndarray) -> np.ndarray | None:
    """Returns the affine warp (2, 3) from the part's pixels to the whole's, if there is one."""
    warp, half = np.eye(2, 3, dtype=np.float32), (_THUMBNAIL_SIDE // 2,) * 2
    try:
        halves = [cv2.resize(image, half, interpolation=cv2.INTER_AREA) for image in (part, whole)]
        correlation, warp = _refine(*halves, warp, iterations=20, blur_px=5)
        if correlation < _MIN_CORRELATION or not _is_inside(warp, half[0], tolerance=3):
            return None
        # From the coordinates of pixels twice as large, whose centres lie between these.
        warp[:, 2] = 2 * warp[:, 2] + warp[:, :2].sum(axis=1) / 2 - 0.5
        _, warp = _refine(part, whole, warp, iterations=50, blur_px=3)
    except cv2.error:  # the image is blank, or the iteration diverges
        return None
    return warp if _is_inside(warp, _THUMBNAIL_SIDE, tolerance=1) else None


def _refine(
    part: np.ndarray, whole: np.ndarray, warp: np.ndarray, iterations: int, blur_px: int
) -> tuple[float, np.ndarray]:
    """Refines a warp by maximising the correlation; returns both.

    Evangelidis and Psarakis, "Parametric image alignment using ECC maximization", 2008.
    """
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, 1e-5)
    return cv2.findTransformECC(part, whole, warp, cv2.MOTION_AFFINE, criteria, None, blur_px)


def _is_inside(warp: np.ndarray, side: int, tolerance: float) -> bool:
    """Returns whether a warp of images with this side is upright and crops little."""
    scale, start = warp.diagonal(), warp[:, 2]
    overhang = max(-start.min(), (start + scale * (side - 1)).max() - (side - 1)) / side
    shear = max(abs(warp[0, 1]), abs(warp[1, 0]))
    return (
        overhang < tolerance * _MAX_OVERHANG
        and shear < tolerance * _MAX_SHEAR
        and scale.min() > 1 - tolerance * _MAX_CROPPED
    )


def _similarity(whole: np.ndarray, part: np.ndarray, warp: np.ndarray) -> float:
    """Returns the lowest local structural similarity (SSIM, Wang et al., 2004).

    It is computed from band-passed images, in which video frames differ: without brightness and
    without the fine detail that compression removes.
    """
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(whole, warp, part.shape, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    cut, part = _band_passed(cut), _band_passed(part)
    shared = _blurred(cut * part, _WINDOW_PX)
    total = _blurred(cut**2 + part**2, _WINDOW_PX)
    return float(((2 * shared + _NOISE) / (total + _NOISE)).min())


def _band_passed(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float32)
    return _blurred(image, _FINE_PX) - _blurred(image, _COARSE_PX)


def _blurred(image: np.ndarray, sigma_px: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma_px)


def describe(
    match: Match, mirrored: bool, first_size_px: tuple[int, int], second_size_px: tuple[int, int]
) -> str:
    """Returns what was done to a copy: "mirrored", "cropped", "resized", or just "copy"."""
    sizes = np.array([first_size_px, second_size_px])
    whole_size, part_size = sizes[::-1] if match.second_is_whole else sizes
    cropped = match.extent.min() < 1 - _MIN_CHANGE
    resized = np.abs(part_size / (whole_size * match.extent) - 1).max() > _MIN_CHANGE
    changes = {"mirrored": mirrored, "cropped": cropped, "resized": resized}
    return " ".join(name for name, applied in changes.items() if applied) or "copy"
