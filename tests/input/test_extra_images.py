import dataclasses
from pathlib import Path

import numpy as np
import pytest
from folders import contents, no_file_beyond, with_gaps

from keras_landmarks.contest import grouping, landmark_tables
from keras_landmarks.input import extra_images
from keras_landmarks.input.extra_images import ExtraImageSpec, make_extra_images
from keras_landmarks.input.samples import load_samples
from keras_landmarks.utils.errors import InputError

TEN = ExtraImageSpec(count=10)
# Shifts so far that about half of the faces lose a point.
ROUGH = ExtraImageSpec(count=40, shift_limit=0.2)


@pytest.fixture(scope="module")
def samples(faces, tmp_path_factory):
    return load_samples(faces, "train", tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def made(samples, tmp_path_factory):
    """A prepared folder with ten extra images; tests only read it."""
    prepared = tmp_path_factory.mktemp("augmented")
    make_extra_images(samples, prepared, TEN, processes=1)
    return prepared


def interrupt(*_):
    raise KeyboardInterrupt


def extra_of(prepared):
    """Returns the folder of the extra images, the only one in `prepared`."""
    (folder,) = prepared.glob("augmented-*")
    return folder


def sources_of(prepared):
    return list(grouping.read_group_table(extra_of(prepared) / "sources.csv").values())


def test_files_do_not_depend_on_processes(samples, made, tmp_path):
    make_extra_images(samples, tmp_path, TEN, processes=2)
    assert contents(tmp_path) == contents(made)


def test_result_is_a_contest_folder(samples, made, tmp_path):
    extra = load_samples(extra_of(made), "train", tmp_path, strict=True)
    assert extra.num_landmarks == samples.num_landmarks
    assert extra.landmarks_photo_px.dtype == np.int16
    sources = grouping.read_group_table(extra_of(made) / "sources.csv")
    assert list(sources) == extra.file_names
    for row, source in enumerate(sources.values()):
        original = samples.file_names.index(source)
        np.testing.assert_array_equal(extra.sizes_px[row], samples.sizes_px[original])
        moved_px = extra.landmarks_photo_px[row] - samples.landmarks_photo_px[original]
        assert 1 < np.abs(moved_px).mean() < 0.3 * extra.sizes_px[row].max()


def test_missing_points_stay_missing(own_faces, made, tmp_path):
    with_gaps(own_faces, {row: [0, 970] for row in range(24)})
    gappy = load_samples(own_faces, "train", tmp_path)
    make_extra_images(gappy, tmp_path, TEN, processes=1)
    whole, extra = (load_samples(extra_of(f), "train", tmp_path) for f in (made, tmp_path))
    assert np.isnan(extra.landmarks_photo_px[:, [0, 970]]).all()
    # The others move as without gaps, but are not rounded.
    moved = extra.landmarks_photo_px[:, 1:970]
    np.testing.assert_array_equal(np.rint(moved), whole.landmarks_photo_px[:, 1:970])


def test_images_are_made_from_the_first_rows(samples, made):
    used = set(sources_of(made))
    assert sources_of(made) == [name for name in samples.file_names[:10] if name in used]


def test_samples_that_lose_a_point_are_dropped(samples, tmp_path):
    results = make_extra_images(samples, tmp_path, ROUGH, processes=1)
    assert results["written"] + results["dropped"] == 40
    assert results["written"] > 3
    assert results["dropped"] > 3
    extra = load_samples(extra_of(tmp_path), "train", tmp_path)
    assert len(extra) == results["written"]
    assert np.all(extra.landmarks_photo_px >= 0)
    assert np.all(extra.landmarks_photo_px < extra.sizes_px[:, None])


def test_refill_replaces_dropped_images(samples, tmp_path):
    settings = dataclasses.replace(ROUGH, refill=True)
    results = make_extra_images(samples, tmp_path, settings, processes=1)
    assert results["written"] == len(sources_of(tmp_path)) == 40
    assert results["dropped"] > 3


def test_second_image_of_a_row_differs(samples, tmp_path):
    make_extra_images(samples, tmp_path, ExtraImageSpec(count=48, shift_limit=0.01), processes=1)
    images = contents(extra_of(tmp_path) / "train" / "images")
    assert len(images) > len(set(sources_of(tmp_path)))
    assert len(set(images.values())) == len(images)


def test_source_data_are_not_changed(faces, samples, tmp_path):
    before = contents(faces)
    make_extra_images(samples, tmp_path, TEN, processes=1)
    assert contents(faces) == before


def test_existing_images_are_reused(samples, made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    results = make_extra_images(samples, made, TEN, processes=1)
    assert not results["made"]
    assert results["written"] + results["dropped"] == 10
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"rotate_limit": 3.0}, {"count": 4}])
def test_other_settings_have_another_folder(samples, tmp_path, change):
    first = Path(make_extra_images(samples, tmp_path, TEN, processes=1)["folder"])
    before = contents(first)
    results = make_extra_images(samples, tmp_path, dataclasses.replace(TEN, **change), processes=1)
    assert results["made"]
    after = contents(Path(results["folder"]) / "train")
    assert before["train/landmarks.csv"] != after["landmarks.csv"]
    assert len(after) == results["written"] + 1
    assert contents(first) == before


def test_other_data_have_another_folder(samples, faces, tmp_path):
    first = Path(make_extra_images(samples, tmp_path, TEN, processes=1)["folder"])
    before = contents(first)
    fewer = load_samples(faces, "train", tmp_path, limit=5)
    results = make_extra_images(fewer, tmp_path, TEN, processes=1)
    assert results["made"]
    sources = grouping.read_group_table(Path(results["folder"]) / "sources.csv")
    assert set(sources.values()) <= set(fewer.file_names)
    assert contents(first) == before


def test_limits_that_drop_all_are_refused(samples, tmp_path):
    settings = ExtraImageSpec(count=3, scale_limit=0.0, shift_limit=5.0)
    with pytest.raises(InputError, match=r"--rotate_limit.*--shift_limit.*--scale_limit"):
        make_extra_images(samples, tmp_path, settings, processes=1)
    assert not list(tmp_path.glob("augmented-*"))


def test_interruption_keeps_earlier_images(samples, tmp_path, monkeypatch):
    make_extra_images(samples, tmp_path, TEN, processes=1)
    before = contents(extra_of(tmp_path))
    monkeypatch.setattr(landmark_tables, "write_landmarks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_extra_images(samples, tmp_path, ROUGH, processes=1)
    assert contents(extra_of(tmp_path)) == before


@pytest.mark.parametrize("kills", [[5], [0, 3, 39]])
def test_interrupted_run_resumes(samples, tmp_path, monkeypatch, kills):
    """Every attempt is made once, however often the run is interrupted; the files are the same."""
    made = []

    def make_image(settings, image_folder, attempt):
        if kills and attempt[0] == kills[0]:
            del kills[0]
            raise KeyboardInterrupt
        made.append(attempt[0])
        return make(settings, image_folder, attempt)

    make_extra_images(samples, tmp_path / "straight", ROUGH, processes=1)
    make = extra_images._make_image
    monkeypatch.setattr(extra_images, "_make_image", make_image)
    while kills:
        with pytest.raises(KeyboardInterrupt):
            make_extra_images(samples, tmp_path / "resumed", ROUGH, processes=1)
    make_extra_images(samples, tmp_path / "resumed", ROUGH, processes=1)
    assert made == list(range(40))
    assert contents(tmp_path / "resumed") == contents(tmp_path / "straight")


@pytest.mark.parametrize("ended_at", ["an attempt", "the table", "the settings"])
def test_images_lost_in_a_power_cut_are_remade(samples, tmp_path, monkeypatch, ended_at):
    """The last files are empty or missing, although files written later list them as done."""
    make_extra_images(samples, tmp_path / "straight", ROUGH, processes=1)
    make = extra_images._make_image
    with monkeypatch.context() as patch:
        if ended_at == "an attempt":
            patch.setattr(
                extra_images,
                "_make_image",
                lambda *arguments: interrupt() if arguments[2][0] == 30 else make(*arguments),
            )
        elif ended_at == "the table":
            patch.setattr(grouping, "write_group_table", interrupt)
        else:
            patch.setattr(extra_images, "flush_folder", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_extra_images(samples, tmp_path / "cut", ROUGH, processes=1)
    (partial,) = (tmp_path / "cut").glob(".partial-*")
    images = sorted((partial / "train" / "images").iterdir())
    images[-3].write_bytes(b"")
    images[-1].unlink()
    make_extra_images(samples, tmp_path / "cut", ROUGH, processes=1)
    assert contents(tmp_path / "cut") == contents(tmp_path / "straight")


def test_run_of_other_settings_is_not_resumed(samples, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(landmark_tables, "write_landmarks", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_extra_images(samples, tmp_path, ROUGH, processes=1)
    make_extra_images(samples, tmp_path, TEN, processes=1)
    assert make_extra_images(samples, tmp_path, TEN, processes=1)["made"] is False
    assert len(sources_of(tmp_path)) <= 10


def test_full_disk_is_reported(samples, made, tmp_path):
    with (
        no_file_beyond(50_000),
        pytest.raises(OSError, match=r"augmented-\w+: File too large"),
    ):
        make_extra_images(samples, tmp_path, dataclasses.replace(TEN, count=20), processes=1)
    assert not list(tmp_path.glob("augmented-*"))


def test_image_broken_since_is_named(own_faces, tmp_path):
    samples = load_samples(own_faces, "train", tmp_path / "prepared")
    (own_faces / "train" / "images" / samples.file_names[2]).write_bytes(b"")
    with pytest.raises(InputError, match=f"{samples.file_names[2]}: .*empty"):
        make_extra_images(samples, tmp_path / "extra", TEN, processes=1)
