import numpy as np
import pytest
from report_files import make_workdir

from keras_landmarks.reports.training_run import read_training_run
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(tmp_path / "work")


def test_run_is_read(workdir):
    run = read_training_run(workdir)
    assert run.progress == "3"
    assert run.flags["loss_unit"] == "crop"
    assert run.model["points"] == 4
    np.testing.assert_array_equal(run.column("loss"), [30, 10, 12])
    assert np.isnan(run.column("no_such_column")).all()


def test_progress_of_unfinished_run(workdir):
    with (workdir / "flags.cfg").open("a") as flag_file:
        flag_file.write("--epochs=18\n")
    assert read_training_run(workdir).progress == "3 of 18"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("history.csv", "epoch,loss\n0,much\n"),
        ("history.csv", "epoch,loss\n0,1,2\n"),
        ("model.json", "{"),
        ("versions.json", "[]"),
    ],
)
def test_damaged_file_is_rejected(workdir, name, content):
    (workdir / name).write_text(content)
    with pytest.raises(InputError, match=name):
        read_training_run(workdir)


def test_folder_without_run_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r"--workdir"):
        read_training_run(tmp_path)
