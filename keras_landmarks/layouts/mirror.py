"""The mirror map: which point each point becomes in a mirrored picture; read, found and checked.

Every point has a signature: its place on each of n faces, which are brought to the same size. Two
signatures are as far apart as the two points are on the faces, in the root mean square. Faces that
are seen from any side, with any expression, lie near a linear space of few dimensions, where
mirroring them, which gives each point its partner's signature, is linear. So a map gives this
transform by least squares, and the transform a better map: each point's partner is the one that
it is brought nearest to, an assignment problem. The transform need not keep lengths, so faces do
that are all turned to one side, whose mean has no symmetry.

Lengths are shares of the face's size, the square root of its box's area.
"""

import heapq
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks.layouts import layout
from keras_landmarks.utils.errors import InputError

MOST_FACES = 1000  # are looked at to find or check a map; more say no more
_FEWEST_FACES = 10  # say something of a map
_MOST_POINTS = 2000  # a map is found in seconds
_DIMENSIONS = 16  # of faces seen from any side: what is left is smaller than the labels' noise
_TILTS_DEG = np.arange(-4, 4.5, 0.5)  # of the mean face's axis; a degree moves the jaw by a point
_LEAST_VARIANCE = 1e-9  # few faces fill fewer dimensions
_PROMISING = 3  # of the first maps, after a turn
_MOST_TURNS = 10
# What the mean face's reflection leaves so far from its partner is not believed at first: so much
# and more for regions that are not swapped; for the right map 0.2 if all faces are half turned.
_FAR = 0.25
_TOLERANCE = 0.005
_WORST_MISFIT = 0.02  # points strewn at random come to 6 % and more
_FAR_WORSE = 3  # times the best map's misfit: of no right map, however the faces are turned
_MOST_RUNS = 8  # of points, in an error


def mirror_points(landmarks_px: np.ndarray, mirror_map: np.ndarray, width: int) -> np.ndarray:
    """Mirrors points (..., k, 2) of images `width` px wide: x becomes width - 1 - x."""
    mirrored_px = landmarks_px.take(mirror_map, axis=-2)  # much faster than an index
    mirrored_px[..., 0] = width - 1 - mirrored_px[..., 0]
    return mirrored_px


# ── which map ──


def choose_map(choice: str, faces: np.ndarray) -> np.ndarray | None:
    """Returns the map that `--mirror` asks for, by faces (n, k, 2); None for `none`.

    Raises:
        InputError: there is no such map, none was found, or the faces show it to be wrong.
    """
    if choice == "none":
        return None
    if choice == "found":
        return find_map(faces)
    mirror_map = named_map(choice, faces.shape[1])
    check_map(faces, mirror_map, f"--mirror={choice}")
    return mirror_map


def named_map(choice: str, points: int) -> np.ndarray:
    """Returns the contest's map or the one in a file, for so many points; as `read_map` raises."""
    if choice != "contest":
        return read_map(Path(choice), points)
    if points != layout.CONTEST_POINTS:
        raise InputError(f"--mirror=contest is for {layout.CONTEST_POINTS} points, not {points}")
    return layout.mirror_map()


def as_json(mirror_map: np.ndarray | None) -> str | list[int] | None:
    """Returns a map as JSON holds it: the contest's by its name, another as a list."""
    if mirror_map is None:
        return None
    contests = np.array_equal(mirror_map, layout.mirror_map())
    return "contest" if contests else mirror_map.tolist()


def from_json(value: object, points: int, where: str) -> np.ndarray:
    """Returns the map that `as_json` has made; InputError if it is none of so many points."""
    return named_map(value, points) if value == "contest" else as_map(value, points, where)


def read_map(path: Path, points: int) -> np.ndarray:
    """Reads a map from JSON: the list of every point's partner, or an object's `mirror`.

    Raises:
        InputError: the file is missing or too large, or holds no map of so many points.
    """
    value = layout.read_json(path)
    return as_map(value.get("mirror") if isinstance(value, dict) else value, points, str(path))


def known_map(
    points: int, layout_file: Path | None, trained: object = None, where: str = ""
) -> np.ndarray | None:
    """Returns the layout file's map, or the one that the model was trained with, or the contest's.

    None if the file has none, `trained` (from `where`, as `as_json` made it) is None and the points
    are not the contest's.

    Raises:
        InputError: as `read_map`.
    """
    value = layout.read_json(layout_file) if layout_file else None
    if isinstance(value, dict) and "mirror" in value:
        return as_map(value["mirror"], points, str(layout_file))
    if trained is not None:
        return from_json(trained, points, where)
    return layout.mirror_map() if points == layout.CONTEST_POINTS else None


def as_map(partners: object, points: int, where: str) -> np.ndarray:
    """Returns a list of every point's partner as an array (k,) int64.

    Raises:
        InputError: it is no map of so many points, or mirroring twice is not nothing.
    """
    if not isinstance(partners, list) or not all(type(p) is int for p in partners):
        raise InputError(f"{where}: 'mirror' must be a list of whole numbers")
    if len(partners) != points:
        raise InputError(f"{where}: the mirror map has {len(partners)} points, the faces {points}")
    for point, partner in enumerate(partners):
        if not 0 <= partner < points:
            raise InputError(f"{where}: there is no point {partner}, point {point}'s partner")
        if partners[partner] != point:
            raise InputError(
                f"{where}: point {point} becomes {partner}, but that becomes {partners[partner]}"
            )
    return np.array(partners, np.int64)


# ── finding ──


def find_map(faces: np.ndarray) -> np.ndarray:
    """Finds the mirror map of faces (n, k, 2), in any unit: (k,) int64.

    Points that lie on each other on all faces may come out as each other's partners.

    Raises:
        InputError: mirrored faces do not fit under any map, or there are too few.
    """
    if len(faces) < _FEWEST_FACES:
        raise InputError(f"--mirror=found: {len(faces)} training faces are too few")
    mean, signatures = _signatures(faces)
    fit = _find_fit(mean, signatures)
    if (misfit := np.sqrt(fit.misfit())) > _WORST_MISFIT:
        raise InputError(
            f"--mirror=found: under the best map, mirrored faces are off by {misfit:.1%} of their"
            " size; give one in a file, or do without: --mirror=none"
        )
    return _as_pairs(fit.mirror_map, fit.costs)


def check_map(faces: np.ndarray, mirror_map: np.ndarray, where: str) -> None:
    """Raises InputError if a map is wrong, by faces (n, k, 2), and names the points.

    A partner is wrong if another one fits the mirrored faces better by far: by 0.5 % of the face's
    size, twice as well as it, and twice as well as points fit on average, which on faces that are
    all seen from one side is not well. What lies so near to the right one does no harm. Too few
    faces say nothing; nor do faces that no map fits, as a few that are all turned far to one side:
    a warning tells, unless this one fits far worse than the best.
    """
    if len(faces) < _FEWEST_FACES:
        return
    mean, signatures = _signatures(faces)
    near = np.hypot(*(mean[mirror_map] - _reflected(mean)).T) < _FAR
    fits = [_find_fit(mean, signatures)]
    if near.mean() > 0.5:
        fits.append(_improve(signatures, _turn(signatures, mirror_map, near)))
    fit = min(fits, key=_Fit.misfit)
    every = np.arange(len(mirror_map))
    misfit, own = np.sqrt(fit.misfit()), np.sqrt(fit.costs[every, mirror_map].mean())
    if misfit > _WORST_MISFIT and own < _FAR_WORSE * misfit:
        logging.warning(
            "%s is not checked: under the best map, these faces mirrored are off by %.1f %% of"
            " their size",
            where,
            100 * misfit,
        )
        return
    allowed = 4 * (fit.costs[every, fit.mirror_map] + fit.misfit()) + _TOLERANCE**2
    wrong = fit.costs[every, mirror_map] > allowed
    if wrong.any():
        raise InputError(
            f"{where}: points {_ranges(np.flatnonzero(wrong))} have wrong partners, by"
            f" {len(faces):,} faces; try --mirror=found, or do without: --mirror=none"
        )


def _signatures(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean face (k, 2) and the points' signatures (k, d) in their principal axes."""
    points = faces.shape[1]
    if points > _MOST_POINTS:
        raise InputError(f"--mirror: {points} points are too many to look for partners")
    faces = faces.astype(float)
    sizes = np.sqrt(np.ptp(faces, axis=1).prod(axis=1))[:, None, None]
    sizes[sizes == 0] = np.inf  # points on a line are no face
    centred = (faces - faces.mean(axis=1, keepdims=True)) / sizes
    places = np.concatenate([centred[..., 0], centred[..., 1]])
    variances, axes = np.linalg.eigh(places.T @ places / len(faces))
    dimensions = min(_DIMENSIONS, max(2, points // 3))
    largest = np.sqrt(variances[-dimensions:].clip(0))
    return centred.mean(axis=0), axes[:, -dimensions:] * largest


def _reflected(shape: np.ndarray, tilt_deg: float = 0.0) -> np.ndarray:
    """Reflects points (k, 2) about the upright line through the origin, tilted by some degrees."""
    cos, sin = np.cos(np.radians(2 * tilt_deg)), np.sin(np.radians(2 * tilt_deg))
    return shape @ np.array([[-cos, sin], [sin, cos]])


class _Fit(NamedTuple):
    """A map (k,), and the costs (k, k) that it is best for.

    costs: the mean square distance of point i in the mirror from point j.
    """

    costs: np.ndarray
    mirror_map: np.ndarray

    def misfit(self) -> float:
        """The mean square distance of mirrored points from their partners."""
        return self.costs[np.arange(len(self.mirror_map)), self.mirror_map].mean()


def _find_fit(mean: np.ndarray, signatures: np.ndarray) -> _Fit:
    """Returns the best of the fits that begin with the mean face's reflection."""
    reflections = (_reflected(mean, tilt_deg) for tilt_deg in _TILTS_DEG)
    firsts = (_assign(_squared_distances(reflection, mean)) for reflection in reflections)
    fits = (_turn(signatures, first) for first in firsts)
    promising = heapq.nsmallest(_PROMISING, fits, key=_Fit.misfit)
    return min((_improve(signatures, fit) for fit in promising), key=_Fit.misfit)


def _improve(signatures: np.ndarray, fit: _Fit) -> _Fit:
    """Turns until the map stays as it is."""
    for _ in range(_MOST_TURNS):
        before, fit = fit, _turn(signatures, fit.mirror_map)
        if np.array_equal(fit.mirror_map, before.mirror_map):
            break
    return fit


def _turn(
    signatures: np.ndarray, mirror_map: np.ndarray, trusted: np.ndarray | slice = slice(None)
) -> _Fit:
    """Returns the fit that follows from the partners of the `trusted` points, (k,) bool."""
    own, partners = signatures[trusted], signatures[mirror_map[trusted]]
    # Least squares; `lstsq` says the same, fifty times slower where threads share the cores.
    squares = own.T @ own + _LEAST_VARIANCE * np.eye(own.shape[1])
    transform = np.linalg.solve(squares, own.T @ partners)
    distances = _squared_distances(signatures @ transform, signatures)
    # Of two points that lie on each other, each could as well be its own partner.
    costs = (distances + distances.T) / 2 + 1e-6 * np.eye(len(distances))
    return _Fit(costs, _assign(costs))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return squares.clip(0)


def _assign(costs: np.ndarray) -> np.ndarray:
    # Not at the top: SciPy takes as long to import as all the rest of a command's --help.
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(costs)[1]


def _as_pairs(partners: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Makes an assignment a map under which mirroring twice is nothing, at the least cost."""
    mirror_map = np.arange(len(partners))
    left = set(range(len(partners)))
    while left:
        circle = [min(left)]
        while (partner := int(partners[circle[-1]])) != circle[0]:
            circle.append(partner)
        left.difference_update(circle)
        turned = (circle[start:] + circle[:start] for start in range(len(circle)))
        ways = [list(zip(way[::2], way[1::2] + way[-1:], strict=False)) for way in turned]
        for a, b in min(ways, key=lambda pairs: sum(costs[pair] for pair in pairs)):
            mirror_map[a], mirror_map[b] = b, a
    return mirror_map


def _ranges(points: np.ndarray) -> str:
    """Writes rising numbers as 3, 7-9; some of them if they are many."""
    runs = np.split(points, np.flatnonzero(np.diff(points) > 1) + 1)
    told = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return ", ".join([*told[:_MOST_RUNS], *["..."][: len(told) > _MOST_RUNS]])
