from pathlib import Path

import numpy as np
import pytest

from keras_landmarks.contest import landmark_tables, prediction_files
from keras_landmarks.cross_validate import cross_validate, join_predictions
from keras_landmarks.input.splits import split_by_fold
from keras_landmarks.settings import PredictSettings
from keras_landmarks.train import train


def test_join_keeps_sigmas_if_all_have_them(tmp_path):
    points_px, sigmas_px = np.arange(24).reshape(3, 4, 2), np.arange(12).reshape(3, 4) + 1.0
    first, second, path = (tmp_path / f"{name}.npz" for name in ("first", "second", "joined"))
    prediction_files.write(first, ["c.jpg"], points_px[:1], sigmas_px[:1])
    prediction_files.write(second, ["a.jpg", "b.jpg"], points_px[1:], sigmas_px[1:])
    join_predictions([first, second], path)
    joined = prediction_files.read(path)
    assert joined.file_names == ["c.jpg", "a.jpg", "b.jpg"]
    np.testing.assert_array_equal(joined.landmarks_photo_px, points_px)
    np.testing.assert_array_equal(joined.sigmas_px, sigmas_px)
    prediction_files.write(second, ["a.jpg", "b.jpg"], points_px[1:])
    join_predictions([first, second], path)
    assert prediction_files.read(path).sigmas_px is None


@pytest.mark.slow
def test_invalid_rows_are_skipped_and_counted(own_faces, settings, tmp_path):
    table = own_faces / "train" / "landmarks.csv"
    rows = table.read_text().splitlines(keepends=True)
    rows[5] = rows[5].rpartition("\t")[0] + "\n"
    table.write_text("".join([*rows, rows[3]]))
    (own_faces / "train" / "images" / "face_000009.jpg").write_bytes(b"")
    settings = settings.replace(data=str(own_faces), epochs=1, workdir=str(tmp_path / "folds"))
    results = cross_validate(settings, PredictSettings(), folds=2)
    assert (results["images"], results["rejected"]) == (22, 3)


def test_each_image_is_predicted_out_of_fold(faces, settings, tmp_path):
    workdir = str(tmp_path / "folds")
    settings = settings.replace(epochs=1, loss="nll", workdir=workdir)
    results = cross_validate(settings, PredictSettings(), folds=2)
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    assert results["images"] == len(table.file_names)
    assert results["mse"] == pytest.approx(np.mean(results["mse_by_fold"]), rel=0.1)
    joined = prediction_files.read(Path(results["predictions"]))
    assert sorted(joined.file_names) == sorted(table.file_names)
    assert np.all(joined.sigmas_px > 0)
    for fold in (1, 2):
        workdir = Path(settings.files.workdir) / f"fold-{fold}"
        held_out = prediction_files.read(workdir / "held_out.npz").file_names
        expected = split_by_fold(table.file_names, fold, 2)[1]
        assert held_out == [table.file_names[row] for row in expected]
    again = settings.replace(workdir=str(workdir), fold="2/2")
    before = (workdir / "best.weights.h5").read_bytes()
    train(again)  # training the fold by itself finds it done
    assert (workdir / "best.weights.h5").read_bytes() == before
