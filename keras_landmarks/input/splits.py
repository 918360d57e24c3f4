"""Which rows of the samples are trained on and which are held out for validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks.contest import grouping, table_files
from keras_landmarks.contest.grouping import SOURCES_FILE
from keras_landmarks.input.samples import Samples
from keras_landmarks.settings import SplitSettings, parse_fold
from keras_landmarks.utils.errors import InputError


class Split(NamedTuple):
    """Row numbers, int64, in increasing order."""

    training: np.ndarray
    validation: np.ndarray


def split_samples(samples: Samples, settings: SplitSettings) -> Split:
    """Splits samples by --train_fraction or --fold, --validation_groups and --exclude.

    Raises:
        InputError: no row is left to train on, or a table is wrong.
    """
    groups = None
    if settings.validation_groups:
        tables = [Path(table) for table in settings.validation_groups]
        groups = grouping.read_groups(tables, samples.file_names)
    if settings.fold:
        split = split_by_fold(samples.file_names, *parse_fold(settings.fold), groups)
    else:
        split = split_by_fraction(samples.file_names, settings.train_fraction, groups)
    _warn_of_shared_photos(samples, split)
    return _exclude(split, samples.file_names, settings.exclude) if settings.exclude else split


def _warn_of_shared_photos(samples: Samples, split: Split) -> None:
    """Warns if faces that `convert` cut from one photo are on both sides of the split."""
    table = samples.image_folder.parent / SOURCES_FILE
    if not table.is_file():
        return
    photo_of = grouping.read_group_table(table)
    trained, held_out = (
        {photo_of[samples.file_names[row]] for row in rows if samples.file_names[row] in photo_of}
        for rows in split
    )
    if shared := trained & held_out:
        logging.warning(
            "%d photos have faces among both the trained and the held-out ones, so that scores come"
            " out too good; give --validation_groups=%s",
            *(len(shared), table),
        )


def split_by_fraction(
    file_names: Sequence[str], train_fraction: float, groups: Sequence[str] | None = None
) -> Split:
    """Trains on the first rows and validates on the last ones.

    Args:
        file_names: the file name of each row.
        train_fraction: the fraction of the rows to train on, rounded down to whole rows.
        groups: the group of each row. Whole groups are then held out, from the last row upwards,
            until at least the same number of rows is held out.

    Raises:
        InputError: no row is left to train on.
    """
    first_held_out = int(len(file_names) * train_fraction)
    held_out = np.arange(len(file_names)) >= first_held_out
    if groups:
        held_out = _hold_out_groups(groups, held_out.sum())
    if held_out.all():
        raise InputError("no row is left to train on; is --train_fraction too small?")
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _hold_out_groups(groups: Sequence[str], count: int) -> np.ndarray:
    """Returns the rows to hold out, (n,) bool: `count` or more, whole groups, from the last row."""
    _, group_of_row, group_sizes = np.unique(groups, return_inverse=True, return_counts=True)
    is_taken, rows_taken = np.zeros(len(group_sizes), bool), 0
    for group in reversed(group_of_row.tolist()):
        if rows_taken >= count:
            break
        if not is_taken[group]:
            is_taken[group] = True
            rows_taken += group_sizes[group]
    return is_taken[group_of_row]


def split_by_fold(
    file_names: Sequence[str], fold: int, folds: int, groups: Sequence[str] | None = None
) -> Split:
    """Validates on one of several folds, counted from 1, and trains on the others.

    Rows are assigned to the folds at random, but always in the same way, and the sizes of the folds
    differ by at most one. With `groups`, whole groups are assigned, each to the fold with the
    fewest rows.

    Args:
        file_names: the file name of each row.
        fold: the fold to validate on, counted from 1.
        folds: the number of folds.
        groups: the group of each row.

    Raises:
        InputError: a fold would be empty.
    """
    units = groups or file_names
    names, sizes = np.unique(units, return_counts=True)
    fold_sizes, fold_of = np.zeros(folds, int), {}
    # Not --seed, so that models that differ only in their seed have the same folds.
    for index in np.random.default_rng(0).permutation(len(names)):
        smallest = int(fold_sizes.argmin())
        fold_sizes[smallest] += sizes[index]
        fold_of[names[index]] = smallest
    if not fold_sizes.all():
        raise InputError(f"{len(names)} images or groups are too few for {folds} folds")
    held_out = np.array([fold_of[unit] for unit in units]) == fold - 1
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _exclude(split: Split, file_names: Sequence[str], table: str) -> Split:
    """Removes the rows whose file names the table lists."""
    excluded = set(table_files.read_names(Path(table)))
    if unknown := excluded.difference(file_names):
        count = len(unknown), len(excluded)
        logging.warning("%s: %d of %d names are not in the table", table, *count)
    remaining = Split(*(_without(rows, file_names, excluded) for rows in split))
    if not len(remaining.training):
        raise InputError(f"{table}: lists every image; none is left to train on")
    return remaining


def _without(rows: np.ndarray, file_names: Sequence[str], excluded: set[str]) -> np.ndarray:
    return np.array([row for row in rows if file_names[row] not in excluded], np.int64)
