"""Groups of images that belong together: those of one person, copies of one picture."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_landmarks.contest import grouping, image_names
from keras_landmarks.contest.table_files import iterate_pairs, write_rows
from keras_landmarks.utils.errors import InputError


def read_groups(tables: Sequence[Path], file_names: Sequence[str]) -> list[str]:
    """Returns the group of each image; images that any of the tables has together are in one.

    A table's groups keep their names; those of several tables joined have their first image's.
    Without a table each image is a group of its own.

    Raises:
        InputError: a table is broken, or has no group for one of the images.
    """
    if not tables:
        return list(file_names)
    group_of = functools.reduce(_join, [_read_complete(path, file_names) for path in tables])
    return [group_of[name] for name in file_names]


def connect(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Returns the group of each of `count` images: the first image that pairs lead to."""
    parents = list(range(count))

    def first_of(member: int) -> int:
        while parents[member] != member:
            parents[member] = parents[parents[member]]
            member = parents[member]
        return member

    for pair in pairs:
        low, high = sorted(map(first_of, pair))
        parents[high] = low
    return [first_of(member) for member in range(count)]


def _read_complete(path: Path, file_names: Sequence[str]) -> dict[str, str]:
    group_of = grouping.read_group_table(path)
    if missing := [name for name in file_names if name not in group_of]:
        nearest = image_names.nearest_of(group_of, missing[0])
        hint = f"; the nearest name there is {nearest}" if nearest else ""
        raise InputError(
            f"{path}: {len(missing)} of the {len(file_names)} images have no group,"
            f" the first is {missing[0]}{hint}"
        )
    return group_of


def _join(*tables: dict[str, str]) -> dict[str, str]:
    """Joins tables, name -> group, over all their images, whether or not they are used."""
    names = sorted(set().union(*tables))
    number_of = {name: number for number, name in enumerate(names)}
    firsts: dict[tuple[int, str], int] = {}  # of each table's groups
    pairs = [
        (firsts.setdefault((which, group), number_of[name]), number_of[name])
        for which, table in enumerate(tables)
        for name, group in table.items()
    ]
    firsts_of_joined = connect(len(names), pairs)
    return {name: names[first] for name, first in zip(names, firsts_of_joined, strict=True)}


def read_group_table(path: Path) -> dict[str, str]:
    """Reads a table of file name and group (a person, say): name -> group.

    The group is the column beside file_name or, where there are more, the one called group.

    Raises:
        InputError: the file is missing, it is not clear which column is the group, a row has no
            group, or two rows give a name two groups.
    """
    groups = {}
    for line, name, group in iterate_pairs(path, "group"):
        if not group:
            raise InputError(f"{path}, line {line}: a row is a file name and a group")
        if groups.setdefault(name, group) != group:
            raise InputError(f"{path}, line {line}: an earlier row has {name} in another group")
    return groups


def write_group_table(
    path: Path, column: str, file_names: Iterable[str], groups: Iterable[str]
) -> None:
    """Writes a table of file name and group; `column` is the header of the second."""
    write_rows(path, ("file_name", column), zip(file_names, groups, strict=True))
