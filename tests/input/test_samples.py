import dataclasses
import functools
import os
import shutil

import numpy as np
import pytest
from folders import with_gaps
from PIL import Image

from keras_landmarks.contest import landmark_tables, listed_images, table_files
from keras_landmarks.images import decoding
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.samples import (
    check_every_landmark,
    fingerprint_rows,
    load_samples,
    make_loader,
)
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def load(own_faces, tmp_path):
    """Loads the training samples of `own_faces`."""
    return functools.partial(load_samples, own_faces, "train", tmp_path / "prepared")


@pytest.fixture
def table(own_faces):
    return own_faces / "train" / "landmarks.csv"


@pytest.fixture
def images(own_faces):
    """The training images by line of the table."""
    return dict(enumerate(sorted((own_faces / "train" / "images").iterdir()), start=2))


def read(path):
    return listed_images.read_image(path.parent, path.name)


def change_row(table, line, change):
    rows = table.read_text().splitlines(keepends=True)
    rows[line - 1] = change(rows[line - 1])
    table.write_text("".join(rows))


def test_valid_samples_are_all_loaded(load, table, images):
    samples = load()
    expected = landmark_tables.read_landmarks(table)
    assert samples.file_names == expected.file_names
    assert samples.num_landmarks == 971
    assert samples.invalid_samples == []
    assert samples.lines.tolist() == list(range(2, 26))
    np.testing.assert_array_equal(samples.landmarks_photo_px, expected.landmarks_photo_px)
    assert samples.landmarks_photo_px.dtype == np.int16
    sizes = [read(path).shape[1::-1] for path in images.values()]
    np.testing.assert_array_equal(samples.sizes_px, sizes)


def test_landmarks_are_memory_mapped(load):
    assert isinstance(load().landmarks_photo_px, np.memmap)


def test_fractions_are_loaded_as_float32(load, table):
    change_row(table, 4, lambda row: row.replace("\n", ".5\n"))
    landmarks_photo_px = load().landmarks_photo_px
    assert landmarks_photo_px.dtype == np.float32
    np.testing.assert_array_equal(
        landmarks_photo_px, landmark_tables.read_landmarks(table).landmarks_photo_px
    )


def test_landmarks_without_a_place_are_nan_and_counted(load, own_faces, table):
    whole = landmark_tables.read_landmarks(table).landmarks_photo_px
    with_gaps(own_faces, {0: [0, 970], 5: [3]})
    for samples in (load(), load()):  # checked, then kept
        assert samples.num_missing == 3
        landmarks = np.array(samples.landmarks_photo_px)
        gaps = np.argwhere(np.isnan(landmarks[..., 0])).tolist()
        assert gaps == [[0, 0], [0, 970], [5, 3]]
        present = ~np.isnan(landmarks)
        np.testing.assert_array_equal(landmarks[present], whole[present])


def test_landmark_without_a_place_in_any_training_row_is_named(load, own_faces):
    with_gaps(own_faces, {row: [7, 9] for row in range(1, 24)})
    samples = load()
    check_every_landmark(samples, np.arange(24))
    with pytest.raises(InputError, match=r"in none of the training photos: Point_M7, Point_M9;"):
        check_every_landmark(samples, np.arange(1, 24))


@pytest.fixture
def broken(table, images):
    """Makes five samples invalid; their reasons by line."""
    images[3].write_bytes(images[3].read_bytes()[:-100])
    images[4].unlink()
    change_row(table, 6, lambda row: row.rpartition("\t")[0] + "\n")
    rows = table.read_text().splitlines(keepends=True)
    change_row(table, 7, lambda row: rows[1])
    images[9].write_text("")
    return {
        3: "the JPEG is truncated",
        4: "there is no such image",
        6: "fewer cells than the header has: 1942, not 1943",
        7: "duplicate of an earlier row: line 2",
        9: "the file is empty",
    }


def test_invalid_samples_are_listed(load, table, broken):
    valid = [row.partition("\t")[0] for row in table.read_text().splitlines()]
    valid = [name for line, name in enumerate(valid, start=1) if line > 1 and line not in broken]
    samples = load()
    assert {reject.line: reject.reason for reject in samples.invalid_samples} == broken
    assert [reject.line for reject in samples.invalid_samples] == sorted(broken)
    assert samples.file_names == valid
    assert len(samples) == len(samples.landmarks_photo_px) == len(samples.sizes_px) == 19


def test_equal_rows_of_a_name_are_one_sample(load, table):
    rows = table.read_text().splitlines(keepends=True)
    change_row(table, 9, lambda row: rows[4])
    change_row(table, 12, lambda row: rows[4].replace("\n", ".0\n"))
    change_row(table, 15, lambda row: "./" + rows[4])
    samples = load()
    assert samples.file_names.count(rows[4].partition("\t")[0]) == 1
    reason = "duplicate of an earlier row: line 5"
    assert [reject[1:] for reject in samples.invalid_samples] == [
        (9, reason),
        (12, reason),
        (15, reason),
    ]


def test_rows_are_compared_by_value(load, table, monkeypatch):
    """Each row is a block of integers, integers with a decimal point, or fractions."""
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 1000)
    rows = table.read_text().splitlines(keepends=True)
    name, _, numbers = rows[4].partition("\t")
    numbers = numbers.split("\t")[2:]
    change_row(table, 5, lambda row: "\t".join([name, "0", "30", *numbers]))
    change_row(table, 9, lambda row: "\t".join([name, "-0.0", "3e1", *numbers]))
    other = rows[6].partition("\t")[0]
    change_row(table, 7, lambda row: "\t".join([other, "0", "0.5", *numbers]))
    change_row(table, 12, lambda row: "\t".join([other, "-0", "5e-1", *numbers]))
    change_row(table, 15, lambda row: "\t".join([other, "0", "1", *numbers]))
    assert [reject[1:] for reject in load().invalid_samples] == [
        (7, "contradicts another row of this file: line 15"),
        (9, "duplicate of an earlier row: line 5"),
        (12, "duplicate of an earlier row: line 7"),
        (15, "contradicts another row of this file: line 7"),
    ]


def test_contradicting_rows_are_all_invalid(load, table):
    valid = load()
    rows = table.read_text().splitlines(keepends=True)
    name = rows[4].partition("\t")[0]
    change_row(table, 9, lambda row: rows[4])
    change_row(table, 12, lambda row: name + "\t" + row.partition("\t")[2])
    change_row(table, 15, lambda row: rows[4])
    samples = load()
    assert [reject[1:] for reject in samples.invalid_samples] == [
        (5, "contradicts another row of this file: line 12"),
        (9, "duplicate of an earlier row: line 5"),
        (12, "contradicts another row of this file: line 5"),
        (15, "contradicts another row of this file: line 5"),
    ]
    kept = [row for row in range(24) if row + 2 not in (5, 9, 12, 15)]
    assert samples.file_names == [valid.file_names[row] for row in kept]
    np.testing.assert_array_equal(samples.landmarks_photo_px, valid.landmarks_photo_px[kept])
    np.testing.assert_array_equal(samples.sizes_px, valid.sizes_px[kept])


def test_valid_row_survives_invalid_duplicate(load, table):
    rows = table.read_text().splitlines(keepends=True)
    change_row(table, 3, lambda row: rows[4].rpartition("\t")[0] + "\tnan\n")
    assert [reject.line for reject in load().invalid_samples] == [3]


def test_fractions_may_start_in_a_later_block(load, table, monkeypatch):
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 10_000)
    change_row(table, 20, lambda row: row.replace("\n", ".5\n"))
    change_row(table, 3, lambda row: row.rpartition("\t")[0] + "\n")
    samples = load()
    rows = [row.split("\t") for row in table.read_text().splitlines()[1:]]
    expected = [np.array(row[1:], np.float32).reshape(-1, 2) for row in rows if len(row) == 1943]
    assert samples.landmarks_photo_px.dtype == np.float32
    np.testing.assert_array_equal(samples.landmarks_photo_px, expected)


def test_point_far_outside_is_invalid(load, table, images):
    width, height = read(images[4]).shape[1::-1]
    longer = max(width, height)
    change_row(table, 4, lambda row: row.rpartition("\t")[0] + f"\t{height + longer}\n")
    change_row(table, 5, lambda row: row.rpartition("\t")[0] + f"\t{-longer // 2}\n")
    assert [r[1:] for r in load().invalid_samples] == [(4, "a point lies far outside the image")]


def test_points_are_in_the_exif_orientation(load, table, images):
    photo = read(images[2])
    Image.fromarray(np.rot90(photo)).save(images[2], "JPEG", exif=orientation(6))
    samples = load()
    assert tuple(samples.sizes_px[0]) == photo.shape[1::-1]
    shown, points, _ = Photos(samples, CropSpec(64, 64)).read(0)
    images[2].write_bytes(decoding.encode_jpeg(photo))
    expected, expected_points, _ = Photos(samples, CropSpec(64, 64)).read(0)
    np.testing.assert_allclose(shown.astype(int), expected, atol=40)
    np.testing.assert_array_equal(points, expected_points)


def test_link_out_of_the_folder_is_refused(load, images, tmp_path):
    photos = Photos(load(), 64)
    images[3].rename(tmp_path / "outside.jpg")
    images[3].symlink_to(tmp_path / "outside.jpg")
    with pytest.raises(InputError, match=f"{images[3].name}: .*link"):
        photos.read(1)


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.usefixtures("broken")
def test_strict_names_first_invalid_sample(load, images):
    with pytest.raises(InputError, match=rf" 3 \({images[3].name}\): .*truncated"):
        load(strict=True)


def test_mostly_invalid_samples_are_refused(load, images):
    for line in range(2, 15):
        images[line].unlink()
    with pytest.raises(InputError, match=r" 13 of 24 .*--data\b"):
        load()


def test_table_without_rows_is_refused(load, table):
    table.write_text(table.read_text().splitlines(keepends=True)[0])
    with pytest.raises(InputError, match=r"landmarks\.csv: .*header"):
        load()


@pytest.mark.parametrize("missing", ["train/landmarks.csv", "train/images"])
def test_missing_file_or_folder_is_named(load, own_faces, missing):
    (own_faces / missing).rename(own_faces / "elsewhere")
    with pytest.raises(InputError, match=missing):
        load()


@pytest.fixture
def decoded(monkeypatch):
    """The contents of the images that are decoded from now on."""
    decode, contents = decoding.decode_image, []
    monkeypatch.setattr(
        decoding, "decode_image", lambda content: contents.append(content) or decode(content)
    )
    return contents


@pytest.mark.usefixtures("broken")
def test_second_load_decodes_invalid_images_only(load, images, decoded, monkeypatch):
    """Only the images that could not be read are read again."""
    first = load()
    decoded.clear()
    monkeypatch.setattr(landmark_tables, "iterate_landmarks", None)
    second = load()
    assert sorted(decoded, key=len) == [b"", images[3].read_bytes()]
    assert second.file_names == first.file_names
    assert second.invalid_samples == first.invalid_samples
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second.landmarks_photo_px, first.landmarks_photo_px)
    np.testing.assert_array_equal(second.sizes_px, first.sizes_px)


def test_changed_table_is_read_again(load, table):
    before = load().fingerprint
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    after = load()
    assert len(after) == 23
    assert after.fingerprint != before


def test_deleted_image_is_noticed(load, images):
    load()
    images[5].unlink()
    assert [reject.line for reject in load().invalid_samples] == [5]


@pytest.fixture
def in_subfolders(own_faces, table):
    """Moves the training images into subfolders; their paths by line."""
    images = own_faces / "train" / "images"
    labels = landmark_tables.read_landmarks(table)
    names = [f"{'ab'[row % 2]}/{name}" for row, name in enumerate(labels.file_names)]
    for folder in "ab":
        (images / folder).mkdir()
    for before, after in zip(labels.file_names, names, strict=True):
        (images / before).rename(images / after)
    landmark_tables.write_landmarks(table, names, labels.landmarks_photo_px)
    return {line: images / name for line, name in enumerate(names, start=2)}


def test_repaired_and_new_photos_are_used(load, in_subfolders):
    valid = {line: in_subfolders[line].read_bytes() for line in (3, 5, 8)}
    in_subfolders[3].write_bytes(valid[3][:900])
    in_subfolders[5].unlink()
    in_subfolders[8].unlink()
    assert [reject.line for reject in load().invalid_samples] == [3, 5, 8]
    for line in (3, 5):
        in_subfolders[line].write_bytes(valid[line])
    samples = load()
    assert [reject.line for reject in samples.invalid_samples] == [8]
    assert samples.lines.tolist() == [2, 3, 4, 5, 6, 7, *range(9, 26)]


def test_photo_broken_in_subfolder_is_invalid(load, in_subfolders):
    load()
    in_subfolders[7].write_bytes(b"")
    assert [reject[1:] for reject in load().invalid_samples] == [(7, "the file is empty")]


def test_unreadable_photo_is_checked_again(load, images, monkeypatch):
    read = listed_images.read_listed_content

    def fail(folder, name):
        if name == images[6].name:
            raise ValueError("Input/output error")
        return read(folder, name)

    with monkeypatch.context() as patch:
        patch.setattr(listed_images, "read_listed_content", fail)
        assert [reject[1:] for reject in load().invalid_samples] == [(6, "Input/output error")]
    assert load().invalid_samples == []


def test_replaced_photo_is_checked_again(load, images, table):
    width = read(images[4]).shape[1]
    change_row(table, 4, lambda row: row.rpartition("\t")[0].rpartition("\t")[0] + "\t900\t10\n")
    assert [reject[1:] for reject in load().invalid_samples] == [
        (4, "a point lies far outside the image")
    ]
    images[4].write_bytes(decoding.encode_jpeg(np.zeros((600, 900, 3), np.uint8)))
    assert width < 450
    assert load().invalid_samples == []


def rewrite_with_same_stat(path, content):
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def test_changed_label_with_same_stat_is_noticed(load, table):
    before = load()
    (first, *_) = before.landmarks_photo_px[:, 0, 0].tolist()
    content = table.read_bytes().replace(b"\t%d\t" % first, b"\t%d\t" % (first + 1), 1)
    rewrite_with_same_stat(table, content)
    after = load()
    assert after.landmarks_photo_px[0, 0, 0] == first + 1
    assert after.fingerprint != before.fingerprint


def test_changed_photo_with_same_stat_is_noticed(load, images):
    before = load()
    content = bytearray(images[9].read_bytes())
    content[len(content) // 2] ^= 1
    rewrite_with_same_stat(images[9], content)
    assert load().fingerprint != before.fingerprint


def test_fingerprint_of_rows_covers_every_landmark(load):
    samples = load()
    many = np.tile(samples.landmarks_photo_px[:1, :4], (3000, 1, 1))
    changed = many.copy()
    changed[1234, 3, 1] += 1
    before, after = (
        fingerprint_rows(
            dataclasses.replace(
                samples, file_names=["a.jpg"] * 3000, landmarks_photo_px=landmarks_px
            ),
            np.arange(3000),
        )
        for landmarks_px in (many, changed)
    )
    assert before != after


def test_touched_files_keep_the_fingerprint(load, own_faces, images):
    before = load()
    images[5].chmod(0o600)
    os.utime(images[6])
    os.utime(own_faces / "train" / "landmarks.csv")
    assert load().fingerprint == before.fingerprint
    moved = own_faces.rename(own_faces.with_name("moved"))
    after = load_samples(moved, "train", moved.parent / "prepared")
    assert (after.fingerprint, after.image_folder) == (before.fingerprint, moved / "train/images")


def test_photo_changed_during_check_is_noticed(load, images, tmp_path, monkeypatch):
    decode, valid = decoding.decode_image, images[3].read_bytes()

    def spoil_after_decoding(content):
        image = decode(content)
        if content == valid:
            (started,) = tmp_path.rglob("landmarks.bin")
            while (
                images[3].stat().st_ctime_ns <= started.stat().st_ctime_ns
            ):  # clocks of file systems are coarse
                images[3].write_bytes(valid[:900])
        return image

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode_image", spoil_after_decoding)
        assert load().invalid_samples == []
    assert [reject[1:] for reject in load().invalid_samples] == [(3, "the JPEG is truncated")]


@pytest.mark.parametrize("strict", [True, False])
def test_refused_samples_are_not_cached(load, images, tmp_path, strict):
    for line in range(2, 3 if strict else 15):
        images[line].unlink()
    with pytest.raises(InputError):
        load(strict=strict)
    assert list((tmp_path / "prepared").iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "index.json").write_text("{"),
        lambda folder: (folder / "index.json").write_text("[]"),
        lambda folder: (folder / "landmarks.bin").unlink(),
        lambda folder: os.truncate(folder / "landmarks.bin", 100),
    ],
)
def test_damaged_cache_is_rebuilt(load, tmp_path, damage):
    before = np.array(load().landmarks_photo_px)
    (folder,) = (tmp_path / "prepared").iterdir()
    damage(folder)
    np.testing.assert_array_equal(load().landmarks_photo_px, before)


def test_each_limit_has_its_own_cache(load, decoded):
    assert (len(load()), len(load(limit=5)), len(load(limit=7))) == (24, 5, 7)
    decoded.clear()
    assert (len(load()), len(load(limit=5)), len(load(limit=7))) == (24, 5, 7)
    assert decoded == []


def test_swapped_folders_are_told_apart(own_faces, tmp_path):
    """Tables and photos have the same sizes and times."""
    first, second, prepared = own_faces, tmp_path / "second", tmp_path / "prepared"
    shutil.copytree(first, second)
    table = second / "train" / "landmarks.csv"
    labels = landmark_tables.read_landmarks(table)
    turned = labels.landmarks_photo_px[:, ::-1]
    landmark_tables.write_landmarks(table, labels.file_names, turned)
    status = (first / "train" / "landmarks.csv").stat()
    assert table.stat().st_size == status.st_size
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))

    def points_of(data):
        return load_samples(data, "train", prepared).landmarks_photo_px

    np.testing.assert_array_equal(points_of(first), labels.landmarks_photo_px)
    np.testing.assert_array_equal(points_of(second), turned)
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    np.testing.assert_array_equal(points_of(first), turned)
    np.testing.assert_array_equal(points_of(second), labels.landmarks_photo_px)


def test_reopening_changed_data_is_refused(load, table, tmp_path):
    load_again = make_loader(load(), tmp_path / "prepared")
    assert len(load_again()) == 24
    load_again = make_loader(load(), tmp_path / "prepared")
    change_row(table, 4, lambda row: row.replace("\n", "0\n"))
    load()
    load_again.func.cache_clear()  # as in another process
    with pytest.raises(InputError, match=r"images: .*changed"):
        load_again()


def test_limit_counts_invalid_rows(load, table):
    for line in (3, 20):
        change_row(table, line, lambda row: row.rpartition("\t")[0] + "\n")
    samples = load(limit=5)
    assert [reject.line for reject in samples.invalid_samples] == [3]
    assert len(samples) == 4


def test_failed_check_leaves_nothing(load, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "decode_image", lambda content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load()
    assert list((tmp_path / "prepared").iterdir()) == []


def test_lines_are_those_of_the_table(load, table):
    rows = table.read_text().splitlines(keepends=True)
    rows[2:3] = ["\n", rows[2].replace("\t", "\tx", 1)]
    table.write_text("".join(rows))
    assert load().lines.tolist() == [2, *range(5, 27)]


def test_relative_coordinates_are_refused(own_faces, tmp_path):
    table = own_faces / "train" / "landmarks.csv"
    labels = landmark_tables.read_landmarks(table)
    landmark_tables.write_landmarks(table, labels.file_names, labels.landmarks_photo_px / 1000)
    with pytest.raises(InputError, match=r"landmarks\.csv: .* 0 to 1"):
        load_samples(own_faces, "train", tmp_path)
    assert not list(tmp_path.glob("samples-*"))
