"""What a folder holds and what may be written there, for tests of several commands."""

import contextlib
import resource


def contents(folder):
    """Returns the bytes of every file by its path in the folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def with_gaps(data, missing):
    """Empties the cells of points of a training table: {row: indices of the points}."""
    table = data / "train" / "landmarks.csv"
    header, *rows = table.read_text().splitlines()
    for row, points in missing.items():
        cells = rows[row].split("\t")
        for point in points:
            cells[1 + 2 * point : 3 + 2 * point] = "", ""
        rows[row] = "\t".join(cells)
    table.write_text("\n".join([header, *rows]) + "\n")


@contextlib.contextmanager
def no_file_beyond(size):
    """Within, a write beyond `size` bytes fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
