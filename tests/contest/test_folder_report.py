import io
import os
import shutil
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_landmarks.contest import folder_report, listed_images, table_files
from keras_landmarks.images import decoding, image_header
from keras_landmarks.input.samples import load_samples
from keras_landmarks.utils.errors import InputError

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
# By name: the file (None: there is none), the row's numbers, and the kind of reason if invalid.
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
    "page.jpg": (b"<html>", POINTS, image_header.NO_PHOTO),
    "missing.jpg": (None, POINTS, decoding.NO_FILE),
    "short.jpg": (JPEG, "1\t2\t3", "fewer cells than the header has"),
    "long.jpg": (JPEG, POINTS + "\t5", "more cells than the header has"),
    "nan.jpg": (JPEG, "1\tnan\t3\t4", "a point has only one of x and y"),
    "empty cell.jpg": (JPEG, "1\t\t3\t4", "a point has only one of x and y"),
    "nul.jpg": (JPEG, "1\0\t2\t3\t4", "a cell is not a number"),
    "commas.jpg": (JPEG, POINTS.replace("\t", ","), "fewer cells than the header has"),
    "beyond.jpg": (JPEG, "1\t2\t3\t40000", "a coordinate is beyond 32767 px"),
    "nul\0.jpg": (None, POINTS, "not the name of a file in the images folder"),
    "../outside.jpg": (JPEG, POINTS, "not the name of a file in the images folder"),
    "/etc/outside.jpg": (None, POINTS, "not the name of a file in the images folder"),
}
# `train` refuses a folder that is mostly broken.
ENTRIES |= {f"valid {number}.jpg": (JPEG, POINTS, None) for number in range(10)}


@pytest.fixture
def odd(tmp_path):
    """A contest folder with each of ENTRIES; the last row of its table is cut in the middle."""
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


def test_every_odd_entry_is_valid_or_named(odd):
    (odd / "train" / "images" / "inner" / "unlisted \udce9.jpg").write_bytes(JPEG)
    reports = folder_report.check_folder(odd)
    rows = [(name, line, kind) for line, (name, (*_, kind)) in enumerate(ENTRIES.items(), 2)]
    rows.append(("cut.jpg", len(rows) + 2, "fewer cells than the header has"))
    expected = [row for row in rows if row[2]]
    samples = reports["train"].invalid_samples
    assert [(sample.file_name, sample.line, sample.kind) for sample in samples] == expected
    counts = {
        "rows": len(rows),
        "sound": len(rows) - len(expected),
        "rejected": len(expected),
        "unlisted": 1,
        "missing_points": 0,
        "suspicious_points": 0,
    }
    assert folder_report.count_rows(reports) == counts | {"train": counts}
    lines = folder_report.format_reports(reports).splitlines()
    assert "  train/images/inner/unlisted \\udce9.jpg" in lines
    lines = [" ".join(line.split()) for line in lines]
    assert "a point has only one of x and y 2" in lines
    assert "the file is empty 1" in lines


def test_train_uses_the_valid_rows(odd, tmp_path):
    report = folder_report.check_folder(odd)["train"]
    samples = load_samples(odd, "train", tmp_path / "prepared", strict=False)
    assert samples.invalid_samples == report.invalid_samples
    assert samples.file_names == [name for name, (*_, kind) in ENTRIES.items() if not kind]


def test_contradicting_rows_are_all_invalid(own_faces):
    table = own_faces / "train" / "landmarks.csv"
    rows = table.read_text().splitlines(keepends=True)
    name, _, numbers = rows[2].partition("\t")
    other = f"{name}\t0\t{numbers.partition(chr(9))[2]}"
    table.write_text("".join([*rows, rows[1], other]))
    report = folder_report.check_folder(own_faces)["train"]
    assert report.rows == 26
    assert [(sample.line, sample.reason) for sample in report.invalid_samples] == [
        (3, "contradicts another row of this file: line 27"),
        (26, "duplicate of an earlier row: line 2"),
        (27, "contradicts another row of this file: line 3"),
    ]
    assert report.unlisted == []


@pytest.mark.parametrize(
    ("places", "count"),
    [
        ({0: ["-1", "-1"] * 2, 3: ["0", "0"] * 3, 4: ["0.0", "0.0"]}, 6),
        ({0: ["-1", "-1"] * 2, 3: ["-1", "-1", "0", "0"]}, 4),
        ({0: ["-1", "-1"] * 3, 3: ["0", "0"]}, 0),  # several in one face only
        ({0: ["-1", "0"] * 2, 3: ["0", "-1"] * 2}, 0),
        ({0: ["-1", "-1"] * 2, 3: ["-1", "-1", "9999", "-1", "-1", "-1"]}, 0),  # one is invalid
    ],
)
def test_places_that_may_mean_no_place_are_counted(own_faces, places, count):
    table = own_faces / "train" / "landmarks.csv"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    for row, cells in places.items():
        rows[row + 1][3 : 3 + len(cells)] = cells
    table.write_text("".join("\t".join(row) + "\n" for row in rows))
    reports = folder_report.check_folder(own_faces)
    counts = folder_report.count_rows(reports)
    assert counts["suspicious_points"] == counts["train"]["suspicious_points"] == count
    assert counts["missing_points"] == 0
    assert ("which two empty cells say" in folder_report.format_reports(reports)) == (count > 0)


def test_test_split_is_checked(own_faces):
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
    reports = folder_report.check_folder(own_faces)
    samples = folder_report.all_invalid_samples(reports)
    count = rows[0].count(",") + 1
    assert [sample[:2] for sample in samples] == [
        *((names[index], index + 2) for index in (1, 2, 3, 4, 6)),
        (names[5], 10),
        (names[6], 11),
    ]
    assert [sample.reason for sample in samples] == [
        "test: the JPEG is truncated",
        "test: not a list of point indices such as [0, 1, 2]: '[1, 2'",
        "test: no such point: 971, the last is 970",
        f"test: another number of points than before: {count + 1}, not {count}",
        "test: contradicts another row of this file: line 11",
        "test: duplicate of an earlier row: line 7",
        "test: contradicts another row of this file: line 8",
    ]
    counts = folder_report.count_rows(reports)
    test = {"rows": 10, "sound": 3, "rejected": 7, "unlisted": 1, "missing_points": 0}
    test["suspicious_points"] = 0
    assert counts["test"] == test
    assert counts["train"]["rejected"] == 0


def test_test_split_is_optional(own_faces):
    shutil.rmtree(own_faces / "test")
    assert list(folder_report.check_folder(own_faces)) == ["train"]


def test_first_unlisted_files_are_named(own_faces):
    for number in range(30):
        (own_faces / "train" / "images" / f"x{number:02}.jpg").write_bytes(JPEG)
    reports = folder_report.check_folder(own_faces)
    assert len(reports["train"].unlisted) == 30
    lines = folder_report.format_reports(reports).splitlines()
    assert "  train/images/x19.jpg" in lines
    assert "  train/images/x20.jpg" not in lines
    assert "  and 10 more in train/images" in lines


@pytest.mark.parametrize("missing", ["train/images", "train/landmarks.csv"])
def test_missing_part_is_named(own_faces, missing):
    (own_faces / missing).rename(own_faces / "elsewhere")
    with pytest.raises(InputError, match=missing):
        folder_report.check_folder(own_faces)


def test_links_are_followed_only_within_folder(own_faces):
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
    report = folder_report.check_folder(own_faces)["train"]
    samples = report.invalid_samples
    assert [sample.file_name for sample in samples] == [first.name, third.name]
    assert samples[0].reason == listed_images.LINK_OUT
    assert "ordinary file" in samples[1].reason
    assert report.unlisted == ["inner/b.jpg"]


def test_memory_does_not_grow_with_table(own_faces, monkeypatch):
    table = own_faces / "train" / "landmarks.csv"
    monkeypatch.setattr(table_files, "_BLOCK_BYTES", 1 << 17)
    header, *rows = table.read_text().splitlines(keepends=True)
    table.write_text(header + "".join(rows * 40))
    tracemalloc.start()
    report = folder_report.check_folder(own_faces)["train"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.rows == 960
    assert len(report.invalid_samples) == 960 - 24
    assert peak < table.stat().st_size / 2
