"""What a folder holds, for tests that compare folders."""


def contents(folder):
    """Returns the bytes of every file by its path in the folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
