"""Fills in landmarks that have no place, from those of the same face that have one.

What needs whole faces, such as principal components or a mirror map, gets faces that are filled in.
Faces are modelled as a mean plus a few principal components plus noise. Two steps alternate: the
model is estimated from the faces as they are filled in, and each gap is filled in with its expected
value under the model, given the face's other landmarks. Sources: Tipping and Bishop, "Probabilistic
principal component analysis", 1999; Roweis, "EM algorithms for PCA and SPCA", 1998.
"""

from collections.abc import Iterable

import numpy as np

_STEPS = 15
_MAX_COMPONENTS = 30
_FACES_PER_COMPONENT = 3  # with fewer faces the components fit the noise
_MIN_NOISE = 1e-6  # of the largest variance; keeps the equations solvable


def count_missing(landmarks: np.ndarray) -> np.ndarray:
    """Returns how many of the landmarks (..., k, 2) of each face have no place, (...,) int."""
    if landmarks.dtype.kind != "f":  # whole numbers cannot be NaN
        return np.zeros(landmarks.shape[:-2], int)
    return np.isnan(landmarks[..., 0]).sum(axis=-1)


def are_placeholders(landmarks: np.ndarray) -> np.ndarray:
    """Returns which landmarks (..., k, 2) are at exactly (0, 0) or (-1, -1): (..., k) bool.

    Many programs write these for a landmark without a place.
    """
    x, y = landmarks[..., 0], landmarks[..., 1]
    return (x == y) & ((x == 0) | (x == -1))


def rows_to_add(faces: np.ndarray, candidates: Iterable[np.ndarray]) -> list[int]:
    """Returns which candidates place landmarks that none of the faces has, the first ones found.

    Args:
        faces: (n, k, 2) landmarks, NaN where a landmark has no place.
        candidates: (k, 2) each.
    """
    unknown = count_missing(faces[:, :, None]).all(axis=0)
    rows = []
    for row, face in enumerate(candidates if unknown.any() else ()):
        placed = unknown & (count_missing(face[:, None]) == 0)
        if placed.any():
            rows.append(row)
            unknown = unknown & ~placed
        if not unknown.any():
            break
    return rows


def fill_gaps(faces: np.ndarray) -> np.ndarray:
    """Returns faces without gaps; they are returned as they are if there is none.

    Args:
        faces: (n, k, 2) landmarks in any unit, NaN where a landmark has no place. Every face has a
            landmark with a place. A landmark that no face has stays NaN.
    """
    if not count_missing(faces).any():
        return faces
    known = ~np.isnan(faces[..., 0]).all(axis=0)
    filled = np.array(faces, np.float64)
    filled[:, known] = _fill(filled[:, known])
    return filled.astype(faces.dtype)


def _fill(faces: np.ndarray) -> np.ndarray:
    missing = np.isnan(faces).reshape(len(faces), -1)
    filled = np.where(np.isnan(faces), _shift_mean(faces), faces).reshape(len(faces), -1)
    components = min(_MAX_COMPONENTS, len(faces) // _FACES_PER_COMPONENT, filled.shape[1])
    for _ in range(_STEPS if components else 0):
        mean, directions, noise = _fit_components(filled, components)
        for row in np.flatnonzero(missing.any(axis=1)):
            gaps, seen = missing[row], directions[~missing[row]]
            equations = seen.T @ seen + noise * np.eye(components)
            coefficients = np.linalg.solve(equations, seen.T @ (filled[row] - mean)[~gaps])
            filled[row, gaps] = mean[gaps] + directions[gaps] @ coefficients
    return filled.reshape(faces.shape)


def _shift_mean(faces: np.ndarray) -> np.ndarray:
    """Returns the mean face shifted to where the landmarks of each face are, (n, k, 2)."""
    mean = np.nanmean(faces, axis=0)
    return mean + np.nanmean(faces - mean, axis=1, keepdims=True)


def _fit_components(shapes: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the mean (d,), the scaled principal directions (d, c) and the variance of the noise.

    They are the maximum-likelihood estimates of probabilistic PCA for shapes (n, d).
    """
    # Not at the top: SciPy takes as long to import as all the rest of a command's --help.
    from scipy.linalg import eigh

    mean = shapes.mean(axis=0)
    centred = (shapes - mean) / np.sqrt(len(shapes))
    is_wide = centred.shape[0] < centred.shape[1]
    # Both products have the same variances; the smaller one is much faster.
    products = centred @ centred.T if is_wide else centred.T @ centred
    last = len(products) - 1
    variances, vectors = eigh(products, subset_by_index=(last + 1 - components, last))
    if is_wide:
        vectors = centred.T @ vectors / np.sqrt(np.maximum(variances, np.finfo(float).tiny))
    rest = (np.trace(products) - variances.sum()) / max(1, centred.shape[1] - components)
    noise = max(rest, _MIN_NOISE * variances[-1])
    return mean, vectors * np.sqrt(np.maximum(variances - noise, 0)), noise
