"""The notebook of first steps, run cell by cell in a kernel of its own."""

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
    """The notebook, on little work."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    few = f'DATA, WORK = "{tmp_path}/faces", "{tmp_path}/work"\nIMAGES, EPOCHS = 40, 1'
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags:
            cell.source = few
        if "install" in tags:  # installed already
            cell.source = ""
    return notebook


def test_it_holds_no_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")


def test_it_runs_from_the_first_cell_to_the_pictures(notebook, monkeypatch):
    bin_folder = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": ROOT}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "error:" not in printed
    for figure in ['"train_images": 40', '"best_epoch": 1', '"images": 50', '"mse_interval"']:
        assert figure in printed
    pictures = [set(output.data) for output in outputs if "data" in output]
    assert len(pictures) == 2
    assert all("image/jpeg" in picture for picture in pictures)
