"""Finds the faces in a photo: Google's BlazeFace, run by OpenCV; nothing is fetched.

The network (Bazarevsky et al. 2019, the variant of 256 px that MediaPipe had for back cameras; its
licence lies beside it) looks at squares of 256 px and says for each of 896 places whether a face is
there, and where its edges are. A photo is shown to it at several sizes: small enough for a face
that fills it, large enough, in squares that overlap, for a small one. Faces on their side are found
less surely: where the eyes of one lie above each other, the turned photo is looked at as well.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from keras_landmarks.images.geometry import Region, cut_region, resize, rotate_back

_NETWORK = Path(__file__).with_name("blazeface.tflite")
_SIDE = 256  # px of the squares
_STEP = 192  # from one square to the next, at most: a face of up to 64 px is whole in one of them
_SMALLEST_PX = 13  # faces of this width are found nearly always, of 10 px mostly
_WAITING_PX = 24  # smaller ones are left to the next view, where they are larger
_SAME_FACE = 0.5  # what two boxes have in common, of the smaller one
_PERHAPS = 0.5  # from which score on a face on its side is worth another look
# The places, by how far they are from each other, px, and how many lie upon each other.
_PLACES = ((16, 2), (32, 6))


class Boxes(NamedTuple):
    """The faces of a photo, the largest first.

    Attributes:
        boxes: (n, 4) float32, left, top, right, bottom, in photo pixels, whose middles are at whole
            numbers. A box is square, reaches from the brows to the chin, and may reach beyond the
            photo.
        scores: (n,) float32.
        turns: (n,) int, of quarters: in `np.rot90(photo, turn)` the face is upright.
    """

    boxes: np.ndarray
    scores: np.ndarray
    turns: np.ndarray


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
        self._min_score = min_score
        least = min(min_score, _PERHAPS)
        self._least_logit = np.log(least / (1 - least))
        self._largest_view = _SMALLEST_PX / smallest_face

    def __call__(self, photo: np.ndarray) -> Boxes:
        """Returns the faces of a photo, (H, W, 3) uint8 RGB."""
        hits = self._hits(photo)
        looks = {0: hits}
        for turn in sorted({1, 3} & set(_turns(hits))):
            looks[turn] = self._hits(np.ascontiguousarray(np.rot90(photo, turn)))
        sure = {turn: hits[hits[:, 4] >= self._min_score] for turn, hits in looks.items()}
        return _boxes_of(sure, photo.shape[1::-1])

    def _hits(self, photo: np.ndarray) -> np.ndarray:
        """Returns where a face may be, often several times the same: (n, 7).

        Edges, from the photo's upper left corner, score, from one eye to the other, px.
        """
        size = np.array(photo.shape[1::-1])
        hits = [np.empty((0, 7))]
        longer_sides = list(self._views(size.max()))
        for longer_side in longer_sides:
            # Of two small faces side by side it makes a third between them; the next view does not.
            least = 0 if longer_side == longer_sides[-1] else _WAITING_PX
            scaled = np.rint(size * longer_side / size.max()).astype(int).clip(1)
            view = resize(photo, scaled)
            for corner in itertools.product(*map(_starts, scaled)):
                seen = self._look(view, np.array(corner))
                seen = seen[seen[:, 2] - seen[:, 0] >= least]
                seen[:, :4] *= np.tile(size / scaled, 2)
                hits.append(seen)
        return np.concatenate(hits)

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
        """Returns the hits in one square, edges from the view's upper left corner.

        Without those that the square's edge cuts where the view goes on.
        """
        square = cut_region(view, Region(*corner, *(corner + _SIDE))).astype(np.float32)
        self._network.setInput((square / 127.5 - 1).transpose(2, 0, 1)[None])
        logits, shapes = sorted(self._network.forward(self._outputs), key=np.size)
        logits, shapes = logits.ravel(), shapes.reshape(-1, 16)
        likely = logits > self._least_logit
        # Middle, width and height, right eye, left eye, and four more points.
        middle, half = _ANCHORS[likely] + shapes[likely, :2], shapes[likely, 2:4] / 2
        eyes = shapes[likely, 6:8] - shapes[likely, 4:6]
        boxes = np.hstack([middle - half, middle + half])
        goes_on = np.hstack([corner > 0, corner + _SIDE < view.shape[1::-1]])
        cut = np.hstack([boxes[:, :2] < 0, boxes[:, 2:] > _SIDE]) & goes_on
        scores = 1 / (1 + np.exp(-logits[likely]))
        return np.column_stack([boxes + np.tile(corner, 2), scores, eyes])[~cut.any(axis=1)]


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


def _merge(hits: np.ndarray) -> np.ndarray:
    """Makes one of those hits that are of one face: their mean, weighted by their scores.

    Shakes less than the best of them (Bazarevsky et al. 2019, 3.4).
    """
    faces = [np.empty((0, 7))]
    rest = hits[np.argsort(-hits[:, 4], kind="stable")]
    while len(rest):
        alike = _common_area(rest[0], rest) >= _SAME_FACE
        face = np.average(rest[alike], axis=0, weights=rest[alike, 4])
        face[4] = rest[0, 4]
        faces.append(face[None])
        rest = rest[~alike]
    return np.concatenate(faces)


def _turns(faces: np.ndarray) -> np.ndarray:
    """Returns by how many quarters to turn the photo so that each is upright, by its eyes: (n,)."""
    eyes = faces[:, 5:]
    return np.rint(np.arctan2(eyes[:, 1], eyes[:, 0]) / (np.pi / 2)).astype(int) % 4


def _boxes_of(looks: dict[int, np.ndarray], size: tuple[int, int]) -> Boxes:
    """Returns the faces of a photo of this width and height from the hits in each turned one.

    Of a face that is found in several, the one counts where it is upright by its eyes, and then the
    one where it is surest.
    """
    found = []
    for turn, hits in looks.items():
        faces = _merge(hits)
        # From edges of pixels to their middles.
        corners = rotate_back(faces[:, :4].reshape(-1, 2, 2) - 0.5, turn, size)
        edges = np.hstack([corners.min(axis=1), corners.max(axis=1)])
        ranks = faces[:, 4] + (_turns(faces) == 0)
        found.append(np.column_stack([edges, faces[:, 4], np.full(len(faces), turn), ranks]))
    faces = np.concatenate(found)
    faces = faces[[not _is_better_elsewhere(face, faces) for face in faces]]
    faces = faces[np.argsort(-_areas(faces), kind="stable")]
    return Boxes(np.float32(faces[:, :4]), np.float32(faces[:, 4]), faces[:, 5].astype(int))


def _is_better_elsewhere(face: np.ndarray, faces: np.ndarray) -> bool:
    """Whether a face, of faces (n, 7) with turns and ranks at the end, is better seen turned."""
    better = faces[(faces[:, 5] != face[5]) & (faces[:, 6] > face[6])]
    return bool((_common_area(face, better) >= _SAME_FACE).any())


def _common_area(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the area that the box shares with each of others, over the smaller one's."""
    corner, far_corner = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:4], boxes[:, 2:4])
    common = (far_corner - corner).clip(0).prod(axis=1)
    return common / np.minimum(_areas(box[None]), _areas(boxes)).clip(1e-9)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)
