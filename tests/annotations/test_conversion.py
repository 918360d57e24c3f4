import json
import shutil

import cv2
import numpy as np
import pytest
from annotation_files import NO, assert_faces, converted

from keras_landmarks.annotations.conversion import convert
from keras_landmarks.contest import grouping, landmark_tables, listed_images
from keras_landmarks.images.decoding import NO_FILE
from keras_landmarks.utils.errors import InputError


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])


@pytest.fixture
def photos(tmp_path):
    """Two photos, black but for a white dot of 8 px at (100, 60), and a table of three faces."""
    image = np.zeros((120, 200, 3), np.uint8)
    image[56:64, 96:104] = 255
    for name in "ab":
        save(tmp_path / "photos" / f"{name}.jpg", image)
    table = tmp_path / "photos" / "points.csv"
    rows = ["a.jpg,100,60,80,40,110,70", "gone.jpg,1,1,2,2,3,3", "b.jpg,100,60,90,50,190,110"]
    table.write_text("image,nose_x,nose_y,left_x,left_y,right_x,right_y\n" + "\n".join(rows))
    return table


def test_faces_are_written_in_contest_format(photos, tmp_path):
    results = convert(photos, tmp_path / "data", processes=1)
    assert results["faces"] == 2
    assert results["points"] == 3
    assert results["rejected"] == 1
    assert results["mirror"]
    folder = tmp_path / "data" / "train"
    table = landmark_tables.read_landmarks(folder / "landmarks.csv")
    for name, points in zip(table.file_names, table.landmarks_photo_px, strict=True):
        image = listed_images.read_image(folder / "images", name)
        x, y = points[0].astype(int)
        assert image[y, x].min() > 200  # the white dot
        share = np.ptp(points, axis=0) / (image.shape[1], image.shape[0])
        assert np.allclose(share, 0.6, atol=0.03)
    sources = grouping.read_group_table(folder / "sources.csv")
    assert list(sources.values()) == ["a.jpg", "b.jpg"]
    rejects = (folder / "rejects.csv").read_text()
    assert f"gone.jpg\t3\t{NO_FILE}: {photos.with_name('gone.jpg')}\n" in rejects
    layout = json.loads((tmp_path / "data" / "layout.json").read_text())
    assert layout == {"points": ["nose", "left", "right"], "mirror": [0, 2, 1]}


def test_crops_table_maps_landmarks_to_photo(photos, tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}]
    points = [100, 60, 2, 80, 40, 2, 110, 70, 2]
    content = {"images": images, "annotations": [{"id": 77, "image_id": 1, "keypoints": points}]}
    coco = photos.with_name("a.json")
    coco.write_text(json.dumps(content))
    for source, annotations in ((photos, ["2", "4"]), (coco, ["77"])):
        convert(source, tmp_path / "data", source.stem, processes=1)
        folder = tmp_path / "data" / source.stem
        header, *crops = (
            row.split("\t") for row in (folder / "crops.csv").read_text().splitlines()
        )
        assert header == ["file_name", "photo", "annotation", "x0", "y0"]
        table = landmark_tables.read_landmarks(folder / "landmarks.csv")
        assert [crop[0] for crop in crops] == table.file_names
        assert [crop[2] for crop in crops] == annotations
        in_photo = table.landmarks_photo_px[0] + [int(crops[0][3]), int(crops[0][4])]
        assert crops[0][1] == "a.jpg"
        assert in_photo.tolist() == [[100, 60], [80, 40], [110, 70]]


def test_face_share_0_keeps_whole_photos(photos, tmp_path):
    convert(photos, tmp_path / "data", "test", face_share=0, processes=1)
    folder = tmp_path / "data" / "test"
    table = landmark_tables.read_landmarks(folder / "landmarks.csv")
    assert table.landmarks_photo_px[0].tolist() == [[100, 60], [80, 40], [110, 70]]
    assert listed_images.read_image(folder / "images", table.file_names[0]).shape == (120, 200, 3)


def test_other_counts_and_far_points_are_rejected(photos, tmp_path):
    source = photos.with_name("list.txt")
    rows = ["b.jpg 1 2 30 40", "a.jpg 1 2 30 40 50 60", "b.jpg 1 2 3000 40 50 60"]
    source.write_text("\n".join(rows))
    results = convert(source, tmp_path / "data", processes=1)
    assert (results["faces"], results["rejected"]) == (1, 2)
    assert not results["mirror"]
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert "b.jpg\t1\tnot as many points as most faces: 2, not 3" in rejects


def test_known_layout_must_fit_faces(photos, tmp_path, caplog):
    """68 points of which none is what 300-W has it to be."""
    rng = np.random.default_rng(0)
    faces = rng.uniform(20, 100, (68, 2)) + rng.normal(0, 1, (12, 68, 2))
    rows = [" ".join(["a.jpg", *(f"{number:.1f}" for number in face.ravel())]) for face in faces]
    source = photos.with_name("list.txt")
    source.write_text("\n".join(rows))
    assert not convert(source, tmp_path / "data", processes=1)["mirror"]
    assert not (tmp_path / "data" / "layout.json").exists()
    assert "layout.json" in caplog.text


def test_repeated_face_is_rejected(photos, tmp_path):
    face = "1,2,30,40,20,50"
    photos.write_text(f"image,x0,y0,x1,y1,x2,y2\na.jpg,{face}\nb.jpg,{face}\na.jpg,{face}\n")
    with photos.open("a") as table:  # another face of the photo
        table.write("a.jpg,50,2,80,40,60,60\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 3
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert rejects.splitlines()[1:] == ["a.jpg\t4\tduplicate of an earlier face: row 2"]


def test_photo_paths_must_stay_in_folder(photos, tmp_path):
    rows = [f"{photos.parent}/a.jpg,1,2,30,40", "/b.jpg,1,2,30,40", "..\\b.jpg,1,2,30,40"]
    photos.write_text("image,x0,y0,x1,y1\n" + "\n".join(rows) + "\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 1
    folder = tmp_path / "data" / "train"
    assert list(grouping.read_group_table(folder / "sources.csv").values()) == ["a.jpg"]
    rejects = (folder / "rejects.csv").read_text()
    assert "not a path below the photos' folder: '/b.jpg'" in rejects
    assert f"{NO_FILE}: {photos.parent}/..\\b.jpg; " in rejects


GAPS = """image,nose_x,nose_y,left_x,left_y,right_x,right_y,chin_x,chin_y
a.jpg,100,60,80,40,110,70,100,100
b.jpg,100,60,80,40,110,70,,
b.jpg,,,20,40,50,70,nan,nan
"""


def test_missing_points_are_carried_and_counted(photos, tmp_path, caplog):
    photos.write_text(GAPS)
    faces, names, results = converted(photos, tmp_path / "data")
    points = [[100, 60], [80, 40], [110, 70]]
    assert_faces(faces[:2], [("a.jpg", [*points, [100, 100]]), ("b.jpg", [*points, NO])])
    assert (tmp_path / "data" / "train" / "landmarks.csv").read_text().endswith("\t\t\n")
    assert names == ["nose", "left", "right", "chin"]
    assert (results["faces"], results["rejected"], results["missing_points"]) == (2, 1, 1)
    assert "missing points: 1, most often point chin in 1 of 2 faces" in caplog.text
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert "b.jpg\t4\tno box, and too few points to crop the face by" in rejects


def test_missing_points_do_not_widen_crop(photos, tmp_path):
    """The face's box is that of the points that are there, 31 x 31 px."""
    photos.write_text(GAPS)
    convert(photos, tmp_path / "data", processes=1, face_share=0.5)
    images = tmp_path / "data" / "train" / "images"
    assert listed_images.read_image(images, "face_000001.jpg").shape == (62, 62, 3)
    assert listed_images.read_image(images, "face_000000.jpg").shape == (122, 62, 3)


def test_point_that_all_faces_lack_is_named(photos, tmp_path):
    photos.write_text(GAPS.replace("100,100\n", ",\n"))
    with pytest.raises(InputError, match=r"points\.csv: point chin is missing in all 3 faces; "):
        convert(photos, tmp_path / "data", processes=1)
    photos.write_text(GAPS.replace("a.jpg", "gone.jpg"))
    with pytest.raises(InputError, match="point chin is missing in all"):
        convert(photos, tmp_path / "data", processes=1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("known", ["layout", "split"])
def test_point_that_all_faces_of_another_split_lack_is_a_warning(photos, tmp_path, caplog, known):
    photos.write_text(GAPS)
    convert(photos, tmp_path / "data", processes=1)
    if known == "layout":
        shutil.rmtree(tmp_path / "data" / "train")
    else:
        (tmp_path / "data" / "layout.json").unlink()
    photos.write_text(GAPS.replace("100,100\n", ",\n"))
    results = convert(photos, tmp_path / "data", "test", processes=1)
    assert (results["points"], results["missing_points"]) == (4, 2)
    assert "points that are missing in all faces: point chin" in caplog.text


def test_half_a_point_and_no_point_are_rejected(photos, tmp_path):
    photos.write_text(f"{GAPS}a.jpg,1,2,3,4,5,,7,8\na.jpg,,,,,,,,\n")
    convert(photos, tmp_path / "data", processes=1)
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert "a.jpg\t5\thalf a point: point right has no y\n" in rejects
    assert "a.jpg\t6\tno points\n" in rejects


def test_known_layout_is_checked_despite_gaps(photos, tmp_path):
    """68 points of which none is what 300-W has it to be; two faces lack the last."""
    rng = np.random.default_rng(0)
    faces = rng.uniform(20, 100, (68, 2)) + rng.normal(0, 1, (12, 68, 2))
    titles = ",".join(f"x{index},y{index}" for index in range(68))
    rows = [",".join(["a.jpg", *(f"{number:.1f}" for number in face.ravel())]) for face in faces]
    rows[:2] = [f"{row.rsplit(',', 2)[0]},," for row in rows[:2]]
    photos.write_text("\n".join([f"image,{titles}", *rows]))
    results = convert(photos, tmp_path / "data", processes=1)
    assert (results["faces"], results["missing_points"]) == (12, 2)
    assert not results["mirror"]


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("image,x0,y0,x1,y1", r"points\.csv .*2 .*train/landmarks\.csv .*3.*--data"),
        ("image,nose_x,nose_y,right_x,right_y,left_x,left_y", "1 .*'right'.*'left'.*--data"),
    ],
)
def test_splits_must_have_same_landmarks(photos, tmp_path, header, named):
    data = tmp_path / "data"
    convert(photos, data, processes=1)
    before = (data / "layout.json").read_bytes()
    photos.write_text(header + "\na.jpg," + ",".join("123456"[: header.count(",")]) + "\n")
    with pytest.raises(InputError, match=named):
        convert(photos, data, "test", processes=1)
    assert sorted(path.name for path in data.iterdir()) == ["layout.json", "train"]
    assert (data / "layout.json").read_bytes() == before


def test_existing_layout_is_checked_and_kept(photos, tmp_path):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "layout.json"
    path.write_text('{"points": ["a", "b"]}')
    with pytest.raises(InputError, match=r"points\.csv .*3 .*layout\.json .*2"):
        convert(photos, tmp_path / "data", processes=1)
    path.write_text('{"mirror": [0, 2, 1]}')
    convert(photos, tmp_path / "data", processes=1)
    assert path.read_text() == '{"mirror": [0, 2, 1]}'


def test_failure_leaves_nothing_behind(photos, tmp_path):
    photos.write_text("image,x0,y0\ngone.jpg,10,10\nlost.jpg,20,20\n")
    path = photos.with_name("gone.jpg")
    named = rf"{NO_FILE}: 2; .*gone\.jpg, row 2: {NO_FILE}: {path}"
    with pytest.raises(InputError, match=f"{named}; --photos"):
        convert(photos, tmp_path / "data", processes=1)
    with pytest.raises(InputError, match=f"{named}$"):
        convert(photos, tmp_path / "data", photos=photos.parent, processes=1)
    path.write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"gone\.jpg, row 2: not a JPEG.*; --photos"):
        convert(photos, tmp_path / "data", processes=1)
    assert not (tmp_path / "data").exists()


def test_file_without_faces_is_refused(photos, tmp_path):
    photos.write_text("image,x0,y0\n")
    with pytest.raises(InputError, match=r"points\.csv: "):
        convert(photos, tmp_path / "data", processes=1)
    photos.with_suffix(".txt").touch()
    with pytest.raises(InputError, match=r"points\.txt: "):
        convert(photos.with_suffix(".txt"), tmp_path / "data", processes=1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("unit", ["share", "percent"])
def test_other_unit_must_be_given(photos, tmp_path, unit):
    """Three photos of 400 x 240 px."""
    image = np.zeros((240, 400, 3), np.uint8)
    for name in "cde":
        save(photos.parent / f"{name}.jpg", image)
    pixels = np.array([[[100, 60], [80, 40], [110, 70]]]) + np.arange(3)[:, None, None]
    table = pixels / (400, 240) * {"share": 1, "percent": 100}[unit]
    rows = [f"{n}.jpg," + ",".join(map(str, p.ravel())) for n, p in zip("cde", table, strict=True)]
    photos.write_text("image,x0,y0,x1,y1,x2,y2\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match=f"--points_unit={unit}"):
        convert(photos, tmp_path / "data", face_share=0, processes=1)
    assert not (tmp_path / "data").exists()
    convert(photos, tmp_path / "data", face_share=0, processes=1, points_unit=unit)
    points = landmark_tables.read_landmarks(
        tmp_path / "data" / "train" / "landmarks.csv"
    ).landmarks_photo_px
    np.testing.assert_allclose(points, pixels, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "named"),
    [
        ((120, 200), "EXIF.*120 x 200, not 200 x 120"),
        ((100, 60), "100 x 60, not 200 x 120, .*2 times"),
        ((300, 120), "300 x 120, not 200 x 120"),
        ((200, 121), "200 x 121, not 200 x 120"),
    ],
)
def test_stated_photo_size_is_checked(photos, tmp_path, size, named):
    image = {"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}
    points = {"image_id": 1, "keypoints": [50, 60, 2, 80, 40, 2, 70, 70, 2]}
    source = photos.with_name("a.json")
    source.write_text(json.dumps({"images": [image], "annotations": [points]}))
    with pytest.raises(InputError, match=named):
        convert(source, tmp_path / "data", processes=1)


def test_faces_without_extent_keep_whole_photos(photos, tmp_path, caplog):
    photos.write_text("image,x0,y0,x1,y1\na.jpg,90,60,110,62\nb.jpg,1,2,30,40\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 2
    assert "photos are not cropped" in caplog.text
    image = listed_images.read_image(tmp_path / "data" / "train" / "images", "face_000000.jpg")
    assert image.shape == (120, 200, 3)


def test_single_landmark_is_cropped_by_box(photos, tmp_path):
    photos.write_text("image,x,y,w,h,nose_x,nose_y\na.jpg,80,40,40,30,100,60\n")
    convert(photos, tmp_path / "data", processes=1, face_share=0.5)
    folder = tmp_path / "data" / "train"
    image = listed_images.read_image(folder / "images", "face_000000.jpg")
    assert image.shape == (62, 82, 3)  # 41 x 31 px take half of each side
    [[[x, y]]] = landmark_tables.read_landmarks(folder / "landmarks.csv").landmarks_photo_px
    assert image[y, x].min() > 200  # the white dot


def test_faces_sharing_whole_photo_are_rejected(photos, tmp_path):
    photos.write_text("image,x0,y0,x1,y1\na.jpg,1,2,30,40\na.jpg,50,2,80,40\nb.jpg,1,2,30,40\n")
    results = convert(photos, tmp_path / "data", face_share=0, processes=1)
    assert (results["faces"], results["rejected"]) == (1, 2)
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert rejects.count("several faces in one photo, which is not cropped: 2") == 2


def test_tiny_faces_are_rejected(photos, tmp_path):
    photos.write_text("image,x0,y0,x1,y1,x2,y2\na.jpg,10,10,11,11,12,12\n")
    with pytest.raises(InputError, match=": 2 x 2 px"):
        convert(photos, tmp_path / "data", processes=1)


def test_photo_is_found_in_either_unicode_form(photos, tmp_path):
    photos.with_name("a.jpg").rename(photos.with_name("fu\u0308r.jpg"))
    photos.write_text("image,x0,y0,x1,y1,x2,y2\nf\u00fcr.jpg,1,2,30,40,20,50\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 1


@pytest.mark.parametrize("name", ["1", "00001", "1.JPG", "old/1.jpg", "0001.png"])
def test_nearest_photo_name_is_suggested(photos, tmp_path, name):
    photos.with_name("a.jpg").rename(photos.with_name("00001.jpg"))
    photos.write_text(f"image,x0,y0,x1,y1,x2,y2\n{name},1,2,30,40,20,50\n")
    with pytest.raises(InputError, match=r"the nearest name there is 00001\.jpg"):
        convert(photos, tmp_path / "data", processes=1)


def test_windows_separators_are_accepted(photos, tmp_path):
    photos.write_text(f"image,x0,y0,x1,y1,x2,y2\n{photos.parent.name}\\a.jpg,1,2,30,40,20,50\n")
    results = convert(photos, tmp_path / "data", photos=photos.parent.parent, processes=1)
    assert results["faces"] == 1


def test_existing_split_is_kept(photos, tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match=f"{tmp_path}/data/train: .*--split"):
        convert(photos, tmp_path / "data")


def test_points_at_zero_in_several_faces_are_missing(photos, tmp_path, caplog):
    rows = ["a.jpg,100,60,80,40,0,0", "b.jpg,100,60,-1,-1,110,70"]
    photos.write_text("image,nose_x,nose_y,left_x,left_y,right_x,right_y\n" + "\n".join(rows))
    faces, _, results = converted(photos, tmp_path / "data")
    assert_faces(
        faces,
        [("a.jpg", [[100, 60], [80, 40], NO]), ("b.jpg", [[100, 60], NO, [110, 70]])],
    )
    assert results["missing_points"] == 2
    assert "points.csv: 2 points at exactly (0, 0) or (-1, -1), of 2 faces" in caplog.text


def test_a_single_point_at_zero_is_a_point(photos, tmp_path):
    rows = ["a.jpg,100,60,80,40,0,0", "b.jpg,100,60,90,50,110,70"]
    photos.write_text("image,nose_x,nose_y,left_x,left_y,right_x,right_y\n" + "\n".join(rows))
    faces, _, _ = converted(photos, tmp_path / "data")
    np.testing.assert_allclose(faces[0][1][2], [0, 0], atol=1e-3)


def test_photos_made_smaller_after_labelling_are_reported(photos, tmp_path, caplog):
    rows = [f"{name}.jpg,200,120,160,80,260,140" for name in "abc"]
    photos.write_text("image,nose_x,nose_y,left_x,left_y,right_x,right_y\n" + "\n".join(rows))
    shutil.copy(photos.with_name("a.jpg"), photos.with_name("c.jpg"))
    convert(photos, tmp_path / "data", processes=1)
    assert "points.csv: 3 of 3 faces have points beyond their photos" in caplog.text
