"""Whether points lie where they fit the picture: a shifted label keeps its shape.

Nothing but the labelled images themselves is needed. Each label is moved a little, at random, many
times, and a linear regression learns from the edges around the points how far it was moved: its fit
is 1 where it was and falls to 0. Then a label is compared with moved ones of itself. Where one of
these fits better than it, the label is misplaced. An image is judged by what was learned from
others.

A face's frame has its origin at the mean of the points and the face's size as its unit.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

_SIDE = 96  # of the maps, px
_SPAN = 3.0  # of the maps, face sizes
_POINTS = 48
_AROUND = 0.06 * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])  # where to look, face sizes
_EDGE_PX, _FAINT = 1.5, 10.0  # blur of the maps, and edges that count as none

_FOLDS = 5
_MOVES = 12  # of each image to learn from, one of them none
_AT_ONCE = 32
_FARTHEST = np.array([0.3, 0.3, 0.5, 0.35])  # shift, shift, radians, logarithm of the scale
_FALL = 0.05  # the fit falls as a Gaussian of the points' root mean square move, face sizes
_RIDGE = 30.0
_LEAST_MOVE = 0.05  # root mean square, face sizes


class Face(NamedTuple):
    """A label in its frame.

    Attributes:
        centre_px: (2,) mean of the points, photo pixels.
        size_px: face size, photo pixels.
        shape: (p, 2) the points to look at, in the face's frame.
        predicted: the same points as a model has them, if one was asked.
    """

    centre_px: np.ndarray
    size_px: float
    shape: np.ndarray
    predicted: np.ndarray | None


class Place(NamedTuple):
    """How well a label fits the picture, and where it would fit best.

    Attributes:
        fit: about 1 for one that is right, 0 for one that is far off.
        gain: the fit of the best other place minus its own: above 0 if that fits better.
        move: (4,) shift in x and y (face sizes), turn (radians), logarithm of the scale that lead
            to that place; None if it is the predicted one.
    """

    fit: float
    gain: float
    move: np.ndarray | None


def face_sizes(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns sqrt(width x height) of the box around each face's points: (n,), at least 1 px.

    Points that lie on one line have a quarter of its length.
    """
    # Before the subtraction: int16 would overflow.
    low, high = landmarks_px.min(axis=1).astype(np.float64), landmarks_px.max(axis=1)
    sides = high - low
    return np.maximum(np.sqrt(sides.prod(axis=1)), np.maximum(sides.max(axis=1) / 4, 1))


def choose_points(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns up to 48 indices of points that lie far from each other on most (n, k, 2) faces."""
    shape = np.median(to_frame(landmarks_px), axis=0)
    chosen, distances = [], np.full(len(shape), np.inf)
    while len(chosen) < min(_POINTS, len(shape)):
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(shape - shape[chosen[-1]], axis=1))
        distances[chosen] = -1
    return np.array(chosen)


def to_frame(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns (n, k, 2) points in their faces' frames, float32."""
    centres = landmarks_px.mean(axis=1, keepdims=True)
    shapes = (landmarks_px - centres) / face_sizes(landmarks_px)[:, None, None]
    return shapes.astype(np.float32)


def face(
    landmarks_px: np.ndarray, chosen: np.ndarray, predicted_px: np.ndarray | None = None
) -> Face:
    """Returns a label's (k, 2) points as a face, and with it the predicted ones."""
    centre, [size] = landmarks_px.mean(axis=0), face_sizes(landmarks_px[None])
    shape, predicted = (
        None if points is None else ((points[chosen] - centre) / size).astype(np.float32)
        for points in (landmarks_px, predicted_px)
    )
    return Face(centre, size, shape, predicted)


def fold(row: int) -> int:
    """Returns which of the five parts a row belongs to."""
    return row % _FOLDS


def lesson(image: np.ndarray, label: Face, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what to learn from an image: edges (12, d) float32 and fits (12,)."""
    rng = np.random.default_rng(row)
    strengths = np.linspace(0, 1, _MOVES)[:, None]
    shapes = _moved(label.shape, strengths * _FARTHEST * rng.uniform(-1, 1, (_MOVES, 4)))
    moved_by = ((shapes - label.shape) ** 2).sum(axis=2).mean(axis=1)
    return _edges(_edge_maps(image, label), shapes), np.exp(-moved_by / (2 * _FALL**2))


def learn(lessons: Iterable[tuple[int, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Returns the weights by fold, (5, d) float32, each learned from the other folds' lessons.

    A lesson comes with its fold. Memory does not grow with their number.
    """
    squares, products = [np.zeros(())] * _FOLDS, [np.zeros(())] * _FOLDS
    for number, edges, fits in _gathered(lessons):
        squares[number] = squares[number] + edges.T @ edges
        products[number] = products[number] + edges.T @ fits
    all_squares, all_products = sum(squares), sum(products)
    ridge = _RIDGE * np.eye(len(all_products))
    weights = [
        np.linalg.solve(all_squares - squares[number] + ridge, all_products - products[number])
        for number in range(_FOLDS)
    ]
    return np.array(weights, np.float32)


def _gathered(
    lessons: Iterable[tuple[int, np.ndarray, np.ndarray]],
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields lessons of one fold joined to larger ones, whose products cost a tenth."""
    waiting = [[] for _ in range(_FOLDS)]
    for number, *parts in lessons:
        waiting[number].append(parts)
        if len(waiting[number]) == _AT_ONCE:
            yield number, *map(np.concatenate, zip(*waiting[number], strict=True))
            waiting[number] = []
    for number, left in enumerate(waiting):
        if left:
            yield number, *map(np.concatenate, zip(*left, strict=True))


def best_place(image: np.ndarray, label: Face, weights: np.ndarray) -> Place:
    """Returns how a label fits and where it would fit best, by the weights (d,) of its fold.

    Moves that are less than the labels' own noise do not count, nor do predictions so near.
    """
    shapes = _moved(label.shape, _TRIED)
    if label.predicted is not None:
        shapes = np.concatenate([shapes, label.predicted[None]])
    # Not by matmul, whose threads would fight those of the other worker processes.
    fits = np.einsum("md,d->m", _edges(_edge_maps(image, label), shapes), weights)
    moved_by = np.sqrt(((shapes - label.shape) ** 2).sum(axis=2).mean(axis=1))
    best = np.argmax(np.where(moved_by < _LEAST_MOVE, -np.inf, fits))
    move = _TRIED[best] if best < len(_TRIED) else None
    return Place(float(fits[0]), float(fits[best] - fits[0]), move)


def _tried_moves() -> np.ndarray:
    """Returns (m, 4) moves, the first of them none: shifts, and turns and scales about them."""
    close, far = _grid(0.06, 6), _grid(0.09, 7)
    shifts = np.concatenate([close, far[np.abs(far).max(axis=1) > close.max()]])
    near = _grid(0.12, 1)
    others = [(0.25, 0), (-0.25, 0), (0, 0.2), (0, -0.2)]
    return np.array(
        [(0, 0, 0, 0)]
        + [(*shift, 0, 0) for shift in shifts]
        + [(*shift, *other) for shift in near for other in others]
    )


def _grid(step: float, steps: int) -> np.ndarray:
    """Returns the points of a grid about (0, 0): (n, 2)."""
    ends = step * np.arange(-steps, steps + 1)
    return np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2)


_TRIED = _tried_moves()


def _moved(shape: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Returns a (p, 2) shape as each of the (m, 4) moves has it: (m, p, 2)."""
    turns = np.exp(moves[:, 3] + 1j * moves[:, 2])
    places = np.outer(turns, shape @ (1, 1j)) + (moves[:, :2] @ (1, 1j))[:, None]
    return np.stack([places.real, places.imag], axis=-1)


def _edge_maps(image: np.ndarray, label: Face) -> np.ndarray:
    """Returns how strong edges of four directions are around the face: (96, 96, 4) float32."""
    scale = _SIDE / (_SPAN * label.size_px)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale < 1:  # or what is left out between pixels would show as edges
        grey = cv2.GaussianBlur(grey, (0, 0), 0.4 / scale)
    start = (_SIDE - 1) / 2 - scale * label.centre_px
    warp = np.array([[scale, 0, start[0]], [0, scale, start[1]]])
    grey = cv2.warpAffine(grey, warp, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR)
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    maps = np.maximum(np.stack([across, -across, down, -down], axis=-1), 0)
    maps = cv2.GaussianBlur(maps, (0, 0), _EDGE_PX)
    # By what is around, so that dim photos count as others do.
    around = cv2.GaussianBlur((maps**2).sum(axis=-1), (0, 0), 3 * _EDGE_PX)
    return maps / np.sqrt(around + _FAINT**2)[..., None]


def _edges(maps: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Returns the maps at and around the points of (m, p, 2) shapes, and a 1: (m, d) float32."""
    places = (shapes[:, :, None] + _AROUND) * (_SIDE / _SPAN) + (_SIDE - 1) / 2
    columns, rows = np.moveaxis(np.clip(np.rint(places), 0, _SIDE - 1).astype(int), -1, 0)
    found = maps[rows, columns].reshape(len(shapes), -1)
    return np.concatenate([found, np.ones((len(shapes), 1), np.float32)], axis=1)
