import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from folders import contents, no_file_beyond
from PIL import Image

from keras_landmarks.contest import (
    landmark_tables,
    listed_images,
    prediction_files,
    requested_points,
    table_files,
)
from keras_landmarks.images import geometry
from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models import spec
from keras_landmarks.models.pretrained import BEST_WEIGHTS
from keras_landmarks.models.spec import ModelSpec, claim_workdir
from keras_landmarks.predict import PredictSettings, predict, stand_in, whole_px
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import Journal


@pytest.fixture
def predict_tiny(tiny_run, faces, tmp_path):
    """Predicts with the tiny model; returns the submission's lines, if any, and predictions."""
    settings, _ = tiny_run

    def run(
        data=faces,
        split="test",
        workdir=Path(settings.workdir),
        submission=tmp_path / "s.csv",
        **options,
    ):
        predictions, settings = tmp_path / "p.npz", PredictSettings(**options)
        figures = predict(workdir, data, split, submission, predictions, settings)
        lines = submission.read_text().splitlines() if submission else None
        return lines, prediction_files.read(predictions), figures

    return run


def test_the_submission_is_in_the_contests_form(predict_tiny, faces):
    lines, predicted, _ = predict_tiny()
    asked = requested_points.read_test_points(faces / "test" / "test_points.csv")
    columns = [f"Point_M{i}_{axis}" for i in range(30) for axis in "XY"]
    assert lines[0] == ",".join(["file_name", *columns])
    assert [line.split(",")[0] for line in lines[1:]] == asked.file_names
    for line, face, indices in zip(lines[1:], predicted.points, asked.point_indices, strict=True):
        numbers = np.array(line.split(",")[1:]).astype(int)  # fails unless whole
        np.testing.assert_array_equal(numbers, np.rint(face[indices]).ravel())


def test_truncating_cuts_fractions_off(predict_tiny, faces):
    lines, predicted, _ = predict_tiny(rounding="truncate")
    asked = requested_points.read_test_points(faces / "test" / "test_points.csv").point_indices
    for line, face, indices in zip(lines[1:], predicted.points, asked, strict=True):
        assert line.split(",")[1:] == [str(int(v)) for v in face[indices].ravel()]


@pytest.mark.parametrize(
    ("rounding", "expected"), [("round", "0,0,0,0,2,4,-2,-1"), ("truncate", "0,0,0,0,2,3,-1,-1")]
)
def test_halves_are_rounded_to_even_and_nothing_is_minus_nought(tmp_path, rounding, expected):
    points = np.array([[-0.4, -0.0], [0.5, -0.5], [2.5, 3.5], [-1.5, -1.4]])
    landmark_tables.write_submission(tmp_path / "s.csv", ["a.jpg"], [whole_px(points, rounding)])
    assert (tmp_path / "s.csv").read_text().splitlines()[1] == f"a.jpg,{expected}"


def test_rows_and_points_come_in_the_order_asked(predict_tiny, faces, own_faces):
    _, straight, _ = predict_tiny()
    table = own_faces / "test" / "test_points.csv"
    asked = requested_points.read_test_points(table)
    requested_points.write_test_points(table, asked.file_names[::-1], [[5, 2, 900]] * 8)
    lines, turned, _ = predict_tiny(own_faces)
    assert turned.file_names == straight.file_names[::-1]
    np.testing.assert_allclose(turned.points, straight.points[::-1], atol=1e-3)
    expected = np.rint(turned.points[0][[5, 2, 900]]).ravel()
    np.testing.assert_array_equal(np.array(lines[1].split(",")[1:]).astype(int), expected)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_every_image_is_predicted_whatever_the_batch(predict_tiny, batch_size):
    _, whole, _ = predict_tiny()
    _, predicted, figures = predict_tiny(batch_size=batch_size)
    assert figures["images"] == 8
    np.testing.assert_allclose(predicted.points, whole.points, atol=1e-3)


def test_points_are_in_the_pixels_of_the_photo(predict_tiny, faces):
    """The mean over the face lies where the photo's middle is, whatever its size."""
    _, predicted, _ = predict_tiny()
    for name, face in zip(predicted.file_names, predicted.points, strict=True):
        height, width = listed_images.read_image(faces / "test" / "images", name).shape[:2]
        assert np.all(np.abs(face.mean(axis=0) / [width, height] - 0.5) < 0.6)


def test_photos_are_framed_as_the_model_wants_them(faces, tmp_path):
    spec = ModelSpec("tiny", 971, "48x32", "pad", trim_bands=True, normalisation="imagenet")
    claim_workdir(tmp_path, spec)
    model = spec.build()
    model.save_weights(tmp_path / BEST_WEIGHTS)
    predict(tmp_path, faces, "test", tmp_path / "s.csv", tmp_path / "p.npz")
    predicted = prediction_files.read(tmp_path / "p.npz")
    frame = CropSpec(48, 32, "pad", trim_bands=True)
    folder = faces / "test" / "images"
    photos = [listed_images.read_image(folder, name) for name in predicted.file_names]
    crops, framings = zip(*map(frame.apply, photos), strict=True)
    landmarks_crop_px = model.predict(np.stack(crops), verbose=0)
    expected = list(map(geometry.to_photo, landmarks_crop_px, framings))
    np.testing.assert_allclose(predicted.points, expected, atol=0.01)


def test_uncertainty_is_told_in_pixels_of_the_photo_and_stays_with_its_point(faces, tmp_path):
    spec = ModelSpec("tiny", 971, "48x32", "stretch", uncertainty=True, mirror="contest")
    claim_workdir(tmp_path, spec)
    model = spec.build()
    model.save_weights(tmp_path / BEST_WEIGHTS)
    paths = tmp_path / "s.csv", tmp_path / "p.npz"
    predict(tmp_path, faces, "test", *paths)
    predicted = prediction_files.read(paths[1])
    photo = listed_images.read_image(faces / "test" / "images", predicted.file_names[0])
    crop, framing = spec.frame.apply(photo)
    log_variance = model.predict(crop[None], verbose=0)[0, :, 2]
    expected = np.exp(log_variance / 2) / np.sqrt(framing.scale.prod())
    np.testing.assert_allclose(predicted.sigmas[0], expected, rtol=1e-3)

    predict(tmp_path, faces, "test", *paths, PredictSettings(tta="mirror"))
    mirrored = model.predict(crop[None, :, ::-1], verbose=0)[0, layout.mirror_map(), 2]
    expected = np.exp((log_variance + mirrored) / 4) / np.sqrt(framing.scale.prod())
    np.testing.assert_allclose(prediction_files.read(paths[1]).sigmas[0], expected, rtol=1e-3)


def test_test_points_may_lie_beside_the_split(predict_tiny, own_faces):
    shutil.move(own_faces / "test" / "test_points.csv", own_faces / "test_points.csv")
    lines, _, _ = predict_tiny(own_faces)
    assert len(lines) == 9


def test_without_test_points_the_rows_of_landmarks_are_predicted_and_there_is_no_csv(
    predict_tiny, own_faces
):
    _, straight, _ = predict_tiny()
    truth = landmark_tables.read_landmarks(own_faces / "test" / "test_landmarks.csv")
    table = own_faces / "test" / "landmarks.csv"
    landmark_tables.write_landmarks(table, truth.file_names[::-1], truth.points[::-1])
    (own_faces / "test" / "test_points.csv").unlink()
    _, predicted, figures = predict_tiny(own_faces, submission=None)
    assert figures["submission"] is None
    assert predicted.file_names == truth.file_names[::-1]
    np.testing.assert_allclose(predicted.points, straight.points[::-1], atol=1e-3)


def test_test_points_beside_the_splits_are_not_those_of_train(predict_tiny, own_faces, tmp_path):
    shutil.move(own_faces / "test" / "test_points.csv", own_faces / "test_points.csv")
    (own_faces / "train" / "images" / "face_000007.jpg").write_bytes(b"")
    _, predicted, figures = predict_tiny(own_faces, "train", submission=None)
    assert figures["submission"] is None
    labels = landmark_tables.read_landmarks(own_faces / "train" / "landmarks.csv")
    assert predicted.file_names == labels.file_names
    assert "face_000007.jpg" in (tmp_path / "p_rejects.csv").read_text()


def test_a_submission_that_cannot_be_made_is_refused_at_once(predict_tiny, faces, tmp_path):
    says = r"--submission=\S+s\.csv: \S+train has no test_points\.csv to say what is asked; leave"
    with pytest.raises(InputError, match=says):
        predict_tiny(faces, "train")
    assert not list(tmp_path.iterdir())


def test_the_images_held_out_can_be_predicted_alone(tiny_run, faces, tmp_path):
    workdir = Path(tiny_run[0].workdir)
    held_out = table_files.read_names(workdir / "validation.csv")
    assert held_out == [f"face_0000{row}.jpg" for row in (21, 22, 23)]
    wanted = workdir, faces, "train", None, tmp_path / "p.npz"
    figures = predict(*wanted, only=workdir / "validation.csv")
    assert (figures["images"], figures["submission"]) == (3, None)
    predicted = prediction_files.read(tmp_path / "p.npz")
    assert predicted.file_names == held_out
    predict(*wanted)
    every = prediction_files.read(tmp_path / "p.npz")
    np.testing.assert_allclose(predicted.points, every.points[21:], atol=1e-3)


def test_a_table_of_other_images_to_predict_is_refused(tiny_run, faces, write, tmp_path):
    wanted = Path(tiny_run[0].workdir), faces, "test", None, tmp_path / "p.npz"
    with pytest.raises(InputError, match=r"x\.jpg is not in .*test_points.csv; is --split right\?"):
        predict(*wanted, only=write("file_name\nx.jpg\n"))
    with pytest.raises(InputError, match=r"table\.csv: names no image"):
        predict(*wanted, only=write("file_name\n"))


def test_the_submission_lies_in_the_work_directory_unless_told(tiny_run, faces, tmp_path):
    workdir = shutil.copytree(tiny_run[0].workdir, tmp_path / "work")
    figures = predict(workdir, faces, "test", None, tmp_path / "p.npz")
    assert figures["submission"] == str(workdir / "test_submission.csv")
    assert len((workdir / "test_submission.csv").read_text().splitlines()) == 9


def test_a_split_without_rows_or_without_a_table_is_refused(predict_tiny, own_faces):
    table = own_faces / "train" / "landmarks.csv"
    table.write_text("file_name\tPoint_M0_X\tPoint_M0_Y\n")
    with pytest.raises(InputError, match=r"landmarks\.csv: there is no row under the header"):
        predict_tiny(own_faces, "train", submission=None)
    table.unlink()
    with pytest.raises(InputError, match=r"none of these files exists: .*landmarks\.csv"):
        predict_tiny(own_faces, "train", submission=None)


def sizes_of(data, names):
    """Width and height of these test images."""
    folder = data / "test" / "images"
    return np.array([listed_images.read_image(folder, name).shape[1::-1] for name in names])


def test_a_broken_image_gets_the_mean_shape_of_the_others_and_is_listed(
    predict_tiny, own_faces, tmp_path
):
    sizes = sizes_of(own_faces, [f"face_{row:06d}.jpg" for row in range(8)])
    broken = own_faces / "test" / "images" / "face_000007.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    lines, predicted, figures = predict_tiny(own_faces)
    assert figures["rejected"] == 1
    assert len(lines) == 9
    shape = (predicted.points[:7] / sizes[:7, None]).mean(axis=0)
    expected = (shape * sizes[7]).clip(0, sizes[7] - 1)
    np.testing.assert_allclose(predicted.points[7], expected, atol=1e-3)
    assert "face_000007.jpg" in (tmp_path / "s_rejects.csv").read_text()
    with pytest.raises(InputError, match=r"face_000007\.jpg: the JPEG is truncated"):
        predict_tiny(own_faces, strict=True)


def test_a_stand_in_lies_within_its_photo_whatever_the_others_are(predict_tiny, own_faces):
    """A small photo among large ones, turned by its EXIF, and one whose size is not known."""
    images = own_faces / "test" / "images"
    exif = Image.Exif()
    exif[0x0112] = 6  # 40 x 30 as it is stored, 30 x 40 as it is seen
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(images / "face_000002.jpg", exif=exif)
    content = (images / "face_000002.jpg").read_bytes()
    (images / "face_000002.jpg").write_bytes(content[:-2])
    (images / "face_000004.jpg").write_bytes(b"no photo")
    _, predicted, figures = predict_tiny(own_faces)
    assert figures["rejected"] == 2
    others = [row for row in range(8) if row not in (2, 4)]
    sizes = sizes_of(own_faces, [predicted.file_names[row] for row in others])
    shape = (predicted.points[others] / sizes[:, None]).mean(axis=0)
    for row, size in [(2, np.array([30, 40])), (4, np.median(sizes, axis=0) // 1)]:
        expected = (shape * size).clip(0, size - 1)
        np.testing.assert_allclose(predicted.points[row], expected, atol=1e-3)


def test_a_stand_in_is_clipped_to_its_photo(tmp_path):
    """The others' points lie far outside of their photos."""
    for name, (width, height) in {"a.png": (10, 20), "b.png": (20, 10), "c.png": (8, 6)}.items():
        cv2.imwrite(str(tmp_path / name), np.zeros((height, width, 3), np.uint8))
    predicted = np.array([[[-5, 4, 3], [30, 2, 1]], [[-10, 2, 3], [60, 1, 1]], np.zeros((2, 3))])
    stand_in(predicted, [2], tmp_path, ["a.png", "b.png", "c.png"])
    # Deviations are shares of the square root of the area: of 200 px² and 48 px².
    share = np.sqrt(48 / 200)
    expected = [[0, 6 * (4 / 20 + 2 / 10) / 2, 3 * share], [7, 6 * (2 / 20 + 1 / 10) / 2, share]]
    np.testing.assert_allclose(predicted[2], expected)


def test_a_link_that_leaves_the_folder_is_a_broken_image(predict_tiny, own_faces, tmp_path):
    for number in (3, 5):
        link = own_faces / "test" / "images" / f"face_{number:06d}.jpg"
        outside = own_faces / link.name
        link.rename(outside)
        link.symlink_to(outside)
    _, predicted, figures = predict_tiny(own_faces)
    assert figures["rejected"] == 2
    others = [row for row in range(8) if row not in (3, 5)]
    sizes = sizes_of(own_faces, [predicted.file_names[row] for row in others])
    shape = (predicted.points[others] / sizes[:, None]).mean(axis=0)
    usual = np.median(sizes, axis=0) // 1  # the outside is not looked at
    expected = (shape * usual).clip(0, usual - 1)
    np.testing.assert_allclose(predicted.points[5], expected, atol=1e-3)
    assert (tmp_path / "s_rejects.csv").read_text().splitlines()[1:] == [
        f"face_000003.jpg\t5\t{listed_images.LINK_OUT}",
        f"face_000005.jpg\t7\t{listed_images.LINK_OUT}",
    ]


def rows_of(path):
    return [tuple(line.split("\t")[:2]) for line in path.read_text().splitlines()[1:]]


def test_rejects_have_the_lines_of_the_table_whatever_stands_between(
    predict_tiny, own_faces, tmp_path
):
    """Among the rows are an empty one, and one that repeats."""
    table = own_faces / "test" / "test_points.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join([header, *rows[:2], "\n", rows[5], *rows[2:]]))
    for number in (1, 5):
        (own_faces / "test" / "images" / f"face_{number:06d}.jpg").write_bytes(b"")
    lines, _, figures = predict_tiny(own_faces, batch_size=2)
    assert (len(lines), figures["images"], figures["rejected"]) == (10, 9, 3)
    assert rows_of(tmp_path / "s_rejects.csv") == [
        ("face_000001.jpg", "3"),
        ("face_000005.jpg", "5"),
        ("face_000005.jpg", "9"),
    ]


def test_rejects_have_the_lines_of_the_splits_table_if_only_some_are_predicted(
    tiny_run, own_faces, write, tmp_path
):
    table = own_faces / "train" / "landmarks.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join([header, rows[0], rows[0], "../outside.jpg\t1\n", *rows[1:]]))
    (own_faces / "train" / "images" / "face_000007.jpg").unlink()
    only = write("file_name\nface_000009.jpg\nface_000007.jpg\nface_000000.jpg\n", "only.csv")
    workdir, out = Path(tiny_run[0].workdir), tmp_path / "p.npz"
    figures = predict(workdir, own_faces, "train", None, out, only=only)
    assert (figures["images"], figures["rejected"]) == (3, 1)
    assert rows_of(tmp_path / "p_rejects.csv") == [("face_000007.jpg", "11")]


def test_a_point_that_the_model_lacks_is_refused(predict_tiny, own_faces):
    table = own_faces / "test" / "test_points.csv"
    names = requested_points.read_test_points(table).file_names
    requested_points.write_test_points(table, names, [[971]] * 8)
    with pytest.raises(InputError, match=r"face_000000\.jpg: point 971 is asked"):
        predict_tiny(own_faces)


def test_a_folder_that_is_no_run_is_refused(faces, tmp_path):
    with pytest.raises(InputError, match=r"model\.json: no such file; --workdir"):
        predict(tmp_path, faces, "test", tmp_path / "s.csv", tmp_path / "p.npz")


@pytest.fixture
def interrupt_at_batch(monkeypatch):
    """Interrupts the prediction when a batch is done that is not to be: by its number, from 0."""
    append = Journal.append

    def interrupt_at(number):
        def append_or_end(journal, record):
            if len(journal) == number:
                raise KeyboardInterrupt
            append(journal, record)

        monkeypatch.setattr(Journal, "append", append_or_end)

    return interrupt_at


def test_an_interrupted_run_goes_on_where_it_was(
    predict_tiny, own_faces, tmp_path, interrupt_at_batch
):
    """Broken images in the batches before and after, and in those read ahead, are all told."""
    for number in (1, 4, 7):
        (own_faces / "test" / "images" / f"face_{number:06d}.jpg").write_bytes(b"")
    results = ["p.npz", "s.csv", "s_rejects.csv"]
    predict_tiny(own_faces, batch_size=2)
    straight = {name: (tmp_path / name).read_bytes() for name in results}
    for name in results:
        (tmp_path / name).unlink()
    for number in (2, 3):
        interrupt_at_batch(number)
        with pytest.raises(KeyboardInterrupt):
            predict_tiny(own_faces, batch_size=2)
        assert not any((tmp_path / name).exists() for name in results)
    interrupt_at_batch(None)
    _, _, figures = predict_tiny(own_faces, batch_size=2)
    assert (figures["images"], figures["rejected"]) == (8, 3)
    assert {name: (tmp_path / name).read_bytes() for name in results} == straight
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("change", ["image", "batch size", "views"])
def test_an_interrupted_run_of_other_images_batches_or_views_is_not_gone_on_with(
    predict_tiny, own_faces, interrupt_at_batch, change
):
    _, straight, _ = predict_tiny(own_faces, batch_size=2)
    interrupt_at_batch(2)
    with pytest.raises(KeyboardInterrupt):
        predict_tiny(own_faces, batch_size=2)
    interrupt_at_batch(None)
    if change == "image":
        images = own_faces / "test" / "images"
        shutil.copy(images / "face_000005.jpg", images / "face_000000.jpg")
        _, predicted, _ = predict_tiny(own_faces, batch_size=2)
        np.testing.assert_allclose(predicted.points[0], straight.points[5], atol=1e-3)
    elif change == "views":
        _, crops, _ = predict_tiny(own_faces, batch_size=2, tta="crops")
        assert np.all(np.any(crops.points != straight.points, axis=(1, 2)))
    else:
        _, predicted, _ = predict_tiny(own_faces, batch_size=1)
        np.testing.assert_allclose(predicted.points, straight.points, atol=1e-3)


def test_a_full_disk_is_told_and_an_earlier_file_is_left(predict_tiny, tmp_path):
    predict_tiny()
    before = contents(tmp_path)
    with no_file_beyond(60_000), pytest.raises(OSError, match=r"p\.npz: File too large; make room"):
        predict_tiny(batch_size=8)
    left = {name: content for name, content in contents(tmp_path).items() if name[0] != "."}
    assert left == before


# ── several views ──


def without_losses(folder):
    """Makes a test split's photos PNGs, whatever their names; returns them by name."""
    photos = {}
    images = folder / "test" / "images"
    for name in os.listdir(images):
        photos[name] = listed_images.read_image(images, name)
        write_png(images / name, photos[name])
    return photos


def write_png(path, photo):
    path.write_bytes(cv2.imencode(".png", photo[:, :, ::-1])[1].tobytes())


def test_mirrored_prediction_is_the_mean_with_the_mirrored_photos_prediction(
    predict_tiny, own_faces
):
    photos = without_losses(own_faces)
    _, plain, _ = predict_tiny(own_faces)
    _, both, _ = predict_tiny(own_faces, batch_size=3, tta="mirror", mirror="contest")
    for name, photo in photos.items():
        write_png(own_faces / "test" / "images" / name, photo[:, ::-1])
    _, of_mirrored, _ = predict_tiny(own_faces)
    for i, name in enumerate(plain.file_names):
        width = photos[name].shape[1]
        back = mirror.mirror_points(of_mirrored.points[i], layout.mirror_map(), width)
        np.testing.assert_allclose(both.points[i], (plain.points[i] + back) / 2, atol=0.1)
        assert np.abs(both.points[i] - plain.points[i]).max() > 0.2


def test_crops_are_averaged_alone_and_with_their_mirror_images(predict_tiny):
    _, plain, _ = predict_tiny()
    _, crops, _ = predict_tiny(tta="crops")
    _, both, _ = predict_tiny(tta="mirror,crops", mirror="contest", batch_size=5)
    for averaged in (crops, both):
        assert np.all(np.abs(averaged.points - plain.points).max(axis=(1, 2)) > 0.01)
    assert np.abs(both.points - crops.points).max() > 0.01


@pytest.fixture
def run_with_map(tiny_run, tmp_path):
    """Returns the folder of a run that was trained with a mirror map of its own."""
    settings, _ = tiny_run

    def make(mirror_map):
        workdir = tmp_path / "with_map"
        workdir.mkdir(exist_ok=True)
        shutil.copy(Path(settings.workdir) / BEST_WEIGHTS, workdir)
        known = json.loads((Path(settings.workdir) / spec.FILE_NAME).read_text())
        (workdir / spec.FILE_NAME).write_text(json.dumps(known | {"mirror": mirror_map}))
        return workdir

    return make


def test_the_map_that_the_model_was_trained_with_counts(predict_tiny, run_with_map, tmp_path):
    (tmp_path / "map.json").write_text(json.dumps(list(range(971))))
    _, by_contest, _ = predict_tiny(tta="mirror", mirror="contest")
    _, by_file, _ = predict_tiny(tta="mirror", mirror=str(tmp_path / "map.json"))
    assert np.any(by_contest.points != by_file.points)
    _, trained, _ = predict_tiny(workdir=run_with_map("contest"), tta="mirror")
    np.testing.assert_array_equal(trained.points, by_contest.points)
    workdir = run_with_map(list(range(971)))
    _, trained, _ = predict_tiny(workdir=workdir, tta="mirror", mirror="contest")
    np.testing.assert_array_equal(trained.points, by_file.points)


@pytest.mark.parametrize("choice", [None, "none", "found"])
def test_a_model_without_a_mirror_map_needs_to_be_told(predict_tiny, choice):
    with pytest.raises(InputError, match=r"model\.json: no mirror map; say which with --mirror="):
        predict_tiny(tta="mirror", mirror=choice)


@pytest.mark.parametrize("damaged", ["contests", [1, 0], [0] * 971, {}])
def test_a_damaged_map_is_refused(predict_tiny, run_with_map, damaged):
    with pytest.raises(InputError, match=r"model\.json: "):
        predict_tiny(workdir=run_with_map(damaged), tta="mirror")
