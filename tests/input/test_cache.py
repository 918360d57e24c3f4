import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from folders import contents, no_file_beyond

from keras_landmarks.contest import landmark_tables, listed_images
from keras_landmarks.images import decoding
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input import cache
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.pipeline import ImageSet
from keras_landmarks.input.samples import load_samples
from keras_landmarks.utils.errors import InputError

CROP_SPEC = CropSpec(48, 56)


@pytest.fixture
def prepared(tmp_path):
    return tmp_path / "prepared"


@pytest.fixture
def photos(own_faces, prepared):
    return Photos(load_samples(own_faces, "train", prepared), CROP_SPEC)


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of ten rows: 24 photos need three."""
    record_bytes = 3 * 48 * 56 + 8 * 971 + 160
    monkeypatch.setattr(cache, "_SHARD_BYTES", 10 * record_bytes + 1)


def assert_holds(made, photos):
    """Every row of the cache equals the crop of its photo."""
    assert len(made) == len(photos)
    for row in range(len(photos)):
        image, landmarks = np.empty(CROP_SPEC.shape, np.uint8), np.empty((971, 2), np.float32)
        scale = np.empty(2)
        made.read_into(row, image, landmarks, scale)
        expected_image, expected_landmarks, transform = photos.read(row)
        np.testing.assert_array_equal(image, expected_image)
        np.testing.assert_array_equal(landmarks, expected_landmarks)
        np.testing.assert_array_equal(scale, transform.scale)


def raise_interrupt(*_):
    raise KeyboardInterrupt


def shards(prepared):
    return sorted(prepared.rglob("*.tfrecord*"))


def completed_ns(prepared):
    """Returns when the cache was completed, ns; it identifies a build."""
    (seal,) = prepared.glob("crops-*/store.json")
    return seal.stat().st_mtime_ns


@pytest.mark.usefixtures("small_shards")
def test_cached_rows_equal_the_photos(photos, prepared):
    made = cache.build_cache(photos, prepared)
    assert len(shards(prepared)) == 3
    assert (made.num_landmarks, made.crop_spec) == (971, CROP_SPEC)
    assert_holds(made, photos)


def test_number_of_shards_is_limited(photos, prepared, monkeypatch):
    monkeypatch.setattr(cache, "_SHARD_BYTES", 1)
    monkeypatch.setattr(cache, "_MOST_SHARDS", 5)
    made = cache.build_cache(photos, prepared)
    assert len(shards(prepared)) == 5  # 24 rows, 5 a shard
    assert_holds(made, photos)


def test_temporary_folder_stays_empty(photos, prepared, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    cache.build_cache(photos, prepared)
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("small_shards")
def test_tfds_reads_the_cache(photos, prepared):
    cache.build_cache(photos, prepared)
    builder = tfds.builder_from_directory(shards(prepared)[0].parent)
    examples = list(tfds.as_numpy(builder.as_dataset("train")))
    assert len(examples) == builder.info.splits["train"].num_examples == 24
    for row, example in enumerate(examples):
        image, landmarks, transform = photos.read(row)
        np.testing.assert_array_equal(example["image"], image)
        np.testing.assert_array_equal(example["landmarks"], landmarks)
        back = (example["landmarks"] - example["offset"]) / example["scale"]
        np.testing.assert_allclose(back, photos.samples.landmarks_photo_px[row], atol=1e-3)
        np.testing.assert_array_equal(example["scale"], transform.scale)


def test_zero_landmark_on_a_black_photo(tmp_path, prepared):
    (tmp_path / "train" / "images").mkdir(parents=True)
    images = [np.zeros(CROP_SPEC.shape, np.uint8), np.full(CROP_SPEC.shape, 9, np.uint8)]
    for name, image in zip("ab", images, strict=True):
        (tmp_path / "train" / "images" / name).write_bytes(decoding.encode_jpeg(image))
    points = np.array([[[0, 0]], [[3, 4]]])
    landmark_tables.write_landmarks(tmp_path / "train" / "landmarks.csv", ["a", "b"], points)
    photos = Photos(load_samples(tmp_path, "train", prepared), CROP_SPEC)
    images, landmarks, scale = ImageSet([(cache.build_cache(photos, prepared), [0, 1])]).load(
        [0, 1]
    )
    np.testing.assert_array_equal(landmarks, points)
    np.testing.assert_array_equal(scale, 1)
    assert images[0].max() == 0
    assert images[1].min() == images[1].max() == 9


def test_cache_is_built_once(photos, prepared):
    cache.build_cache(photos, prepared)
    before = completed_ns(prepared)
    assert_holds(cache.build_cache(photos, prepared), photos)
    assert completed_ns(prepared) == before


def test_cache_is_found_by_any_path(photos, prepared, own_faces, monkeypatch):
    cache.build_cache(photos, prepared)
    made = completed_ns(prepared)
    monkeypatch.chdir(own_faces.parent)
    cache.build_cache(Photos(load_samples(Path("faces"), "train", prepared), CROP_SPEC), prepared)
    assert completed_ns(prepared) == made


def test_overwritten_photo_rebuilds_the_cache(own_faces, photos, prepared):
    cache.build_cache(photos, prepared)
    path = photos.samples.image_folder / photos.samples.file_names[7]
    image = listed_images.read_image(path.parent, path.name)
    status = path.stat()
    with path.open("r+b") as file:
        file.write(decoding.encode_jpeg(255 - image))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    photos = Photos(load_samples(own_faces, "train", prepared), CROP_SPEC)
    assert_holds(cache.build_cache(photos, prepared), photos)


def test_changed_table_replaces_the_cache(own_faces, photos, prepared):
    cache.build_cache(photos, prepared)
    table = own_faces / "train" / "landmarks.csv"
    labels = landmark_tables.read_landmarks(table)
    landmark_tables.write_landmarks(table, labels.file_names[:5], labels.landmarks_photo_px[:5])
    fewer = Photos(load_samples(own_faces, "train", prepared), CROP_SPEC)
    assert_holds(cache.build_cache(fewer, prepared), fewer)
    assert len(list(prepared.glob("crops-*"))) == 1


def test_limit_has_its_own_cache(own_faces, photos, prepared):
    cache.build_cache(photos, prepared)
    before = completed_ns(prepared)
    fewer = Photos(load_samples(own_faces, "train", prepared, limit=5), CROP_SPEC)
    assert_holds(cache.build_cache(fewer, prepared), fewer)
    assert len(list(prepared.glob("crops-*"))) == 2
    again = Photos(load_samples(own_faces, "train", prepared), CROP_SPEC)
    assert_holds(cache.build_cache(again, prepared), again)
    assert before in {seal.stat().st_mtime_ns for seal in prepared.glob("crops-*/store.json")}


def test_each_table_has_its_own_cache(own_faces, photos, prepared, tmp_path):
    """The images folder of one may be a link to the other's."""
    other = tmp_path / "other" / "train"
    other.mkdir(parents=True)
    (other / "images").symlink_to(own_faces / "train" / "images")
    labels = landmark_tables.read_landmarks(own_faces / "train" / "landmarks.csv")
    landmark_tables.write_landmarks(
        other / "landmarks.csv", labels.file_names, labels.landmarks_photo_px[:, ::-1]
    )
    others = Photos(load_samples(other.parent, "train", prepared), CROP_SPEC)
    made = cache.build_cache(photos, prepared), cache.build_cache(others, prepared)
    assert_holds(made[0], photos)
    assert_holds(made[1], others)


def test_each_crop_spec_has_its_own_cache(photos, prepared, faces):
    cache.build_cache(photos, prepared)
    before = contents(prepared)
    for crop_spec in (
        CropSpec(56, 48),
        CropSpec(48, 56, "pad"),
        CropSpec(48, 56, "pad", trim_bands=True),
    ):
        cache.build_cache(Photos(photos.samples, crop_spec), prepared)
    cache.build_cache(Photos(load_samples(faces, "train", prepared), CROP_SPEC), prepared)
    kinds = [path.name.rpartition("-")[0] for path in prepared.glob("crops-*")]
    own = ["crops-56x48-crop", "crops-48x56-pad", "crops-48x56-pad-trimmed"]
    assert sorted(kinds) == sorted([*own, "crops-48x56-crop", "crops-48x56-crop"])
    assert before.items() <= contents(prepared).items()


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_a_record(path):
    record_bytes = path.stat().st_size // 10
    os.truncate(path, path.stat().st_size - record_bytes)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("damage", [flip_a_bit, cut_a_record, os.remove])
def test_damaged_shard_rebuilds_the_cache(photos, prepared, damage):
    cache.build_cache(photos, prepared)
    damage(shards(prepared)[1])
    assert_holds(cache.build_cache(photos, prepared), photos)


@pytest.mark.parametrize("content", ["", "{}", "[", "[]"])
def test_damaged_seal_rebuilds_the_cache(photos, prepared, content):
    cache.build_cache(photos, prepared)
    (seal,) = prepared.glob("crops-*/store.json")
    seal.write_text(content)
    assert_holds(cache.build_cache(photos, prepared), photos)


def test_touched_shard_is_kept(photos, prepared):
    cache.build_cache(photos, prepared)
    before = completed_ns(prepared)
    os.utime(shards(prepared)[0])
    assert_holds(cache.build_cache(photos, prepared), photos)
    assert completed_ns(prepared) == before


def test_truncated_shard_is_reported(photos, prepared):
    made = cache.build_cache(photos, prepared)
    os.truncate(shards(prepared)[0], 100)
    with pytest.raises(InputError, match=r"\.tfrecord\S*: "):
        ImageSet([(made, np.arange(24))]).load([23])


def test_missing_disk_space_is_refused(photos, prepared, monkeypatch):
    usage = shutil.disk_usage(prepared)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=300_000))
    with pytest.raises(InputError, match=r" 0\.4 MB .* 0\.3 MB .*--noprepare"):
        cache.build_cache(photos, prepared)
    assert not list(prepared.glob("*crops-*"))


def test_disk_that_fills_up_is_reported(photos, prepared):
    message = r"crops-48x56-crop-\w+: File too large"
    with no_file_beyond(100_000), pytest.raises(OSError, match=message):
        cache.build_cache(photos, prepared)
    assert not list(prepared.glob("*crops-*"))


@pytest.mark.usefixtures("small_shards")
def test_interrupted_build_resumes_at_its_shard(photos, prepared, tmp_path, monkeypatch):
    cache.build_cache(photos, tmp_path / "straight")
    kills, rows, read = [13, 13, 24], [], Photos.read

    def read_unless_killed(photos, row):
        if kills and row == kills[0]:
            del kills[0]
            raise KeyboardInterrupt
        rows.append(row)
        return read(photos, row)

    monkeypatch.setattr(Photos, "read", read_unless_killed)
    monkeypatch.setattr(cache, "_ROWS_PER_TASK", 1)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            cache.build_cache(photos, prepared, threads=1)
    kills.clear()
    cache.build_cache(photos, prepared, threads=1)
    assert rows.count(3) == 1
    assert rows.count(12) == 3
    made = {name: content for name, content in contents(prepared).items() if "crops" in name}
    assert made == contents(tmp_path / "straight")


def test_build_of_other_photos_is_not_resumed(own_faces, photos, prepared, monkeypatch):
    monkeypatch.setattr(cache, "_SHARD_BYTES", 60_000)
    with no_file_beyond(100_000), monkeypatch.context() as patch:
        patch.setattr(cache, "_make_manifest", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            cache.build_cache(photos, prepared)
    folder, names = photos.samples.image_folder, photos.samples.file_names
    shutil.copy(folder / names[4], folder / names[3])
    photos = Photos(load_samples(own_faces, "train", prepared), CROP_SPEC)
    assert_holds(cache.build_cache(photos, prepared), photos)
    assert len(list(prepared.glob("*crops-*"))) == len(list(prepared.glob("crops-*"))) == 1


def test_photo_broken_since_is_named(photos, prepared):
    (photos.samples.image_folder / photos.samples.file_names[8]).write_bytes(b"")
    with pytest.raises(InputError, match=f"{photos.samples.file_names[8]}: .*empty"):
        cache.build_cache(photos, prepared)
    assert not list(prepared.glob("*crops-*"))


def test_shards_do_not_depend_on_threads(photos, prepared):
    cache.build_cache(photos, prepared, threads=1)
    one = [path.read_bytes() for path in shards(prepared)]
    shutil.rmtree(prepared)
    cache.build_cache(photos, prepared, threads=3)
    assert [path.read_bytes() for path in shards(prepared)] == one


PREPARE = """
import sys
from pathlib import Path
from keras_landmarks.input import cache, samples
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.photos import Photos

data, prepared = map(Path, sys.argv[1:])
photos = Photos(samples.load_samples(data, "train", prepared), CropSpec(48, 56))
cache.build_cache(photos, prepared)
"""


@pytest.mark.slow
def test_processes_write_the_same_bytes(photos, prepared, own_faces, tmp_path):
    """By default protobuf orders the fields of a record by addresses in memory."""
    cache.build_cache(photos, prepared)
    for number in range(3):
        out = tmp_path / str(number)
        subprocess.run([sys.executable, "-c", PREPARE, own_faces, out], check=True)
        assert contents(out) == contents(prepared)


def test_tfds_prints_nothing(photos, prepared, capfd):
    capfd.readouterr()
    cache.build_cache(photos, prepared)
    out, err = capfd.readouterr()
    assert out == ""
    assert "24 of 24 images" in err
    assert "ownload" not in err
