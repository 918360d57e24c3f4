"""How unlike the others a label is, as numbers, and from where on that is a reason for suspicion.

Scores are robust: a few wrong labels change neither what is usual nor what is far from it.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from keras_landmarks.cleaning.placement import choose_points, face_sizes, to_frame
from keras_landmarks.layouts.shape_basis import ShapeBasis, find_shape_basis

_COMPONENTS = 10  # of shapes; more of them would take in wrong ones
_FITTED_TO = 20_000  # faces are enough to know the shapes
_LEFT_OUT = 0.03  # share of the faces, the strangest, when the shapes are found anew
_BATCH = 1024
_SIZES = 10  # groups of faces of like size
_BREAK = 4.0  # times the usual step between two points: another curve begins
_FALSE_SHARE = 0.1  # of what is suspected, at most


def standardise(values: np.ndarray) -> np.ndarray:
    """Returns how far above the median values are, in standard deviations as the MAD has them."""
    distances = values - np.median(values)
    deviation = 1.4826 * np.median(np.abs(distances)) or np.abs(distances).mean()
    return distances / (deviation or 1.0)


def threshold(scores: np.ndarray) -> float:
    """Returns the standardised score from which on a row is suspect; infinite if none is.

    Benjamini and Hochberg, 1995, so that of what is suspected at most a tenth is expected to be
    sound. Scores of sound labels are taken to have the logistic distribution's tails, which are
    heavier than the normal's.
    """
    highest = np.sort(scores)[::-1]
    scale = np.log(3) * 1.4826  # of the logistic distribution with this MAD, inverted
    sound = len(scores) / (1 + np.exp(np.minimum(scale * highest, 700)))  # expected above each
    enough = np.flatnonzero(sound <= _FALSE_SHARE * np.arange(1, len(scores) + 1))
    return float(highest[enough[-1]]) if len(enough) else np.inf


# ── shape ──


def shape_scores(landmarks_px: np.ndarray) -> np.ndarray:
    """Scores (n, k, 2) labels by their distance from the shapes that faces come in, (n,).

    Where a face lies, how large it is and how it is turned do not count. Some points stand for all.
    """
    landmarks_px = landmarks_px[:, choose_points(landmarks_px[:_FITTED_TO])]
    sample = landmarks_px[:: -(-len(landmarks_px) // _FITTED_TO)]
    reference = np.median(to_frame(sample), axis=0)
    for _ in range(2):
        reference = np.median(np.concatenate(list(_aligned(sample, reference))), axis=0)
    basis = find_shape_basis(_aligned(sample, reference), _COMPONENTS)
    distances = _distances(sample, reference, basis)
    usual = sample[distances <= np.quantile(distances, 1 - _LEFT_OUT)]
    basis = find_shape_basis(_aligned(usual, reference), _COMPONENTS)
    return standardise(np.log(_distances(landmarks_px, reference, basis) + 1e-9))


def _aligned(landmarks_px: np.ndarray, reference: np.ndarray) -> Iterator[np.ndarray]:
    """Yields batches of labels, turned to lie as the reference does: Procrustes analysis."""
    towards = reference @ (1, -1j)
    for start in range(0, len(landmarks_px), _BATCH):
        shapes = to_frame(landmarks_px[start : start + _BATCH]) @ (1, 1j)
        shapes = shapes / np.sqrt((np.abs(shapes) ** 2).mean(axis=1, keepdims=True) + 1e-12)
        shapes = shapes * np.exp(-1j * np.angle(shapes @ towards))[:, None]
        yield np.stack([shapes.real, shapes.imag], axis=-1)


def _distances(landmarks_px: np.ndarray, reference: np.ndarray, basis: ShapeBasis) -> np.ndarray:
    """Returns how far labels are from the mean shape, as the basis has it and beside it: (n,)."""
    within, beside = [], []
    lengths = (basis.components.astype(np.float64) ** 2).sum(axis=1) + 1e-12  # all may be alike
    for shapes in _aligned(landmarks_px, reference):
        differences = shapes.reshape(len(shapes), -1) - basis.mean
        coefficients = differences @ basis.components.T / lengths
        within.append((coefficients**2).mean(axis=1))
        beside.append(((differences - coefficients @ basis.components) ** 2).mean(axis=1))
    within, beside = np.concatenate(within), np.concatenate(beside)
    return np.sqrt(within + beside / (np.median(beside) + 1e-12))


# ── jagged curves ──


def jaggedness_scores(
    landmarks_px: np.ndarray, regions: dict[str, slice]
) -> tuple[np.ndarray, list[str]]:
    """Scores (n, k, 2) labels by their most jagged curve: (n,), and the curves' names.

    A curve is as jagged as its second differences are long, over the size of the face and by what
    is usual of this curve. Faces are compared with those of like size, because whole pixels make
    small faces' curves jagged.
    """
    curves = {name: region for name, region in regions.items() if region.stop - region.start > 2}
    if not curves:
        return np.zeros(len(landmarks_px)), [""] * len(landmarks_px)
    bends = [
        [_bends(landmarks_px[start : start + _BATCH, region]) for region in curves.values()]
        for start in range(0, len(landmarks_px), _BATCH)
    ]
    sizes = face_sizes(landmarks_px)
    jagged = np.concatenate(bends, axis=1) / sizes
    jagged /= np.median(jagged, axis=1, keepdims=True) + 1e-9
    worst, names = jagged.max(axis=0), list(curves)
    scores = np.zeros(len(sizes))
    groups = np.clip(len(sizes) // 50, 1, _SIZES)
    for rows in np.array_split(np.argsort(sizes, kind="stable"), groups):
        scores[rows] = standardise(np.log(worst[rows] + 1e-9))
    return scores, [names[place] for place in jagged.argmax(axis=0)]


def _bends(curves_px: np.ndarray) -> np.ndarray:
    """Returns the root mean square of the second differences of (n, k, 2) curves, (n,) px."""
    bends = np.diff(curves_px.astype(np.float64), n=2, axis=1)
    return np.sqrt((bends**2).sum(axis=2).mean(axis=1))


def find_curves(landmarks_px: np.ndarray) -> dict[str, slice]:
    """Returns the curves of (n, k, 2) labels by name: another begins where a step is long."""
    shape = np.median(to_frame(landmarks_px[:_FITTED_TO]), axis=0)
    steps = np.linalg.norm(np.diff(shape, axis=0), axis=1)
    breaks = np.flatnonzero(steps > _BREAK * np.median(steps)) + 1 if len(steps) else []
    ends = [0, *breaks, len(shape)]
    return {
        f"points {start} to {stop - 1}": slice(int(start), int(stop))
        for start, stop in itertools.pairwise(ends)
    }
