import csv
import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.numpy

from keras_landmarks.augment import AugmentSettings
from keras_landmarks.config import FLAGS
from keras_landmarks.contest import grouping, landmark_tables
from keras_landmarks.images import decoding
from keras_landmarks.inference import tta
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.pipeline import ImageSet
from keras_landmarks.input.samples import fingerprint_rows, load_samples
from keras_landmarks.layouts import layout
from keras_landmarks.models import heads, networks
from keras_landmarks.models.spec import load_trained
from keras_landmarks.train import split, train
from keras_landmarks.training import callbacks
from keras_landmarks.training.callbacks import ResetOptimizer
from keras_landmarks.training.checkpoint import Position, save_checkpoint
from keras_landmarks.training.losses import LOSSES
from keras_landmarks.utils.errors import InputError

NO_EXTRA = AugmentSettings(augment_count=0)


def best_weights(workdir):
    _, model = load_trained(Path(workdir))
    return model.get_weights()


def assert_same_weights(workdir, other):
    for ours, theirs in zip(best_weights(workdir), best_weights(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def read_history(workdir):
    with (Path(workdir) / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def leave_at(position, settings, monkeypatch):
    """Trains until the state is saved at a position, and leaves."""

    def save_and_leave(path, model, saved, *rest):
        save_checkpoint(path, model, saved, *rest)
        if saved == position:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "save_checkpoint", save_and_leave)
        with pytest.raises(KeyboardInterrupt):
            train(settings, NO_EXTRA)


def test_a_run_leaves_what_it_promises(tiny_run):
    settings, figures = tiny_run
    names = {path.name for path in Path(settings.workdir).iterdir()}
    assert names == {
        "best.weights.h5",
        "last.safetensors",
        "history.csv",
        "logs",
        "flags.cfg",
        "model.json",
        "validation.csv",
        "versions.json",
    }
    assert figures["train_images"] == 21
    assert figures["validation_images"] == 3
    history = read_history(settings.workdir)
    assert [float(row["learning_rate"]) for row in history] == [0.01, 0.001]
    assert min(float(row["loss"]) for row in history) == pytest.approx(figures["best_loss"])
    assert all(0 <= float(row["waiting"]) <= 1 for row in history)
    assert list(Path(settings.workdir).glob("logs/train/events*"))


def test_the_flagfile_repeats_the_run(tiny_run, settings):
    done, _ = tiny_run
    flagfile = Path(done.workdir) / "flags.cfg"
    lines = [line.removeprefix("--") for line in flagfile.read_text().splitlines()]
    given = dict(line.split("=", 1) for line in lines if "=" in line)
    given |= {f: True for f in lines if "=" not in f and f in FLAGS}
    given |= {f[2:]: False for f in lines if "=" not in f and f not in FLAGS}
    values = {name: FLAGS[name].parser.parse(value) for name, value in given.items()}
    fields = {field.name: values.get(field.name) for field in dataclasses.fields(done)}
    again = dataclasses.replace(type(done)(**fields), workdir=settings.workdir)
    train(again, NO_EXTRA)
    assert_same_weights(done.workdir, again.workdir)


def test_a_run_taken_up_equals_one_that_never_stopped(tiny_run, settings):
    done, _ = tiny_run
    train(dataclasses.replace(settings, epochs=1), NO_EXTRA)
    first = read_history(settings.workdir)
    train(settings, NO_EXTRA)
    assert read_history(settings.workdir)[:1] == first
    assert_same_weights(done.workdir, settings.workdir)
    last = "last.safetensors"
    assert (Path(done.workdir) / last).read_bytes() == (Path(settings.workdir) / last).read_bytes()


def test_starting_over_forgets_the_run_before(tiny_run, settings):
    done, _ = tiny_run
    train(dataclasses.replace(settings, seed=1, image_size="64", epochs=1), NO_EXTRA)
    train(dataclasses.replace(settings, resume=False), NO_EXTRA)
    assert len(read_history(settings.workdir)) == 2
    assert_same_weights(done.workdir, settings.workdir)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_best_weights(settings):
    train(dataclasses.replace(settings, epochs=1), NO_EXTRA)
    before = best_weights(settings.workdir)
    with pytest.raises(InputError, match=r"the loss is (nan|inf) in epoch 2: lower the --learning"):
        train(dataclasses.replace(settings, learning_rates="0:1e-2,1:1e38"), NO_EXTRA)
    for ours, theirs in zip(best_weights(settings.workdir), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_finished_run_says_so_and_is_not_trained_on(tiny_run, caplog):
    settings, figures = tiny_run
    before = (Path(settings.workdir) / "last.safetensors").read_bytes()
    caplog.set_level("INFO", logger="absl")
    again = train(dataclasses.replace(settings, epochs=1), NO_EXTRA)
    assert caplog.messages[-1] == "nothing to do: epochs done 2, asked for 1"
    assert again["best_loss"] == pytest.approx(figures["best_loss"], rel=1e-5)
    assert (Path(settings.workdir) / "last.safetensors").read_bytes() == before


def test_the_weights_with_the_lowest_training_loss_are_kept(settings):
    first = dataclasses.replace(settings, epochs=1)
    train(first, NO_EXTRA)
    before = best_weights(first.workdir)
    ruined = dataclasses.replace(settings, learning_rates="0:1e-2,1:1e3")
    figures = train(ruined, NO_EXTRA)
    assert figures["best_epoch"] == 1
    for ours, theirs in zip(best_weights(ruined.workdir), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_earlier_work_directory_gives_the_first_weights(tiny_run, settings):
    earlier, figures = tiny_run
    warm = dataclasses.replace(settings, init_weights=earlier.workdir, epochs=1)
    assert train(warm, NO_EXTRA)["best_loss"] < figures["best_loss"]


def test_another_model_in_the_work_directory_is_refused(tiny_run):
    settings, _ = tiny_run
    with pytest.raises(
        InputError, match="holds a run with --image_size=32x32, not --image_size=64x64; give"
    ):
        train(dataclasses.replace(settings, image_size="64"), NO_EXTRA)


def test_other_images_than_the_run_was_begun_with_are_refused(settings, own_faces, tmp_path):
    first = dataclasses.replace(
        settings, data=str(own_faces), prepared=str(tmp_path / "prepared"), epochs=1
    )
    train(first, NO_EXTRA)
    elsewhere = str(own_faces.rename(tmp_path / "moved"))
    moved = dataclasses.replace(first, data=elsewhere, epochs=2)
    assert train(moved, NO_EXTRA)["epochs"] == 2
    notes = (Path(first.workdir) / "flags.cfg").read_bytes()
    fewer = dataclasses.replace(moved, train_fraction=0.8)
    with pytest.raises(InputError, match=r"work was trained on other images .* --init_weights="):
        train(fewer, NO_EXTRA)
    table = Path(elsewhere) / "train" / "landmarks.csv"
    header, row, *rows = table.read_text().splitlines()
    name, _, *points = row.split("\t")
    table.write_text("\n".join([header, "\t".join([name, "9", *points]), *rows]))
    with pytest.raises(InputError, match="was trained on other images"):
        train(moved, NO_EXTRA)
    assert (Path(first.workdir) / "flags.cfg").read_bytes() == notes
    assert train(dataclasses.replace(fewer, resume=False), NO_EXTRA)["train_images"] == 19


def forget_notes(workdir):
    """Makes the state one of an earlier version, which noted neither images nor settings."""
    path = Path(workdir) / "last.safetensors"
    with safetensors.safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["run"])
    facts = {name: facts[name] for name in ("epoch", "step", "steps_per_epoch")}
    arrays = safetensors.numpy.load_file(path)
    arrays = {name: a for name, a in arrays.items() if not name.endswith("/averaged_steps")}
    safetensors.numpy.save_file(arrays, path, {"run": json.dumps(facts)})


def test_a_run_of_before_such_notes_goes_on(tiny_run, tmp_path):
    settings, _ = tiny_run
    work = shutil.copytree(settings.workdir, tmp_path / "work")
    forget_notes(work)
    other = dataclasses.replace(settings, workdir=str(work), limit=20, loss="l1")
    assert train(other, NO_EXTRA)["epochs"] == 2


# ── what a run that goes on may change ──


def files_of(workdir):
    return {path: path.read_bytes() for path in Path(workdir).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"loss": "l1"}, "--loss=mse, not --loss=l1"),
        ({"loss_unit": "photo"}, "--loss_unit=crop, not --loss_unit=photo"),
        ({"seed": 1, "batch_size": 4}, "--seed=0 --batch_size=8, not --seed=1 --batch_size=4"),
        ({"augment_online": ["blur"]}, "--augment_online=, not --augment_online=blur"),
        (
            {"reset_optimizer_each_epoch": False},
            "--reset_optimizer_each_epoch, not --noreset_optimizer_each_epoch",
        ),
    ],
)
def test_changed_setting_is_refused_by_name_before_anything_is_done(tiny_run, change, says):
    settings, _ = tiny_run
    before = files_of(settings.workdir)
    changed = dataclasses.replace(settings, **change, data="/nowhere", epochs=9)
    with pytest.raises(InputError) as refused:
        train(changed, NO_EXTRA)
    assert f"{settings.workdir} holds a run with {says}: " in str(refused.value)
    assert "--noresume" in str(refused.value)
    assert f"--init_weights={settings.workdir}" in str(refused.value)
    assert files_of(settings.workdir) == before


def test_extra_images_are_part_of_a_run(tiny_run):
    settings, _ = tiny_run
    with pytest.raises(InputError, match="--augment_count=0, not --augment_count=8"):
        train(settings, AugmentSettings(augment_count=8))


def test_settings_without_effect_may_change(tiny_run):
    settings, _ = tiny_run
    changes = {"warmup_epochs": 1.0, "first_cycle_epochs": 3, "weight_decay": 0.1}
    limits = {"rotate_limit": 1.0, "shift_limit": 0.0, "scale_limit": 0.0}
    changed = dataclasses.replace(settings, **changes, **limits)
    assert train(changed, AugmentSettings(0, True, *limits.values()))["epochs"] == 2


def test_mean_of_the_last_epochs_needs_the_same_epochs(settings):
    averaged = dataclasses.replace(settings, average_last_epochs=1, epochs=1)
    train(averaged, NO_EXTRA)
    with pytest.raises(InputError, match="--epochs=1, not --epochs=2"):
        train(dataclasses.replace(averaged, epochs=2), NO_EXTRA)


def test_more_epochs_of_a_cosine_are_said_to_change_it(settings, caplog):
    cosine = dataclasses.replace(settings, schedule="cosine", epochs=1)
    train(cosine, NO_EXTRA)
    train(dataclasses.replace(cosine, epochs=2), NO_EXTRA)
    assert "falls to 0 over 2 epochs, not over the 1" in caplog.text


def test_fewer_epochs_than_an_unfinished_one_train_nothing(settings, monkeypatch, caplog):
    leave_at(Position(1, 1), settings, monkeypatch)
    before = files_of(settings.workdir)
    caplog.set_level("INFO", logger="absl")
    assert train(dataclasses.replace(settings, epochs=1), NO_EXTRA)["epochs"] == 1
    assert caplog.messages[-1] == "nothing to do: epochs done 1, steps of the next 1, asked for 1"
    state = Path(settings.workdir) / "last.safetensors"
    assert state.read_bytes() == before[state]


@pytest.mark.parametrize("name", ["history.csv", "best.weights.h5"])
def test_a_run_that_lacks_a_file_is_refused(tiny_run, tmp_path, name):
    settings, _ = tiny_run
    work = shutil.copytree(settings.workdir, tmp_path / "work")
    (work / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: missing"):
        train(dataclasses.replace(settings, workdir=str(work), epochs=3), NO_EXTRA)


def test_persons_and_copies_together_are_kept_on_one_side(settings, faces, tmp_path):
    samples = load_samples(faces, "train", tmp_path / "prepared")
    people, copies = tmp_path / "people.csv", tmp_path / "copies.tsv"
    by_four, each = [str(row // 4) for row in range(24)], [str(row) for row in range(24)]
    grouping.write_group_table(people, "person", samples.file_names, by_four)
    each[3] = each[22]
    grouping.write_group_table(copies, "group", samples.file_names, each)
    tables = [str(people), str(copies)]
    _, held_out = split(samples, dataclasses.replace(settings, validation_groups=tables))
    assert held_out.tolist() == [0, 1, 2, 3, 20, 21, 22, 23]
    of_fold = dataclasses.replace(settings, validation_groups=tables, fold="1/2")
    assert len(set(split(samples, of_fold)[1]) & {*range(4), *range(20, 24)}) in (0, 8)


def test_extra_images_are_made_once_and_never_of_held_out_people(settings, faces, tmp_path):
    names = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv").file_names
    people = tmp_path / "people.csv"
    grouping.write_group_table(
        people, "person", names, [str(row // 4) for row in range(len(names))]
    )
    settings = dataclasses.replace(
        settings, validation_groups=[str(people)], prepared=str(tmp_path / "prepared"), epochs=1
    )
    figures = train(settings, AugmentSettings(augment_count=24))
    (extra,) = Path(settings.prepared).glob("augmented-*")
    sources = grouping.read_group_table(extra / "sources.csv")
    held_out = names[20:]
    assert figures["validation_images"] == 4
    assert figures["train_images"] == 20 + sum(s not in held_out for s in sources.values())
    table = extra / "train" / "landmarks.csv"
    made = table.stat().st_mtime_ns
    train(settings, AugmentSettings(augment_count=24))
    assert table.stat().st_mtime_ns == made


def test_broken_samples_are_skipped_counted_and_listed(settings, own_faces, tmp_path):
    (own_faces / "train" / "images" / "face_000003.jpg").write_bytes(b"\xff\xd8\xff cut off")
    settings = dataclasses.replace(
        settings, data=str(own_faces), prepared=str(tmp_path / "prepared"), epochs=1
    )
    assert train(settings, NO_EXTRA)["rejected"] == 1
    rejects = (Path(settings.workdir) / "rejects.csv").read_text().splitlines()
    assert rejects[1].split("\t") == ["face_000003.jpg", "5", "the JPEG is truncated"]
    with pytest.raises(InputError, match=r"line 5 \(face_000003.jpg\): the JPEG is truncated"):
        train(dataclasses.replace(settings, strict=True), NO_EXTRA)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"face_000003\.jpg: the file is empty"),
        (decoding.encode_jpeg(np.zeros((40, 30, 3), np.uint8)), r"000003\.jpg: changed since"),
    ],
)
def test_an_image_that_breaks_after_it_was_checked_is_named(
    settings, own_faces, tmp_path, monkeypatch, content, says
):
    settings = dataclasses.replace(settings, data=str(own_faces), prepared=str(tmp_path / "p"))

    def break_an_image(samples, rows):
        (samples.image_folder / "face_000003.jpg").write_bytes(content)
        return fingerprint_rows(samples, rows)

    monkeypatch.setattr("keras_landmarks.train.fingerprint_rows", break_an_image)
    with pytest.raises(InputError, match=says):
        train(settings, NO_EXTRA)


def test_a_run_does_not_go_on_with_images_that_changed(settings, own_faces, tmp_path):
    settings = dataclasses.replace(
        settings, data=str(own_faces), prepared=str(tmp_path / "p"), epochs=1
    )
    train(settings, NO_EXTRA)
    (own_faces / "train" / "images" / "face_000003.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="was trained on other images"):
        train(dataclasses.replace(settings, epochs=2), NO_EXTRA)


def test_a_batch_larger_than_the_data_is_refused(settings):
    with pytest.raises(InputError, match="--batch_size=64: only 21 training images"):
        train(dataclasses.replace(settings, batch_size=64), NO_EXTRA)


def test_a_table_that_excludes_every_image_is_refused(settings, faces):
    table = str(faces / "train" / "landmarks.csv")
    with pytest.raises(InputError, match=r"landmarks\.csv: names every image; none is left to"):
        train(dataclasses.replace(settings, exclude=table), AugmentSettings(0))
    assert not Path(settings.workdir).exists()


def test_limit_takes_the_first_rows(settings):
    figures = train(dataclasses.replace(settings, limit=10, epochs=1), NO_EXTRA)
    assert figures["train_images"] == 9


def test_mixed_precision_online_augmentation_and_other_images_train(settings):
    mixed = dataclasses.replace(
        settings,
        precision="mixed_bfloat16",
        augment_online=["affine", "colour", "blur", "cut_out"],
        image_size="48x32",
        framing="pad",
        trim_bands=True,
        normalisation="imagenet",
        learning_rates="0:1e-3",
    )
    assert np.isfinite(train(mixed, NO_EXTRA)["best_loss"])
    _, model = load_trained(Path(mixed.workdir))
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_resetting_the_optimiser_keeps_the_learning_rate_only():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.5, amsgrad=True), loss="mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    callback = ResetOptimizer()
    callback.set_model(model)
    callback.on_epoch_begin(0)
    learning_rate, rest = model.optimizer.learning_rate, model.optimizer.variables
    assert float(learning_rate) == 0.5
    assert all(not np.any(v.numpy()) for v in rest if v is not learning_rate)
    assert len(rest) == 2 + 3 * 2  # iteration and rate; two moments and the AMSGrad maximum


# ── beyond the recipe ──


@pytest.mark.parametrize(
    ("flag", "known"),
    [
        ("loss", LOSSES),
        ("head", heads.KINDS),
        ("normalisation", networks.NORMALISATIONS),
        ("tta", tta.TTA),
    ],
)
def test_flags_offer_all_that_there_is(flag, known):
    assert FLAGS[flag].parser.enum_values == list(known)


@pytest.fixture
def modern(settings):
    """Everything at once that the recipe does without."""
    return dataclasses.replace(
        settings,
        image_size="32x48",
        framing="stretch",
        loss="log_mse",
        loss_unit="photo",
        head="shape",
        optimizer="adamw",
        schedule="cosine",
        learning_rate=3e-3,
        warmup_epochs=0.5,
        ema_momentum=0.8,
        clip_norm=1.0,
    )


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
@pytest.mark.parametrize("averages", [{}, {"ema_momentum": 0.0, "average_last_epochs": 2}])
def test_what_the_recipe_does_without_trains_and_is_taken_up_to_the_bit(
    modern, averages, schedule, tmp_path, monkeypatch
):
    modern = dataclasses.replace(modern, **averages, schedule=schedule)
    interrupted = dataclasses.replace(modern, workdir=str(tmp_path / "interrupted"))
    figures = train(modern, NO_EXTRA)
    assert figures["best_loss"] < 4
    history = read_history(modern.workdir)
    assert float(history[-1]["mse"]) < float(history[0]["mse"])
    assert float(history[-1]["learning_rate"]) < 3e-3
    leave_at(Position(1, 1), interrupted, monkeypatch)
    if schedule == "cosine":  # others had wrong averages then
        forget_notes(interrupted.workdir)
    train(interrupted, NO_EXTRA)
    assert_same_weights(modern.workdir, interrupted.workdir)
    last = "last.safetensors"
    ours, theirs = (Path(run.workdir) / last for run in (interrupted, modern))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("averages", [{}, {"ema_momentum": 0.0, "average_last_epochs": 2}])
def test_the_average_of_the_weights_is_validated_and_kept(modern, averages):
    modern = dataclasses.replace(modern, **averages)
    train(modern, NO_EXTRA)
    spec, model = load_trained(Path(modern.workdir))
    samples = load_samples(Path(modern.data), "train", Path(modern.prepared))
    held_out = ImageSet([(Photos(samples, spec.frame), np.arange(21, 24))])
    images, landmarks, scale = held_out.load(np.arange(3))
    error_px = (model.predict(images, verbose=0) - landmarks) / scale[:, None]
    best = min(read_history(modern.workdir), key=lambda row: float(row["loss"]))
    assert np.square(error_px).mean() == pytest.approx(float(best["val_mse"]), rel=1e-3)


def test_two_kinds_of_average_are_one_too_many(modern):
    with pytest.raises(InputError, match="--ema_momentum and --average_last_epochs: give one"):
        train(dataclasses.replace(modern, average_last_epochs=2), NO_EXTRA)


def test_a_likelihood_gives_every_point_its_variance(settings):
    likelihood = dataclasses.replace(settings, loss="nll", schedule="cosine", epochs=1)
    train(likelihood, NO_EXTRA)
    _, model = load_trained(Path(likelihood.workdir))
    assert model.output_shape == (None, 971, 3)


# ── the mirror map ──


@pytest.fixture
def mirrored(settings):
    return dataclasses.replace(settings, augment_online=["mirror"], epochs=1)


def known_map(settings):
    return json.loads((Path(settings.workdir) / "model.json").read_text())["mirror"]


def test_online_variation_mirrors_the_contests_points_and_the_run_remembers_it(mirrored):
    train(mirrored, NO_EXTRA)
    assert known_map(mirrored) == "contest"
    without = dataclasses.replace(mirrored, augment_online=[], epochs=2)
    with pytest.raises(InputError, match="--augment_online=mirror, not --augment_online="):
        train(without, NO_EXTRA)
    train(dataclasses.replace(without, resume=False), NO_EXTRA)
    assert known_map(mirrored) is None


def test_without_online_variation_a_map_is_known_only_if_asked_for(tiny_run, settings):
    done, _ = tiny_run
    assert known_map(done) is None
    train(dataclasses.replace(settings, mirror="found", epochs=1), NO_EXTRA)
    assert np.mean(known_map(settings) == layout.mirror_map()) > 0.9  # 21 faces show no more


def test_a_run_that_goes_on_keeps_the_map_that_it_found(tiny_run, settings):
    settings = dataclasses.replace(settings, mirror="found", epochs=1)
    train(settings, NO_EXTRA)
    found = known_map(settings)
    swapped = [found[1], found[0], *found[2:]]
    swapped[swapped[0]], swapped[swapped[1]] = 0, 1
    path = Path(settings.workdir) / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mirror": swapped}))
    train(dataclasses.replace(settings, epochs=2), NO_EXTRA)
    assert known_map(settings) == swapped
    train(dataclasses.replace(settings, resume=False), NO_EXTRA)
    assert known_map(settings) == found


def test_mirroring_wants_a_map(mirrored):
    with pytest.raises(InputError, match="--augment_online=mirror: which point becomes which"):
        train(dataclasses.replace(mirrored, mirror="none"), NO_EXTRA)


def test_a_wrong_map_is_refused_before_anything_is_done(mirrored, tmp_path):
    wrong = layout.mirror_map()
    wrong[273:401] = np.arange(273, 401)
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"mirror": wrong.tolist()}))
    with pytest.raises(InputError, match=r"map\.json: points 273-400 have wrong partners, by 21"):
        train(dataclasses.replace(mirrored, mirror=str(path)), NO_EXTRA)
    assert not Path(mirrored.workdir).exists()
