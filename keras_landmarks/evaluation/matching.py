"""True landmarks, the points requested of each image, and predictions matched to them by name."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_landmarks.contest import image_names, labels, prediction_files, requested_points
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.layouts import gaps
from keras_landmarks.utils.errors import InputError


@dataclass(frozen=True)
class Truth:
    """True landmarks of the n images to score.

    Attributes:
        path: the table that they were read from.
        file_names: n names.
        landmarks_px: (n, k, 2), photo pixels; a missing point is NaN.
        num_rejected: rows of requested images that are invalid and were left out.
        listed_names: the names of all images in the table.
        requested: for each image the indices of the points to score; None to score all points.
    """

    path: Path
    file_names: list[str]
    landmarks_px: np.ndarray
    num_rejected: int
    listed_names: Collection[str]
    requested: list[np.ndarray] | None = None

    @property
    def num_landmarks(self) -> int:
        """The number of landmarks of a face."""
        return self.landmarks_px.shape[1]

    def count_missing_points(self) -> int:
        """Returns how many points the images lack, all of them together."""
        return int(gaps.count_missing(self.landmarks_px).sum())

    def validate_num_landmarks(self, source: Path, num_landmarks: int, is_submission: bool) -> None:
        """Raises InputError if `source` does not have the points that are to be scored.

        A submission must have exactly the requested points, other predictions all of them.
        """
        if not is_submission:
            if num_landmarks != self.num_landmarks:
                raise InputError(
                    f"{source}: {num_landmarks} points an image, the truth has {self.num_landmarks}"
                )
        elif self.requested is None:
            raise InputError(
                f"{source}: a submission needs --test_points,"
                " the table that says which points its columns are"
            )
        else:
            for name, indices in zip(self.file_names, self.requested, strict=True):
                if len(indices) != num_landmarks:
                    raise InputError(
                        f"{source}: {num_landmarks} points an image,"
                        f" {len(indices)} are requested of {name}"
                    )


def read_truth(
    path: Path, test_points: Path | None = None, names: Collection[str] | None = None
) -> Truth:
    """Reads true landmarks and the points requested of them, in the order of the truth's table.

    Invalid rows are left out and counted. Rows of images that are not in `names` are ignored.

    Args:
        path: the table of true landmarks.
        test_points: the table of requested points; None to score all points.
        names: the images to read; None for all.

    Raises:
        InputError: a table is malformed; most rows of the truth are invalid; or `test_points`
            lacks an image or requests a point that the truth does not have.
    """
    table, requested = labels.read(path, names), None
    file_names, landmarks_px = table.file_names, table.landmarks_photo_px
    if test_points:
        requested = _read_requested_points(test_points, file_names, landmarks_px.shape[1])
    num_rejected = len(table.invalid_samples)
    return Truth(path, file_names, landmarks_px, num_rejected, table.listed, requested)


def read_matched_predictions(
    path: Path, file_names: Sequence[str], num_landmarks: int
) -> np.ndarray:
    """Reads predictions (.npz) of these images, in their order: (n, k, 2) float32, photo pixels.

    Raises:
        InputError: an image is missing or predicted twice, a coordinate is not finite, or the
            number of landmarks differs.
    """
    table = prediction_files.read(path)
    landmarks_px = table.landmarks_photo_px
    if (count := landmarks_px.shape[1]) != num_landmarks:
        raise InputError(f"{path}: {count} points an image, the labels have {num_landmarks}")
    validate_finite(landmarks_px, table.file_names, path)
    return landmarks_px[find_rows(table.file_names, file_names, path)]


def find_rows(file_names: list[str], required: Sequence[str], source: Path) -> list[int]:
    """Returns the row of each required name in `file_names`, the names that `source` lists.

    Raises:
        InputError: `source` lists a name twice, or lacks a required one.
    """
    validate_unique(file_names, source)
    row_of = {name: row for row, name in enumerate(file_names)}
    validate_none_missing(row_of, required, source)
    return [row_of[name] for name in required]


def validate_none_missing(names: Collection[str], required: Sequence[str], source: Path) -> None:
    """Raises InputError if `names`, those that `source` lists, lack a required one.

    The message has the number of missing names and the first of them. Pass a set or a dict as
    `names`: every required name is looked up in it.
    """
    if missing := [name for name in required if name not in names]:
        nearest = image_names.nearest_name(names, missing[0])
        hint = f" (the nearest name there is {nearest})" if nearest else ""
        raise InputError(
            f"{source}: {len(missing)} of the {len(required)} images to score are missing,"
            f" the first is {missing[0]}{hint}; --only and --partial score some of them"
        )


def validate_unique(file_names: Sequence[str], source: Path) -> None:
    """Raises InputError if a name is listed twice."""
    if len(set(file_names)) < len(file_names):
        [(name, count)] = Counter(file_names).most_common(1)
        raise InputError(f"{source}: {name} is there {count} times; remove all rows of it but one")


def validate_finite(landmarks_px: np.ndarray, file_names: Sequence[str], source: Path) -> None:
    """Raises InputError, with the image's name, if a coordinate of (n, k, 2) is not finite."""
    finite = np.isfinite(landmarks_px).all(axis=(1, 2))
    if not finite.all():
        name = file_names[np.argmin(finite)]
        raise InputError(f"{source}: a predicted point of {name} is not a finite number")


def _read_requested_points(
    path: Path, file_names: list[str], num_landmarks: int
) -> list[np.ndarray]:
    """Returns the point indices requested of each image; rows of other images are ignored."""
    to_score, names, requested = set(file_names), [], []
    for row in requested_points.iterate_test_points(path):
        if row.file_name not in to_score:
            continue
        if isinstance(row, InvalidSample):
            raise InputError(row.describe(path))
        if row.point_indices.max() >= num_landmarks:
            raise InputError(
                f"{path}: point {row.point_indices.max()} is requested of {row.file_name},"
                f" the truth has 0 to {num_landmarks - 1}"
            )
        names.append(row.file_name)
        requested.append(row.point_indices)
    return [requested[row] for row in find_rows(names, file_names, path)]
