"""Mirror maps: for each point, the index of the point that it becomes in a mirrored image.

`mirror_estimation` finds such a map from faces and checks a given one against them.
"""

from pathlib import Path

import numpy as np

from keras_landmarks.layouts import layout
from keras_landmarks.layouts.mirror_estimation import check_map, estimate_map
from keras_landmarks.utils.errors import InputError


def mirror_points(landmarks_px: np.ndarray, mirror_map: np.ndarray, width: int) -> np.ndarray:
    """Mirrors points (..., k, 2) of images `width` px wide: x becomes width - 1 - x."""
    mirrored_px = landmarks_px.take(mirror_map, axis=-2)  # much faster than indexing
    mirrored_px[..., 0] = width - 1 - mirrored_px[..., 0]
    return mirrored_px


def choose_map(choice: str, faces: np.ndarray) -> np.ndarray | None:
    """Returns the map that `--mirror` asks for.

    Args:
        choice: "none", "found" (estimate it from the faces), "contest", or the path of a file.
        faces: (n, k, 2) points in any unit, to estimate or check the map.

    Returns:
        (k,) int64, or None for "none".

    Raises:
        InputError: the map cannot be read or estimated, or the faces show it to be wrong.
    """
    if choice == "none":
        return None
    if choice == "found":
        return estimate_map(faces)
    mirror_map = named_map(choice, faces.shape[1])
    check_map(faces, mirror_map, f"--mirror={choice}")
    return mirror_map


def named_map(choice: str, num_landmarks: int) -> np.ndarray:
    """Returns the contest's map for "contest", or the map in the file of that path.

    Raises:
        InputError: as `read_map`, or the contest's layout has another number of points.
    """
    if choice != "contest":
        return read_map(Path(choice), num_landmarks)
    if num_landmarks != layout.CONTEST_POINTS:
        raise InputError(
            f"--mirror=contest is for {layout.CONTEST_POINTS} points, not {num_landmarks}"
        )
    return layout.mirror_map()


def resolve_map(
    num_landmarks: int, layout_file: Path | None, trained: object = None, where: str = ""
) -> np.ndarray | None:
    """Returns the first map that there is: the layout file's, the trained model's, the contest's.

    Args:
        num_landmarks: points of the faces; the contest's map applies to 971 points only.
        layout_file: may have a `mirror`.
        trained: the map that the model was trained with, in the form of `as_json`.
        where: `trained` comes from, for errors.

    Raises:
        InputError: as `read_map`.
    """
    known = layout.read(layout_file) if layout_file else {}
    if "mirror" in known:
        return parse_map(known["mirror"], num_landmarks, str(layout_file))
    if trained is not None:
        return from_json(trained, num_landmarks, where)
    return layout.mirror_map() if num_landmarks == layout.CONTEST_POINTS else None


def read_map(path: Path, num_landmarks: int) -> np.ndarray:
    """Reads a map from JSON: a list of every point's partner, or an object with it as `mirror`.

    Raises:
        InputError: the file is missing or too large, or does not hold a valid map.
    """
    return parse_map(layout.read(path).get("mirror"), num_landmarks, str(path))


def parse_map(partners: object, num_landmarks: int, where: str) -> np.ndarray:
    """Validates a decoded JSON list of every point's partner; returns it as (k,) int64.

    Raises:
        InputError: it is not a map of so many points, or not its own inverse.
    """
    if not isinstance(partners, list) or not all(type(p) is int for p in partners):
        raise InputError(f"{where}: 'mirror' must be a list of whole numbers")
    if len(partners) != num_landmarks:
        raise InputError(
            f"{where}: the mirror map has {len(partners)} points, the faces {num_landmarks}"
        )
    for point, partner in enumerate(partners):
        if not 0 <= partner < num_landmarks:
            raise InputError(f"{where}: there is no point {partner}, point {point}'s partner")
        if partners[partner] != point:
            raise InputError(
                f"{where}: point {point} becomes {partner}, but that becomes {partners[partner]}"
            )
    return np.array(partners, np.int64)


def as_json(mirror_map: np.ndarray | None) -> str | list[int] | None:
    """Returns a map as model.json holds it: "contest" for the contest's, otherwise a list."""
    if mirror_map is None:
        return None
    is_contest = np.array_equal(mirror_map, layout.mirror_map())
    return "contest" if is_contest else mirror_map.tolist()


def from_json(value: object, num_landmarks: int, where: str) -> np.ndarray:
    """Returns the map that `as_json` was given; InputError if it is invalid."""
    if value == "contest":
        return named_map(value, num_landmarks)
    return parse_map(value, num_landmarks, where)
