import shutil

import numpy as np
import pytest
from spoiling import COPIES, copy_of, jpeg

from keras_landmarks.contest import grouping, listed_images, locations
from keras_landmarks.find_duplicates import find_duplicates
from keras_landmarks.input.splits import split_by_fraction

KINDS = {
    "recompressed": {"copy"},
    "resized": {"resized", "copy"},  # copy: by less than 2 %
    "mirrored": {"mirrored"},
    "cropped": {"cropped"},
    "all": {"mirrored cropped", "mirrored cropped resized"},
}


def read_pairs(path):
    header, *rows = path.read_text().splitlines()
    assert header == "first\tsecond\tkind\tsimilarity"
    return {frozenset(row.split("\t")[:2]): row.split("\t")[2] for row in rows}


@pytest.fixture(scope="module")
def copied(faces, tmp_path_factory):
    """The faces with three copies of each kind in both splits, and the pairs that were made."""
    data = shutil.copytree(faces, tmp_path_factory.mktemp("copied") / "faces")
    rng = np.random.default_rng(0)
    names = sorted(path.name for path in (data / "train" / "images").iterdir())
    rng.shuffle(names)
    truth = {}
    for number, name in enumerate(names[: 3 * len(COPIES)]):
        how, split = COPIES[number % len(COPIES)], ("train", "test")[number % 2]
        image = listed_images.read_image(data / "train" / "images", name)
        copy = data / split / "images" / f"copy_{number}.jpg"
        copy.write_bytes(copy_of(image, how, rng))
        truth[frozenset([f"train/{name}", f"{split}/{copy.name}"])] = how
    return data, truth


def test_exactly_the_copies_are_found(run, copied, tmp_path):
    data, truth = copied
    done = run("find_duplicates", f"--data={data}", f"--duplicates={tmp_path}", "--processes=2")
    pairs = read_pairs(tmp_path / "pairs.tsv")
    assert pairs.keys() == truth.keys()
    assert [
        (how, pairs[pair]) for pair, how in truth.items() if pairs[pair] not in KINDS[how]
    ] == []
    results = done.results
    assert results["images"] == 24 + 8 + len(truth)
    assert results["pairs"] == results["groups"] == len(truth)
    assert results["across_splits"] == len(truth) // 2
    assert (tmp_path / "contact_sheet.png").stat().st_size > 10_000


def test_copies_share_a_group_across_splits(copied, tmp_path):
    data, truth = copied
    find_duplicates(data, ["train", "test"], tmp_path, processes=1)
    groups = {}
    for split in ("train", "test"):
        own = grouping.read_group_table(tmp_path / f"groups_{split}.tsv")
        assert sorted(own) == locations.list_files(data / split / "images")
        groups |= {f"{split}/{name}": group for name, group in own.items()}
    for pair in truth:
        assert len({groups[name] for name in pair}) == 1
    assert len(set(groups.values())) == len(groups) - len(truth)


def test_split_keeps_copies_on_one_side(copied, tmp_path):
    data, truth = copied
    find_duplicates(data, ["train"], tmp_path, processes=1)
    groups = grouping.read_group_table(tmp_path / "groups_train.tsv")
    names = list(groups)
    rows, _ = split_by_fraction(names, 0.5, list(groups.values()))
    trained_on = {f"train/{names[row]}" for row in rows}
    within = [pair for pair in truth if all(name.startswith("train/") for name in pair)]
    assert within
    assert all(len(pair & trained_on) != 1 for pair in within)


def test_unreadable_file_has_its_own_group(own_faces, tmp_path, caplog):
    images = own_faces / "train" / "images"
    (images / "inner").mkdir()
    (images / "inner" / "notes.txt").write_text("no image")
    results = find_duplicates(own_faces, ["train"], tmp_path, processes=1)
    assert results["unreadable"] == 1
    assert len(set(grouping.read_group_table(tmp_path / "groups_train.tsv").values())) == 25
    assert "train/inner/notes.txt: " in caplog.text


def test_copies_of_a_copy_are_one_group(own_faces, tmp_path):
    images = own_faces / "train" / "images"
    first = min(images.iterdir())
    for number in range(5):
        shutil.copyfile(first, images / f"same_{number}.jpg")
    image = listed_images.read_image(images, first.name)
    (images / "small.jpg").write_bytes(jpeg(image[::2, ::2], 60))
    results = find_duplicates(own_faces, ["train"], tmp_path, processes=1)
    assert results["kinds"] == {"identical": 5, "resized": 1}
    assert results["groups"] == 1


def test_blank_images_are_not_copies(own_faces, tmp_path):
    images = own_faces / "train" / "images"
    for grey in (0, 90, 255):
        (images / f"blank_{grey}.jpg").write_bytes(jpeg(np.full((80, 60, 3), grey, np.uint8), 90))
    assert find_duplicates(own_faces, ["train"], tmp_path, processes=1)["pairs"] == 0


def test_old_contact_sheet_is_removed(copied, faces, tmp_path):
    find_duplicates(copied[0], ["train"], tmp_path, processes=1)
    assert (tmp_path / "contact_sheet.png").exists()
    find_duplicates(faces, ["train"], tmp_path, processes=1)
    assert not (tmp_path / "contact_sheet.png").exists()
    assert read_pairs(tmp_path / "pairs.tsv") == {}
