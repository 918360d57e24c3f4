import shutil
from pathlib import Path

import numpy as np
import pytest
from folders import contents
from training_runs import assert_same_weights, best_weights, interrupt_at, read_history

from keras_landmarks.contest import grouping, landmark_tables
from keras_landmarks.flags import FLAGS
from keras_landmarks.images import decoding
from keras_landmarks.input.samples import fingerprint_rows
from keras_landmarks.models.keras_models import load_trained
from keras_landmarks.models.spec import read_spec
from keras_landmarks.settings import TrainSettings
from keras_landmarks.train import train
from keras_landmarks.training.checkpoint import Position
from keras_landmarks.utils.errors import InputError


def test_work_directory_has_the_listed_files(tiny_run):
    settings, results = tiny_run
    names = {path.name for path in Path(settings.files.workdir).iterdir()}
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
    assert results["train_images"] == 21
    assert results["validation_images"] == 3
    history = read_history(settings.files.workdir)
    assert [float(row["learning_rate"]) for row in history] == [0.01, 0.001]
    assert min(float(row["loss"]) for row in history) == pytest.approx(results["best_loss"])
    assert all(0 <= float(row["waiting"]) <= 1 for row in history)
    assert list(Path(settings.files.workdir).glob("logs/train/events*"))


def test_flagfile_repeats_the_run(tiny_run, settings):
    done, _ = tiny_run
    flagfile = Path(done.files.workdir) / "flags.cfg"
    lines = [line.removeprefix("--") for line in flagfile.read_text().splitlines()]
    given = dict(line.split("=", 1) for line in lines if "=" in line)
    given |= {f: True for f in lines if "=" not in f and f in FLAGS}
    given |= {f[2:]: False for f in lines if "=" not in f and f not in FLAGS}
    values = {name: FLAGS[name].parser.parse(value) for name, value in given.items()}
    again = TrainSettings().replace(**values | {"workdir": settings.files.workdir})
    train(again)
    assert_same_weights(done.files.workdir, again.files.workdir)


def test_initial_weights_from_a_work_directory(tiny_run, settings):
    earlier, results = tiny_run
    warm = settings.replace(init_weights=earlier.files.workdir, epochs=1)
    assert train(warm)["best_loss"] < results["best_loss"]


def test_first_epochs_are_trained_at_their_own_size(tiny_run, settings):
    _, without = tiny_run
    staged = settings.replace(first_epochs=2, first_image_size="32x40")
    results = train(staged)
    first = Path(staged.files.workdir) / "first"
    assert read_spec(first).image_size == "32x40"
    assert read_spec(staged.files.workdir).image_size == "32x32"
    assert len(read_history(first)) == 2
    assert results["epochs"] == 2
    assert results["best_loss"] < without["best_loss"]
    assert "--init_weights=none" in (Path(staged.files.workdir) / "flags.cfg").read_text()


def test_restarted_first_stage_leaves_nothing_of_an_earlier_training(settings, monkeypatch):
    """The next start resumes the first stage, and must not take the old second for its own."""
    staged = settings.replace(first_epochs=1, first_image_size="32x40", epochs=1)
    train(staged)
    old = best_weights(staged.files.workdir)
    interrupt_at(Position(0, 1), staged.replace(resume=False, learning_rates="0:1e-3"), monkeypatch)
    train(staged.replace(learning_rates="0:1e-3"))
    new = best_weights(staged.files.workdir)
    assert any(np.any(ours != theirs) for ours, theirs in zip(new, old, strict=True))


def test_refused_restart_of_the_first_stage_loses_nothing(settings, tmp_path):
    staged = settings.replace(first_epochs=1, first_image_size="32x40", epochs=1)
    train(staged)
    before = contents(Path(staged.files.workdir))
    for wrong in (
        {"init_weights": str(tmp_path / "absent")},
        {"validation_groups": (str(tmp_path / "absent.csv"),)},
    ):
        with pytest.raises(InputError, match="absent"):
            train(staged.replace(resume=False, **wrong))
        assert contents(Path(staged.files.workdir)) == before


def test_first_stage_that_is_over_is_not_needed_again(settings):
    staged = settings.replace(first_epochs=1, first_image_size="32x40", epochs=1)
    train(staged)
    shutil.rmtree(Path(staged.files.workdir) / "first")
    assert train(staged.replace(epochs=2))["epochs"] == 2
    assert not (Path(staged.files.workdir) / "first").exists()
    with pytest.raises(InputError, match="--first_epochs=1, not --first_epochs=2"):
        train(staged.replace(first_epochs=2))


@pytest.mark.parametrize("stage", ["first", "second"])
def test_training_in_two_stages_resumes_exactly(stage, settings, tmp_path, monkeypatch):
    staged = settings.replace(first_epochs=1, first_image_size="32x40", epochs=1)
    train(staged)
    broken = staged.replace(workdir=str(tmp_path / "broken"))
    if stage == "second":
        train(broken.first_stage())
    interrupt_at(Position(0, 1), broken, monkeypatch)
    assert (Path(broken.files.workdir) / "model.json").exists() == (stage == "second")
    train(broken)
    assert_same_weights(broken.files.workdir, staged.files.workdir)


def test_refused_initial_weights_leave_no_work_directory(tiny_run, settings):
    earlier, _ = tiny_run
    wrong = settings.replace(init_weights=earlier.files.workdir, normalisation="imagenet")
    with pytest.raises(InputError, match="--normalisation=half, not imagenet"):
        train(wrong)
    assert train(settings.replace(model="tiny", epochs=1, head="shape"))["epochs"] == 1


def test_held_out_people_get_no_extra_images(settings, faces, tmp_path):
    names = landmark_tables.read_landmarks(faces / "train" / "landmarks.csv").file_names
    people = tmp_path / "people.csv"
    grouping.write_group_table(
        people, "person", names, [str(row // 4) for row in range(len(names))]
    )
    settings = settings.replace(
        validation_groups=(str(people),), prepared=str(tmp_path / "prepared"), epochs=1
    )
    results = train(settings.replace(augment_count=24))
    (extra,) = Path(settings.files.prepared).glob("augmented-*")
    sources = grouping.read_group_table(extra / "sources.csv")
    held_out = names[20:]
    assert results["validation_images"] == 4
    assert results["train_images"] == 20 + sum(s not in held_out for s in sources.values())
    table = extra / "train" / "landmarks.csv"
    made = table.stat().st_mtime_ns
    train(settings.replace(augment_count=24))
    assert table.stat().st_mtime_ns == made


def test_invalid_samples_are_skipped_and_listed(settings, own_faces, tmp_path):
    (own_faces / "train" / "images" / "face_000003.jpg").write_bytes(b"\xff\xd8\xff cut off")
    settings = settings.replace(data=str(own_faces), prepared=str(tmp_path / "prepared"), epochs=1)
    assert train(settings)["rejected"] == 1
    rejects = (Path(settings.files.workdir) / "rejects.csv").read_text().splitlines()
    assert rejects[1].split("\t") == ["face_000003.jpg", "5", "the JPEG is truncated"]
    with pytest.raises(InputError, match=r" 5 \(face_000003\.jpg\): .*truncated"):
        train(settings.replace(strict=True))


def test_list_of_invalid_samples_goes_with_the_last_of_them(settings, own_faces, tmp_path):
    settings = settings.replace(data=str(own_faces), prepared=str(tmp_path / "prepared"), epochs=1)
    rejects = Path(settings.files.workdir) / "rejects.csv"
    rejects.parent.mkdir()
    rejects.write_text("of an earlier start")
    train(settings)
    assert not rejects.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"face_000003\.jpg: .*empty"),
        (decoding.encode_jpeg(np.zeros((40, 30, 3), np.uint8)), r"000003\.jpg: .*changed"),
    ],
)
def test_image_changed_after_its_check_is_named(
    settings, own_faces, tmp_path, monkeypatch, content, message
):
    settings = settings.replace(data=str(own_faces), prepared=str(tmp_path / "p"))

    def break_an_image(samples, rows, head):
        (samples.image_folder / "face_000003.jpg").write_bytes(content)
        return fingerprint_rows(samples, rows, head)

    monkeypatch.setattr("keras_landmarks.train.fingerprint_rows", break_an_image)
    with pytest.raises(InputError, match=message):
        train(settings)


def test_excluding_every_image_is_refused(settings, faces):
    table = str(faces / "train" / "landmarks.csv")
    with pytest.raises(InputError, match=r"landmarks\.csv: .*every image"):
        train(settings.replace(exclude=table))
    assert not Path(settings.files.workdir).exists()


def test_limit_takes_the_first_rows(settings):
    results = train(settings.replace(limit=10, epochs=1))
    assert results["train_images"] == 9


@pytest.mark.slow
def test_mixed_precision_with_augmentation(settings):
    mixed = settings.replace(
        precision="mixed_bfloat16",
        augment_online=("affine", "colour", "blur", "coarse_dropout"),
        image_size="48x32",
        framing="pad",
        trim_bands=True,
        normalisation="imagenet",
        learning_rates="0:1e-3",
    )
    assert np.isfinite(train(mixed)["best_loss"])
    _, model = load_trained(Path(mixed.files.workdir))
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


@pytest.mark.parametrize("schedule", ["steps", pytest.param("cosine", marks=pytest.mark.slow)])
def test_nll_predicts_a_variance_per_point(settings, schedule):
    likelihood = settings.replace(loss="nll", schedule=schedule, epochs=1)
    train(likelihood)
    _, model = load_trained(Path(likelihood.files.workdir))
    assert model.output_shape == (None, 971, 3)
