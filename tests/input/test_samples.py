import functools
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_landmarks.contest import landmark_tables, listed_images, table_files
from keras_landmarks.contest.checking import boxes, lies_far_outside
from keras_landmarks.images import decoding
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.input.photos import Photos
from keras_landmarks.input.samples import load_samples, reopener
from keras_landmarks.input.splits import leave_out, split_rows
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


def test_sound_samples_are_all_there(load, table, images):
    samples = load()
    expected = landmark_tables.read_landmarks(table)
    assert samples.file_names == expected.file_names
    assert samples.points == 971
    assert samples.rejects == []
    assert samples.lines.tolist() == list(range(2, 26))
    np.testing.assert_array_equal(samples.landmarks_photo_px, expected.points)
    assert samples.landmarks_photo_px.dtype == np.int16
    sizes = [read(path).shape[1::-1] for path in images.values()]
    np.testing.assert_array_equal(samples.sizes_px, sizes)


def test_points_are_mapped_from_disk(load):
    assert isinstance(load().landmarks_photo_px, np.memmap)


def test_a_table_with_fractions_gives_float32(load, table):
    change_row(table, 4, lambda row: row.replace("\n", ".5\n"))
    landmarks_photo_px = load().landmarks_photo_px
    assert landmarks_photo_px.dtype == np.float32
    np.testing.assert_array_equal(landmarks_photo_px, landmark_tables.read_landmarks(table).points)


@pytest.fixture
def broken(table, images):
    """Breaks five samples; line and reason of each."""
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
        7: "an earlier row has this name: 2",
        9: "the file is empty",
    }


def test_broken_samples_are_skipped_and_listed(load, table, broken):
    sound = [row.partition("\t")[0] for row in table.read_text().splitlines()]
    sound = [name for line, name in enumerate(sound, start=1) if line > 1 and line not in broken]
    samples = load()
    assert {reject.line: reject.reason for reject in samples.rejects} == broken
    assert [reject.line for reject in samples.rejects] == sorted(broken)
    assert samples.file_names == sound
    assert len(samples) == len(samples.landmarks_photo_px) == len(samples.sizes_px) == 19


def test_rows_of_one_name_that_agree_are_one_sample(load, table):
    rows = table.read_text().splitlines(keepends=True)
    change_row(table, 9, lambda row: rows[4])
    change_row(table, 12, lambda row: rows[4].replace("\n", ".0\n"))
    change_row(table, 15, lambda row: "./" + rows[4])
    samples = load()
    assert samples.file_names.count(rows[4].partition("\t")[0]) == 1
    reason = "an earlier row has this name: 5"
    assert [reject[1:] for reject in samples.rejects] == [(9, reason), (12, reason), (15, reason)]


def test_rows_agree_however_they_and_their_neighbours_are_written(load, table, monkeypatch):
    """Each row is a block: of whole numbers, whole ones with a point, or fractions."""
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
    assert [reject[1:] for reject in load().rejects] == [
        (7, "another row of this name disagrees: 15"),
        (9, "an earlier row has this name: 5"),
        (12, "an earlier row has this name: 7"),
        (15, "another row of this name disagrees: 7"),
    ]


def test_rows_of_one_name_that_disagree_are_all_refused(load, table):
    sound = load()
    rows = table.read_text().splitlines(keepends=True)
    name = rows[4].partition("\t")[0]
    change_row(table, 9, lambda row: rows[4])
    change_row(table, 12, lambda row: name + "\t" + row.partition("\t")[2])
    change_row(table, 15, lambda row: rows[4])
    samples = load()
    assert [reject[1:] for reject in samples.rejects] == [
        (5, "another row of this name disagrees: 12"),
        (9, "an earlier row has this name: 5"),
        (12, "another row of this name disagrees: 5"),
        (15, "another row of this name disagrees: 5"),
    ]
    kept = [row for row in range(24) if row + 2 not in (5, 9, 12, 15)]
    assert samples.file_names == [sound.file_names[row] for row in kept]
    np.testing.assert_array_equal(samples.landmarks_photo_px, sound.landmarks_photo_px[kept])
    np.testing.assert_array_equal(samples.sizes_px, sound.sizes_px[kept])


def test_a_broken_row_does_not_bring_down_a_sound_one_of_its_name(load, table):
    rows = table.read_text().splitlines(keepends=True)
    change_row(table, 3, lambda row: rows[4].rpartition("\t")[0] + "\tnan\n")
    assert [reject.line for reject in load().rejects] == [3]


def test_fractions_may_begin_in_a_later_block(load, table, monkeypatch):
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 10_000)
    change_row(table, 20, lambda row: row.replace("\n", ".5\n"))
    change_row(table, 3, lambda row: row.rpartition("\t")[0] + "\n")
    samples = load()
    rows = [row.split("\t") for row in table.read_text().splitlines()[1:]]
    expected = [np.array(row[1:], np.float32).reshape(-1, 2) for row in rows if len(row) == 1943]
    assert samples.landmarks_photo_px.dtype == np.float32
    np.testing.assert_array_equal(samples.landmarks_photo_px, expected)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_point_may_lie_outside_by_the_images_longer_side(dtype):
    within = [(-100, 0), (199, 0), (50, -100), (50, 149), (-40, 20)]
    beyond = [(-101, 0), (200, 0), (50, -101), (50, 150), (-32767, 32767)]
    rows = np.array([[(0, 0), point, (99, 49)] for point in within + beyond], dtype)
    far = [lies_far_outside(box, (100, 50)) for box in boxes(rows)]
    assert far == [False] * 5 + [True] * 5
    assert lies_far_outside(boxes(np.full((1, 1, 2), 199.5))[0], (100, 100))


def test_a_row_with_a_point_far_outside_is_refused(load, table, images):
    width, height = read(images[4]).shape[1::-1]
    longer = max(width, height)
    change_row(table, 4, lambda row: row.rpartition("\t")[0] + f"\t{height + longer}\n")
    change_row(table, 5, lambda row: row.rpartition("\t")[0] + f"\t{-longer // 2}\n")
    assert [r[1:] for r in load().rejects] == [(4, "a point lies far outside the image")]


def test_points_of_a_turned_image_are_in_the_displayed_frame(load, table, images):
    photo = read(images[2])
    Image.fromarray(np.rot90(photo)).save(images[2], "JPEG", exif=orientation(6))
    samples = load()
    assert tuple(samples.sizes_px[0]) == photo.shape[1::-1]
    shown, points, _ = Photos(samples, CropSpec(64, 64)).read(0)
    images[2].write_bytes(decoding.encode_jpeg(photo))
    expected, expected_points, _ = Photos(samples, CropSpec(64, 64)).read(0)
    np.testing.assert_allclose(shown.astype(int), expected, atol=40)
    np.testing.assert_array_equal(points, expected_points)


def test_a_photo_that_came_to_be_a_link_out_of_the_folder_is_named(load, images, tmp_path):
    photos = Photos(load(), 64)
    images[3].rename(tmp_path / "outside.jpg")
    images[3].symlink_to(tmp_path / "outside.jpg")
    with pytest.raises(InputError, match=f"{images[3].name}: a link that leaves the images folder"):
        photos.read(1)


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.usefixtures("broken")
def test_strict_refuses_the_first_broken_sample(load, images):
    with pytest.raises(InputError, match=rf"line 3 \({images[3].name}\): the JPEG is truncated"):
        load(strict=True)


def test_a_folder_that_is_mostly_broken_is_refused(load, images):
    for line in range(2, 15):
        images[line].unlink()
    with pytest.raises(InputError, match=r"13 of 24 samples cannot be used: is --data right\?"):
        load()


def test_an_empty_table_is_refused(load, table):
    table.write_text(table.read_text().splitlines(keepends=True)[0])
    with pytest.raises(InputError, match="no row under the header"):
        load()


@pytest.mark.parametrize("missing", ["train/landmarks.csv", "train/images"])
def test_what_the_folder_lacks_is_named(load, own_faces, missing):
    (own_faces / missing).rename(own_faces / "elsewhere")
    with pytest.raises(InputError, match=missing):
        load()


@pytest.fixture
def decoded(monkeypatch):
    """The bytes of every image that is decoded from now on."""
    decode, contents = decoding.decode_image, []
    monkeypatch.setattr(
        decoding, "decode_image", lambda content: contents.append(content) or decode(content)
    )
    return contents


@pytest.mark.usefixtures("broken")
def test_the_second_load_remembers(load, images, decoded, monkeypatch):
    """Only the images that could not be read are looked at again."""
    first = load()
    decoded.clear()
    monkeypatch.setattr(landmark_tables, "iterate_landmarks", None)
    second = load()
    assert sorted(decoded, key=len) == [b"", images[3].read_bytes()]
    assert second.file_names == first.file_names
    assert second.rejects == first.rejects
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second.landmarks_photo_px, first.landmarks_photo_px)
    np.testing.assert_array_equal(second.sizes_px, first.sizes_px)


def test_a_changed_table_is_read_anew(load, table):
    before = load().fingerprint
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    after = load()
    assert len(after) == 23
    assert after.fingerprint != before


def test_a_changed_list_of_images_is_checked_anew(load, images):
    load()
    images[5].unlink()
    assert [reject.line for reject in load().rejects] == [5]


@pytest.fixture
def in_folders(own_faces, table):
    """Moves the training images into folders of the images folder; their paths by line."""
    images = own_faces / "train" / "images"
    labels = landmark_tables.read_landmarks(table)
    names = [f"{'ab'[row % 2]}/{name}" for row, name in enumerate(labels.file_names)]
    for folder in "ab":
        (images / folder).mkdir()
    for before, after in zip(labels.file_names, names, strict=True):
        (images / before).rename(images / after)
    landmark_tables.write_landmarks(table, names, labels.points)
    return {line: images / name for line, name in enumerate(names, start=2)}


def test_photos_that_are_repaired_or_appear_in_an_inner_folder_are_used(load, in_folders):
    sound = {line: in_folders[line].read_bytes() for line in (3, 5, 8)}
    in_folders[3].write_bytes(sound[3][:900])
    in_folders[5].unlink()
    in_folders[8].unlink()
    assert [reject.line for reject in load().rejects] == [3, 5, 8]
    for line in (3, 5):
        in_folders[line].write_bytes(sound[line])
    samples = load()
    assert [reject.line for reject in samples.rejects] == [8]
    assert samples.lines.tolist() == [2, 3, 4, 5, 6, 7, *range(9, 26)]


def test_a_photo_that_breaks_in_an_inner_folder_is_rejected(load, in_folders):
    load()
    in_folders[7].write_bytes(b"")
    assert [reject[1:] for reject in load().rejects] == [(7, "the file is empty")]


def test_a_photo_that_could_not_be_read_for_a_fault_of_its_disk_is_looked_at_again(
    load, images, monkeypatch
):
    read = listed_images.read_listed_content

    def fail(folder, name):
        if name == images[6].name:
            raise ValueError("Input/output error")
        return read(folder, name)

    with monkeypatch.context() as patch:
        patch.setattr(listed_images, "read_listed_content", fail)
        assert [reject[1:] for reject in load().rejects] == [(6, "Input/output error")]
    assert load().rejects == []


def test_a_point_far_outside_is_looked_at_again_when_the_photo_is_another(load, images, table):
    width = read(images[4]).shape[1]
    change_row(table, 4, lambda row: row.rpartition("\t")[0].rpartition("\t")[0] + "\t900\t10\n")
    assert [reject[1:] for reject in load().rejects] == [(4, "a point lies far outside the image")]
    images[4].write_bytes(decoding.encode_jpeg(np.zeros((600, 900, 3), np.uint8)))
    assert width < 450
    assert load().rejects == []


def rewrite_with_the_same_size_and_time(path, content):
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def test_a_label_changed_within_the_same_size_and_time_is_seen(load, table):
    before = load()
    (first, *_) = before.landmarks_photo_px[:, 0, 0].tolist()
    content = table.read_bytes().replace(b"\t%d\t" % first, b"\t%d\t" % (first + 1), 1)
    rewrite_with_the_same_size_and_time(table, content)
    after = load()
    assert after.landmarks_photo_px[0, 0, 0] == first + 1
    assert after.fingerprint != before.fingerprint


def test_a_photo_changed_within_the_same_size_and_time_is_seen(load, images):
    before = load()
    content = bytearray(images[9].read_bytes())
    content[len(content) // 2] ^= 1
    rewrite_with_the_same_size_and_time(images[9], content)
    assert load().fingerprint != before.fingerprint


def test_files_that_were_only_touched_or_moved_keep_their_fingerprint(load, own_faces, images):
    before = load()
    images[5].chmod(0o600)
    os.utime(images[6])
    os.utime(own_faces / "train" / "landmarks.csv")
    assert load().fingerprint == before.fingerprint
    moved = own_faces.rename(own_faces.with_name("moved"))
    after = load_samples(moved, "train", moved.parent / "prepared")
    assert (after.fingerprint, after.image_folder) == (before.fingerprint, moved / "train/images")


def test_what_changes_while_it_is_checked_is_checked_again(load, images, tmp_path, monkeypatch):
    decode, sound = decoding.decode_image, images[3].read_bytes()

    def spoil_what_was_seen(content):
        image = decode(content)
        if content == sound:
            (begun,) = tmp_path.rglob("landmarks.bin")
            while images[3].stat().st_ctime_ns <= begun.stat().st_ctime_ns:  # clocks are coarse
                images[3].write_bytes(sound[:900])
        return image

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode_image", spoil_what_was_seen)
        assert load().rejects == []
    assert [reject[1:] for reject in load().rejects] == [(3, "the JPEG is truncated")]


@pytest.mark.parametrize("strict", [True, False])
def test_what_is_refused_is_not_remembered(load, images, tmp_path, strict):
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
def test_a_damaged_memory_is_made_anew(load, tmp_path, damage):
    before = np.array(load().landmarks_photo_px)
    (folder,) = (tmp_path / "prepared").iterdir()
    damage(folder)
    np.testing.assert_array_equal(load().landmarks_photo_px, before)


def test_a_limit_and_the_whole_are_remembered_beside_each_other(load, decoded):
    assert (len(load()), len(load(limit=5)), len(load(limit=7))) == (24, 5, 7)
    decoded.clear()
    assert (len(load()), len(load(limit=5)), len(load(limit=7))) == (24, 5, 7)
    assert decoded == []


def test_folders_that_change_places_are_told_apart(own_faces, tmp_path):
    """Even if tables and photos are equally large and equally old."""
    first, second, prepared = own_faces, tmp_path / "second", tmp_path / "prepared"
    shutil.copytree(first, second)
    table = second / "train" / "landmarks.csv"
    labels = landmark_tables.read_landmarks(table)
    turned = labels.points[:, ::-1]
    landmark_tables.write_landmarks(table, labels.file_names, turned)
    status = (first / "train" / "landmarks.csv").stat()
    assert table.stat().st_size == status.st_size
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))

    def points_of(data):
        return load_samples(data, "train", prepared).landmarks_photo_px

    np.testing.assert_array_equal(points_of(first), labels.points)
    np.testing.assert_array_equal(points_of(second), turned)
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    np.testing.assert_array_equal(points_of(first), turned)
    np.testing.assert_array_equal(points_of(second), labels.points)


def test_a_process_that_opens_data_that_has_changed_is_told(load, table, tmp_path):
    reopen = reopener(load(), tmp_path / "prepared")
    assert len(reopen()) == 24
    reopen = reopener(load(), tmp_path / "prepared")
    change_row(table, 4, lambda row: row.replace("\n", "0\n"))
    load()
    reopen.func.cache_clear()  # another process
    with pytest.raises(InputError, match="images: the data changed since the start; start again"):
        reopen()


def test_the_limit_counts_rows_broken_or_not(load, table):
    for line in (3, 20):
        change_row(table, line, lambda row: row.rpartition("\t")[0] + "\n")
    samples = load(limit=5)
    assert [reject.line for reject in samples.rejects] == [3]
    assert len(samples) == 4


def test_a_failed_check_leaves_nothing(load, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "decode_image", lambda content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load()
    assert list((tmp_path / "prepared").iterdir()) == []


# ── training and validation rows ──


def test_the_recipes_split():
    train, validation = split_rows(range(393_930), 0.995)
    assert len(train) == 391_960
    assert len(validation) == 1_970
    np.testing.assert_array_equal(np.concatenate([train, validation]), np.arange(393_930))


def test_a_group_is_held_out_whole():
    names = ["a1", "b1", "a2", "c1", "b2", "c2", "b3"]
    train, validation = split_rows(names, 0.7, [name[0] for name in names])
    assert [names[row] for row in validation] == ["b1", "b2", "b3"]
    assert [names[row] for row in train] == ["a1", "a2", "c1", "c2"]


def test_groups_are_held_out_until_validation_has_its_share():
    names = ["a1", "b1", "a2", "c1", "b2", "c2"]
    _, validation = split_rows(names, 0.4, [name[0] for name in names])
    assert [names[row] for row in validation] == ["b1", "c1", "b2", "c2"]


def held_out_row_by_row(groups, train_fraction):
    """Splits as `split_rows` says, one row after the other."""
    wanted = len(groups) - int(len(groups) * train_fraction)
    held_out = set()
    for group in reversed(groups):
        if len(held_out) >= wanted:
            break
        held_out |= {row for row, other in enumerate(groups) if other == group}
    return sorted(held_out)


@pytest.mark.parametrize("seed", range(40))
def test_groups_are_held_out_as_a_slow_split_does(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, rng.integers(2, 40), 60).astype(str).tolist()
    train_fraction = rng.uniform(0.5, 1)
    train, validation = split_rows(groups, train_fraction, groups)
    assert validation.tolist() == held_out_row_by_row(groups, train_fraction)
    assert sorted([*train, *validation]) == list(range(60))


def test_splitting_many_groups_looks_at_each_row_once():
    """A scan of all rows for each group would take an hour here."""
    groups = [f"person {row % 300_000}" for row in range(400_000)]
    train, validation = split_rows(groups, 0.5, groups)
    assert len(validation) == 200_000
    assert not {groups[row] for row in train} & {groups[row] for row in validation}


@pytest.mark.parametrize(("fraction", "groups"), [(0.0, None), (0.5, ["1", "1"])])
def test_a_split_without_training_rows_is_refused(fraction, groups):
    with pytest.raises(InputError, match="no row is left to train on"):
        split_rows(["a", "b"], fraction, groups)


def test_lines_are_those_of_the_table_whatever_was_refused(load, table):
    rows = table.read_text().splitlines(keepends=True)
    rows[2:3] = ["\n", rows[2].replace("\t", "\tx", 1)]
    table.write_text("".join(rows))
    assert load().lines.tolist() == [2, *range(5, 27)]


def test_excluded_files_are_left_out_of_rows():
    rows = np.array([0, 2, 3])
    left = leave_out(rows, ["a", "b", "c", "d"], {"c", "b", "elsewhere"})
    assert left.tolist() == [0, 3]
    assert leave_out(rows, ["a", "b", "c", "d"], {"a", "c", "d"}).dtype == np.int64


def test_shares_of_the_photos_sides_are_refused(own_faces, tmp_path):
    table = own_faces / "train" / "landmarks.csv"
    labels = landmark_tables.read_landmarks(table)
    landmark_tables.write_landmarks(table, labels.file_names, labels.points / 1000)
    with pytest.raises(InputError, match="all points are about 0 to 1"):
        load_samples(own_faces, "train", tmp_path)
    assert not list(tmp_path.glob("samples-*"))
