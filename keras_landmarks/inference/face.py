"""A face in a photo: its box, its landmarks, and how certain they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # Takes half a second to import; only `faces_to_dataframe` needs it.
    import pandas

_COLUMNS = ("face", "landmark", "x", "y")


@dataclass(frozen=True, eq=False)  # The truth value of an array comparison is ambiguous.
class Face:
    """A face in a photo.

    All coordinates are in pixels of the photo, rotated according to its EXIF orientation. (0, 0)
    is the centre of the upper left pixel. The box and the landmarks may lie outside the photo.

    Attributes:
        box_photo_px: (4,) float32, left, top, right and bottom of the detected box: a square from
            the eyebrows to the chin.
        score: the detector's confidence that the box is a face, 0 to 1.
        landmarks_photo_px: (k, 2) float32, x and y of each landmark.
        sigmas_photo_px: (k,) float32, the standard deviation of each landmark's x and of its y;
            None unless the model was trained to predict it.
        point_names: the k names of the landmarks; None if the model knows none.
    """

    box_photo_px: np.ndarray
    score: float
    landmarks_photo_px: np.ndarray
    sigmas_photo_px: np.ndarray | None = None
    point_names: Sequence[str] | None = None


def faces_to_dataframe(faces: Iterable[Face] | Mapping[int, Face]) -> "pandas.DataFrame":
    """Returns the landmarks of faces as a pandas DataFrame with one row per landmark.

    Args:
        faces: the faces of a photo, numbered in this order from 0, or those of a video frame by
            their track numbers.

    Returns:
        A DataFrame with the columns `face` (number of the face), `landmark` (index of the
        landmark), `name` (if the model knows the landmarks' names), `x` and `y` (photo pixels) and,
        if the model predicts it, `sigma` (standard deviation of x and of y, photo pixels).
    """
    import pandas

    numbered_faces = faces.items() if isinstance(faces, Mapping) else enumerate(faces)
    tables = [pandas.DataFrame(_landmark_columns(*numbered)) for numbered in numbered_faces]
    if not tables:
        return pandas.DataFrame(columns=_COLUMNS)
    return pandas.concat(tables, ignore_index=True)


def _landmark_columns(number: int, face: Face) -> dict[str, np.ndarray | list[str] | int]:
    x, y = face.landmarks_photo_px.T
    columns = {"face": number, "landmark": np.arange(len(x))}
    if face.point_names is not None:
        columns["name"] = list(face.point_names)
    columns |= {"x": x, "y": y}
    return columns if face.sigmas_photo_px is None else columns | {"sigma": face.sigmas_photo_px}
