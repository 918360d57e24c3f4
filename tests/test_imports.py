"""Which part of the package may import which; WORKSPACE.md explains the rule."""

import ast
import importlib
from pathlib import Path

import pytest

import keras_landmarks

PACKAGE = Path(keras_landmarks.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
# From the top down: a part imports only itself and the parts below it.
PARTS = (
    "benchmarks",
    "reports",
    "exporting",
    "inference",
    "training",
    "models",
    "evaluation",
    "cleaning",
    "input",
    "annotations",
    "synthetic",
    "contest",
    "images",
    "layouts",
    "utils",
)


def imported_names(path):
    """Yields what a file imports, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def our_imports(path):
    names = imported_names(path)
    return [n.removeprefix("keras_landmarks.") for n in names if n.startswith("keras_landmarks.")]


def dotted(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def part_of(path):
    return path.relative_to(PACKAGE).parts[0]


def test_every_folder_has_its_place():
    assert {part_of(path) for path in MODULES if path.parent != PACKAGE} == set(PARTS)


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != PACKAGE], ids=dotted)
def test_parts_import_downwards_and_no_flags(path):
    below = {*PARTS[PARTS.index(part_of(path)) :], "settings"}
    for name in our_imports(path):
        assert name.split(".")[0] in below, f"{dotted(path)} imports {name}"
    assert "absl.flags" not in imported_names(path)


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent == PACKAGE], ids=dotted)
def test_commands_import_no_other_command(path):
    allowed = {*PARTS, "settings", "flags"}
    if path.stem == "cross_validate":  # it is several trainings
        allowed.add("train")
    assert {name.split(".")[0] for name in our_imports(path)} <= allowed


@pytest.mark.parametrize(
    "name", ["check", "convert", "evaluate", "landmarks", "predict", "synthesize", "train"]
)
def test_commands_offer_their_function_to_python(name):
    module = importlib.import_module(f"keras_landmarks.{name}")
    assert callable(getattr(module, name))


def test_keras_is_imported_in_one_place():
    # The first sets the backend; the second runs in a process of its own, with TensorFlow.
    exceptions = {"models.keras_on_jax", "exporting.tensorflow_writer"}
    for path in MODULES:
        names = {name.split(".")[0] for name in imported_names(path)}
        assert "keras" not in names or dotted(path) in exceptions, dotted(path)
