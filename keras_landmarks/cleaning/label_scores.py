"""Scores how much a label differs from the others, and sets the threshold for suspicion.

The scores are robust: a few wrong labels hardly change the scores of the others.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from keras_landmarks.cleaning.placement import choose_points, nonzero_face_sizes, to_frame
from keras_landmarks.layouts.shape_basis import ShapeBasis, find_shape_basis
from keras_landmarks.utils.chunks import evenly_spread, in_chunks

_COMPONENTS = 10  # principal components of shapes; more would model wrong shapes, too
_MAX_FITTED = 20_000  # faces are enough to learn the shapes from
_TRIMMED = 0.03  # share of the faces, the most unusual, that the second fit leaves out
_BATCH = 1024
_MAX_SIZE_GROUPS = 10
_CURVE_BREAK = 4.0  # times the median step between two points: a new curve begins
_MAX_FALSE_SHARE = 0.1  # of the suspects


def standardise(values: np.ndarray) -> np.ndarray:
    """Returns (value - median) / standard deviation, estimated from the MAD: (n,)."""
    distances = values - np.median(values)
    deviation = 1.4826 * np.median(np.abs(distances)) or np.abs(distances).mean()
    return distances / (deviation or 1.0)


def threshold(scores: np.ndarray) -> float:
    """Returns the standardised score from which a row is suspect; infinite if none is.

    It controls the false discovery rate (Benjamini and Hochberg, 1995): at most a tenth of the
    suspects is expected to be right. The scores of right labels are assumed to have the tails of
    the logistic distribution, which are heavier than those of the normal distribution.
    """
    highest = np.sort(scores)[::-1]
    scale = np.log(3) * 1.4826  # inverse scale of the logistic distribution with this MAD
    # The number of right labels that are expected to score at least as high.
    expected = len(scores) / (1 + np.exp(np.minimum(scale * highest, 700)))
    enough = np.flatnonzero(expected <= _MAX_FALSE_SHARE * np.arange(1, len(scores) + 1))
    return float(highest[enough[-1]]) if len(enough) else np.inf


# ── shape ──


def shape_scores(landmarks_px: np.ndarray) -> np.ndarray:
    """Scores (n, k, 2) labels by their distance from the distribution of face shapes: (n,).

    Position, size and rotation do not count. Only the points of `choose_points` are used. No point
    may be missing.
    """
    landmarks_px = landmarks_px[:, choose_points(landmarks_px[:_MAX_FITTED])]
    sample = landmarks_px[evenly_spread(len(landmarks_px), _MAX_FITTED)]
    reference = np.median(to_frame(sample), axis=0)
    for _ in range(2):
        reference = np.median(np.concatenate(list(_aligned(sample, reference))), axis=0)
    basis = find_shape_basis(_aligned(sample, reference), _COMPONENTS)
    distances = _distances(sample, reference, basis)
    trimmed = sample[distances <= np.quantile(distances, 1 - _TRIMMED)]
    basis = find_shape_basis(_aligned(trimmed, reference), _COMPONENTS)
    return standardise(np.log(_distances(landmarks_px, reference, basis) + 1e-9))


def _aligned(landmarks_px: np.ndarray, reference: np.ndarray) -> Iterator[np.ndarray]:
    """Yields batches of labels, aligned with the reference shape (Procrustes analysis)."""
    towards = reference @ (1, -1j)
    for batch in in_chunks(landmarks_px, _BATCH):
        shapes = to_frame(batch) @ (1, 1j)
        shapes = shapes / np.sqrt((np.abs(shapes) ** 2).mean(axis=1, keepdims=True) + 1e-12)
        shapes = shapes * np.exp(-1j * np.angle(shapes @ towards))[:, None]
        yield np.stack([shapes.real, shapes.imag], axis=-1)


def _distances(landmarks_px: np.ndarray, reference: np.ndarray, basis: ShapeBasis) -> np.ndarray:
    """Returns the distances from the mean shape, within the shape basis and outside it: (n,)."""
    within, outside = [], []
    lengths = (basis.components.astype(np.float64) ** 2).sum(axis=1)
    lengths += 1e-12  # they are 0 if all shapes are equal
    for shapes in _aligned(landmarks_px, reference):
        differences = shapes.reshape(len(shapes), -1) - basis.mean
        coefficients = differences @ basis.components.T / lengths
        within.append((coefficients**2).mean(axis=1))
        outside.append(((differences - coefficients @ basis.components) ** 2).mean(axis=1))
    within, outside = np.concatenate(within), np.concatenate(outside)
    return np.sqrt(within + outside / (np.median(outside) + 1e-12))


# ── jagged curves ──


def jaggedness_scores(
    landmarks_px: np.ndarray, regions: dict[str, slice]
) -> tuple[np.ndarray, list[str]]:
    """Scores (n, k, 2) labels by their most jagged curve: (n,), and the curves' names.

    The jaggedness of a curve is the root mean square of its second differences, divided by the face
    size and by the curve's median. Faces are compared with those of similar size, because rounding
    to whole pixels makes the curves of small faces jagged. Where points are missing, a curve is as
    jagged as the median.
    """
    curves = {name: region for name, region in regions.items() if region.stop - region.start > 2}
    if not curves:
        return np.zeros(len(landmarks_px)), [""] * len(landmarks_px)
    sizes = nonzero_face_sizes(landmarks_px)
    if np.isnan(landmarks_px).any():
        bends = [_bends_with_gaps(landmarks_px[:, region], sizes) for region in curves.values()]
    else:
        batches = in_chunks(landmarks_px, _BATCH)
        bends = np.concatenate(
            [[_bends(batch[:, region]) for region in curves.values()] for batch in batches], axis=1
        )
    jagged = bends / sizes
    jagged /= np.median(jagged, axis=1, keepdims=True) + 1e-9
    worst, names = jagged.max(axis=0), list(curves)
    scores = np.zeros(len(sizes))
    groups = np.clip(len(sizes) // 50, 1, _MAX_SIZE_GROUPS)
    for rows in np.array_split(np.argsort(sizes, kind="stable"), groups):
        scores[rows] = standardise(np.log(worst[rows] + 1e-9))
    return scores, [names[index] for index in jagged.argmax(axis=0)]


def _bends(curves_px: np.ndarray) -> np.ndarray:
    """Returns the root mean square of the second differences of (n, k, 2) curves, (n,) px."""
    return np.sqrt(_squared_bends(curves_px).mean(axis=1))


def _squared_bends(curves_px: np.ndarray) -> np.ndarray:
    """Returns the squares of the second differences of (n, k, 2) curves, (n, k - 2) px²."""
    return (np.diff(curves_px.astype(np.float64), n=2, axis=1) ** 2).sum(axis=2)


def _bends_with_gaps(curves_px: np.ndarray, sizes_px: np.ndarray) -> np.ndarray:
    """Returns `_bends`, where those at missing points are the median of all faces at that place.

    So a face is neither smoother nor more jagged for lacking a corner of a curve. `sizes_px` is
    (n,).
    """
    relative = _squared_bends(curves_px) / sizes_px[:, None] ** 2
    filled = np.where(np.isnan(relative), _median_of_known(relative), relative)
    return sizes_px * np.sqrt(filled.mean(axis=1))


def _median_of_known(values: np.ndarray) -> np.ndarray:
    """Returns the medians over (n, m) values that are not NaN: (m,), 0 where there are none."""
    return np.nanmedian(np.where(np.isnan(values).all(axis=0), 0, values), axis=0)


def find_curves(landmarks_px: np.ndarray) -> dict[str, slice]:
    """Returns the curves of (n, k, 2) labels by name; a new one begins after each long step."""
    shapes = to_frame(landmarks_px[:_MAX_FITTED])
    if np.isnan(shapes).any():  # they move the centre of a face, but not its steps
        steps = _median_of_known(np.linalg.norm(np.diff(shapes, axis=1), axis=2))
    else:
        steps = np.linalg.norm(np.diff(np.median(shapes, axis=0), axis=0), axis=1)
    breaks = np.flatnonzero(steps > _CURVE_BREAK * np.median(steps)) + 1 if len(steps) else []
    ends = [0, *breaks, shapes.shape[1]]
    return {
        f"points {start} to {stop - 1}": slice(int(start), int(stop))
        for start, stop in itertools.pairwise(ends)
    }
