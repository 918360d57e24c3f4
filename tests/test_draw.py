import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from keras_landmarks.contest import landmark_tables, prediction_files
from keras_landmarks.draw import draw
from keras_landmarks.images import drawing
from keras_landmarks.layouts.layout import REGIONS
from keras_landmarks.utils.errors import InputError

NAMES = [f"{index}.jpg" for index in range(10)]
POINTS_PX = np.array([[10, 10], [30, 10], [20, 40]])


@pytest.fixture
def data(tmp_path):
    """A folder of ten photos, each of its own grey, with three points each."""
    folder = tmp_path / "data"
    (folder / "train" / "images").mkdir(parents=True)
    for index, name in enumerate(NAMES):
        photo = np.full((60, 45, 3), 20 * index, np.uint8)
        cv2.imwrite(str(folder / "train" / "images" / name), photo)
    landmark_tables.write_landmarks(folder / "train" / "landmarks.csv", NAMES, [POINTS_PX] * 10)
    return folder


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / "predictions.npz"
    prediction_files.write(path, NAMES, np.stack([POINTS_PX + 3] * 10))
    return path


def greys(sheet_path, pictures, columns):
    """The grey in the middle of each photo on a sheet of 45 x 60 photos, as the photo's number."""
    sheet = cv2.imread(str(sheet_path))
    width = drawing.TILE_HEIGHT * 45 // 60 + 2 * drawing.MARGIN
    height = drawing.TILE_HEIGHT + 2 * drawing.MARGIN + drawing.CAPTION_HEIGHT
    rows, columns_of = np.divmod(np.arange(pictures), columns)
    assert sheet.shape[:2] == ((rows[-1] + 1) * height, min(pictures, columns) * width)
    middles = sheet[rows * height + height // 2, columns_of * width + width // 2, 0]
    return np.rint(middles / 20).astype(int).tolist()


def test_draws_the_splits_own_points_evenly_spaced(data, tmp_path):
    out = tmp_path / "deep" / "sheet.png"
    figures = draw(data, "train", out, count=5)
    assert figures == {"images": 5, "skipped": 0, "out": str(out)}
    assert greys(out, 5, columns=8) == [0, 2, 4, 6, 8]
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_photos_are_those_beside_the_truth_unless_a_split_is_named(data, tmp_path, caplog):
    truth = data / "train" / "landmarks.csv"
    assert draw(data, None, tmp_path / "sheet.png", truth=truth)["images"] == 10
    (data / "test" / "images").mkdir(parents=True)
    with pytest.raises(InputError, match=r"none of the 10 images .* read; is --split right\?"):
        draw(data, "test", tmp_path / "sheet.png", truth=truth)
    assert len(caplog.messages) == 4
    assert caplog.messages[-1] == "skipped: 7 more"


def test_a_sheet_is_what_its_name_says(data, tmp_path):
    for name, begins in [("a.png", b"\x89PNG"), ("a.JPG", b"\xff\xd8"), ("a.jpeg", b"\xff\xd8")]:
        draw(data, "train", tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)


def test_draws_no_more_than_there_are(data, tmp_path):
    assert draw(data, "train", tmp_path / "sheet.png", count=24)["images"] == 10
    assert greys(tmp_path / "sheet.png", 10, columns=8) == list(range(10))


def test_prediction_and_truth_are_side_by_side(data, predictions, tmp_path):
    truth = data / "train" / "landmarks.csv"
    draw(data, "train", tmp_path / "both.png", predictions, truth, count=2)
    draw(data, "train", tmp_path / "prediction.png", predictions, count=2)
    draw(data, "train", tmp_path / "truth.png", truth=truth, count=2)
    both, prediction, true = (
        cv2.imread(str(tmp_path / f"{name}.png")) for name in ("both", "prediction", "truth")
    )
    width, height = prediction.shape[1] // 2, drawing.TILE_HEIGHT
    np.testing.assert_array_equal(both[:height, :width], prediction[:height, :width])
    np.testing.assert_array_equal(both[:height, width : 2 * width], true[:height, :width])
    assert (prediction != true).any()


def test_only_images_of_both_tables_are_drawn(data, predictions, tmp_path):
    truth = tmp_path / "some.csv"
    landmark_tables.write_landmarks(truth, ["7.jpg", "unknown.jpg", "3.jpg"], [POINTS_PX] * 3)
    assert draw(data, "train", tmp_path / "sheet.png", predictions, truth)["images"] == 2
    assert greys(tmp_path / "sheet.png", 4, columns=8) == [3, 3, 7, 7]


def test_another_image_is_drawn_for_a_broken_one(data, tmp_path, caplog):
    (data / "train" / "images" / "4.jpg").write_bytes(b"not a photo")
    (data / "train" / "images" / "8.jpg").unlink()
    figures = draw(data, "train", tmp_path / "sheet.png", count=5)
    assert figures["images"] == 5
    assert figures["skipped"] == 2
    assert greys(tmp_path / "sheet.png", 5, columns=8) == [0, 1, 2, 3, 6]
    assert "4.jpg" in caplog.text
    assert "8.jpg" in caplog.text


def test_rows_that_cannot_be_used_are_not_drawn(data, predictions, tmp_path, caplog):
    """The row of 3.jpg is broken, 5.jpg has another that disagrees, and one of 7.jpg repeats."""
    truth = data / "train" / "landmarks.csv"
    rows = truth.read_text().splitlines(keepends=True)
    rows[4] = rows[4].rpartition("\t")[0] + "\n"
    rows += [rows[8], rows[6].rpartition("\t")[0] + "\t9\n"]
    truth.write_text("".join(rows))
    figures = draw(data, "train", tmp_path / "sheet.png")
    assert (figures["images"], figures["skipped"]) == (8, 4)
    assert greys(tmp_path / "sheet.png", 8, columns=8) == [0, 1, 2, 4, 6, 7, 8, 9]
    assert "line 5 (3.jpg): fewer cells than the header has" in caplog.text
    prediction_files.write(predictions, NAMES[:3], np.stack([POINTS_PX] * 3))
    figures = draw(data, "train", tmp_path / "sheet.png", predictions, truth)
    assert (figures["images"], figures["skipped"]) == (3, 0)


@pytest.mark.parametrize("name", ["../0.jpg", "{folder}/0.jpg", "link.jpg"])
def test_no_image_outside_the_folder_is_drawn(data, tmp_path, name, caplog):
    """A file of predictions has any names."""
    images = data / "train" / "images"
    (images / "0.jpg").rename(data / "train" / "0.jpg")
    (images / "link.jpg").symlink_to("../0.jpg")
    names = [name.format(folder=data / "train"), "7.jpg"]
    prediction_files.write(tmp_path / "p.npz", names, np.stack([POINTS_PX] * 2))
    figures = draw(data, "train", tmp_path / "sheet.png", tmp_path / "p.npz")
    assert (figures["images"], figures["skipped"]) == (1, 1)
    assert greys(tmp_path / "sheet.png", 1, columns=8) == [7]
    assert "skipped: " in caplog.text


def test_contest_points_bring_the_legend(data, tmp_path):
    points_px = np.random.default_rng(0).integers(-20, 80, (1, 971, 2))
    landmark_tables.write_landmarks(tmp_path / "truth.csv", ["0.jpg"], points_px)
    draw(data, "train", tmp_path / "sheet.png", truth=tmp_path / "truth.csv")
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_COLOR_RGB)
    legend = drawing.region_legend(sheet.shape[1], list(REGIONS))
    np.testing.assert_array_equal(sheet[-len(legend) :], legend)


def test_a_layout_gives_other_points_their_colours_and_a_legend(data, tmp_path):
    plain, coloured, layout = (tmp_path / name for name in ("a.png", "b.png", "layout.json"))
    layout.write_text('{"regions": {"brow": [0, 1]}}')
    draw(data, "train", plain)
    draw(data, "train", coloured, layout=layout)
    plain, coloured = (cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in (plain, coloured))
    legend = drawing.region_legend(plain.shape[1], ["brow"])
    np.testing.assert_array_equal(coloured[len(plain) :], legend)
    (colour,) = drawing.region_colours(["brow"]).values()
    assert not (plain == colour).all(axis=2).any()
    assert (coloured[: len(plain)] == colour).all(axis=2).any()


def test_without_any_points(data, tmp_path):
    (data / "train" / "landmarks.csv").unlink()
    with pytest.raises(InputError, match="give --predictions or --truth"):
        draw(data, "train", tmp_path / "sheet.png")


def test_without_any_readable_image(data, tmp_path):
    truth = tmp_path / "other.csv"
    landmark_tables.write_landmarks(truth, ["unknown.jpg"], [POINTS_PX])
    with pytest.raises(InputError, match="none of the 1 images with points can be read"):
        draw(data, "train", tmp_path / "sheet.png", truth=truth)


def test_tables_of_different_numbers_of_points(data, predictions, tmp_path):
    truth = tmp_path / "two.csv"
    landmark_tables.write_landmarks(truth, NAMES, [POINTS_PX[:2]] * 10)
    with pytest.raises(InputError, match="different numbers of points"):
        draw(data, "train", tmp_path / "sheet.png", predictions, truth)


def run_command(**flags):
    command = [sys.executable, "-m", "keras_landmarks.draw"]
    command += [f"--{name}={value}" for name, value in flags.items()]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_prints_figures(data, tmp_path):
    out = tmp_path / "sheet.png"
    result = run_command(data=data, split="train", out=out, count=3)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert json.loads(last) == {"images": 3, "skipped": 0, "out": str(out)}
    assert greys(out, 3, columns=8) == [0, 3, 6]


def test_command_fails_with_one_line(data, tmp_path):
    result = run_command(data=data, split="holiday", out=tmp_path / "sheet.png")
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "holiday" in result.stderr
