import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from keras_landmarks.annotations.cropping import region_around
from keras_landmarks.contest import grouping, landmark_tables, listed_images
from keras_landmarks.convert import convert
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


def test_a_box_takes_its_share_of_what_is_cut_out():
    # 4 x 6 px in 8 x 12 px
    assert region_around([10, 8, 13, 13], 0.5) == (7, 4, 15, 16)


def test_points_on_a_line_are_cut_out_with_half_as_much_height():
    assert region_around([10, 20, 29, 20], 0.5) == (-1, 10, 39, 30)


def test_faces_become_a_folder_in_the_contests_form(photos, tmp_path):
    figures = convert(photos, tmp_path / "data", processes=1)
    assert figures["faces"] == 2
    assert figures["points"] == 3
    assert figures["rejected"] == 1
    assert figures["mirror"]
    folder = tmp_path / "data" / "train"
    table = landmark_tables.read_landmarks(folder / "landmarks.csv")
    for name, points in zip(table.file_names, table.points, strict=True):
        image = listed_images.read_image(folder / "images", name)
        x, y = points[0].astype(int)
        assert image[y, x].min() > 200  # the white dot
        share = np.ptp(points, axis=0) / (image.shape[1], image.shape[0])
        assert np.allclose(share, 0.6, atol=0.03)
    sources = grouping.read_group_table(folder / "sources.csv")
    assert list(sources.values()) == ["a.jpg", "b.jpg"]
    says = f"gone.jpg\t3\tthere is no such image: {photos.with_name('gone.jpg')}\n"
    assert says in (folder / "rejects.csv").read_text()
    layout = json.loads((tmp_path / "data" / "layout.json").read_text())
    assert layout == {"points": ["nose", "left", "right"], "mirror": [0, 2, 1]}


def test_a_crops_points_lead_back_to_the_photo(photos, tmp_path):
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
        in_photo = table.points[0] + [int(crops[0][3]), int(crops[0][4])]
        assert crops[0][1] == "a.jpg"
        assert in_photo.tolist() == [[100, 60], [80, 40], [110, 70]]


def test_photos_can_stay_whole(photos, tmp_path):
    convert(photos, tmp_path / "data", "test", face_share=0, processes=1)
    folder = tmp_path / "data" / "test"
    table = landmark_tables.read_landmarks(folder / "landmarks.csv")
    assert table.points[0].tolist() == [[100, 60], [80, 40], [110, 70]]
    assert listed_images.read_image(folder / "images", table.file_names[0]).shape == (120, 200, 3)


def test_faces_of_other_counts_of_points_and_far_outside_are_left_out(photos, tmp_path):
    source = photos.with_name("list.txt")
    rows = ["b.jpg 1 2 30 40", "a.jpg 1 2 30 40 50 60", "b.jpg 1 2 3000 40 50 60"]
    source.write_text("\n".join(rows))
    figures = convert(source, tmp_path / "data", processes=1)
    assert (figures["faces"], figures["rejected"]) == (1, 2)
    assert not figures["mirror"]
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert "b.jpg\t1\tnot as many points as most faces: 2, not 3" in rejects


def test_what_does_not_fit_the_faces_is_not_known(photos, tmp_path, caplog):
    """68 points of which none is what 300-W has it to be."""
    rng = np.random.default_rng(0)
    faces = rng.uniform(20, 100, (68, 2)) + rng.normal(0, 1, (12, 68, 2))
    rows = [" ".join(["a.jpg", *(f"{number:.1f}" for number in face.ravel())]) for face in faces]
    source = photos.with_name("list.txt")
    source.write_text("\n".join(rows))
    assert not convert(source, tmp_path / "data", processes=1)["mirror"]
    assert not (tmp_path / "data" / "layout.json").exists()
    assert "layout.json gets no regions and no mirror map: the map known for" in caplog.text


def test_a_face_that_is_there_twice_is_taken_once(photos, tmp_path):
    face = "1,2,30,40,20,50"
    photos.write_text(f"image,x0,y0,x1,y1,x2,y2\na.jpg,{face}\nb.jpg,{face}\na.jpg,{face}\n")
    with photos.open("a") as table:  # another face of the photo
        table.write("a.jpg,50,2,80,40,60,60\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 3
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert rejects.splitlines()[1:] == ["a.jpg\t4\trepeated: the same as row 2"]


def test_paths_of_photos_may_be_absolute_but_not_lead_elsewhere(photos, tmp_path):
    rows = [f"{photos.parent}/a.jpg,1,2,30,40", "/b.jpg,1,2,30,40", "..\\b.jpg,1,2,30,40"]
    photos.write_text("image,x0,y0,x1,y1\n" + "\n".join(rows) + "\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 1
    folder = tmp_path / "data" / "train"
    assert list(grouping.read_group_table(folder / "sources.csv").values()) == ["a.jpg"]
    rejects = (folder / "rejects.csv").read_text()
    assert "not a path below the photos' folder: '/b.jpg'" in rejects
    assert "b.jpg; folders are separated by /" in rejects


def test_the_point_that_lacks_a_place_most_often_is_named(photos, tmp_path, caplog):
    header = "image,nose_x,nose_y,chin_x,chin_y\n"
    photos.write_text(f"{header}a.jpg,1,2,,\nb.jpg,nan,2,,\n")
    says = "points without a place: 2; point chin has no place in 2 of 2 faces; the first is a.jpg"
    with pytest.raises(InputError, match=says):
        convert(photos, tmp_path / "data", processes=1)
    photos.write_text(f"{header}a.jpg,1,2,30,40\nb.jpg,1,2,,\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 1
    assert "chin has no place in 1 of 2 faces" in caplog.text
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert "b.jpg\t3\tpoints without a place: 1 of 2" in rejects


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("image,x0,y0,x1,y1", r"points\.csv has 2 points, .*train/landmarks\.csv 3; give another"),
        ("image,nose_x,nose_y,right_x,right_y,left_x,left_y", "point 1 is 'right', but 'left' in"),
    ],
)
def test_splits_have_the_same_points(photos, tmp_path, header, says):
    data = tmp_path / "data"
    convert(photos, data, processes=1)
    before = (data / "layout.json").read_bytes()
    photos.write_text(header + "\na.jpg," + ",".join("123456"[: header.count(",")]) + "\n")
    with pytest.raises(InputError, match=says):
        convert(photos, data, "test", processes=1)
    assert sorted(path.name for path in data.iterdir()) == ["layout.json", "train"]
    assert (data / "layout.json").read_bytes() == before


def test_a_layout_that_is_there_counts_and_stays(photos, tmp_path):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "layout.json"
    path.write_text('{"points": ["a", "b"]}')
    with pytest.raises(InputError, match=r"has 3 points, .*layout\.json 2"):
        convert(photos, tmp_path / "data", processes=1)
    path.write_text('{"mirror": [0, 2, 1]}')
    convert(photos, tmp_path / "data", processes=1)
    assert path.read_text() == '{"mirror": [0, 2, 1]}'


def test_nothing_is_left_where_no_face_can_be_used(photos, tmp_path):
    photos.write_text("image,x0,y0\ngone.jpg,10,10\nlost.jpg,20,20\n")
    path = photos.with_name("gone.jpg")
    says = "no face can be used: there is no such image: 2; the first is gone.jpg, row 2: "
    says += f"there is no such image: {path}"
    with pytest.raises(InputError, match=f"{says}; --photos says where the photos are$"):
        convert(photos, tmp_path / "data", processes=1)
    with pytest.raises(InputError, match=f"{says}$"):
        convert(photos, tmp_path / "data", photos=photos.parent, processes=1)
    path.write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"row 2: neither a JPEG nor a PNG; --photos"):
        convert(photos, tmp_path / "data", processes=1)
    photos.write_text("image,x0,y0\n")
    with pytest.raises(InputError, match=r"points\.csv: there is no row under the header$"):
        convert(photos, tmp_path / "data", processes=1)
    photos.with_suffix(".txt").touch()
    with pytest.raises(InputError, match=r"points\.txt: there is no face in it$"):
        convert(photos.with_suffix(".txt"), tmp_path / "data", processes=1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("unit", ["share", "percent"])
def test_points_in_another_unit_are_refused_unless_it_is_given(photos, tmp_path, unit):
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
    points = landmark_tables.read_landmarks(tmp_path / "data" / "train" / "landmarks.csv").points
    np.testing.assert_allclose(points, pixels, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((120, 200), "annotated on its side.*: 120 x 200, not 200 x 120"),
        (
            (100, 60),
            "annotated at another size: 100 x 60, not 200 x 120, which is 2 times as large",
        ),
        ((200, 121), None),
        ((300, 120), "annotated on a photo of another shape: 300 x 120, not 200 x 120"),
    ],
)
def test_the_size_that_annotations_state_is_held_against_the_photo(photos, tmp_path, size, says):
    image = {"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}
    points = {"image_id": 1, "keypoints": [50, 60, 2, 80, 40, 2, 70, 70, 2]}
    source = photos.with_name("a.json")
    source.write_text(json.dumps({"images": [image], "annotations": [points]}))
    with pytest.raises(InputError, match=says):
        convert(source, tmp_path / "data", processes=1)


def test_faces_of_one_or_two_points_keep_whole_photos(photos, tmp_path, caplog):
    photos.write_text("image,x0,y0,x1,y1\na.jpg,90,60,110,62\nb.jpg,1,2,30,40\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 2
    assert "photos stay whole" in caplog.text
    image = listed_images.read_image(tmp_path / "data" / "train" / "images", "face_000000.jpg")
    assert image.shape == (120, 200, 3)


def test_faces_of_one_point_are_cut_out_by_their_boxes(photos, tmp_path):
    photos.write_text("image,x,y,w,h,nose_x,nose_y\na.jpg,80,40,40,30,100,60\n")
    convert(photos, tmp_path / "data", processes=1, face_share=0.5)
    folder = tmp_path / "data" / "train"
    image = listed_images.read_image(folder / "images", "face_000000.jpg")
    assert image.shape == (62, 82, 3)  # 41 x 31 px take half of each side
    [[[x, y]]] = landmark_tables.read_landmarks(folder / "landmarks.csv").points
    assert image[y, x].min() > 200  # the white dot


def test_several_faces_in_a_photo_that_stays_whole_are_refused(photos, tmp_path):
    photos.write_text("image,x0,y0,x1,y1\na.jpg,1,2,30,40\na.jpg,50,2,80,40\nb.jpg,1,2,30,40\n")
    figures = convert(photos, tmp_path / "data", face_share=0, processes=1)
    assert (figures["faces"], figures["rejected"]) == (1, 2)
    rejects = (tmp_path / "data" / "train" / "rejects.csv").read_text()
    assert "several faces in one photo, which stays whole: 2" in rejects


def test_faces_of_a_few_pixels_are_refused(photos, tmp_path):
    photos.write_text("image,x0,y0,x1,y1,x2,y2\na.jpg,10,10,11,11,12,12\n")
    with pytest.raises(InputError, match=r"a face of a few pixels, are they pixels\?: 2 x 2 px"):
        convert(photos, tmp_path / "data", processes=1)


def test_names_of_either_unicode_form_find_their_photo(photos, tmp_path):
    photos.with_name("a.jpg").rename(photos.with_name("fu\u0308r.jpg"))
    photos.write_text("image,x0,y0,x1,y1,x2,y2\nf\u00fcr.jpg,1,2,30,40,20,50\n")
    assert convert(photos, tmp_path / "data", processes=1)["faces"] == 1


@pytest.mark.parametrize("name", ["1", "00001", "1.JPG", "old/1.jpg", "0001.png"])
def test_the_nearest_name_is_told_where_a_photo_is_missing(photos, tmp_path, name):
    photos.with_name("a.jpg").rename(photos.with_name("00001.jpg"))
    photos.write_text(f"image,x0,y0,x1,y1,x2,y2\n{name},1,2,30,40,20,50\n")
    with pytest.raises(InputError, match=r"the nearest name there is 00001\.jpg"):
        convert(photos, tmp_path / "data", processes=1)


def test_windows_separators_find_their_photo(photos, tmp_path):
    photos.write_text(f"image,x0,y0,x1,y1,x2,y2\n{photos.parent.name}\\a.jpg,1,2,30,40,20,50\n")
    figures = convert(photos, tmp_path / "data", photos=photos.parent.parent, processes=1)
    assert figures["faces"] == 1


def test_a_split_that_is_there_stays(photos, tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match="it is there already"):
        convert(photos, tmp_path / "data")


def test_the_command_writes_what_train_takes(photos, tmp_path):
    arguments = [f"--source={photos}", f"--data={tmp_path / 'data'}", "--processes=1"]
    command = [sys.executable, "-m", "keras_landmarks.convert", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout.splitlines()[-1])["faces"] == 2
    assert "faces that cannot be used: 1 (there is no such image: 1)" in ran.stderr
