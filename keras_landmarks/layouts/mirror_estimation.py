"""Estimates a mirror map from the landmarks of many faces, and checks a given map against them.

Every point has a signature: its positions on n faces, normalised for the position and size of each
face. The distance of two signatures is the root mean square distance of the two points. Faces from
all sides and with all expressions lie near a linear space of few dimensions. In this space
mirroring is a linear transform, which maps the signature of each point to that of its partner. The
estimate alternates two steps: a map gives the transform by least squares, and the transform gives a
better map, in which each point is assigned to the nearest transformed one (an assignment problem).
The transform need not preserve lengths, so faces that are all turned to one side, whose mean is not
symmetric, are sufficient.

Lengths are relative to the size of the face, the square root of the area of its box.

A reflection of the mean face alone is not sufficient. The mean of real faces is asymmetric (by 3 %
of the face's size), and its reflection shifts the outline of 273 points by one. A shifted outline
is like a rotated one, and the iteration does not correct it. So the iteration starts from
reflections of the mean about 17 tilted axes, half a degree apart, of which one is near enough. With
1,000 real faces, or 1,000 that are turned to one side, all 971 points are correct; with 24 faces,
all but 0 to 24 points, which are off by one neighbour. If nine of ten faces are turned far to one
side, the outline is still shifted by one. The estimate takes 1.2 to 2 s on one core.

The check of a given map, measured on 2,000 real faces: the correct map is accepted with 10, 24 and
1,000 random faces, with either half of them, and with the most turned quarter, which all look to
one side. With the most turned 30 faces it would be refused; there, and up to the most turned 100,
even the best map has an error of over 2 %, so that no map is refused and a warning is logged
instead. 21 wrong maps, most of which shift a curve by one point, are all refused with all faces,
with the half that is turned to one side, and with 24 faces. Points of an eyelid are 0.3 % apart: a
shift by one there is harmless.
"""

import heapq
import logging
from typing import NamedTuple

import numpy as np

from keras_landmarks.layouts import gaps
from keras_landmarks.utils.errors import InputError

_LOGGER = logging.getLogger(__name__)  # absl.logging would define absl's flags.

MAX_FACES = 1000  # more do not improve the estimate or the check
_MIN_FACES = 10
_MAX_POINTS = 2000  # more would take longer than seconds
_DIMENSIONS = 16  # of the space of faces; the remainder is smaller than the noise of the labels
_TILTS_DEG = np.arange(-4, 4.5, 0.5)  # of the mean face's axis; a degree moves the jaw by a point
_RIDGE = 1e-9  # few faces span fewer dimensions
_NUM_CANDIDATES = 3  # initial maps that are refined, after one step each
_MAX_STEPS = 10
# Pairs of a given map are not used if the reflected mean face is this far from the partner. Regions
# that should be swapped and are not have this distance or more; the correct map has 0.2 if all
# faces are turned halfway to the side.
_FAR = 0.25
_TOLERANCE = 0.005
_MAX_MISFIT = 0.02  # random points have 0.06 or more
_FAR_WORSE = 3  # times the best map's misfit; never observed for a correct map
_MAX_RANGES = 8  # ranges of points listed in an error


def estimate_map(faces: np.ndarray) -> np.ndarray:
    """Estimates the mirror map of faces.

    Points that coincide on all faces may come out as each other's partners.

    Args:
        faces: (n, k, 2) landmarks in any unit; those without a place (NaN) are filled in.

    Returns:
        (k,) int64.

    Raises:
        InputError: there are too few faces, a landmark has a place on none of them, or mirrored
            faces do not fit under any map.
    """
    if len(faces) < _MIN_FACES:
        raise InputError(f"--mirror=found: {len(faces)} training faces are too few")
    mean, signatures = _signatures(faces)
    fit = _best_fit(mean, signatures)
    if (misfit := np.sqrt(fit.misfit())) > _MAX_MISFIT:
        raise InputError(
            f"--mirror=found: under the best map, mirrored faces are off by {misfit:.1%} of their"
            " size; give one in a file, or do without: --mirror=none"
        )
    return _pair_up(fit.mirror_map, fit.costs)


def check_map(faces: np.ndarray, mirror_map: np.ndarray, where: str) -> None:
    """Raises InputError, naming the points, if faces show that a map is wrong.

    A partner is wrong if another point fits the mirrored faces much better: by 0.5 % of the face's
    size, twice as well as the partner, and twice as well as points fit on average (on faces that
    are all seen from one side this average is high). Partners that are nearer to the correct one
    are harmless.

    Nothing is checked with too few faces, nor with faces that no map fits, such as a few that are
    all turned far to one side. In the latter case a warning is logged, unless the given map fits
    far worse than the best.

    Args:
        faces: (n, k, 2) landmarks in any unit; those without a place (NaN) are filled in.
        mirror_map: (k,) the map to check.
        where: where the map comes from, to begin the message of an error with.

    Raises:
        InputError: the map is wrong, the points are too many to check, or a landmark has a place on
            none of the faces.
    """
    if len(faces) < _MIN_FACES:
        return
    mean, signatures = _signatures(faces)
    near = np.hypot(*(mean[mirror_map] - _reflect(mean)).T) < _FAR
    fits = [_best_fit(mean, signatures)]
    if near.mean() > 0.5:
        fits.append(_refine(signatures, _refine_once(signatures, mirror_map, near)))
    best = min(fits, key=_Fit.misfit)
    points = np.arange(len(mirror_map))
    misfit, own_misfit = np.sqrt(best.misfit()), np.sqrt(best.costs[points, mirror_map].mean())
    if misfit > _MAX_MISFIT and own_misfit < _FAR_WORSE * misfit:
        _LOGGER.warning(
            "%s is not checked: under the best map, these faces mirrored are off by %.1f %% of"
            " their size",
            where,
            100 * misfit,
        )
        return
    allowed = 4 * (best.costs[points, best.mirror_map] + best.misfit()) + _TOLERANCE**2
    wrong = best.costs[points, mirror_map] > allowed
    if wrong.any():
        raise InputError(
            f"{where}: points {_format_ranges(np.flatnonzero(wrong))} have wrong partners, by"
            f" {len(faces):,} faces; try --mirror=found, or do without: --mirror=none"
        )


class _Fit(NamedTuple):
    """A map and the costs that it minimises.

    Attributes:
        costs: (k, k) mean square distance of point i, mirrored, from point j.
        mirror_map: (k,).
    """

    costs: np.ndarray
    mirror_map: np.ndarray

    def misfit(self) -> float:
        """Returns the mean square distance of mirrored points from their partners."""
        return self.costs[np.arange(len(self.mirror_map)), self.mirror_map].mean()


def _signatures(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean face (k, 2) and the points' signatures (k, d) in their principal axes."""
    num_landmarks = faces.shape[1]
    if num_landmarks > _MAX_POINTS:
        raise InputError(f"--mirror: {num_landmarks} points are too many to look for partners")
    faces = gaps.fill_gaps(faces).astype(float)
    if (nowhere := np.flatnonzero(np.isnan(faces).any(axis=(0, 2)))).size:
        raise InputError(
            f"--mirror: points {_format_ranges(nowhere)} have no place on any of {len(faces):,}"
            " faces; do without: --mirror=none"
        )
    sizes = np.sqrt(np.ptp(faces, axis=1).prod(axis=1))[:, None, None]
    sizes[sizes == 0] = np.inf  # points on one line: not a face
    centred = (faces - faces.mean(axis=1, keepdims=True)) / sizes
    coordinates = np.concatenate([centred[..., 0], centred[..., 1]])
    variances, axes = np.linalg.eigh(coordinates.T @ coordinates / len(faces))
    dimensions = min(_DIMENSIONS, max(2, num_landmarks // 3))
    deviations = np.sqrt(variances[-dimensions:].clip(0))
    return centred.mean(axis=0), axes[:, -dimensions:] * deviations


def _reflect(shape: np.ndarray, tilt_deg: float = 0.0) -> np.ndarray:
    """Reflects points (k, 2) about a line through the origin, vertical but for the tilt."""
    cos, sin = np.cos(np.radians(2 * tilt_deg)), np.sin(np.radians(2 * tilt_deg))
    return shape @ np.array([[-cos, sin], [sin, cos]])


def _best_fit(mean: np.ndarray, signatures: np.ndarray) -> _Fit:
    """Returns the best of the fits that start from a reflection of the mean face."""
    reflections = (_reflect(mean, tilt_deg) for tilt_deg in _TILTS_DEG)
    initial_maps = (_assign(_squared_distances(reflection, mean)) for reflection in reflections)
    fits = (_refine_once(signatures, initial_map) for initial_map in initial_maps)
    candidates = heapq.nsmallest(_NUM_CANDIDATES, fits, key=_Fit.misfit)
    return min((_refine(signatures, fit) for fit in candidates), key=_Fit.misfit)


def _refine(signatures: np.ndarray, fit: _Fit) -> _Fit:
    """Refines a fit until its map no longer changes."""
    for _ in range(_MAX_STEPS):
        before, fit = fit, _refine_once(signatures, fit.mirror_map)
        if np.array_equal(fit.mirror_map, before.mirror_map):
            break
    return fit


def _refine_once(
    signatures: np.ndarray, mirror_map: np.ndarray, trusted: np.ndarray | slice = slice(None)
) -> _Fit:
    """Fits the mirroring transform to the pairs of a map, and assigns partners anew.

    Args:
        signatures: (k, d).
        mirror_map: (k,).
        trusted: (k,) bool, the points whose pairs are fitted.
    """
    own, partners = signatures[trusted], signatures[mirror_map[trusted]]
    # Normal equations; `lstsq` gives the same, fifty times slower when threads share the cores.
    squares = own.T @ own + _RIDGE * np.eye(own.shape[1])
    transform = np.linalg.solve(squares, own.T @ partners)
    distances = _squared_distances(signatures @ transform, signatures)
    # The diagonal breaks ties: each of two coinciding points could as well be its own partner.
    costs = (distances + distances.T) / 2 + 1e-6 * np.eye(len(distances))
    return _Fit(costs, _assign(costs))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return squares.clip(0)


def _assign(costs: np.ndarray) -> np.ndarray:
    # Not at the top: SciPy takes as long to import as all the rest of a command's --help.
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(costs)[1]


def _pair_up(partners: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Turns an assignment (k,) into a map that is its own inverse, at the least cost."""
    mirror_map = np.arange(len(partners))
    remaining = set(range(len(partners)))
    while remaining:
        cycle = [min(remaining)]
        while (partner := int(partners[cycle[-1]])) != cycle[0]:
            cycle.append(partner)
        remaining.difference_update(cycle)
        rotations = (cycle[start:] + cycle[:start] for start in range(len(cycle)))
        # Neighbours in the cycle form pairs; in an odd cycle the last point remains single.
        pairings = [list(zip(way[::2], way[1::2] + way[-1:], strict=False)) for way in rotations]
        for a, b in min(pairings, key=lambda pairs: sum(costs[pair] for pair in pairs)):
            mirror_map[a], mirror_map[b] = b, a
    return mirror_map


def _format_ranges(points: np.ndarray) -> str:
    """Formats ascending numbers as "3, 7-9", cut short with "..." if there are many."""
    runs = np.split(points, np.flatnonzero(np.diff(points) > 1) + 1)
    ranges = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return ", ".join([*ranges[:_MAX_RANGES], *["..."][: len(ranges) > _MAX_RANGES]])
