"""Finds misplaced labels, which have the right shape but do not fit their images.

Only the labelled images themselves are needed. Each label is moved by random amounts, and a linear
regression on the edges around the points learns how well it fits: 1 where it was, falling to 0 with
the distance moved. Then a label is compared with moved copies of itself. If one of these fits
better, the label is misplaced. The weights for an image are learned from other images
(cross-validation in five folds).

The face frame has its origin at the mean of the points and the face size as its unit.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

_SIDE = 96  # of the edge maps, px
_SPAN = 3.0  # of the edge maps, face sizes
_POINTS = 48
# Offsets to sample at, face sizes.
_AROUND = 0.06 * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])
_EDGE_PX, _FAINT = 1.5, 10.0  # blur of the edge maps; strength of edges that count as noise

_FOLDS = 5
_MOVES = 12  # of each training image; the first is no move
_EXAMPLES_AT_ONCE = 32
_MAX_MOVE = np.array([0.3, 0.3, 0.5, 0.35])  # x, y, radians, logarithm of the scale
_FIT_SIGMA = 0.05  # the fit is a Gaussian of the points' root mean square move, face sizes
_RIDGE = 30.0
_MIN_MOVE = 0.05  # root mean square, face sizes: less is within the noise of labels


class LabelInImage(NamedTuple):
    """Where a label lies in its image, and the chosen points in the face frame.

    Attributes:
        centre_px: (2,), mean of the points, photo pixels.
        size_px: face size, photo pixels.
        shape: (p, 2), the chosen points.
        predicted: (p, 2), the same points as a model predicted them; or None.
    """

    centre_px: np.ndarray
    size_px: float
    shape: np.ndarray
    predicted: np.ndarray | None


class Placement(NamedTuple):
    """How well a label fits its image, and where it fits best.

    Attributes:
        fit: about 1 for a correct label, 0 for one that is far off.
        gain: the fit of the best other place minus its own; above 0 if that place fits better.
        move: (4,), the move to that place: shift in x and y (face sizes), rotation (radians),
            logarithm of the scale; None if it is the predicted place.
    """

    fit: float
    gain: float
    move: np.ndarray | None


def nonzero_face_sizes(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns face sizes that are safe to divide by: (n,) photo pixels, at least 1.

    The size is sqrt(width x height) of the box around the points that are there, as in
    `metrics.face_sizes`, but at least a quarter of its longer side.
    """
    # Without missing points fmin and fmax are min and max.
    low, high = (ends.reduce(landmarks_px, axis=1) for ends in (np.fmin, np.fmax))
    sides = high - low.astype(np.float64)  # the difference of int16 would overflow
    return np.maximum(np.sqrt(sides.prod(axis=1)), np.maximum(sides.max(axis=1) / 4, 1))


def choose_points(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns up to 48 indices of points that lie far apart in the median of (n, k, 2) faces."""
    shapes = to_frame(landmarks_px)
    median = np.nanmedian if np.isnan(shapes).any() else np.median
    shape = median(shapes, axis=0)
    chosen, distances = [], np.full(len(shape), np.inf)
    while len(chosen) < min(_POINTS, len(shape)):
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(shape - shape[chosen[-1]], axis=1))
        distances[chosen] = -1
    return np.array(chosen)


def to_frame(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns (n, k, 2) points in the face frame, float32; missing points stay missing."""
    mean = np.nanmean if np.isnan(landmarks_px).any() else np.mean
    centres = mean(landmarks_px, axis=1, keepdims=True)
    shapes = (landmarks_px - centres) / nonzero_face_sizes(landmarks_px)[:, None, None]
    return shapes.astype(np.float32)


def normalise_label(
    landmarks_px: np.ndarray, chosen: np.ndarray, predicted_px: np.ndarray | None = None
) -> LabelInImage:
    """Returns the chosen points of a label (k, 2), and of a prediction, in the label's frame.

    No point may be missing.
    """
    centre, [size] = landmarks_px.mean(axis=0), nonzero_face_sizes(landmarks_px[None])
    shape, predicted = (
        None if points is None else ((points[chosen] - centre) / size).astype(np.float32)
        for points in (landmarks_px, predicted_px)
    )
    return LabelInImage(centre, size, shape, predicted)


def fold_of(row: int) -> int:
    """Returns the fold, 0 to 4, that a row belongs to."""
    return row % _FOLDS


def make_examples(
    image: np.ndarray, label: LabelInImage, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns training examples from moved copies of a label: edges (12, d) float32, fits (12,)."""
    rng = np.random.default_rng(seed)
    strengths = np.linspace(0, 1, _MOVES)[:, None]
    shapes = _moved(label.shape, strengths * _MAX_MOVE * rng.uniform(-1, 1, (_MOVES, 4)))
    moved_by = ((shapes - label.shape) ** 2).sum(axis=2).mean(axis=1)
    return _edges(_edge_maps(image, label), shapes), np.exp(-moved_by / (2 * _FIT_SIGMA**2))


def fit_weights(examples: Iterable[tuple[int, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Returns the weights for each fold, (5, d) float32, from ridge regression on the other folds.

    `examples` are the fold of an image and its `make_examples`. Memory does not grow with their
    number.
    """
    squares, products = [np.zeros(())] * _FOLDS, [np.zeros(())] * _FOLDS
    for fold, edges, fits in _batched(examples):
        squares[fold] = squares[fold] + edges.T @ edges
        products[fold] = products[fold] + edges.T @ fits
    all_squares, all_products = sum(squares), sum(products)
    ridge = _RIDGE * np.eye(len(all_products))
    weights = [
        np.linalg.solve(all_squares - squares[fold] + ridge, all_products - products[fold])
        for fold in range(_FOLDS)
    ]
    return np.array(weights, np.float32)


def _batched(
    examples: Iterable[tuple[int, np.ndarray, np.ndarray]],
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields the examples of several images of a fold at once, whose products cost a tenth."""
    waiting = [[] for _ in range(_FOLDS)]
    for fold, *arrays in examples:
        waiting[fold].append(arrays)
        if len(waiting[fold]) == _EXAMPLES_AT_ONCE:
            yield fold, *map(np.concatenate, zip(*waiting[fold], strict=True))
            waiting[fold] = []
    for fold, remaining in enumerate(waiting):
        if remaining:
            yield fold, *map(np.concatenate, zip(*remaining, strict=True))


def find_placement(image: np.ndarray, label: LabelInImage, weights: np.ndarray) -> Placement:
    """Returns how well a label fits and where it fits best, by the weights (d,) of its fold.

    Moves and predictions within the noise of labels do not count.
    """
    shapes = _moved(label.shape, _TRIED)
    if label.predicted is not None:
        shapes = np.concatenate([shapes, label.predicted[None]])
    # Not matmul, whose threads would compete with those of the other worker processes.
    fits = np.einsum("md,d->m", _edges(_edge_maps(image, label), shapes), weights)
    moved_by = np.sqrt(((shapes - label.shape) ** 2).sum(axis=2).mean(axis=1))
    best = np.argmax(np.where(moved_by < _MIN_MOVE, -np.inf, fits))
    move = _TRIED[best] if best < len(_TRIED) else None
    return Placement(float(fits[0]), float(fits[best] - fits[0]), move)


def _tried_moves() -> np.ndarray:
    """Returns (m, 4) moves: none, shifts, and rotations and scales at small shifts."""
    close, far = _grid(0.06, 6), _grid(0.09, 7)
    shifts = np.concatenate([close, far[np.abs(far).max(axis=1) > close.max()]])
    near = _grid(0.12, 1)
    turns_and_scales = [(0.25, 0), (-0.25, 0), (0, 0.2), (0, -0.2)]
    return np.array(
        [(0, 0, 0, 0)]
        + [(*shift, 0, 0) for shift in shifts]
        + [(*shift, *turn_and_scale) for shift in near for turn_and_scale in turns_and_scales]
    )


def _grid(step: float, steps: int) -> np.ndarray:
    """Returns a square grid of points around (0, 0): (n, 2)."""
    ends = step * np.arange(-steps, steps + 1)
    return np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2)


_TRIED = _tried_moves()


def _moved(shape: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Returns a (p, 2) shape moved by each of the (m, 4) moves: (m, p, 2)."""
    turns = np.exp(moves[:, 3] + 1j * moves[:, 2])
    places = np.outer(turns, shape @ (1, 1j)) + (moves[:, :2] @ (1, 1j))[:, None]
    return np.stack([places.real, places.imag], axis=-1)


def _edge_maps(image: np.ndarray, label: LabelInImage) -> np.ndarray:
    """Returns the strength of edges in four directions around the face: (96, 96, 4) float32."""
    scale = _SIDE / (_SPAN * label.size_px)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale < 1:  # against aliasing, which would show as edges
        grey = cv2.GaussianBlur(grey, (0, 0), 0.4 / scale)
    start = (_SIDE - 1) / 2 - scale * label.centre_px
    warp = np.array([[scale, 0, start[0]], [0, scale, start[1]]])
    grey = cv2.warpAffine(grey, warp, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR)
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    maps = np.maximum(np.stack([across, -across, down, -down], axis=-1), 0)
    maps = cv2.GaussianBlur(maps, (0, 0), _EDGE_PX)
    # Normalised by the surroundings, so that dim photos count like others.
    around = cv2.GaussianBlur((maps**2).sum(axis=-1), (0, 0), 3 * _EDGE_PX)
    return maps / np.sqrt(around + _FAINT**2)[..., None]


def _edges(maps: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Returns the maps sampled around the points of (m, p, 2) shapes, and a 1: (m, d) float32."""
    places = (shapes[:, :, None] + _AROUND) * (_SIDE / _SPAN) + (_SIDE - 1) / 2
    columns, rows = np.moveaxis(np.clip(np.rint(places), 0, _SIDE - 1).astype(int), -1, 0)
    samples = maps[rows, columns].reshape(len(shapes), -1)
    return np.concatenate([samples, np.ones((len(shapes), 1), np.float32)], axis=1)
