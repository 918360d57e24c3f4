"""Reads SLEAP's analysis HDF5: the points of each track in each frame of a video.

Its `tracks` are (tracks, 2, nodes, frames), NaN where a node is missing; `node_names` names the
nodes (https://docs.sleap.ai, "Analysis files"). The video's frames are needed as photos whose names
end with the number of the frame, counted from 0.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_landmarks.annotations.face import AnnotatedFace, Annotations, face_from_cells
from keras_landmarks.annotations.photo_names import is_photo_name
from keras_landmarks.contest import locations
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError

_AXES = ("track", "xy", "node", "frame")
_EXAMPLE = (
    "extract the frames as photos whose names end with their number, from 0, such as"
    " frames/frame_00012.png for the thirteenth, and give --photos=frames"
)


def read_sleap(source: Path, photos: Path) -> Annotations:
    """Reads an analysis file of SLEAP.

    Args:
        source: the file.
        photos: the folder of the frames.

    Raises:
        InputError: it is not SLEAP's, or the frames are not there or not told apart.
    """
    tracks, names = _read_tracks(source)
    frames = _find_frames(source, photos, tracks.shape[3])
    return Annotations(_read_faces(tracks, names, frames), names, unit="pixel")


def _read_tracks(source: Path) -> tuple[np.ndarray, list[str]]:
    """Returns the tracks (tracks, 2, nodes, frames) and the names of the nodes."""
    import h5py  # here, because --help need not wait for it

    try:
        with h5py.File(source) as file:
            if "tracks" not in file or "node_names" not in file:
                raise InputError(
                    f"{source}: not SLEAP's analysis HDF5: it has no tracks and node_names; of"
                    " DeepLabCut, give CollectedData_<scorer>.csv"
                )
            tracks, names = file["tracks"], file["node_names"].asstr()[:].tolist()
            axes = tracks.attrs.get("dims", _AXES)
            axes = re.findall(r"\w+", axes) if isinstance(axes, str) else list(map(str, axes))
            if tracks.ndim != 4 or tracks.shape[1:3] != (2, len(names)) or tuple(axes) != _AXES:
                raise InputError(
                    f"{source}: tracks are {tracks.shape}, not (tracks, 2, {len(names)} nodes,"
                    " frames), as SLEAP writes them by default"
                )
            return tracks[:].astype(np.float64), names
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise InputError(f"{source}: not SLEAP's analysis HDF5: {error}") from None


def _find_frames(source: Path, photos: Path, num_frames: int) -> dict[int, str]:
    """Returns the photos by the number of their frame."""
    frames: dict[int, str] = {}
    for name in filter(is_photo_name, locations.list_files(photos)):
        if number := re.search(r"([0-9]+)\.\w+$", name):
            other = frames.setdefault(int(number[1]), name)
            if other != name:
                raise InputError(
                    f"{source}: {other} and {name} in {photos} are both frame {int(number[1])};"
                    f" {_EXAMPLE}"
                )
    if not frames:
        raise InputError(f"{source}: its points are in frames of a video; {_EXAMPLE}")
    if max(frames) >= num_frames:
        raise InputError(
            f"{source}: {frames[max(frames)]} in {photos} is not one of its {num_frames} frames,"
            f" which are counted from 0; {_EXAMPLE}"
        )
    return frames


def _read_faces(
    tracks: np.ndarray, names: Sequence[str], frames: dict[int, str]
) -> Iterator[AnnotatedFace | InvalidSample]:
    """Yields each track that has points in a frame; its row is the frame's number, from 1."""
    has_points = ~np.isnan(tracks).all(axis=(1, 2))
    for frame in np.flatnonzero(has_points.any(axis=0)).tolist():
        for track in np.flatnonzero(has_points[:, frame]).tolist():
            if frame not in frames:
                yield InvalidSample("", frame + 1, f"no photo of the frame: {frame}")
                continue
            cells = tracks[track, :, :, frame].T.ravel().tolist()
            face = face_from_cells(frames[frame], cells, frame + 1, names)
            if isinstance(face, AnnotatedFace):
                face = face._replace(id=str(track))
            yield face
