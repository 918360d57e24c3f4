import json
import re
import shutil
from pathlib import Path

import pytest
from folders import contents
from training_runs import assert_same_weights, read_history, remove_record

from keras_landmarks.layouts import layout
from keras_landmarks.models import spec
from keras_landmarks.train import train
from keras_landmarks.training import work_directory
from keras_landmarks.utils.errors import InputError


def test_model_keeps_the_names_of_its_points(settings, own_faces):
    names = [
        f"{region}_{point}" for region, part in layout.REGIONS.items() for point in range(971)[part]
    ]
    (own_faces / "layout.json").write_text(json.dumps({"points": names}))
    requested = work_directory.model_spec(settings.replace(data=str(own_faces)), 971)
    spec.claim_workdir(Path(settings.files.workdir), requested)
    assert spec.read_spec(settings.files.workdir).point_names == names


# ── which training may be resumed? ──


def test_another_model_is_refused(tiny_run):
    settings, _ = tiny_run
    with pytest.raises(InputError, match="--image_size=32x32, not --image_size=64x64"):
        train(settings.replace(image_size="64"))


def test_other_training_images_are_refused(settings, own_faces, tmp_path):
    first = settings.replace(data=str(own_faces), prepared=str(tmp_path / "prepared"), epochs=1)
    train(first)
    elsewhere = str(own_faces.rename(tmp_path / "moved"))
    moved = first.replace(data=elsewhere, epochs=2)
    assert train(moved)["epochs"] == 2
    flagfile = (Path(first.files.workdir) / "flags.cfg").read_bytes()
    fewer = moved.replace(train_fraction=0.8)
    with pytest.raises(InputError, match=r"/work .*--data.*--init_weights="):
        train(fewer)
    table = Path(elsewhere) / "train" / "landmarks.csv"
    header, row, *rows = table.read_text().splitlines()
    name, _, *points = row.split("\t")
    table.write_text("\n".join([header, "\t".join([name, "9", *points]), *rows]))
    with pytest.raises(InputError, match=r"/work .*--data"):
        train(moved)
    assert (Path(first.files.workdir) / "flags.cfg").read_bytes() == flagfile
    assert train(fewer.replace(resume=False))["train_images"] == 19


def test_changed_images_are_refused(settings, own_faces, tmp_path):
    settings = settings.replace(data=str(own_faces), prepared=str(tmp_path / "p"), epochs=1)
    train(settings)
    (own_faces / "train" / "images" / "face_000003.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"/work .*--data"):
        train(settings.replace(epochs=2))


def test_checkpoint_without_record_is_resumed(tiny_run, tmp_path):
    settings, _ = tiny_run
    work = shutil.copytree(settings.files.workdir, tmp_path / "work")
    remove_record(work)
    other = settings.replace(workdir=str(work), limit=20, loss="l1")
    assert train(other)["epochs"] == 2


@pytest.mark.parametrize(
    ("change", "recorded", "requested"),
    [
        ({"loss": "l1"}, "--loss=mse", "--loss=l1"),
        ({"loss_unit": "photo"}, "--loss_unit=crop", "--loss_unit=photo"),
        ({"init_weights": "@faces"}, "--init_weights=none", "--init_weights=@faces"),
        ({"seed": 1, "batch_size": 4}, "--batch_size=8 --seed=0", "--batch_size=4 --seed=1"),
        ({"augment_online": ["blur"]}, "--augment_online=", "--augment_online=blur"),
        (
            {"reset_optimizer_each_epoch": False},
            "--reset_optimizer_each_epoch",
            "--noreset_optimizer_each_epoch",
        ),
    ],
)
def test_changed_setting_is_refused_by_name(tiny_run, change, recorded, requested):
    settings, _ = tiny_run
    before = contents(Path(settings.files.workdir))
    changed = settings.replace(**change, data="/nowhere", epochs=9)
    workdir = re.escape(settings.files.workdir)
    flags = rf"^{workdir} [^-]* {recorded}, not {requested}: .*"
    with pytest.raises(InputError, match=rf"{flags}--noresume.*--init_weights={workdir}"):
        train(changed)
    assert contents(Path(settings.files.workdir)) == before


def test_changed_augment_count_is_refused(tiny_run):
    settings, _ = tiny_run
    with pytest.raises(InputError, match="--augment_count=0, not --augment_count=8"):
        train(settings.replace(augment_count=8))


def test_settings_without_effect_may_change(tiny_run):
    settings, _ = tiny_run
    changes = {"warmup_epochs": 1.0, "first_cycle_epochs": 3, "weight_decay": 0.1}
    limits = {"rotate_limit": 1.0, "shift_limit": 0.0, "scale_limit": 0.0}
    changed = settings.replace(**changes, **limits)
    assert train(changed.replace(augment_refill=True))["epochs"] == 2


def test_recorded_flags_do_not_start_over(settings, tmp_path):
    work_directory.write_flagfile(tmp_path / "flags.cfg", settings.replace(resume=False))
    assert "resume" not in (tmp_path / "flags.cfg").read_text()


@pytest.mark.slow
def test_averaging_fixes_the_epochs(settings):
    averaged = settings.replace(average_last_epochs=1, epochs=1)
    train(averaged)
    with pytest.raises(InputError, match="--epochs=1, not --epochs=2"):
        train(averaged.replace(epochs=2))


@pytest.mark.parametrize("name", ["history.csv", "best.weights.h5"])
def test_missing_file_of_a_run_is_refused(tiny_run, tmp_path, name):
    settings, _ = tiny_run
    work = shutil.copytree(settings.files.workdir, tmp_path / "work")
    (work / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: .* 2 epochs"):
        train(settings.replace(workdir=str(work), epochs=3))


@pytest.mark.parametrize(
    "earlier", [{"seed": 1}, pytest.param({"image_size": "64"}, marks=pytest.mark.slow)]
)
def test_noresume_starts_over(tiny_run, settings, earlier):
    done, _ = tiny_run
    train(settings.replace(**earlier, epochs=1))
    train(settings.replace(resume=False))
    assert len(read_history(settings.files.workdir)) == 2
    assert_same_weights(done.files.workdir, settings.files.workdir)
