import dataclasses
from pathlib import Path

import numpy as np
import pytest

from keras_landmarks.augment import AugmentSettings
from keras_landmarks.contest import landmark_tables, prediction_files
from keras_landmarks.cross_validate import cross_validate, join
from keras_landmarks.input.splits import fold_rows
from keras_landmarks.predict import PredictSettings
from keras_landmarks.train import train
from keras_landmarks.training.settings import parse_fold
from keras_landmarks.utils.errors import InputError

NAMES = [f"{index}.jpg" for index in range(23)]
NO_EXTRA = AugmentSettings(augment_count=0)


def test_every_row_is_held_out_once_and_the_folds_are_alike_in_size():
    parts = [fold_rows(NAMES, fold, 4) for fold in (1, 2, 3, 4)]
    assert sorted(np.concatenate([held_out for _, held_out in parts])) == list(range(23))
    assert sorted(len(held_out) for _, held_out in parts) == [5, 6, 6, 6]
    for kept, held_out in parts:
        assert sorted([*kept, *held_out]) == list(range(23))


def test_a_group_is_in_one_fold():
    groups = [str(row % 7) for row in range(len(NAMES))]
    parts = [fold_rows(NAMES, fold, 3, groups)[1] for fold in (1, 2, 3)]
    of_parts = [{groups[row] for row in rows} for rows in parts]
    assert sum(map(len, of_parts)) == len(set.union(*of_parts)) == 7
    assert max(map(len, parts)) - min(map(len, parts)) <= 4


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(InputError, match="2 images or groups cannot be dealt out to 3 folds"):
        fold_rows(NAMES[:2], 1, 3)


@pytest.mark.parametrize("text", ["", "2", "0/5", "6/5", "1/1", "-1/5", "2/5/7", "a/b"])
def test_what_is_no_fold(text):
    with pytest.raises(ValueError, match="no fold such as 2/5"):
        parse_fold(text)


def test_deviations_stay_with_their_images_if_all_folds_have_them(tmp_path):
    points_px, sigmas_px = np.arange(24).reshape(3, 4, 2), np.arange(12).reshape(3, 4) + 1.0
    first, second, path = (tmp_path / f"{name}.npz" for name in ("first", "second", "joined"))
    prediction_files.write(first, ["c.jpg"], points_px[:1], sigmas_px[:1])
    prediction_files.write(second, ["a.jpg", "b.jpg"], points_px[1:], sigmas_px[1:])
    join([first, second], path)
    joined = prediction_files.read(path)
    assert joined.file_names == ["c.jpg", "a.jpg", "b.jpg"]
    np.testing.assert_array_equal(joined.points, points_px)
    np.testing.assert_array_equal(joined.sigmas, sigmas_px)
    prediction_files.write(second, ["a.jpg", "b.jpg"], points_px[1:])
    join([first, second], path)
    assert prediction_files.read(path).sigmas is None


def test_rows_that_cannot_be_used_are_skipped_and_counted(own_faces, settings, tmp_path):
    table = own_faces / "train" / "landmarks.csv"
    rows = table.read_text().splitlines(keepends=True)
    rows[5] = rows[5].rpartition("\t")[0] + "\n"
    table.write_text("".join([*rows, rows[3]]))
    (own_faces / "train" / "images" / "face_000009.jpg").write_bytes(b"")
    settings = dataclasses.replace(
        settings, data=str(own_faces), epochs=1, workdir=str(tmp_path / "folds")
    )
    figures = cross_validate(settings, NO_EXTRA, PredictSettings(), folds=2)
    assert (figures["images"], figures["rejected"]) == (22, 3)


def test_every_image_is_predicted_by_a_model_that_has_not_seen_it(faces, settings, tmp_path):
    workdir = str(tmp_path / "folds")
    settings = dataclasses.replace(settings, epochs=1, loss="nll", workdir=workdir)
    figures = cross_validate(settings, NO_EXTRA, PredictSettings(), folds=2)
    table = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv")
    assert figures["images"] == len(table.file_names)
    assert figures["mse"] == pytest.approx(np.mean(figures["mse_by_fold"]), rel=0.1)
    together = prediction_files.read(Path(figures["predictions"]))
    assert sorted(together.file_names) == sorted(table.file_names)
    assert np.all(together.sigmas > 0)
    for fold in (1, 2):
        workdir = Path(settings.workdir) / f"fold-{fold}"
        held_out = prediction_files.read(workdir / "held_out.npz").file_names
        expected = fold_rows(table.file_names, fold, 2)[1]
        assert held_out == [table.file_names[row] for row in expected]
    again = dataclasses.replace(settings, workdir=str(workdir), fold="2/2")
    before = (workdir / "best.weights.h5").read_bytes()
    train(again, NO_EXTRA)  # the fold by itself: it is done
    assert (workdir / "best.weights.h5").read_bytes() == before
