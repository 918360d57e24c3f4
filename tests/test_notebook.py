"""The notebook of first steps, run in a kernel of its own."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / ".github" / "first_steps.ipynb"


@pytest.fixture
def notebook(tmp_path):
    """The notebook with a small data set and one epoch, in a temporary folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    parameters = f'DATA, WORK = "{tmp_path}/faces", "{tmp_path}/work"\nIMAGES, EPOCHS = 40, 1'
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags:
            cell.source = parameters
        if "install" in tags:  # the package is installed
            cell.source = ""
    return notebook


def test_notebook_holds_no_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")


@pytest.mark.slow
def test_notebook_runs_to_its_end(notebook, monkeypatch):
    bin_folder = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": ROOT}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "error:" not in printed
    for figure in ['"train_images": 40', '"best_epoch": 1', '"images": 50', '"mse_interval"']:
        assert figure in printed
    pictures = [set(output.data) for output in outputs if "data" in output]
    assert len(pictures) == 2
    assert all("image/jpeg" in picture for picture in pictures)
