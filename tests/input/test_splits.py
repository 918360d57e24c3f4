import re

import numpy as np
import pytest

from keras_landmarks.contest import grouping
from keras_landmarks.input.samples import load_samples
from keras_landmarks.input.splits import split_by_fold, split_by_fraction, split_samples
from keras_landmarks.settings import SplitSettings, parse_fold
from keras_landmarks.utils.errors import InputError

NAMES = [f"{index}.jpg" for index in range(23)]


# ── the last rows, or groups ──


def test_recipes_split_has_the_known_sizes():
    train, validation = split_by_fraction(range(393_930), 0.995)
    assert len(train) == 391_960
    assert len(validation) == 1_970
    np.testing.assert_array_equal(np.concatenate([train, validation]), np.arange(393_930))


def test_groups_are_held_out_whole():
    names = ["a1", "b1", "a2", "c1", "b2", "c2", "b3"]
    train, validation = split_by_fraction(names, 0.7, [name[0] for name in names])
    assert [names[row] for row in validation] == ["b1", "b2", "b3"]
    assert [names[row] for row in train] == ["a1", "a2", "c1", "c2"]


def test_groups_fill_the_validation_fraction():
    names = ["a1", "b1", "a2", "c1", "b2", "c2"]
    _, validation = split_by_fraction(names, 0.4, [name[0] for name in names])
    assert [names[row] for row in validation] == ["b1", "c1", "b2", "c2"]


def slow_held_out(groups, train_fraction):
    """Returns the validation rows of `split_by_fraction`, computed row by row."""
    count = len(groups) - int(len(groups) * train_fraction)
    held_out = set()
    for group in reversed(groups):
        if len(held_out) >= count:
            break
        held_out |= {row for row, other in enumerate(groups) if other == group}
    return sorted(held_out)


@pytest.mark.parametrize("seed", range(40))
def test_group_split_equals_a_slow_one(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, rng.integers(2, 40), 60).astype(str).tolist()
    train_fraction = rng.uniform(0.5, 1)
    train, validation = split_by_fraction(groups, train_fraction, groups)
    assert validation.tolist() == slow_held_out(groups, train_fraction)
    assert sorted([*train, *validation]) == list(range(60))


def test_many_groups_are_split_quickly():
    """Scanning all rows for each group would take an hour here."""
    groups = [f"person {row % 300_000}" for row in range(400_000)]
    train, validation = split_by_fraction(groups, 0.5, groups)
    assert len(validation) == 200_000
    assert not {groups[row] for row in train} & {groups[row] for row in validation}


@pytest.mark.parametrize(("fraction", "groups"), [(0.0, None), (0.5, ["1", "1"])])
def test_split_without_training_rows_is_refused(fraction, groups):
    with pytest.raises(InputError, match="--train_fraction"):
        split_by_fraction(["a", "b"], fraction, groups)


# ── folds ──


def test_folds_partition_the_rows_evenly():
    parts = [split_by_fold(NAMES, fold, 4) for fold in (1, 2, 3, 4)]
    assert sorted(np.concatenate([held_out for _, held_out in parts])) == list(range(23))
    assert sorted(len(held_out) for _, held_out in parts) == [5, 6, 6, 6]
    for kept, held_out in parts:
        assert sorted([*kept, *held_out]) == list(range(23))


def test_group_lies_in_one_fold():
    groups = [str(row % 7) for row in range(len(NAMES))]
    parts = [split_by_fold(NAMES, fold, 3, groups)[1] for fold in (1, 2, 3)]
    of_parts = [{groups[row] for row in rows} for rows in parts]
    assert sum(map(len, of_parts)) == len(set.union(*of_parts)) == 7
    assert max(map(len, parts)) - min(map(len, parts)) <= 4


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(InputError, match=r"\b2 .* 3 folds"):
        split_by_fold(NAMES[:2], 1, 3)


@pytest.mark.parametrize("text", ["", "2", "0/5", "6/5", "1/1", "-1/5", "2/5/7", "a/b"])
def test_invalid_fold_is_refused(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)} .*2/5"):
        parse_fold(text)


# ── tables of groups ──


def test_joined_groups_stay_on_one_side(settings, faces, tmp_path):
    samples = load_samples(faces, "train", tmp_path / "prepared")
    people, copies = tmp_path / "people.csv", tmp_path / "copies.tsv"
    by_four, each = [str(row // 4) for row in range(24)], [str(row) for row in range(24)]
    grouping.write_group_table(people, "person", samples.file_names, by_four)
    each[3] = each[22]
    grouping.write_group_table(copies, "group", samples.file_names, each)
    tables = [str(people), str(copies)]
    _, held_out = split_samples(samples, settings.replace(validation_groups=tables).split)
    assert held_out.tolist() == [0, 1, 2, 3, 20, 21, 22, 23]
    of_fold = settings.replace(validation_groups=tables, fold="1/2")
    assert len(set(split_samples(samples, of_fold.split)[1]) & {*range(4), *range(20, 24)}) in (
        0,
        8,
    )


@pytest.mark.parametrize("shares", [True, False])
def test_photos_with_faces_on_both_sides_are_reported(own_faces, tmp_path, caplog, shares):
    samples = load_samples(own_faces, "train", tmp_path / "prepared")
    photos = [f"{row // 2 if shares else row}.jpg" for row in range(len(samples))]
    grouping.write_group_table(
        own_faces / "train" / "sources.csv", "photo", samples.file_names, photos
    )
    split_samples(samples, SplitSettings(train_fraction=0.8))
    expected = "1 photos have faces among both the trained and the held-out ones"
    assert (expected in caplog.text) == shares
