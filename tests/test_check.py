import io
import json
import os
import shutil
import subprocess
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_landmarks import check
from keras_landmarks.contest import listed_images, table_files
from keras_landmarks.images import decoding
from keras_landmarks.input.samples import load_samples

POINTS = "1\t2\t30\t19"
HEADER = b"file_name\tPoint_M0_X\tPoint_M0_Y\tPoint_M1_X\tPoint_M1_Y\n"


def photo(width=40, height=20):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x % 256, y % 256, np.full_like(x, 30)], axis=-1).astype(np.uint8)


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def pillow(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return pillow(Image.fromarray(photo(20, 40)), exif=exif)


JPEG = decoding.encode_jpeg(photo())
# By name: the file (None: there is none), the row's numbers, and the reason if it is refused.
ENTRIES = {
    "plain.jpg": (JPEG, POINTS, None),
    "two words.jpg": (JPEG, POINTS, None),
    "älteste Straße 人.jpg": (JPEG, POINTS, None),
    "inner/folder.jpg": (JPEG, POINTS, None),
    "a png.jpg": (png(photo()), POINTS, None),
    "grey.jpg": (pillow(Image.fromarray(photo()).convert("L")), POINTS, None),
    "cmyk.jpg": (pillow(Image.fromarray(photo()).convert("CMYK")), POINTS, None),
    "sixteen bits.png": (png(photo().astype(np.uint16) * 257), POINTS, None),
    "turned.jpg": (turned(), "1\t2\t79\t39", None),
    "not turned.jpg": (JPEG, "1\t2\t80\t39", "a point lies far outside the image"),
    "one pixel wide.png": (png(photo(1, 50)), "0\t0\t0\t49", None),
    "much too narrow.png": (png(photo(1, 101)), POINTS, "a side is over 100 times the other"),
    "decimals.jpg": (JPEG, "1.5\t-2.25\t3e1\t.5", None),
    "quoted.jpg": (JPEG, '"1"\t"2"\t"3"\t"4"', None),
    "a little outside.jpg": (JPEG, "-3\t2\t44\t19", None),
    "far outside.jpg": (JPEG, "1\t2\t3\t999", "a point lies far outside the image"),
    "truncated.jpg": (JPEG[:-40], POINTS, "the JPEG is truncated"),
    "truncated.png": (png(photo())[:-40], POINTS, "the image does not decode"),
    "empty.jpg": (b"", POINTS, "the file is empty"),
    "page.jpg": (b"<html>", POINTS, "neither a JPEG nor a PNG"),
    "missing.jpg": (None, POINTS, "there is no such image"),
    "short.jpg": (JPEG, "1\t2\t3", "fewer cells than the header has"),
    "long.jpg": (JPEG, POINTS + "\t5", "more cells than the header has"),
    "nan.jpg": (JPEG, "1\tnan\t3\t4", "a cell is empty or not a number"),
    "empty cell.jpg": (JPEG, "1\t\t3\t4", "a cell is empty or not a number"),
    "nul.jpg": (JPEG, "1\0\t2\t3\t4", "a cell is empty or not a number"),
    "commas.jpg": (JPEG, POINTS.replace("\t", ","), "fewer cells than the header has"),
    "beyond.jpg": (JPEG, "1\t2\t3\t40000", "a coordinate is beyond 32767 px"),
    "nul\0.jpg": (None, POINTS, "not the name of a file in the images folder"),
    "../outside.jpg": (JPEG, POINTS, "not the name of a file in the images folder"),
    "/etc/outside.jpg": (None, POINTS, "not the name of a file in the images folder"),
}
# `train` refuses a folder that is mostly broken.
ENTRIES |= {f"sound {number}.jpg": (JPEG, POINTS, None) for number in range(10)}


@pytest.fixture
def odd(tmp_path):
    """A contest folder with each of ENTRIES; its table is cut in mid-row."""
    train = tmp_path / "odd" / "train"
    (train / "images" / "inner").mkdir(parents=True)
    rows = [HEADER]
    for name, (content, numbers, _) in ENTRIES.items():
        rows.append(f"{name}\t{numbers}\r\n".encode())
        if content is not None:
            (train / "images" / name).write_bytes(content)
    (train / "landmarks.csv").write_bytes(b"".join(rows) + b"cut.jpg\t1\t2")
    (train / "images" / "cut.jpg").write_bytes(JPEG)
    return train.parent


def run(*flags):
    arguments = [sys.executable, "-m", "keras_landmarks.check", *map(str, flags)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120)


def read_rejects(path):
    header, *rows = path.read_text().splitlines()
    assert header == "file_name\trow\treason"
    return [tuple(row.split("\t")) for row in rows]


def test_every_odd_entry_is_sound_or_refused_by_name(odd, tmp_path):
    extra = odd / "train" / "images" / "inner" / "unlisted \udce9.jpg"
    extra.write_bytes(JPEG)
    done = run(f"--data={odd}", f"--rejects={tmp_path / 'rejects.tsv'}")
    assert done.returncode == 0, done.stderr
    rows = [(name, line, reason) for line, (name, (*_, reason)) in enumerate(ENTRIES.items(), 2)]
    rows.append(("cut.jpg", len(rows) + 2, "fewer cells than the header has"))
    expected = [(name.replace("\0", "\\x00"), str(line), r) for name, line, r in rows if r]
    rejects = read_rejects(tmp_path / "rejects.tsv")
    assert [(name, row, reason.partition(":")[0]) for name, row, reason in rejects] == expected
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["rows"] == len(rows)
    assert figures["sound"] == len(rows) - len(expected)
    assert figures["rejected"] == len(expected)
    assert figures["unlisted"] == 1
    assert "  train/images/inner/unlisted \\udce9.jpg\n" in done.stdout
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "a cell is empty or not a number 3" in lines
    assert "the file is empty 1" in lines


def test_what_is_sound_is_what_train_takes(odd, tmp_path):
    rejects = check.check(odd)["train"].rejects
    samples = load_samples(odd, "train", tmp_path / "prepared", strict=False)
    assert samples.rejects == rejects
    assert samples.file_names == [name for name, (*_, reason) in ENTRIES.items() if not reason]


def test_a_sound_folder_gives_a_table_of_rejects_without_a_row(faces, tmp_path):
    done = run(f"--data={faces}", f"--rejects={tmp_path / 'rejects.tsv'}")
    assert read_rejects(tmp_path / "rejects.tsv") == []
    counts = {"sound": 24, "rejected": 0, "unlisted": 0, "rows": 24}
    test = {"sound": 8, "rejected": 0, "unlisted": 0, "rows": 8}
    total = {name: counts[name] + test[name] for name in counts}
    assert json.loads(done.stdout.splitlines()[-1]) == {**total, "train": counts, "test": test}


def test_rows_of_one_name(own_faces):
    table = own_faces / "train" / "landmarks.csv"
    rows = table.read_text().splitlines(keepends=True)
    name, _, numbers = rows[2].partition("\t")
    other = f"{name}\t0\t{numbers.partition(chr(9))[2]}"
    table.write_text("".join([*rows, rows[1], other]))
    report = check.check(own_faces)["train"]
    assert report.rows == 26
    assert [(reject.line, reject.reason) for reject in report.rejects] == [
        (3, "another row of this name disagrees: 27"),
        (26, "an earlier row has this name: 2"),
        (27, "another row of this name disagrees: 3"),
    ]
    assert report.unlisted == []


def test_the_test_split_is_checked_too(own_faces, tmp_path):
    images = own_faces / "test" / "images"
    table = own_faces / "test" / "test_points.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    names = [row.partition("\t")[0] for row in rows]
    (images / names[1]).write_bytes(JPEG[:-20])
    rows[2] = f"{names[2]}\t[1, 2\n"
    rows[3] = rows[3].replace("[", "[971, ")
    rows[4] = rows[4].replace("[", "[1, ")
    rows.append(rows[5])
    rows.append(rows[6].replace("[", "[1, ").replace("]", "").rpartition(",")[0] + "]\n")
    table.write_text(header + "".join(rows))
    (images / "unlisted.jpg").write_bytes(JPEG)
    done = run(f"--data={own_faces}", f"--rejects={tmp_path / 'rejects.tsv'}")
    rejects = read_rejects(tmp_path / "rejects.tsv")
    count = rows[0].count(",") + 1
    assert [(name, row) for name, row, _ in rejects] == [
        *((names[index], str(index + 2)) for index in (1, 2, 3, 4, 6)),
        (names[5], "10"),
        (names[6], "11"),
    ]
    assert [reason for _, _, reason in rejects] == [
        "test: the JPEG is truncated",
        "test: not a list of point indices such as [0, 1, 2]: '[1, 2'",
        "test: no such point: 971, the last is 970",
        f"test: another count of points than before: {count + 1}, not {count}",
        "test: another row of this name disagrees: 11",
        "test: an earlier row has this name: 7",
        "test: another row of this name disagrees: 8",
    ]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["test"] == {"rows": 10, "sound": 3, "rejected": 7, "unlisted": 1}
    assert figures["train"]["rejected"] == 0


def test_a_folder_without_a_test_split_is_checked(own_faces):
    shutil.rmtree(own_faces / "test")
    assert list(check.check(own_faces)) == ["train"]


def test_many_unlisted_files_are_counted_and_the_first_named(own_faces):
    for number in range(30):
        (own_faces / "train" / "images" / f"x{number:02}.jpg").write_bytes(JPEG)
    reports = check.check(own_faces)
    assert len(reports["train"].unlisted) == 30
    lines = check.table(reports).splitlines()
    assert "  train/images/x19.jpg" in lines
    assert "  train/images/x20.jpg" not in lines
    assert "  and 10 more in train/images" in lines


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            "train/landmarks.csv",
            "of its 24 rows can be used; the first is line 2 (face_000000.jpg)",
        ),
        (
            "test/test_points.csv",
            "of its 8 rows can be used; the first is line 2 (face_000000.jpg)",
        ),
    ],
)
def test_a_split_without_a_row_that_can_be_used_is_an_error(own_faces, tmp_path, table, says):
    """After the table, the list and the JSON line."""
    for image in (own_faces / table).parent.joinpath("images").iterdir():
        image.unlink()
    done = run(f"--data={own_faces}", f"--rejects={tmp_path / 'rejects.tsv'}")
    assert done.returncode == 1
    *lines, last = done.stdout.splitlines()
    assert "there is no such image" in " ".join(lines)
    figures = json.loads(last)
    split = table.partition("/")[0]
    assert figures[split]["rejected"] == figures[split]["rows"] == figures["rejected"]
    assert len(read_rejects(tmp_path / "rejects.tsv")) == figures["rejected"]
    error = done.stderr.splitlines()[-1]
    assert error == f"error: {own_faces / table}: none {says}: there is no such image"


def test_a_table_without_rows_is_an_error(own_faces):
    table = own_faces / "train" / "landmarks.csv"
    table.write_text(table.read_text().splitlines(keepends=True)[0])
    done = run(f"--data={own_faces}")
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["train"]["rows"] == 0
    assert done.stderr.splitlines()[-1] == f"error: {table}: there is no row under the header"


@pytest.mark.parametrize("missing", ["train/images", "train/landmarks.csv"])
def test_a_folder_that_is_none_is_told_in_one_line(own_faces, missing, tmp_path):
    (own_faces / missing).rename(own_faces / "elsewhere")
    done = run(f"--data={own_faces}", f"--rejects={tmp_path / 'rejects.tsv'}")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert missing in line
    assert not (tmp_path / "rejects.tsv").exists()


def test_links_that_leave_the_folder_are_refused_and_others_followed(own_faces):
    images = own_faces / "train" / "images"
    first, second, third = sorted(images.iterdir())[:3]
    outside = own_faces / "outside.jpg"
    first.rename(outside)
    first.symlink_to(outside)
    (images / "inner").mkdir()
    second.rename(images / "inner" / "b.jpg")
    second.symlink_to("inner/b.jpg")
    third.unlink()
    os.mkfifo(third)
    report = check.check(own_faces)["train"]
    assert [(reject.file_name, reject.reason) for reject in report.rejects] == [
        (first.name, listed_images.LINK_OUT),
        (third.name, "not an ordinary file"),
    ]
    assert report.unlisted == ["inner/b.jpg"]


def test_memory_does_not_grow_with_the_table(own_faces, monkeypatch):
    table = own_faces / "train" / "landmarks.csv"
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 1 << 17)
    header, *rows = table.read_text().splitlines(keepends=True)
    table.write_text(header + "".join(rows * 40))
    tracemalloc.start()
    report = check.check(own_faces)["train"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.rows == 960
    assert len(report.rejects) == 960 - 24
    assert peak < table.stat().st_size / 2
