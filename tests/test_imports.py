"""The import rule: which part of the package may import which. WORKSPACE.md says why."""

import ast
from pathlib import Path

import pytest

import keras_landmarks

PACKAGE = Path(keras_landmarks.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
# Leaves that every part may stand on.
GROUND = {
    "compilation_cache",
    "cores",
    "errors",
    "files",
    "huge_pages",
    "interruption",
    "process",
    "progress",
    "xla_flags",
}
ALLOWED = {
    "annotations": {"annotations", "data"} | GROUND,
    "data": {"data"} | GROUND,
    "models": {"models", "data.geometry", "data.mirror", "data.views"} | GROUND,
    "training": {"training", "models", "data"} | GROUND,
    "exporting": {"exporting", "models", "data"} | GROUND,
    "benchmarks": {"benchmarks", "training", "models", "data", "reports"} | GROUND,
    "landmarking": {"landmarking", "models", "data", "reports"} | GROUND,
    "reports": {
        *{"reports", "data.geometry", "data.contest", "data.labels", "data.layout"},
        "data.image_names",
    }
    | GROUND,
}


def imported_names(path):
    """Everything that a file imports, as dotted names."""
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


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != PACKAGE], ids=dotted)
def test_parts_import_what_they_may_and_read_no_flag(path):
    allowed = ALLOWED[path.parent.name]
    for name in our_imports(path):
        first, second = name.split(".")[0], ".".join(name.split(".")[:2])
        assert {first, second} & allowed, f"{dotted(path)} imports {name}"
    assert "absl.flags" not in imported_names(path)


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_stands_on_nothing(name):
    assert our_imports(PACKAGE / f"{name}.py") == []


def test_keras_is_imported_from_the_one_place_that_sees_to_its_backend():
    # The last runs in a process of its own, with TensorFlow.
    apart = {"models.keras_on_jax", "exporting.tensorflow_writer"}
    for path in MODULES:
        names = {name.split(".")[0] for name in imported_names(path)}
        assert "keras" not in names or dotted(path) in apart, dotted(path)
