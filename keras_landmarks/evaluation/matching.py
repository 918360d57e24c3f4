"""True points and the files that go with them, matched by file name."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_landmarks.contest import image_names, labels, requested_points
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.utils.errors import InputError


@dataclass(frozen=True)
class Truth:
    """True points (n, K, 2) of the file `path`, in photo pixels; point indices asked of each row.

    `asked` is None where all points count. `rejected` rows of the images that were asked for cannot
    be used and are left out. `listed` has the names of all images of the file.
    """

    path: Path
    file_names: list[str]
    points: np.ndarray
    rejected: int
    listed: Collection[str]
    asked: list[np.ndarray] | None = None

    def check_points(self, source: Path, points: int, submission: bool) -> None:
        """Raises InputError if a file with so many points an image cannot be scored.

        A submission has the points that are asked, other predictions have all.
        """
        if not submission:
            if points != self.points.shape[1]:
                expected = self.points.shape[1]
                raise InputError(f"{source}: {points} points an image, the truth has {expected}")
        elif self.asked is None:
            raise InputError(
                f"{source}: a submission needs --test_points: they say which points its columns are"
            )
        else:
            for name, indices in zip(self.file_names, self.asked, strict=True):
                if len(indices) != points:
                    raise InputError(
                        f"{source}: {points} points an image, {len(indices)} asked of {name}"
                    )


def read_truth(
    path: Path, test_points: Path | None = None, names: Collection[str] | None = None
) -> Truth:
    """Reads the true points and those asked of the images `names`, of all if that is None.

    The images come in the table's order. Rows that cannot be used are left out and counted, and
    rows of other images do not matter.

    Raises:
        InputError: a table is not what it should be, or most of the rows are broken; `test_points`
            lacks an image or asks for a point that the truth does not have.
    """
    true = labels.read(path, names)
    file_names, points = true.file_names, true.points
    asked = _read_asked(test_points, file_names, points.shape[1]) if test_points else None
    return Truth(path, file_names, points, len(true.rejects), true.listed, asked)


def find_rows(file_names: list[str], wanted: list[str], source: Path) -> list[int]:
    """Returns the row of each wanted name among `file_names`, which are those of `source`.

    Raises:
        InputError: `source` has a name twice, or lacks one (how many, and the first, are named).
    """
    check_unique(file_names, source)
    rows = {name: row for row, name in enumerate(file_names)}
    check_none_missing(rows, wanted, source)
    return [rows[name] for name in wanted]


def check_none_missing(names: Collection[str], wanted: list[str], source: Path) -> None:
    """Raises InputError (how many, and the first) if `names`, those of `source`, lack a wanted one.

    `names` should be quick to look a name up in.
    """
    if missing := [name for name in wanted if name not in names]:
        nearest = image_names.nearest_of(names, missing[0])
        hint = f" (the nearest name there is {nearest})" if nearest else ""
        raise InputError(
            f"{source}: {len(missing)} of the {len(wanted)} images to score are missing,"
            f" the first is {missing[0]}{hint}; --only and --partial score some of them"
        )


def check_unique(file_names: list[str], source: Path) -> None:
    """Raises InputError if a name is there twice."""
    if len(set(file_names)) < len(file_names):
        [(name, count)] = Counter(file_names).most_common(1)
        raise InputError(f"{source}: {name} is there {count} times; remove all rows of it but one")


def check_finite(points: np.ndarray, file_names: list[str], source: Path) -> None:
    """Raises InputError if one of the points, (n, k, 2), is not finite; its image is named."""
    finite = np.isfinite(points).all(axis=(1, 2))
    if not finite.all():
        name = file_names[np.argmin(finite)]
        raise InputError(f"{source}: a predicted point of {name} is not a finite number")


def _read_asked(path: Path, file_names: list[str], points: int) -> list[np.ndarray]:
    """Returns the point indices asked of each name; there are so many `points`.

    Rows of other images do not matter.
    """
    wanted, names, asked = set(file_names), [], []
    for row in requested_points.iterate_test_points(path):
        if row.file_name not in wanted:
            continue
        if isinstance(row, InvalidSample):
            raise InputError(f"{path}, line {row.line} ({row.file_name}): {row.reason}")
        if row.point_indices.max() >= points:
            raise InputError(
                f"{path}: point {row.point_indices.max()} is asked of {row.file_name},"
                f" the truth has 0 to {points - 1}"
            )
        names.append(row.file_name)
        asked.append(row.point_indices)
    return [asked[row] for row in find_rows(names, file_names, path)]
