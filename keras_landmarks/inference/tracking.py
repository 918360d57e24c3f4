"""Faces followed from frame to frame of a video, and their points steadied."""

import math
from array import array
from dataclasses import dataclass

import numpy as np

# The paper has 1 Hz. A mouth opens within 0.2 s, and the filter must know it by then.
_SPEED_CUTOFF_HZ = 4.0
_REACH = 1.0  # how far from where it is expected a face may be, in its sizes
_REACH_GROWS = 2.0  # by so much, until it is forgotten
_FARTHEST = 2.0  # reaches that a camera's sudden movement is looked for
_NEW_VELOCITY = 0.4  # weight of the last frame's; what boxes shake is not to lead far astray
_MOVES = (1, 1, 0)  # of a place
# Of a coordinate, by the median length of second differences: a Rayleigh distribution's.
_DEVIATION_OF_DIFFERENCE = 1 / math.sqrt(6 * 2 * math.log(2))


@dataclass
class _Track:
    """A face on its way; its place is x, y and side of its box, px, foretold while unseen."""

    frame: int  # that it was seen in
    place: np.ndarray
    velocity: np.ndarray  # of the place, px per frame; the side keeps


class Tracks:
    """Numbers the faces of a video: a face keeps its number while it is where its way leads.

    Its way goes on at a constant velocity, also while it is out of sight. A movement of all faces
    together, which no way foretells, is the camera's and counts for all.
    """

    def __init__(self, remembered_frames: int):
        """Takes for how many frames a face may be out of sight and keep its number."""
        self._remembered_frames = remembered_frames
        self._tracks: dict[int, _Track] = {}
        self._frame = self.count = 0

    def follow(self, boxes: list[np.ndarray]) -> list[int]:
        """Returns the numbers of the next frame's faces by their boxes, (4,) px each."""
        self._frame += 1
        oldest = self._frame - self._remembered_frames - 1
        self._tracks = {n: track for n, track in self._tracks.items() if track.frame >= oldest}
        places = np.array([_place(box) for box in boxes]).reshape(-1, 3)
        numbers = self._find(places)
        drift = [self._tracks[number].velocity for number in numbers.values()]
        for face, place in enumerate(places):
            if face not in numbers:  # it goes where the others go
                velocity = np.median(drift, axis=0) if drift else np.zeros(3)
                self._tracks[self.count] = _Track(self._frame, place, velocity)
                numbers[face] = self.count
                self.count += 1
        return [numbers[face] for face in range(len(places))]

    def _find(self, places: np.ndarray) -> dict[int, int]:
        """Returns the numbers of the faces that are known, and takes them further."""
        if not self._tracks:
            return {}
        tracks = list(self._tracks.values())
        unseen = np.array([self._frame - track.frame for track in tracks])
        expected = np.array([track.place + track.velocity for track in tracks])
        growth = 1 + _REACH_GROWS * (unseen - 1) / max(1, self._remembered_frames)
        reach = _REACH * expected[:, 2] * growth
        off = places - expected[:, None]
        shift = _camera_shift(off, reach)
        off -= shift
        for track, place in zip(tracks, expected, strict=True):
            track.place = place + shift
            track.velocity = track.velocity + shift
        numbers, found = list(self._tracks), {}
        for row, face in _assign(off, reach, unseen == 1):
            track = tracks[row]
            own = off[row, face] / unseen[row] * _MOVES
            track.velocity = track.velocity + _NEW_VELOCITY * own
            track.frame, track.place = self._frame, places[face]
            found[face] = numbers[row]
        return found


def _place(box: np.ndarray) -> np.ndarray:
    return np.float64([*(box[:2] + box[2:]) / 2, max(1, box[2] - box[0])])


def _camera_shift(off: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Returns the shift (3,), px, that explains best how far all faces are off: (tracks, faces, 3).

    Tried is every one that brings a face to where a track expects it. A shift costs what it would
    cost one face to be so far off, so that a single face is not followed farther for it.
    """

    def cost(shift: np.ndarray) -> float:
        each = _squared_shares(off - shift, reach).min(axis=0, initial=1)
        return each.sum() + shift @ shift / np.median(reach) ** 2

    pairs = off[_squared_shares(off, reach) < _FARTHEST**2] * _MOVES
    return min([np.zeros(3), *pairs], key=cost)


def _assign(off: np.ndarray, reach: np.ndarray, just_seen: np.ndarray) -> list[tuple[int, int]]:
    """Returns tracks and faces that belong together, by their rows: as many and near as can be.

    Tracks that were just seen come first: a face out of sight must not take another's place.
    """
    # Not at the top: SciPy takes as long to import as all the rest of a command's --help.
    from scipy.optimize import linear_sum_assignment

    costs = _squared_shares(off, reach) - 1
    within = costs < 0
    rows, faces = linear_sum_assignment(np.where(within, costs - just_seen[:, None], 0))
    return [pair for pair in zip(rows, faces, strict=True) if within[pair]]


def _squared_shares(off: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Returns how far faces are off, squared, as shares of each track's reach: (tracks, faces)."""
    return np.square(off / reach[:, None, None]).sum(axis=-1)


class OneEuroFilter:
    """Steadies points: slow ones a lot, fast ones little, so that they do not lag behind.

    A low-pass filter whose cutoff frequency rises with a point's speed: Casiez, Roussel and Vogel,
    "1 € Filter", CHI 2012, algorithm 1. Speeds are in sizes of the face per second, so that one
    choice of numbers serves near and far faces.
    """

    def __init__(self, min_cutoff_hz: float, beta: float):
        """Takes the cutoff of points at rest, and how much it rises with their speed."""
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._points = self._velocity = None

    def __call__(self, points_px: np.ndarray, size_px: float, elapsed_s: float) -> np.ndarray:
        """Returns the next points (k, 2), steadied.

        Args:
            points_px: as they were found.
            size_px: of the face.
            elapsed_s: since the last ones.
        """
        if self._points is None:
            self._points, self._velocity = points_px, np.zeros_like(points_px)
            return points_px
        velocity = (points_px - self._points) / elapsed_s
        weight = _weight(_SPEED_CUTOFF_HZ, elapsed_s)
        self._velocity = weight * velocity + (1 - weight) * self._velocity
        speed = np.linalg.norm(self._velocity, axis=-1, keepdims=True) / size_px
        weight = _weight(self._min_cutoff_hz + self._beta * speed, elapsed_s)
        self._points = weight * points_px + (1 - weight) * self._points
        return self._points


class FaceFilter:
    """Steadies a face: its movement as a whole, and that of its points within it.

    As a whole it moves, turns within the picture, comes nearer or goes: what remains of its points'
    movement is slow, and steadied more than the one-euro filter would if each went its own way.
    Points are complex numbers here, x + iy, so that a factor scales and turns.
    """

    def __init__(self, min_cutoff_hz: float, beta: float):
        """Takes the numbers of a one-euro filter."""
        self._whole = OneEuroFilter(min_cutoff_hz, beta)
        self._within = OneEuroFilter(min_cutoff_hz, beta)
        self._shape = None  # of the first frame's points, in sizes of the face, about their middle

    def __call__(self, points_px: np.ndarray, size_px: float, elapsed_s: float) -> np.ndarray:
        """Returns the next points (k, 2), steadied; arguments as those of `OneEuroFilter`."""
        points = points_px[:, 0] + 1j * points_px[:, 1]
        middle = points.mean()
        if self._shape is None:
            self._shape = (points - middle) / size_px
        # By which factor the shape comes nearest to the points, least squares; 1 where all points
        # are one.
        square = np.vdot(self._shape, self._shape).real or 1.0
        factor = np.vdot(self._shape, points - middle) / square or 1.0
        within = _as_pairs((points - middle) / factor)
        within = self._within(within, 1.0, elapsed_s) @ (1, 1j)
        middle, factor = self._whole(_as_pairs([middle, factor]), size_px, elapsed_s) @ (1, 1j)
        return _as_pairs(middle + factor * within).astype(points_px.dtype)


def _as_pairs(numbers: np.ndarray | list[complex]) -> np.ndarray:
    """Returns real and imaginary parts of complex numbers (n,): (n, 2)."""
    return np.stack([np.real(numbers), np.imag(numbers)], axis=-1)


def _weight(cutoff_hz: np.ndarray | float, elapsed_s: float) -> np.ndarray | float:
    """Returns the weight of a new value in exponential smoothing of this cutoff."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * elapsed_s))


class Jitter:
    """How much the points of a video's faces shake: noise of which deviation would shake them so.

    From second differences over three frames in a row: points that move steadily have none, and
    noise of deviation s gives each coordinate √6 s, so that half of the points are more than
    √(2 ln 2) √6 s off. Medians, of a frame's points and of the frames, leave out what starts, stops
    or turns at times.
    """

    def __init__(self):
        """Begins without any frame."""
        self._last: dict[int, list[tuple[int, np.ndarray]]] = {}  # face -> frame, points
        self._shares: dict[int, array] = {}  # face -> of each frame

    def add(self, face: int, frame: int, points_px: np.ndarray, size_px: float) -> None:
        """Adds a face's points (k, 2) in a frame; its frames rise, some may be missing."""
        last = self._last[face] = [*self._last.get(face, [])[-2:], (frame, points_px)]
        frames, points = zip(*last, strict=True)
        if frames == (frame - 2, frame - 1, frame):
            difference = np.linalg.norm(points[0] - 2 * points[1] + points[2], axis=-1)
            share = np.median(difference) * _DEVIATION_OF_DIFFERENCE / size_px
            self._shares.setdefault(face, array("d")).append(share)

    @property
    def by_face(self) -> dict[int, float]:
        """The deviation of a coordinate over the face's size, of faces of three frames and more."""
        return {face: float(np.median(shares)) for face, shares in self._shares.items()}

    @property
    def share(self) -> float | None:
        """The same of all faces; None without three frames in a row."""
        shares = list(self._shares.values())
        return float(np.median(np.concatenate(shares))) if shares else None
