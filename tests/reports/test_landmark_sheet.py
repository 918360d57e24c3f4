import cv2
import numpy as np
import pytest

from keras_landmarks.contest import landmark_tables, prediction_files
from keras_landmarks.images import contact_sheet, drawing
from keras_landmarks.layouts.layout import REGIONS
from keras_landmarks.reports.landmark_sheet import write_landmark_sheet
from keras_landmarks.utils.errors import InputError

NAMES = [f"{index}.jpg" for index in range(10)]
POINTS_PX = np.array([[10, 10], [30, 10], [20, 40]])


@pytest.fixture
def data(tmp_path):
    """A folder of ten photos, each of another grey, with three points each."""
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
    """Returns the number of each photo, by its grey, on a sheet of photos of 45 x 60 px."""
    sheet = cv2.imread(str(sheet_path))
    width = contact_sheet.TILE_HEIGHT * 45 // 60 + 2 * contact_sheet.MARGIN
    height = contact_sheet.TILE_HEIGHT + 2 * contact_sheet.MARGIN + contact_sheet.CAPTION_HEIGHT
    rows, columns_of = np.divmod(np.arange(pictures), columns)
    assert sheet.shape[:2] == ((rows[-1] + 1) * height, min(pictures, columns) * width)
    centres = sheet[rows * height + height // 2, columns_of * width + width // 2, 0]
    return np.rint(centres / 20).astype(int).tolist()


def test_photos_are_evenly_spaced(data, tmp_path):
    out = tmp_path / "deep" / "sheet.png"
    results = write_landmark_sheet(data, "train", out, count=5)
    assert results == {"images": 5, "skipped": 0, "out": str(out)}
    assert greys(out, 5, columns=8) == [0, 2, 4, 6, 8]
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_truth_chooses_the_photos(data, tmp_path, caplog):
    truth = data / "train" / "landmarks.csv"
    assert write_landmark_sheet(data, None, tmp_path / "sheet.png", truth=truth)["images"] == 10
    (data / "test" / "images").mkdir(parents=True)
    with pytest.raises(InputError, match=r"10 images.* --split"):
        write_landmark_sheet(data, "test", tmp_path / "sheet.png", truth=truth)
    assert len(caplog.messages) == 4
    assert "7 more" in caplog.messages[-1]


def test_suffix_chooses_png_or_jpeg(data, tmp_path):
    for name, start in [("a.png", b"\x89PNG"), ("a.JPG", b"\xff\xd8"), ("a.jpeg", b"\xff\xd8")]:
        write_landmark_sheet(data, "train", tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


def test_count_may_exceed_the_photos(data, tmp_path):
    assert write_landmark_sheet(data, "train", tmp_path / "sheet.png", count=24)["images"] == 10
    assert greys(tmp_path / "sheet.png", 10, columns=8) == list(range(10))


def test_prediction_and_truth_side_by_side(data, predictions, tmp_path):
    truth = data / "train" / "landmarks.csv"
    write_landmark_sheet(data, "train", tmp_path / "both.png", predictions, truth, count=2)
    write_landmark_sheet(data, "train", tmp_path / "prediction.png", predictions, count=2)
    write_landmark_sheet(data, "train", tmp_path / "truth.png", truth=truth, count=2)
    both, prediction, true = (
        cv2.imread(str(tmp_path / f"{name}.png")) for name in ("both", "prediction", "truth")
    )
    width, height = prediction.shape[1] // 2, contact_sheet.TILE_HEIGHT
    np.testing.assert_array_equal(both[:height, :width], prediction[:height, :width])
    np.testing.assert_array_equal(both[:height, width : 2 * width], true[:height, :width])
    assert (prediction != true).any()


def test_points_without_a_place_are_not_drawn(data, predictions, tmp_path):
    truth, layout = tmp_path / "truth.csv", tmp_path / "layout.json"
    layout.write_text('{"regions": {"brow": [0, 1]}}')
    (colour,) = drawing.region_colours(["brow"]).values()
    points_px = np.float32([POINTS_PX] * 2)
    points_px[:, :2] = np.nan
    for table, shown in ((truth, False), (data / "train" / "landmarks.csv", True)):
        landmark_tables.write_landmarks(truth, NAMES[:2], points_px)
        out = tmp_path / "sheet.png"
        write_landmark_sheet(data, "train", out, truth=table, layout=layout, count=2)
        drawn = cv2.imread(str(out), cv2.IMREAD_COLOR_RGB)[: contact_sheet.TILE_HEIGHT]
        assert (drawn == colour).all(axis=2).any() == shown
    both = write_landmark_sheet(data, "train", tmp_path / "both.png", predictions, truth)
    assert both["images"] == 2


def test_only_common_images_are_drawn(data, predictions, tmp_path):
    truth = tmp_path / "some.csv"
    landmark_tables.write_landmarks(truth, ["7.jpg", "unknown.jpg", "3.jpg"], [POINTS_PX] * 3)
    assert (
        write_landmark_sheet(data, "train", tmp_path / "sheet.png", predictions, truth)["images"]
        == 2
    )
    assert greys(tmp_path / "sheet.png", 4, columns=8) == [3, 3, 7, 7]


def test_broken_images_are_replaced(data, tmp_path, caplog):
    (data / "train" / "images" / "4.jpg").write_bytes(b"not a photo")
    (data / "train" / "images" / "8.jpg").unlink()
    results = write_landmark_sheet(data, "train", tmp_path / "sheet.png", count=5)
    assert results["images"] == 5
    assert results["skipped"] == 2
    assert greys(tmp_path / "sheet.png", 5, columns=8) == [0, 1, 2, 3, 6]
    assert "4.jpg" in caplog.text
    assert "8.jpg" in caplog.text


def test_invalid_rows_are_skipped(data, predictions, tmp_path, caplog):
    """The row of 3.jpg is broken, 5.jpg has another that disagrees, and one of 7.jpg repeats."""
    truth = data / "train" / "landmarks.csv"
    rows = truth.read_text().splitlines(keepends=True)
    rows[4] = rows[4].rpartition("\t")[0] + "\n"
    rows += [rows[8], rows[6].rpartition("\t")[0] + "\t9\n"]
    truth.write_text("".join(rows))
    results = write_landmark_sheet(data, "train", tmp_path / "sheet.png")
    assert (results["images"], results["skipped"]) == (8, 4)
    assert greys(tmp_path / "sheet.png", 8, columns=8) == [0, 1, 2, 4, 6, 7, 8, 9]
    assert "line 5 (3.jpg): fewer cells than the header has" in caplog.text
    prediction_files.write(predictions, NAMES[:3], np.stack([POINTS_PX] * 3))
    results = write_landmark_sheet(data, "train", tmp_path / "sheet.png", predictions, truth)
    assert (results["images"], results["skipped"]) == (3, 0)


@pytest.mark.parametrize("name", ["../0.jpg", "{folder}/0.jpg", "link.jpg"])
def test_images_outside_the_folder_are_skipped(data, tmp_path, name, caplog):
    """A file of predictions may have any names."""
    images = data / "train" / "images"
    (images / "0.jpg").rename(data / "train" / "0.jpg")
    (images / "link.jpg").symlink_to("../0.jpg")
    names = [name.format(folder=data / "train"), "7.jpg"]
    prediction_files.write(tmp_path / "p.npz", names, np.stack([POINTS_PX] * 2))
    results = write_landmark_sheet(data, "train", tmp_path / "sheet.png", tmp_path / "p.npz")
    assert (results["images"], results["skipped"]) == (1, 1)
    assert greys(tmp_path / "sheet.png", 1, columns=8) == [7]
    assert "skipped: " in caplog.text


def test_contest_points_have_a_legend(data, tmp_path):
    points_px = np.random.default_rng(0).integers(-20, 80, (1, 971, 2))
    landmark_tables.write_landmarks(tmp_path / "truth.csv", ["0.jpg"], points_px)
    write_landmark_sheet(data, "train", tmp_path / "sheet.png", truth=tmp_path / "truth.csv")
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_COLOR_RGB)
    legend = contact_sheet.region_legend(sheet.shape[1], list(REGIONS))
    np.testing.assert_array_equal(sheet[-len(legend) :], legend)


def test_layout_file_gives_colours_and_legend(data, tmp_path):
    plain, coloured, layout = (tmp_path / name for name in ("a.png", "b.png", "layout.json"))
    layout.write_text('{"regions": {"brow": [0, 1]}}')
    write_landmark_sheet(data, "train", plain)
    write_landmark_sheet(data, "train", coloured, layout=layout)
    plain, coloured = (cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in (plain, coloured))
    legend = contact_sheet.region_legend(plain.shape[1], ["brow"])
    np.testing.assert_array_equal(coloured[len(plain) :], legend)
    (colour,) = drawing.region_colours(["brow"]).values()
    assert not (plain == colour).all(axis=2).any()
    assert (coloured[: len(plain)] == colour).all(axis=2).any()


def test_missing_points_are_an_error(data, tmp_path):
    (data / "train" / "landmarks.csv").unlink()
    with pytest.raises(InputError, match="--predictions or --truth"):
        write_landmark_sheet(data, "train", tmp_path / "sheet.png")


def test_no_readable_image_is_an_error(data, tmp_path):
    truth = tmp_path / "other.csv"
    landmark_tables.write_landmarks(truth, ["unknown.jpg"], [POINTS_PX])
    with pytest.raises(InputError, match="1 images"):
        write_landmark_sheet(data, "train", tmp_path / "sheet.png", truth=truth)


def test_different_layouts_are_an_error(data, predictions, tmp_path):
    truth = tmp_path / "two.csv"
    landmark_tables.write_landmarks(truth, NAMES, [POINTS_PX[:2]] * 10)
    with pytest.raises(InputError, match=r"predictions\.npz.*two\.csv"):
        write_landmark_sheet(data, "train", tmp_path / "sheet.png", predictions, truth)
