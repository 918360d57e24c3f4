"""The models that are part of the package, each a file of weights found by its name."""

from pathlib import Path

from keras_landmarks.utils.errors import InputError

FACES = "@faces"
# A new model gets a new version. faces.md is its card.
_FILES = {FACES: Path(__file__).with_name("faces-2.safetensors")}


def is_packaged(name_or_path: str | Path) -> bool:
    """Whether this is the name of a packaged model, not a path; names begin with @."""
    return str(name_or_path).startswith("@")


def resolve(name_or_path: str | Path) -> Path:
    """Returns the file of a packaged model, and any path as it is.

    Raises:
        InputError: there is no packaged model of that name.
    """
    if not is_packaged(name_or_path):
        return Path(name_or_path)
    if str(name_or_path) not in _FILES:
        raise InputError(
            f"{name_or_path}: no such model; the package has {', '.join(_FILES)}, and a folder"
            f" whose name begins with @ is given by its whole path"
        )
    return _FILES[str(name_or_path)]


def display_name(name_or_path: str | Path) -> str:
    """Returns what results call a model: its path, or its name and version."""
    path = resolve(name_or_path)
    return f"{name_or_path} ({path.stem})" if is_packaged(name_or_path) else str(path)


def output_folder(name_or_path: str | Path) -> Path:
    """Returns where a command writes by default: the work directory, or else the current folder."""
    path = resolve(name_or_path)
    return Path() if is_packaged(name_or_path) or path.is_file() else path


def require_folder(name_or_path: str | Path, purpose: str) -> None:
    """Raises InputError if --workdir is a model's name or file where only a folder serves."""
    if is_packaged(name_or_path) or Path(name_or_path).is_file():
        raise InputError(
            f"--workdir={name_or_path}: a model, but {purpose} needs a training's folder"
        )
