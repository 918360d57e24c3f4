import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors
from folders import contents, with_gaps
from training_runs import (
    assert_same_weights,
    best_weights,
    interrupt_at,
    read_history,
    remove_record,
)

from keras_landmarks.input.photos import Photos
from keras_landmarks.input.pipeline import ImageSet
from keras_landmarks.input.samples import load_samples
from keras_landmarks.models.keras_models import load_trained
from keras_landmarks.train import train
from keras_landmarks.training.checkpoint import Position
from keras_landmarks.training.training_model import TrainingModel
from keras_landmarks.utils.errors import InputError


def test_resumed_run_equals_uninterrupted_run(tiny_run, settings):
    done, _ = tiny_run
    train(settings.replace(epochs=1))
    first = read_history(settings.files.workdir)
    train(settings)
    assert read_history(settings.files.workdir)[:1] == first
    assert_same_weights(done.files.workdir, settings.files.workdir)
    last = "last.safetensors"
    assert (Path(done.files.workdir) / last).read_bytes() == (
        Path(settings.files.workdir) / last
    ).read_bytes()


@pytest.mark.parametrize("kind", [{"loss": "nll", "head": "shape"}, {"augment_count": 8}])
def test_photos_with_gaps_are_trained_on(own_faces, settings, kind):
    with_gaps(own_faces, {row: range(row, 971, 24) for row in range(24)})
    kind |= {"augment_online": ("affine", "mirror"), "mirror": "contest"}
    results = train(settings.replace(data=str(own_faces), **kind))
    assert results["missing_points"] == 971
    assert np.isfinite([results["best_loss"], results["best_val_loss"]]).all()
    assert all(np.isfinite(array).all() for array in best_weights(settings.files.workdir))


def test_points_that_one_photo_has_are_trained_on(own_faces, settings):
    """A batch and a subset of the photos leave photos out, but every point has a place."""
    with_gaps(own_faces, {row: [p for p in range(21) if p != row] for row in range(24)})
    own = settings.replace(data=str(own_faces), head="shape", mirror="contest", epochs=1)
    train(own)
    assert all(np.isfinite(array).all() for array in best_weights(settings.files.workdir))


def test_point_that_is_never_placed_is_an_error(own_faces, settings):
    with_gaps(own_faces, {row: [7] for row in range(24)})
    with pytest.raises(InputError, match=r"csv: .* in none of the training photos: Point_M7;"):
        train(settings.replace(data=str(own_faces)))


def test_few_images_come_several_times_in_an_epoch(settings):
    results = train(settings.replace(min_epoch_images=50, epochs=1))
    assert results["train_images"] == 21
    with safetensors.safe_open(Path(settings.files.workdir) / "last.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["run"])["steps_per_epoch"] == 3 * 21 // 8


def test_finished_run_is_not_trained_on(tiny_run, caplog):
    settings, results = tiny_run
    before = (Path(settings.files.workdir) / "last.safetensors").read_bytes()
    caplog.set_level("INFO", logger="absl")
    again = train(settings.replace(epochs=1))
    assert re.findall(r"\d+", caplog.messages[-1]) == ["2", "1"]  # done, requested
    assert again["best_loss"] == pytest.approx(results["best_loss"], rel=1e-5)
    assert (Path(settings.files.workdir) / "last.safetensors").read_bytes() == before


def test_fewer_epochs_than_done_train_nothing(settings, monkeypatch, caplog):
    interrupt_at(Position(1, 1), settings, monkeypatch)
    before = contents(Path(settings.files.workdir))
    caplog.set_level("INFO", logger="absl")
    assert train(settings.replace(epochs=1))["epochs"] == 1
    # Epochs done, steps of the next one, epochs requested.
    assert re.findall(r"\d+", caplog.messages[-1]) == ["1", "1", "1"]
    state = Path(settings.files.workdir) / "last.safetensors"
    assert state.read_bytes() == before["last.safetensors"]


def test_nan_loss_keeps_the_best_weights(settings):
    train(settings.replace(epochs=1))
    before = best_weights(settings.files.workdir)
    with pytest.raises(InputError, match=r"(nan|inf) .*epoch 2\b"):
        train(settings.replace(learning_rates="0:1e-2,1:1e38"))
    for ours, theirs in zip(best_weights(settings.files.workdir), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_best_weights_have_the_lowest_loss(settings):
    first = settings.replace(epochs=1)
    train(first)
    before = best_weights(first.files.workdir)
    ruined = settings.replace(learning_rates="0:1e-2,1:1e3")
    results = train(ruined)
    assert results["best_epoch"] == 1
    for ours, theirs in zip(best_weights(ruined.files.workdir), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_batch_larger_than_the_data_is_refused(settings):
    with pytest.raises(InputError, match=r"--batch_size=64\b.* 21 "):
        train(settings.replace(batch_size=64))


SLOW = pytest.mark.slow
EMA, LAST_EPOCHS = "moving average", "mean of the last epochs"
AVERAGES = {EMA: {"ema_momentum": 0.8}, LAST_EPOCHS: {"average_last_epochs": 2}}


@pytest.fixture(scope="module")
def all_options(tiny_settings):
    """Settings with most of the options that the contest recipe leaves off."""
    return tiny_settings.replace(
        image_size="32x48",
        framing="stretch",
        loss="log_mse",
        loss_unit="photo",
        head="shape",
        optimizer="muon",
        schedule="cosine",
        learning_rate=3e-3,
        warmup_epochs=0.5,
        grad_clip_norm=1.0,
    )


@pytest.fixture(scope="module")
def finished(all_options, tmp_path_factory):
    """Trains with all options and a kind of average, once; returns settings and results."""

    @functools.cache
    def run(average, schedule):
        workdir = str(tmp_path_factory.mktemp("finished"))
        run_settings = all_options.replace(**AVERAGES[average], schedule=schedule, workdir=workdir)
        return run_settings, train(run_settings)

    return run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ema_momentum": 1.0}, "--ema_momentum=1 "),
        ({"average_last_epochs": 3}, "--average_last_epochs=3: there are only 2 epochs"),
        ({"average_last_epochs": 1, "ema_momentum": 0.5}, "give only one"),
        ({"grad_accum_steps": 3}, "--grad_accum_steps=3: an epoch has only 2 steps"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, change, message):
    with pytest.raises(InputError, match=message):
        train(settings.replace(**change))


@pytest.mark.parametrize(
    ("average", "schedule"),
    [
        (EMA, "cosine"),
        pytest.param(EMA, "steps", marks=SLOW),
        pytest.param(LAST_EPOCHS, "cosine", marks=SLOW),
        pytest.param(LAST_EPOCHS, "steps", marks=SLOW),
    ],
)
def test_resuming_with_all_options_is_bit_exact(finished, average, schedule, tmp_path, monkeypatch):
    done, results = finished(average, schedule)
    interrupted = done.replace(workdir=str(tmp_path / "interrupted"))
    assert results["best_loss"] < 4
    history = read_history(done.files.workdir)
    assert float(history[-1]["mse"]) < float(history[0]["mse"])
    assert float(history[-1]["learning_rate"]) < 3e-3
    interrupt_at(Position(1, 1), interrupted, monkeypatch)
    if schedule == "cosine":  # earlier versions averaged the others wrongly
        remove_record(interrupted.files.workdir)
    train(interrupted)
    assert_same_weights(done.files.workdir, interrupted.files.workdir)
    last = "last.safetensors"
    ours, theirs = (Path(run.files.workdir) / last for run in (interrupted, done))
    assert ours.read_bytes() == theirs.read_bytes()


def test_more_epochs_of_cosine_are_warned_of(finished, tmp_path, monkeypatch, caplog):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    done, _ = finished(EMA, "cosine")
    workdir = shutil.copytree(done.files.workdir, tmp_path / "work")
    monkeypatch.setattr(TrainingModel, "fit", interrupt)  # the warning comes before
    with pytest.raises(KeyboardInterrupt):
        train(done.replace(workdir=str(workdir), epochs=3))
    assert re.search(r"--schedule=cosine.* 3 epochs.* 2\b", caplog.text)


@pytest.mark.parametrize("average", [EMA, pytest.param(LAST_EPOCHS, marks=SLOW)])
def test_averaged_weights_are_validated_and_kept(finished, average):
    done, _ = finished(average, "cosine")
    spec, model = load_trained(Path(done.files.workdir))
    samples = load_samples(Path(done.files.data), "train", Path(done.files.prepared))
    held_out = ImageSet([(Photos(samples, spec.crop_spec), np.arange(21, 24))])
    images, landmarks, scale = held_out.load(np.arange(3))
    error_px = (model.predict(images, verbose=0) - landmarks) / scale[:, None]
    best = min(read_history(done.files.workdir), key=lambda row: float(row["loss"]))
    assert np.square(error_px).mean() == pytest.approx(float(best["val_mse"]), rel=1e-3)


def test_two_kinds_of_average_are_refused(all_options):
    with pytest.raises(InputError, match=r"--ema_momentum .*--average_last_epochs"):
        train(all_options.replace(ema_momentum=0.8, average_last_epochs=2))
