"""True points and the files that go with them, matched by file name."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_landmarks.data import contest
from keras_landmarks.errors import InputError


@dataclass(frozen=True)
class Truth:
    """True points (n, K, 2) of the file `path`, in photo pixels; point indices asked of each row.

    `asked` is None where all points count; the file has `listed` images, these among them.
    """

    path: Path
    file_names: list[str]
    points: np.ndarray
    listed: int
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
    path: Path, test_points: Path | None = None, file_names: list[str] | None = None
) -> Truth:
    """Reads the true points and those asked of `file_names`, in their order; of all unless told.

    Raises:
        InputError: a table is broken, names an image twice, or lacks one; a point is asked that
            the truth does not have.
    """
    table = contest.read_landmarks(path)
    check_unique(table.file_names, path)
    points = table.points
    if file_names is None:
        file_names = table.file_names
    else:
        points = points[find_rows(table.file_names, file_names, path)]
    asked = _read_asked(test_points, file_names, points.shape[1]) if test_points else None
    return Truth(path, file_names, points, len(table.file_names), asked)


def find_rows(file_names: list[str], wanted: list[str], source: Path) -> list[int]:
    """Returns the row of each wanted name among `file_names`, which are those of `source`.

    Raises:
        InputError: `source` has a name twice, or lacks one (how many, and the first, are named).
    """
    check_unique(file_names, source)
    rows = {name: row for row, name in enumerate(file_names)}
    missing = [name for name in wanted if name not in rows]
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of the {len(wanted)} images to score are missing,"
            f" the first is {missing[0]}; --only and --partial score some of them"
        )
    return [rows[name] for name in wanted]


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
    """Returns the point indices asked of each name; there are so many `points`."""
    table = contest.read_test_points(path)
    rows = find_rows(table.file_names, file_names, path)
    asked = [table.point_indices[row] for row in rows]
    for name, indices in zip(file_names, asked, strict=True):
        if indices.max() >= points:
            raise InputError(
                f"{path}: point {indices.max()} is asked of {name}, the truth has 0 to {points - 1}"
            )
    return asked
