import shutil
from pathlib import Path

from keras_landmarks.contest import prediction_files


def test_command_writes_into_workdir_by_default(run, tiny_run, faces, tmp_path):
    workdir = shutil.copytree(tiny_run[0].files.workdir, tmp_path / "work")
    flags = [f"--workdir={workdir}", f"--data={faces}", "--split=train"]
    flags.append(f"--only={workdir / 'validation.csv'}")
    results = run("predict", *flags, folder=tmp_path).results
    predictions = Path(results["predictions"])
    assert predictions == workdir / "train_predictions.npz"
    assert (results["images"], results["rejected"], results["submission"]) == (3, 0, None)
    assert len(prediction_files.read(predictions).file_names) == 3
