"""Tracks faces from frame to frame of a video, so that each keeps its number.

Measured in a quick pan: matching overlapping boxes gave 46 faces another face's number, a model of
constant velocity 30, and the same with the camera's movement removed none.
"""

from dataclasses import dataclass

import numpy as np

# Distances from predicted positions are in units of a gate: beyond it, a face does not match.
_GATE = 1.0  # in sizes of the face
_GATE_GROWTH = 2.0  # times as wide by the time that a missing face is forgotten
_LARGEST_CAMERA_SHIFT = 2.0  # gates
_VELOCITY_GAIN = 0.4  # weight of the newest frame; low, because detected boxes jitter
_MOVING = (1, 1, 0)  # x and y of a state have a velocity, the side has none


@dataclass
class _Track:
    """A face with a number. States are x and y of the box's centre and its side, (3,) px."""

    last_frame: int  # in which the face was detected
    state: np.ndarray  # moves with the camera while the face is missing
    velocity: np.ndarray  # px per frame


class FaceTracker:
    """Assigns numbers to the faces of a video.

    A face keeps its number while it is near the position that its track predicts. A track moves
    at a constant velocity, also while its face is missing. A movement that all faces share and
    that no track predicts is the camera's, and shifts all tracks.
    """

    def __init__(self, max_missed_frames: int):
        """Forgets a face that was not detected in more than `max_missed_frames` frames in a row."""
        self._max_missed_frames = max_missed_frames
        self._tracks: dict[int, _Track] = {}
        self._frame = self.num_tracks = 0

    def update(self, boxes: list[np.ndarray]) -> list[int]:
        """Returns the numbers of the faces in the next frame.

        Args:
            boxes: (4,) left, top, right and bottom of each face, px.
        """
        self._frame += 1
        oldest = self._frame - self._max_missed_frames - 1
        self._tracks = {n: track for n, track in self._tracks.items() if track.last_frame >= oldest}
        states = np.array([_box_state(box) for box in boxes]).reshape(-1, 3)
        number_of = self._match(states)
        velocities = [self._tracks[number].velocity for number in number_of.values()]
        for face, state in enumerate(states):
            if face not in number_of:  # A new face begins with the velocity of the others.
                velocity = np.median(velocities, axis=0) if velocities else np.zeros(3)
                self._tracks[self.num_tracks] = _Track(self._frame, state, velocity)
                number_of[face] = self.num_tracks
                self.num_tracks += 1
        return [number_of[face] for face in range(len(states))]

    def _match(self, states: np.ndarray) -> dict[int, int]:
        """Updates the tracks by the faces that match; returns the numbers of these faces."""
        if not self._tracks:
            return {}
        tracks = list(self._tracks.values())
        missed = np.array([self._frame - track.last_frame for track in tracks])
        predicted = np.array([track.state + track.velocity for track in tracks])
        growth = 1 + _GATE_GROWTH * (missed - 1) / max(1, self._max_missed_frames)
        gates = _GATE * predicted[:, 2] * growth
        errors = states - predicted[:, None]
        shift = _camera_shift(errors, gates)
        errors -= shift
        for track, state in zip(tracks, predicted, strict=True):
            track.state = state + shift
            track.velocity = track.velocity + shift
        numbers, number_of = list(self._tracks), {}
        for row, face in _assign(errors, gates, missed == 1):
            track = tracks[row]
            error_per_frame = errors[row, face] / missed[row] * _MOVING
            track.velocity = track.velocity + _VELOCITY_GAIN * error_per_frame
            track.last_frame, track.state = self._frame, states[face]
            number_of[face] = numbers[row]
        return number_of


def _box_state(box: np.ndarray) -> np.ndarray:
    return np.float64([*(box[:2] + box[2:]) / 2, max(1, box[2] - box[0])])


def _camera_shift(errors: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """Returns the shift (3,), px, that best explains the errors of all tracks and faces.

    The candidates are the shifts that bring one face to the position predicted by one track. A
    shift costs as much as one face that is so far off, so that a single face in the picture is
    not followed farther than without camera motion.

    Args:
        errors: (tracks, faces, 3), detected minus predicted states.
        gates: (tracks,), px.
    """

    def cost(shift: np.ndarray) -> float:
        of_faces = _squared_distances(errors - shift, gates).min(axis=0, initial=1)
        return of_faces.sum() + shift @ shift / np.median(gates) ** 2

    in_range = _squared_distances(errors, gates) < _LARGEST_CAMERA_SHIFT**2
    return min([np.zeros(3), *(errors[in_range] * _MOVING)], key=cost)


def _assign(
    errors: np.ndarray, gates: np.ndarray, in_last_frame: np.ndarray
) -> list[tuple[int, int]]:
    """Returns pairs of a track and a face, as rows and columns of `errors`.

    The optimal assignment: as many pairs as possible, as near as possible. Tracks of the last
    frame come first, so that a face that was missing does not take the place of another.
    """
    # Not at the top: SciPy takes as long to import as everything else that --help needs.
    from scipy.optimize import linear_sum_assignment

    costs = _squared_distances(errors, gates) - 1
    in_gate = costs < 0
    pairs = linear_sum_assignment(np.where(in_gate, costs - in_last_frame[:, None], 0))
    return [pair for pair in zip(*pairs, strict=True) if in_gate[pair]]


def _squared_distances(errors: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """Returns the squared lengths of errors in units of each track's gate: (tracks, faces)."""
    return np.square(errors / gates[:, None, None]).sum(axis=-1)
