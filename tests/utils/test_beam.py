import dataclasses
import os
import subprocess
import sys

import pytest
from folders import contents, no_file_beyond

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input import cache, extra_images
from keras_landmarks.input.extra_images import ExtraImageSpec, make_extra_images
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.samples import load_samples
from keras_landmarks.train import train
from keras_landmarks.utils import beam
from keras_landmarks.utils.errors import InputError

# What DirectRunner comes down to without a network: with one it fetches a program of Beam's first.
DIRECT = "FnApiRunner"
TWO_PROCESSES = "--direct_num_workers=2 --direct_running_mode=multi_processing"
CROP_SPEC = CropSpec(48, 48)
# So far to the side that about half of the faces lose a point.
ROUGH = ExtraImageSpec(count=40, shift_limit=0.2)


@pytest.fixture
def for_each():
    pytest.importorskip("apache_beam")
    return beam.make_for_each(DIRECT)


@pytest.fixture
def small_pieces(monkeypatch):
    """Shards of ten rows, pieces of seven attempts; the ordinary way takes row by row."""
    record_bytes = 3 * 48**2 + 8 * 971 + 160
    monkeypatch.setattr(cache, "_SHARD_BYTES", 10 * record_bytes + 1)
    monkeypatch.setattr(cache, "_ROWS_PER_TASK", 1)
    monkeypatch.setattr(extra_images, "_ATTEMPTS_PER_PIECE", 7)


def prepare(data, prepared, for_each=None):
    return prepare_samples(load_samples(data, "train", prepared), prepared, for_each)


def prepare_samples(samples, prepared, for_each=None):
    return cache.build_cache(Photos(samples, CROP_SPEC), prepared, threads=1, for_each=for_each)


def make_extra(data, prepared, settings, for_each=None):
    return make_extra_of(load_samples(data, "train", prepared), prepared, settings, for_each)


def make_extra_of(samples, prepared, settings, for_each=None):
    return make_extra_images(samples, prepared, settings, processes=1, for_each=for_each)


class Killed:
    """Stands in for a function of a row or attempt: raises at one number, counts the others."""

    def __init__(self, function, number_of):
        self.at, self.done = None, []
        self._function, self._number_of = function, number_of

    def __call__(self, *arguments):
        number = self._number_of(*arguments)
        if number == self.at:
            raise InputError(f"killed at {number}")
        self.done.append(number)
        return self._function(*arguments)


@pytest.mark.usefixtures("small_pieces")
def test_the_store_is_the_same_to_the_byte(faces, tmp_path, for_each):
    prepare(faces, tmp_path / "ordinary")
    prepare(faces, tmp_path / "beam", for_each)
    assert contents(tmp_path / "beam") == contents(tmp_path / "ordinary")
    assert len(list((tmp_path / "beam").rglob("*.tfrecord*"))) == 3


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("refill", [False, True])
def test_the_extra_images_are_the_same_to_the_byte(faces, tmp_path, for_each, refill):
    settings = dataclasses.replace(ROUGH, refill=refill)
    figures = make_extra(faces, tmp_path / "ordinary", settings)
    on_beam = make_extra(faces, tmp_path / "beam", settings, for_each)
    assert figures["dropped"] == on_beam["dropped"] > 3
    assert contents(tmp_path / "beam") == contents(tmp_path / "ordinary")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("beam_first", [False, True])
def test_each_way_goes_on_with_the_shards_of_the_other(
    faces, tmp_path, for_each, monkeypatch, beam_first
):
    prepare(faces, tmp_path / "straight")
    read = Killed(Photos.read, lambda photos, row: row)
    monkeypatch.setattr(Photos, "read", lambda photos, row: read(photos, row))
    read.at = 13
    first, second = (for_each, None) if beam_first else (None, for_each)
    with pytest.raises(InputError, match="killed at 13"):
        prepare(faces, tmp_path / "both", first)
    read.at = None
    prepare(faces, tmp_path / "both", second)
    assert read.done.count(3) == 1
    assert read.done.count(23) == 1
    assert contents(tmp_path / "both") == contents(tmp_path / "straight")


@pytest.mark.usefixtures("small_pieces")
def test_extra_images_go_on_with_the_pieces_that_are_there(faces, tmp_path, for_each, monkeypatch):
    make_extra(faces, tmp_path / "straight", ROUGH)
    make = Killed(extra_images._make_image, lambda settings, folder, attempt: attempt[0])
    monkeypatch.setattr(extra_images, "_make_image", lambda *arguments: make(*arguments))
    make.at = 30
    with pytest.raises(InputError, match="killed at 30"):
        make_extra(faces, tmp_path / "beam", ROUGH, for_each)
    make.at = None
    make_extra(faces, tmp_path / "beam", ROUGH, for_each)
    assert [make.done.count(number) for number in (0, 27, 28, 30, 39)] == [1, 1, 2, 1, 1]
    assert contents(tmp_path / "beam") == contents(tmp_path / "straight")


@pytest.mark.parametrize(
    "work", [prepare_samples, lambda *way: make_extra_of(*way[:2], ROUGH, *way[2:])]
)
def test_a_photo_that_broke_since_is_named(own_faces, tmp_path, for_each, work):
    samples = load_samples(own_faces, "train", tmp_path / "prepared")
    (own_faces / "train" / "images" / samples.file_names[2]).write_bytes(b"")
    with pytest.raises(InputError, match=rf"^\S+/{samples.file_names[2]}: the file is empty$"):
        work(samples, tmp_path / "prepared", for_each)


def test_a_full_disk_is_told_as_the_ordinary_way_does(faces, tmp_path, for_each):
    says = r"/crops-48x48-crop-\w+: File too large; make room and start again$"
    with no_file_beyond(100_000), pytest.raises(OSError, match=says):
        prepare(faces, tmp_path, for_each)


def test_no_runner_is_the_ordinary_way():
    assert beam.make_for_each(None) is None


def test_what_to_install_is_said_where_beam_is_missing(monkeypatch):
    for name in ["apache_beam", *(name for name in sys.modules if name.startswith("apache_beam."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"not installed: pip install -e \"\.\[beam\]\"$"):
        beam.make_for_each(DIRECT)


@pytest.mark.parametrize(
    ("runner", "options", "says"),
    [
        ("Foo", "", "^--beam_runner=Foo: Unexpected pipeline runner: Foo"),
        ("no.Runner", "", "^--beam_runner=no.Runner: No module named 'no'"),
        (DIRECT, "--direct_num_workers=x", "direct_num_workers: invalid int value: 'x'$"),
        (DIRECT, "'", "^--beam_options=': No closing quotation$"),
    ],
)
def test_a_mistake_is_told_before_the_work_begins(for_each, runner, options, says):
    with pytest.raises(InputError, match=says):
        beam.make_for_each(runner, options)


def test_a_runner_that_fails_is_named(tmp_path, for_each):
    """A port that nobody listens at, and no time to wait for somebody."""
    options = "--job_endpoint=localhost:1 --job_server_timeout=1 --environment_type=LOOPBACK"
    with pytest.raises(InputError, match=r"^--beam_runner=PortableRunner failed: .*[a-z]"):
        beam.make_for_each("PortableRunner", options)(os.fspath, [tmp_path])


def test_train_makes_extra_images_and_crops_on_the_runner(settings, tmp_path, for_each, caplog):
    """With so large a batch it ends where the training would begin."""
    caplog.set_level("INFO")
    settings = settings.replace(prepared=str(tmp_path), batch_size=1000)
    with pytest.raises(InputError, match="--batch_size=1000: only"):
        train(settings.replace(augment_count=4), for_each)
    assert caplog.messages.count(f"{DIRECT}: 1 pieces of work") == 3


@pytest.mark.usefixtures("for_each")
def test_train_reads_the_flags(run, faces):
    done = run("train", f"--data={faces}", "--beam_runner=Foo")
    assert done.returncode == 1
    assert done.stderr.startswith("error: --beam_runner=Foo: Unexpected pipeline runner")


@pytest.mark.slow
def test_the_command_with_two_worker_processes(faces, tmp_path, for_each):
    make_extra(faces, tmp_path / "ordinary", ROUGH)
    flags = [f"--data={faces}", f"--prepared={tmp_path / 'beam'}"]
    flags += [f"--augment_count={ROUGH.count}", f"--shift_limit={ROUGH.shift_limit}"]
    flags += [f"--beam_runner={DIRECT}", f"--beam_options={TWO_PROCESSES}"]
    subprocess.run([sys.executable, "-m", "keras_landmarks.augment", *flags], check=True)
    assert contents(tmp_path / "beam") == contents(tmp_path / "ordinary")
