"""The command; tests/exporting has the tests of what it writes."""

import shutil
from pathlib import Path

import pytest


def test_default_folder_has_the_name_of_format_and_precision(run, tiny_run, tmp_path):
    pytest.importorskip("onnxruntime")
    workdir = Path(tiny_run[0].files.workdir)
    for name in ("model.json", "best.weights.h5"):
        shutil.copy(workdir / name, tmp_path)
    flags = [f"--workdir={tmp_path}", "--format=onnx", "--export_precision=float16"]
    results = run("export", *flags).results
    assert Path(results["file"]) == tmp_path / "onnx_float16" / "model.onnx"
    assert Path(results["file"]).exists()
