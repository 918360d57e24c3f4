"""Groups of images that belong together, such as images of one person or copies of one picture."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_landmarks.contest import image_names
from keras_landmarks.contest.table_files import iterate_column, write_rows
from keras_landmarks.utils.errors import InputError

SOURCES_FILE = "sources.csv"  # beside a table of landmarks: the photo that each image is a part of


def read_group_table(path: Path) -> dict[str, str]:
    """Reads a table of file names and groups and returns the group of each file name.

    In a table with two columns the one beside file_name holds the groups, otherwise the one called
    group.

    Raises:
        InputError: the file is missing, has no column of groups, a row has no group, or two rows
            put a file into different groups.
    """
    groups = {}
    for line, name, group in iterate_column(path, "group"):
        if not group:
            raise InputError(f"{path}, line {line}: the row has no group")
        if groups.setdefault(name, group) != group:
            raise InputError(f"{path}, line {line}: an earlier row has {name} in another group")
    return groups


def write_group_table(
    path: Path, column: str, file_names: Iterable[str], groups: Iterable[str]
) -> None:
    """Writes a table of file names and groups; `column` is the title of the second column."""
    write_rows(path, ("file_name", column), zip(file_names, groups, strict=True))


def read_groups(tables: Sequence[Path], file_names: Sequence[str]) -> list[str]:
    """Returns the group of each image, where images that share a group in any table share one.

    Args:
        tables: paths of group tables, each with a group for every image.
        file_names: the images.

    Returns:
        The groups, one per image. With one table they have the table's names, with several tables
        the name of their first image. Without a table each image is its own group.

    Raises:
        InputError: a table is broken, or has no group for one of the images.
    """
    if not tables:
        return list(file_names)
    group_of = functools.reduce(_join, [_read_complete(path, file_names) for path in tables])
    return [group_of[name] for name in file_names]


def connected_components(num_nodes: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Returns the component of each node of an undirected graph, named by its lowest node.

    Args:
        num_nodes: the nodes are 0 to num_nodes - 1.
        pairs: the edges.
    """
    # Not at the top: SciPy takes as long to import as all the rest of a command's --help.
    from scipy import sparse

    ends = np.reshape(pairs, (-1, 2)).astype(int).T
    graph = sparse.coo_array((np.ones(ends.shape[1]), tuple(ends)), (num_nodes, num_nodes))
    _, component_of = sparse.csgraph.connected_components(graph, directed=False)
    _, lowest = np.unique(component_of, return_index=True)
    return lowest[component_of].tolist()


def _read_complete(path: Path, file_names: Sequence[str]) -> dict[str, str]:
    group_of = read_group_table(path)
    if missing := [name for name in file_names if name not in group_of]:
        nearest = image_names.nearest_name(group_of, missing[0])
        hint = f"; the nearest name there is {nearest}" if nearest else ""
        raise InputError(
            f"{path}: {len(missing)} of the {len(file_names)} images have no group,"
            f" the first is {missing[0]}{hint}"
        )
    return group_of


def _join(*tables: dict[str, str]) -> dict[str, str]:
    """Joins tables (name -> group) over all their images, including those that are not used."""
    # Naming a group after its first image makes cross-validation folds independent of the order of
    # the tables and of their groups' names.
    names = sorted(set().union(*tables))
    index_of = {name: index for index, name in enumerate(names)}
    first_images: dict[tuple[int, str], int] = {}  # of each table's groups
    pairs = [
        (first_images.setdefault((which, group), index_of[name]), index_of[name])
        for which, table in enumerate(tables)
        for name, group in table.items()
    ]
    components = connected_components(len(names), pairs)
    return {name: names[component] for name, component in zip(names, components, strict=True)}
