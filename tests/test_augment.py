import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import contents, no_file_beyond

from keras_landmarks import augment as augment_module
from keras_landmarks.augment import AugmentSettings, augment
from keras_landmarks.contest import grouping, landmark_tables
from keras_landmarks.input.samples import load_samples
from keras_landmarks.utils.errors import InputError

TEN = AugmentSettings(augment_count=10)
# So far to the side that about half of the faces lose a point.
ROUGH = AugmentSettings(augment_count=40, shift_limit=0.2)


@pytest.fixture(scope="module")
def samples(faces, tmp_path_factory):
    return load_samples(faces, "train", tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def made(samples, tmp_path_factory):
    """The prepared folder with ten extra images; tests only read it."""
    prepared = tmp_path_factory.mktemp("augmented")
    augment(samples, prepared, TEN, processes=1)
    return prepared


def interrupt(*_):
    raise KeyboardInterrupt


def extra_of(prepared):
    """The folder of the only extra images in `prepared`."""
    (folder,) = prepared.glob("augmented-*")
    return folder


def sources_of(prepared):
    return list(grouping.read_group_table(extra_of(prepared) / "sources.csv").values())


def test_two_processes_make_the_same_files_as_one(samples, made, tmp_path):
    augment(samples, tmp_path, TEN, processes=2)
    assert contents(tmp_path) == contents(made)


def test_the_result_is_a_contest_folder(samples, made, tmp_path):
    extra = load_samples(extra_of(made), "train", tmp_path, strict=True)
    assert extra.points == samples.points
    assert extra.landmarks_photo_px.dtype == np.int16
    sources = grouping.read_group_table(extra_of(made) / "sources.csv")
    assert list(sources) == extra.file_names
    for row, source in enumerate(sources.values()):
        original = samples.file_names.index(source)
        np.testing.assert_array_equal(extra.sizes_px[row], samples.sizes_px[original])
        moved_px = extra.landmarks_photo_px[row] - samples.landmarks_photo_px[original]
        assert 1 < np.abs(moved_px).mean() < 0.3 * extra.sizes_px[row].max()


def test_images_are_made_from_the_first_rows(samples, made):
    used = set(sources_of(made))
    assert sources_of(made) == [name for name in samples.file_names[:10] if name in used]


def test_a_sample_that_loses_a_point_is_dropped_and_counted(samples, tmp_path):
    figures = augment(samples, tmp_path, ROUGH, processes=1)
    assert figures["written"] + figures["dropped"] == 40
    assert figures["written"] > 3
    assert figures["dropped"] > 3
    extra = load_samples(extra_of(tmp_path), "train", tmp_path)
    assert len(extra) == figures["written"]
    assert np.all(extra.landmarks_photo_px >= 0)
    assert np.all(extra.landmarks_photo_px < extra.sizes_px[:, None])


def test_refill_replaces_what_was_dropped(samples, tmp_path):
    settings = dataclasses.replace(ROUGH, augment_refill=True)
    figures = augment(samples, tmp_path, settings, processes=1)
    assert figures["written"] == len(sources_of(tmp_path)) == 40
    assert figures["dropped"] > 3


def test_a_round_more_than_the_rows_gives_other_images(samples, tmp_path):
    augment(samples, tmp_path, AugmentSettings(augment_count=48, shift_limit=0.01), processes=1)
    images = contents(extra_of(tmp_path) / "train" / "images")
    assert len(images) > len(set(sources_of(tmp_path)))
    assert len(set(images.values())) == len(images)


def test_the_data_is_left_as_it_is(faces, samples, tmp_path):
    before = contents(faces)
    augment(samples, tmp_path, TEN, processes=1)
    assert contents(faces) == before


def test_the_same_settings_use_what_is_there(samples, made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    figures = augment(samples, made, TEN, processes=1)
    assert not figures["made"]
    assert figures["written"] + figures["dropped"] == 10
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"rotate_limit": 3.0}, {"augment_count": 4}])
def test_other_settings_make_other_images_beside_those_that_are_there(samples, tmp_path, change):
    first = Path(augment(samples, tmp_path, TEN, processes=1)["folder"])
    before = contents(first)
    figures = augment(samples, tmp_path, dataclasses.replace(TEN, **change), processes=1)
    assert figures["made"]
    after = contents(Path(figures["folder"]) / "train")
    assert before["train/landmarks.csv"] != after["landmarks.csv"]
    assert len(after) == figures["written"] + 1
    assert contents(first) == before


def test_other_data_makes_other_images_beside_those_that_are_there(samples, faces, tmp_path):
    first = Path(augment(samples, tmp_path, TEN, processes=1)["folder"])
    before = contents(first)
    fewer = load_samples(faces, "train", tmp_path, limit=5)
    figures = augment(fewer, tmp_path, TEN, processes=1)
    assert figures["made"]
    sources = grouping.read_group_table(Path(figures["folder"]) / "sources.csv")
    assert set(sources.values()) <= set(fewer.file_names)
    assert contents(first) == before


def test_limits_that_spoil_every_image_are_refused(samples, tmp_path):
    settings = AugmentSettings(augment_count=3, scale_limit=0.0, shift_limit=5.0)
    with pytest.raises(InputError, match="lower the limits"):
        augment(samples, tmp_path, settings, processes=1)
    assert not list(tmp_path.glob("augmented-*"))


def test_an_interrupted_run_leaves_what_was_there(samples, tmp_path, monkeypatch):
    augment(samples, tmp_path, TEN, processes=1)
    before = contents(extra_of(tmp_path))
    monkeypatch.setattr(landmark_tables, "write_landmarks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        augment(samples, tmp_path, ROUGH, processes=1)
    assert contents(extra_of(tmp_path)) == before


@pytest.mark.parametrize("kills", [[5], [0, 3, 39]])
def test_an_interrupted_run_goes_on_where_it_was(samples, tmp_path, monkeypatch, kills):
    """However often it is started, every attempt is made once, and the files are the same."""
    made = []

    def make_image(settings, image_folder, attempt):
        if kills and attempt[0] == kills[0]:
            del kills[0]
            raise KeyboardInterrupt
        made.append(attempt[0])
        return make(settings, image_folder, attempt)

    augment(samples, tmp_path / "straight", ROUGH, processes=1)
    make = augment_module._make_image
    monkeypatch.setattr(augment_module, "_make_image", make_image)
    while kills:
        with pytest.raises(KeyboardInterrupt):
            augment(samples, tmp_path / "resumed", ROUGH, processes=1)
    augment(samples, tmp_path / "resumed", ROUGH, processes=1)
    assert made == list(range(40))
    assert contents(tmp_path / "resumed") == contents(tmp_path / "straight")


@pytest.mark.parametrize("ended_at", ["an attempt", "the table", "the settings"])
def test_images_that_a_power_cut_took_are_made_again(samples, tmp_path, monkeypatch, ended_at):
    """What was written last is empty, or not there, though later files say that it was made."""
    augment(samples, tmp_path / "straight", ROUGH, processes=1)
    make = augment_module._make_image
    with monkeypatch.context() as patch:
        if ended_at == "an attempt":
            patch.setattr(
                augment_module,
                "_make_image",
                lambda *arguments: interrupt() if arguments[2][0] == 30 else make(*arguments),
            )
        elif ended_at == "the table":
            patch.setattr(grouping, "write_group_table", interrupt)
        else:
            patch.setattr(augment_module, "flush", interrupt)
        with pytest.raises(KeyboardInterrupt):
            augment(samples, tmp_path / "cut", ROUGH, processes=1)
    (partial,) = (tmp_path / "cut").glob(".partial-*")
    images = sorted((partial / "train" / "images").iterdir())
    images[-3].write_bytes(b"")
    images[-1].unlink()
    augment(samples, tmp_path / "cut", ROUGH, processes=1)
    assert contents(tmp_path / "cut") == contents(tmp_path / "straight")


def test_an_interrupted_run_of_other_settings_is_not_gone_on_with(samples, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(landmark_tables, "write_landmarks", interrupt)
        with pytest.raises(KeyboardInterrupt):
            augment(samples, tmp_path, ROUGH, processes=1)
    augment(samples, tmp_path, TEN, processes=1)
    assert augment(samples, tmp_path, TEN, processes=1)["made"] is False
    assert len(sources_of(tmp_path)) <= 10


def test_a_full_disk_is_told_and_what_is_done_is_kept(samples, made, tmp_path):
    with (
        no_file_beyond(50_000),
        pytest.raises(OSError, match=r"augmented-\w+: File too large; make"),
    ):
        augment(samples, tmp_path, dataclasses.replace(TEN, augment_count=20), processes=1)
    assert not list(tmp_path.glob("augmented-*"))


def test_an_image_that_broke_since_is_named(own_faces, tmp_path):
    samples = load_samples(own_faces, "train", tmp_path / "prepared")
    (own_faces / "train" / "images" / samples.file_names[2]).write_bytes(b"")
    with pytest.raises(InputError, match=f"{samples.file_names[2]}: the file is empty"):
        augment(samples, tmp_path / "extra", TEN, processes=1)


def test_the_command(faces, made, tmp_path):
    flags = [f"--data={faces}", f"--prepared={tmp_path}", "--augment_count=10", "--processes=1"]
    command = [sys.executable, "-m", "keras_landmarks.augment", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["folder"] == str(extra_of(tmp_path))
    assert figures["rejected"] == 0
    images = contents(extra_of(tmp_path) / "train")
    assert figures["written"] == len(images) - 1
    assert images == contents(extra_of(made) / "train")
