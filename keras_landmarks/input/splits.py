"""Which rows are trained on and which are held out for validation."""

from collections.abc import Sequence

import numpy as np

from keras_landmarks.utils.errors import InputError


def split_rows(
    file_names: Sequence[str], train_fraction: float, groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to train on, from the first on, and the last ones, for validation.

    Args:
        file_names: of all rows.
        train_fraction: share of the rows to train on, rounded down to whole rows.
        groups: of each row. A group is then held out whole: going up from the last row, groups
            are taken until validation has its share.

    Raises:
        InputError: no row is left to train on.
    """
    first_held_out = int(len(file_names) * train_fraction)
    held_out = np.arange(len(file_names)) >= first_held_out
    if groups:
        held_out = _hold_out_groups(groups, held_out.sum())
    if held_out.all():
        raise InputError("no row is left to train on; is --train_fraction too small?")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _hold_out_groups(groups: Sequence[str], wanted: int) -> np.ndarray:
    """Returns which rows are held out: whole groups, taken from the last row upwards."""
    _, group_of_row, group_sizes = np.unique(groups, return_inverse=True, return_counts=True)
    taken, rows_taken = np.zeros(len(group_sizes), bool), 0
    for group in reversed(group_of_row.tolist()):
        if rows_taken >= wanted:
            break
        if not taken[group]:
            taken[group] = True
            rows_taken += group_sizes[group]
    return taken[group_of_row]


def fold_rows(
    file_names: Sequence[str], fold: int, folds: int, groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to train on, and the `fold`th of so many parts, counted from 1.

    Rows are dealt out at random, always alike, so that the parts differ by a row at most; with
    `groups`, one a row, whole groups are, each to the part that has fewest rows.

    Raises:
        InputError: a part would be empty.
    """
    units = groups or file_names
    order, sizes = np.unique(units, return_counts=True)
    dealt = np.random.default_rng(0).permutation(len(order))
    part_sizes, part_of = np.zeros(folds, int), {}
    for index in dealt:
        part = int(part_sizes.argmin())
        part_sizes[part] += sizes[index]
        part_of[order[index]] = part
    if not part_sizes.all():
        raise InputError(f"{len(order)} images or groups cannot be dealt out to {folds} folds")
    held_out = np.array([part_of[unit] for unit in units]) == fold - 1
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def leave_out(rows: np.ndarray, file_names: Sequence[str], excluded: set[str]) -> np.ndarray:
    """Returns the rows whose file is not among the excluded ones."""
    return np.array([row for row in rows if file_names[row] not in excluded], np.int64)
