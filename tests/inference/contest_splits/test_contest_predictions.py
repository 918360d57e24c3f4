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
from keras_landmarks.inference.contest_splits.contest_predictions import predict_split
from keras_landmarks.layouts import layout, mirror
from keras_landmarks.models.keras_models import build_model
from keras_landmarks.models.spec import ModelSpec, claim_workdir
from keras_landmarks.models.weight_files import BEST_WEIGHTS
from keras_landmarks.settings import PredictSettings
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.journal import Journal


@pytest.fixture
def workdir(tiny_run):
    return Path(tiny_run[0].files.workdir)


@pytest.fixture
def predict_tiny(workdir, faces, tmp_path):
    """Predicts with the tiny model; returns the submission's lines, predictions and results."""

    def run(data=faces, split="test", submission=tmp_path / "s.csv", **options):
        return run_tiny(workdir, data, split, submission, tmp_path / "p.npz", **options)

    return run


def run_tiny(workdir, data, split, submission, predictions, **options):
    settings = PredictSettings(**options)
    results = predict_split(workdir, data, split, submission, predictions, settings)
    lines = submission.read_text().splitlines() if submission else None
    return lines, prediction_files.read(predictions), results


@pytest.fixture(scope="module")
def straight(tiny_run, faces, tmp_path_factory):
    """What the tiny model predicts for the test photos: the submission's lines and predictions."""
    workdir, folder = Path(tiny_run[0].files.workdir), tmp_path_factory.mktemp("straight")
    return run_tiny(workdir, faces, "test", folder / "s.csv", folder / "p.npz")[:2]


# ── landmarks and the submission ──


def test_submission_has_the_requested_landmarks(straight, faces):
    lines, predicted = straight
    requested = requested_points.read_test_points(faces / "test" / "test_points.csv")
    columns = [f"Point_M{i}_{axis}" for i in range(30) for axis in "XY"]
    assert lines[0] == ",".join(["file_name", *columns])
    assert [line.split(",")[0] for line in lines[1:]] == requested.file_names
    rows = zip(lines[1:], predicted.landmarks_photo_px, requested.point_indices, strict=True)
    for line, landmarks, indices in rows:
        numbers = np.array(line.split(",")[1:]).astype(int)  # raises unless they are whole
        np.testing.assert_array_equal(numbers, np.rint(landmarks[indices]).ravel())


def test_submission_is_truncated_on_request(predict_tiny, faces):
    lines, predicted, _ = predict_tiny(rounding="truncate")
    requested = requested_points.read_test_points(faces / "test" / "test_points.csv")
    rows = zip(lines[1:], predicted.landmarks_photo_px, requested.point_indices, strict=True)
    for line, landmarks, indices in rows:
        assert line.split(",")[1:] == [str(int(v)) for v in landmarks[indices].ravel()]


def test_images_and_landmarks_keep_requested_order(predict_tiny, straight, own_faces):
    _, straight = straight
    table = own_faces / "test" / "test_points.csv"
    requested = requested_points.read_test_points(table)
    requested_points.write_test_points(table, requested.file_names[::-1], [[5, 2, 900]] * 8)
    lines, reversed_, _ = predict_tiny(own_faces)
    assert reversed_.file_names == straight.file_names[::-1]
    np.testing.assert_allclose(
        reversed_.landmarks_photo_px, straight.landmarks_photo_px[::-1], atol=1e-3
    )
    expected = np.rint(reversed_.landmarks_photo_px[0][[5, 2, 900]]).ravel()
    np.testing.assert_array_equal(np.array(lines[1].split(",")[1:]).astype(int), expected)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_batch_size_does_not_change_predictions(predict_tiny, straight, batch_size):
    _, default = straight
    _, predicted, results = predict_tiny(batch_size=batch_size)
    assert results["images"] == 8
    np.testing.assert_allclose(predicted.landmarks_photo_px, default.landmarks_photo_px, atol=1e-3)


def test_landmarks_are_in_photo_pixels(straight, faces):
    """The centre of each face is near the centre of its photo, whatever the photo's size."""
    _, predicted = straight
    for name, landmarks in zip(predicted.file_names, predicted.landmarks_photo_px, strict=True):
        height, width = listed_images.read_image(faces / "test" / "images", name).shape[:2]
        assert np.all(np.abs(landmarks.mean(axis=0) / [width, height] - 0.5) < 0.6)


def test_photos_are_cropped_as_in_training(faces, tmp_path):
    spec = ModelSpec("tiny", 971, "48x32", "pad", trim_bands=True, normalisation="imagenet")
    claim_workdir(tmp_path, spec)
    model = build_model(spec)
    model.save_weights(tmp_path / BEST_WEIGHTS)
    paths = tmp_path / "s.csv", tmp_path / "p.npz"
    predict_split(tmp_path, faces, "test", *paths, PredictSettings())
    predicted = prediction_files.read(paths[1])
    crop_spec = CropSpec(48, 32, "pad", trim_bands=True)
    folder = faces / "test" / "images"
    photos = [listed_images.read_image(folder, name) for name in predicted.file_names]
    crops, transforms = zip(*map(crop_spec.apply, photos), strict=True)
    landmarks_crop_px = model.predict(np.stack(crops), verbose=0)
    expected = list(map(geometry.to_photo, landmarks_crop_px, transforms))
    np.testing.assert_allclose(predicted.landmarks_photo_px, expected, atol=0.01)


def test_sigmas_are_written_if_predicted(faces, tmp_path):
    spec = ModelSpec("tiny", 971, "48x32", "stretch", uncertainty=True)
    claim_workdir(tmp_path, spec)
    model = build_model(spec)
    model.save_weights(tmp_path / BEST_WEIGHTS)
    paths = tmp_path / "s.csv", tmp_path / "p.npz"
    predict_split(tmp_path, faces, "test", *paths, PredictSettings())
    predicted = prediction_files.read(paths[1])
    photo = listed_images.read_image(faces / "test" / "images", predicted.file_names[0])
    crop, transform = spec.crop_spec.apply(photo)
    log_variance = model.predict(crop[None], verbose=0)[0, :, 2]
    expected = np.exp(log_variance / 2) / np.sqrt(transform.scale.prod())
    np.testing.assert_allclose(predicted.sigmas_px[0], expected, rtol=1e-3)


def test_tta_averages_with_the_mirrored_photo(predict_tiny, own_faces):
    images = own_faces / "test" / "images"
    photos = {name: listed_images.read_image(images, name) for name in os.listdir(images)}
    for name, photo in photos.items():
        write_png(images / name, photo)  # Lossless, so that mirroring is exact.
    _, plain, _ = predict_tiny(own_faces)
    _, averaged, _ = predict_tiny(own_faces, batch_size=3, tta="mirror", mirror="contest")
    for name, photo in photos.items():
        write_png(images / name, photo[:, ::-1])
    _, of_mirrored, _ = predict_tiny(own_faces)
    for row, name in enumerate(plain.file_names):
        width = photos[name].shape[1]
        inverted = mirror.mirror_points(
            of_mirrored.landmarks_photo_px[row], layout.mirror_map(), width
        )
        expected = (plain.landmarks_photo_px[row] + inverted) / 2
        np.testing.assert_allclose(averaged.landmarks_photo_px[row], expected, atol=0.1)
        assert np.abs(averaged.landmarks_photo_px[row] - plain.landmarks_photo_px[row]).max() > 0.2


def write_png(path, photo):
    path.write_bytes(cv2.imencode(".png", photo[:, :, ::-1])[1].tobytes())


# ── which images ──


def test_test_points_may_lie_beside_the_split(predict_tiny, own_faces):
    shutil.move(own_faces / "test" / "test_points.csv", own_faces / "test_points.csv")
    lines, _, _ = predict_tiny(own_faces)
    assert len(lines) == 9


def test_landmarks_table_replaces_test_points(predict_tiny, straight, own_faces):
    _, straight = straight
    truth = landmark_tables.read_landmarks(own_faces / "test" / "test_landmarks.csv")
    table = own_faces / "test" / "landmarks.csv"
    landmark_tables.write_landmarks(table, truth.file_names[::-1], truth.landmarks_photo_px[::-1])
    (own_faces / "test" / "test_points.csv").unlink()
    _, predicted, results = predict_tiny(own_faces, submission=None)
    assert results["submission"] is None
    assert predicted.file_names == truth.file_names[::-1]
    np.testing.assert_allclose(
        predicted.landmarks_photo_px, straight.landmarks_photo_px[::-1], atol=1e-3
    )


def test_shared_test_points_are_not_used_for_train(predict_tiny, own_faces, tmp_path):
    shutil.move(own_faces / "test" / "test_points.csv", own_faces / "test_points.csv")
    (own_faces / "train" / "images" / "face_000007.jpg").write_bytes(b"")
    _, predicted, results = predict_tiny(own_faces, "train", submission=None)
    assert results["submission"] is None
    labels = landmark_tables.read_landmarks(own_faces / "train" / "landmarks.csv")
    assert predicted.file_names == labels.file_names
    assert "face_000007.jpg" in (tmp_path / "p_rejects.csv").read_text()


def test_submission_without_test_points_is_rejected(predict_tiny, faces, tmp_path):
    with pytest.raises(InputError, match=r"--submission=\S+s\.csv: \S+train .*test_points\.csv"):
        predict_tiny(faces, "train")
    assert not list(tmp_path.iterdir())


def test_only_selects_images(workdir, faces, tmp_path):
    held_out = table_files.read_names(workdir / "validation.csv")
    assert held_out == [f"face_0000{row}.jpg" for row in (21, 22, 23)]
    arguments = workdir, faces, "train", None, tmp_path / "p.npz", PredictSettings()
    results = predict_split(*arguments, only=workdir / "validation.csv")
    assert (results["images"], results["submission"]) == (3, None)
    predicted = prediction_files.read(tmp_path / "p.npz")
    assert predicted.file_names == held_out
    predict_split(*arguments)
    of_split = prediction_files.read(tmp_path / "p.npz")
    np.testing.assert_allclose(
        predicted.landmarks_photo_px, of_split.landmarks_photo_px[21:], atol=1e-3
    )


@pytest.mark.parametrize(
    ("rows", "match"), [("x.jpg\n", r"x\.jpg .*test_points\.csv.*--split"), ("", r"table\.csv: ")]
)
def test_only_must_list_images_of_the_split(workdir, faces, write, tmp_path, rows, match):
    arguments = workdir, faces, "test", None, tmp_path / "p.npz", PredictSettings()
    with pytest.raises(InputError, match=match):
        predict_split(*arguments, only=write(f"file_name\n{rows}"))


def test_submission_is_in_workdir_by_default(workdir, faces, tmp_path):
    workdir = shutil.copytree(workdir, tmp_path / "work")
    arguments = workdir, faces, "test", None, tmp_path / "p.npz", PredictSettings()
    results = predict_split(*arguments)
    assert results["submission"] == str(workdir / "test_submission.csv")
    assert len((workdir / "test_submission.csv").read_text().splitlines()) == 9


def test_empty_or_missing_table_is_named(predict_tiny, own_faces):
    table = own_faces / "train" / "landmarks.csv"
    table.write_text("file_name\tPoint_M0_X\tPoint_M0_Y\n")
    with pytest.raises(InputError, match=r"landmarks\.csv"):
        predict_tiny(own_faces, "train", submission=None)
    table.unlink()
    with pytest.raises(InputError, match=r"landmarks\.csv"):
        predict_tiny(own_faces, "train", submission=None)


def test_landmark_unknown_to_the_model_is_rejected(predict_tiny, own_faces):
    table = own_faces / "test" / "test_points.csv"
    names = requested_points.read_test_points(table).file_names
    requested_points.write_test_points(table, names, [[971]] * 8)
    with pytest.raises(InputError, match=r"face_000000\.jpg: .*971"):
        predict_tiny(own_faces)


def test_workdir_without_a_model_is_rejected(faces, tmp_path):
    paths = tmp_path / "s.csv", tmp_path / "p.npz"
    with pytest.raises(InputError, match=r"model\.json: .*--workdir"):
        predict_split(tmp_path, faces, "test", *paths, PredictSettings())


# ── invalid images ──


def sizes_of(data, names):
    """Returns the width and height of test images: (n, 2)."""
    folder = data / "test" / "images"
    return np.array([listed_images.read_image(folder, name).shape[1::-1] for name in names])


def mean_shape(predicted, rows, sizes):
    return (predicted.landmarks_photo_px[rows] / sizes[:, None]).mean(axis=0)


def read_rejects(path):
    return [tuple(line.split("\t")[:2]) for line in path.read_text().splitlines()[1:]]


def test_invalid_image_gets_the_mean_shape(predict_tiny, own_faces, tmp_path):
    sizes = sizes_of(own_faces, [f"face_{row:06d}.jpg" for row in range(8)])
    truncated = own_faces / "test" / "images" / "face_000007.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    lines, predicted, results = predict_tiny(own_faces)
    assert results["rejected"] == 1
    assert len(lines) == 9
    shape = mean_shape(predicted, slice(7), sizes[:7])
    expected = (shape * sizes[7]).clip(0, sizes[7] - 1)
    np.testing.assert_allclose(predicted.landmarks_photo_px[7], expected, atol=1e-3)
    assert predicted.imputed == {"face_000007.jpg"}
    assert "face_000007.jpg" in (tmp_path / "s_rejects.csv").read_text()


def test_strict_rejects_an_invalid_image(predict_tiny, own_faces):
    (own_faces / "test" / "images" / "face_000007.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"face_000007\.jpg: "):
        predict_tiny(own_faces, strict=True)


def test_split_without_a_valid_image_is_rejected(predict_tiny, own_faces):
    for path in (own_faces / "test" / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"face_000000\.jpg: .*8 of 8"):
        predict_tiny(own_faces)


def test_imputed_shape_respects_exif_and_unknown_size(predict_tiny, own_faces):
    """A truncated small photo, rotated by its EXIF, and a file whose size is not known."""
    images = own_faces / "test" / "images"
    exif = Image.Exif()
    exif[0x0112] = 6  # Stored as 40 x 30, displayed as 30 x 40.
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(images / "face_000002.jpg", exif=exif)
    content = (images / "face_000002.jpg").read_bytes()
    (images / "face_000002.jpg").write_bytes(content[:-2])
    (images / "face_000004.jpg").write_bytes(b"no photo")
    _, predicted, results = predict_tiny(own_faces)
    assert results["rejected"] == 2
    others = [row for row in range(8) if row not in (2, 4)]
    sizes = sizes_of(own_faces, [predicted.file_names[row] for row in others])
    shape = mean_shape(predicted, others, sizes)
    for row, size in [(2, np.array([30, 40])), (4, np.median(sizes, axis=0) // 1)]:
        expected = (shape * size).clip(0, size - 1)
        np.testing.assert_allclose(predicted.landmarks_photo_px[row], expected, atol=1e-3)


def test_link_out_of_the_folder_is_an_invalid_image(predict_tiny, own_faces, tmp_path):
    for number in (3, 5):
        link = own_faces / "test" / "images" / f"face_{number:06d}.jpg"
        outside = own_faces / link.name
        link.rename(outside)
        link.symlink_to(outside)
    _, predicted, results = predict_tiny(own_faces)
    assert results["rejected"] == 2
    others = [row for row in range(8) if row not in (3, 5)]
    sizes = sizes_of(own_faces, [predicted.file_names[row] for row in others])
    median_size = np.median(sizes, axis=0) // 1  # The file outside is not read for its size.
    expected = (mean_shape(predicted, others, sizes) * median_size).clip(0, median_size - 1)
    np.testing.assert_allclose(predicted.landmarks_photo_px[5], expected, atol=1e-3)
    assert (tmp_path / "s_rejects.csv").read_text().splitlines()[1:] == [
        f"face_000003.jpg\t5\t{listed_images.LINK_OUT}",
        f"face_000005.jpg\t7\t{listed_images.LINK_OUT}",
    ]


def test_rejects_have_the_lines_of_the_table(predict_tiny, own_faces, tmp_path):
    """The table has an empty line and a repeated row."""
    table = own_faces / "test" / "test_points.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join([header, *rows[:2], "\n", rows[5], *rows[2:]]))
    for number in (1, 5):
        (own_faces / "test" / "images" / f"face_{number:06d}.jpg").write_bytes(b"")
    lines, _, results = predict_tiny(own_faces, batch_size=2)
    assert (len(lines), results["images"], results["rejected"]) == (10, 9, 3)
    assert read_rejects(tmp_path / "s_rejects.csv") == [
        ("face_000001.jpg", "3"),
        ("face_000005.jpg", "5"),
        ("face_000005.jpg", "9"),
    ]


def test_rejects_of_only_have_the_lines_of_the_split(workdir, own_faces, write, tmp_path):
    table = own_faces / "train" / "landmarks.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join([header, rows[0], rows[0], "../outside.jpg\t1\n", *rows[1:]]))
    (own_faces / "train" / "images" / "face_000007.jpg").unlink()
    only = write("file_name\nface_000009.jpg\nface_000007.jpg\nface_000000.jpg\n", "only.csv")
    paths = None, tmp_path / "p.npz"
    results = predict_split(workdir, own_faces, "train", *paths, PredictSettings(), only=only)
    assert (results["images"], results["rejected"]) == (3, 1)
    assert read_rejects(tmp_path / "p_rejects.csv") == [("face_000007.jpg", "11")]


# ── interrupted runs ──


@pytest.fixture
def interrupt_at_batch(monkeypatch):
    """Returns a function that makes predictions stop before a batch is saved; None: never."""
    append = Journal.append

    def interrupt_at(number):
        def append_or_interrupt(journal, record):
            if len(journal) == number:
                raise KeyboardInterrupt
            append(journal, record)

        monkeypatch.setattr(Journal, "append", append_or_interrupt)

    return interrupt_at


def test_interrupted_run_continues(predict_tiny, own_faces, tmp_path, interrupt_at_batch):
    """With invalid images in the batches before and after, and in those read ahead."""
    for number in (1, 4, 7):
        (own_faces / "test" / "images" / f"face_{number:06d}.jpg").write_bytes(b"")
    outputs = ["p.npz", "s.csv", "s_rejects.csv"]
    predict_tiny(own_faces, batch_size=2)
    uninterrupted = {name: (tmp_path / name).read_bytes() for name in outputs}
    for name in outputs:
        (tmp_path / name).unlink()
    for number in (2, 3):
        interrupt_at_batch(number)
        with pytest.raises(KeyboardInterrupt):
            predict_tiny(own_faces, batch_size=2)
        assert not any((tmp_path / name).exists() for name in outputs)
    interrupt_at_batch(None)
    _, _, results = predict_tiny(own_faces, batch_size=2)
    assert (results["images"], results["rejected"]) == (8, 3)
    assert {name: (tmp_path / name).read_bytes() for name in outputs} == uninterrupted
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("change", ["image", "batch size", "tta"])
def test_changed_run_starts_over(predict_tiny, own_faces, interrupt_at_batch, change):
    _, straight, _ = predict_tiny(own_faces, batch_size=2)
    interrupt_at_batch(2)
    with pytest.raises(KeyboardInterrupt):
        predict_tiny(own_faces, batch_size=2)
    interrupt_at_batch(None)
    if change == "image":
        images = own_faces / "test" / "images"
        shutil.copy(images / "face_000005.jpg", images / "face_000000.jpg")
        _, predicted, _ = predict_tiny(own_faces, batch_size=2)
        np.testing.assert_allclose(
            predicted.landmarks_photo_px[0], straight.landmarks_photo_px[5], atol=1e-3
        )
    elif change == "tta":
        _, averaged, _ = predict_tiny(own_faces, batch_size=2, tta="crops")
        assert np.all(
            np.any(averaged.landmarks_photo_px != straight.landmarks_photo_px, axis=(1, 2))
        )
    else:
        _, predicted, _ = predict_tiny(own_faces, batch_size=1)
        np.testing.assert_allclose(
            predicted.landmarks_photo_px, straight.landmarks_photo_px, atol=1e-3
        )


def test_full_disk_keeps_earlier_files(predict_tiny, tmp_path):
    predict_tiny()
    before = contents(tmp_path)
    with no_file_beyond(60_000), pytest.raises(OSError, match=r"p\.npz"):
        predict_tiny(batch_size=8)
    after = {name: content for name, content in contents(tmp_path).items() if name[0] != "."}
    assert after == before
