"""Finds the faces in a photo: Google's BlazeFace, run by OpenCV; nothing is fetched.

The network (Bazarevsky et al. 2019, the variant of 256 px that MediaPipe had for back cameras; its
licence lies beside it) looks at squares of 256 px and says for each of 896 places whether a face is
there, and where its edges are. A photo is shown to it at several sizes: small enough for a face
that fills it, large enough, in squares that overlap, for a small one.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from keras_landmarks.data.geometry import Region, cut_out, resize

_NETWORK = Path(__file__).with_name("blazeface.tflite")
_SIDE = 256  # px of the squares
_STEP = 192  # from one square to the next, at most: a face of up to 64 px is whole in one of them
_SMALLEST_PX = 13  # faces of this width are found nearly always, of 10 px mostly
_WAITING_PX = 24  # smaller ones are left to the next view, where they are larger
_SAME_FACE = 0.5  # what two boxes have in common, of the smaller one
# The places, by how far they are from each other, px, and how many lie upon each other.
_PLACES = ((16, 2), (32, 6))


class Boxes(NamedTuple):
    """The faces of a photo, the largest first: left, top, right, bottom (n, 4) and scores (n,).

    Float32, in photo pixels, whose middles are at whole numbers. A box is square, reaches from the
    brows to the chin, and may reach beyond the photo.
    """

    boxes: np.ndarray
    scores: np.ndarray


class FaceDetector:
    """Finds faces. Not for several threads at once."""

    def __init__(self, min_score: float = 0.5, smallest_face: float = 0.03):
        """Takes from which score on, of 0 to 1, a face is one, and how small it may be.

        `smallest_face` is its width as a share of the photo's longer side. Halved, it takes four
        times as long.

        Raises:
            ValueError: one of the two is not between 0 and 1.
        """
        for name, share in [("min_score", min_score), ("smallest_face", smallest_face)]:
            if not 0 < share < 1:
                raise ValueError(f"{name}={share} is not between 0 and 1")
        self._network = cv2.dnn.readNetFromTFLite(str(_NETWORK))
        self._outputs = self._network.getUnconnectedOutLayersNames()
        self._least_logit = np.log(min_score / (1 - min_score))
        self._largest_view = _SMALLEST_PX / smallest_face

    def __call__(self, photo: np.ndarray) -> Boxes:
        """Returns the faces of a photo, (H, W, 3) uint8 RGB."""
        size = np.array(photo.shape[1::-1])
        found = [np.empty((0, 5))]
        longer_sides = list(self._views(size.max()))
        for longer_side in longer_sides:
            # Of two small faces side by side it makes a third between them; the next view does not.
            least = 0 if longer_side == longer_sides[-1] else _WAITING_PX
            scaled = np.rint(size * longer_side / size.max()).astype(int).clip(1)
            view = resize(photo, scaled)
            for corner in itertools.product(*map(_starts, scaled)):
                boxes = self._look(view, np.array(corner))
                boxes = boxes[boxes[:, 2] - boxes[:, 0] >= least]
                boxes[:, :4] *= np.tile(size / scaled, 2)
                found.append(boxes)
        return _merge(np.concatenate(found))

    def _views(self, photo_px: int) -> Iterator[float]:
        """Yields the longer sides, px, that a photo is looked at with.

        Half a square, then one, two, four ... squares beside each other.
        """
        longer_side, squares = _SIDE / 2, 1
        yield longer_side
        while longer_side < min(self._largest_view, photo_px):
            longer_side = _SIDE + (squares - 1) * _STEP
            squares *= 2
            yield longer_side

    def _look(self, view: np.ndarray, corner: np.ndarray) -> np.ndarray:
        """Returns the faces in one square: (n, 5), edges from the view's upper left corner, score.

        Without those that the square's edge cuts where the view goes on.
        """
        square = cut_out(view, Region(*corner, *(corner + _SIDE))).astype(np.float32)
        self._network.setInput((square / 127.5 - 1).transpose(2, 0, 1)[None])
        logits, shapes = sorted(self._network.forward(self._outputs), key=np.size)
        logits, shapes = logits.ravel(), shapes.reshape(-1, 16)  # of which the others are features
        likely = logits > self._least_logit
        middle, half = _ANCHORS[likely] + shapes[likely, :2], shapes[likely, 2:4] / 2
        boxes = np.hstack([middle - half, middle + half])
        goes_on = np.hstack([corner > 0, corner + _SIDE < view.shape[1::-1]])
        cut = np.hstack([boxes[:, :2] < 0, boxes[:, 2:] > _SIDE]) & goes_on
        scores = 1 / (1 + np.exp(-logits[likely]))
        return np.column_stack([boxes + np.tile(corner, 2), scores])[~cut.any(axis=1)]


def _starts(side_px: int) -> list[int]:
    """Returns where along a view's side the squares start; a single one has it in its middle."""
    if side_px <= _SIDE:
        return [-((_SIDE - side_px) // 2)]
    steps = -(-(side_px - _SIDE) // _STEP)
    return np.linspace(0, side_px - _SIDE, steps + 1).astype(int).tolist()


def _anchors() -> np.ndarray:
    """Returns the places' middles, (896, 2), in the network's order."""
    anchors = []
    for step, count in _PLACES:
        middles = (np.arange(_SIDE // step) + 0.5) * step
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        anchors.append(np.repeat(grid, count, axis=0))
    return np.concatenate(anchors)


_ANCHORS = _anchors()


def _merge(found: np.ndarray) -> Boxes:
    """Makes one box of those, (n, 5), that are of one face: their mean, weighted by their scores.

    Shakes less than the best of them (Bazarevsky et al. 2019, 3.4).
    """
    boxes, scores = [], []
    rest = found[np.argsort(-found[:, 4], kind="stable")]
    while len(rest):
        alike = _common_area(rest[0], rest) >= _SAME_FACE
        boxes.append(np.average(rest[alike, :4], axis=0, weights=rest[alike, 4]))
        scores.append(rest[0, 4])
        rest = rest[~alike]
    # From edges of pixels to their middles.
    boxes = np.float32(boxes).reshape(-1, 4) - np.float32(0.5)
    largest_first = np.argsort(-_areas(boxes), kind="stable")
    return Boxes(boxes[largest_first], np.float32(scores)[largest_first])


def _common_area(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the area that the box shares with each of others, over the smaller one's."""
    corner, far_corner = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:4], boxes[:, 2:4])
    common = (far_corner - corner).clip(0).prod(axis=1)
    return common / np.minimum(_areas(box[None]), _areas(boxes)).clip(1e-9)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)
