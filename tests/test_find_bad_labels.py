import os
import re

import numpy as np
import pytest
from folders import with_gaps
from spoiling import shifted

from keras_landmarks.cleaning import placement
from keras_landmarks.contest import landmark_tables, prediction_files, table_files
from keras_landmarks.find_bad_labels import find_bad_labels
from keras_landmarks.input.samples import load_samples
from keras_landmarks.layouts import layout
from keras_landmarks.synthetic.dataset import synthesize_dataset
from keras_landmarks.train import train
from keras_landmarks.utils.errors import InputError

FACES = 160
SHIFTED, JAGGED, MIRRORED = (7, 40, 77, 101, 130), (20, 90), (55,)


@pytest.fixture(scope="module")
def many_faces(tmp_path_factory):
    """A folder of faces with correct labels; tests only read it."""
    data = tmp_path_factory.mktemp("many") / "faces"
    synthesize_dataset(data, train_images=FACES, test_images=1, processes=1)
    return data


def with_labels(data, folder, file_names, points):
    """Makes a folder with the same images and these labels."""
    (folder / "train").mkdir(parents=True)
    os.symlink(data / "train" / "images", folder / "train" / "images")
    landmark_tables.write_landmarks(folder / "train" / "landmarks.csv", file_names, points)
    return folder


@pytest.fixture(scope="module")
def spoiled(many_faces, tmp_path_factory):
    """The same images with shifted labels, labels with a jagged jaw, and a mirrored one."""
    table = landmark_tables.read_landmarks(many_faces / "train" / "landmarks.csv")
    points, rng = table.landmarks_photo_px.copy(), np.random.default_rng(0)
    for row in SHIFTED:
        points[row] = shifted(points[row], rng, 0.1, 0.3)
    jaw = layout.REGIONS["jaw_left"]
    for row in JAGGED:
        points[row, jaw] += rng.integers(-4, 5, points[row, jaw].shape).astype(np.int16)
    for row in MIRRORED:  # without exchanging left and right points
        points[row, :, 0] = points[row, :, 0].max() + points[row, :, 0].min() - points[row, :, 0]
    folder = tmp_path_factory.mktemp("spoiled") / "faces"
    return with_labels(many_faces, folder, table.file_names, points)


def read_suspects(path):
    header, *rows = path.read_text().splitlines()
    assert header == "file_name\trow\tscore\treason"
    return [row.split("\t") for row in rows]


def test_wrong_labels_are_found(run, spoiled, tmp_path):
    flags = [f"--data={spoiled}", f"--prepared={tmp_path / 'prepared'}", "--processes=1"]
    flags += [f"--suspects={tmp_path / 'suspects.tsv'}", f"--out={tmp_path / 'worst.png'}"]
    results = run("find_bad_labels", *flags).results
    suspects = read_suspects(tmp_path / "suspects.tsv")
    reasons = {int(line) - 2: reason for _, line, _, reason in suspects}
    assert all("misplaced: fits better" in reasons[row] for row in SHIFTED)
    assert all("jagged: jaw_left" in reasons[row] for row in JAGGED)
    assert all("shape: unlike the others" in reasons[row] for row in MIRRORED)
    others = reasons.keys() - {*SHIFTED, *JAGGED, *MIRRORED}
    assert len(others) <= 3, {row: reasons[row] for row in others}
    scores = [float(score) for _, _, score, _ in suspects]
    assert scores == sorted(scores, reverse=True)
    assert results["rows"] == FACES
    assert results["suspects"] == len(suspects)
    assert (tmp_path / "worst.png").stat().st_size > 10_000


def test_row_is_the_line_in_the_table(spoiled, tmp_path):
    table = spoiled / "train" / "landmarks.csv"
    header, *rows = table.read_text().splitlines(keepends=True)
    folder = tmp_path / "faces"
    (folder / "train").mkdir(parents=True)
    os.symlink(spoiled / "train" / "images", folder / "train" / "images")
    text = header + "missing.jpg" + rows[0][rows[0].index("\t") :] + "".join(rows)
    (folder / "train" / "landmarks.csv").write_text(text)
    samples = load_samples(folder, "train", tmp_path / "prepared")
    out = tmp_path / "s.tsv", tmp_path / "s.png"
    results = find_bad_labels(samples, *out, count=1, processes=1)
    assert results["rejected"] == 1
    listed = {line for _, line, _, _ in read_suspects(tmp_path / "s.tsv")}
    assert {str(row + 3) for row in SHIFTED} <= listed


def test_right_labels_are_not_listed(many_faces, tmp_path):
    samples = load_samples(many_faces, "train", tmp_path / "prepared")
    results = find_bad_labels(samples, tmp_path / "s.tsv", tmp_path / "s.png", count=4, processes=1)
    assert results["suspects"] == len(read_suspects(tmp_path / "s.tsv")) <= 3
    assert (tmp_path / "s.png").exists()


def test_better_fitting_prediction_is_a_reason(many_faces, tmp_path):
    table = landmark_tables.read_landmarks(many_faces / "train" / "landmarks.csv")
    points, rng = table.landmarks_photo_px.copy(), np.random.default_rng(1)
    points[30] = points[30, :, ::-1]  # on its side: farther than all moves that are tried
    folder = with_labels(many_faces, tmp_path / "faces", table.file_names, points)
    samples = load_samples(folder, "train", tmp_path / "prepared")
    predicted = table.landmarks_photo_px + rng.normal(0, 1.0, (FACES, 1, 2)).astype(np.float32)
    predicted[60] += 40  # the model is wrong
    prediction_files.write(tmp_path / "p.npz", table.file_names, predicted)
    out = tmp_path / "s.tsv", tmp_path / "s.png"
    find_bad_labels(samples, *out, predictions=tmp_path / "p.npz", count=1, processes=1)
    reasons = {int(line) - 2: reason for _, line, _, reason in read_suspects(out[0])}
    assert "misplaced: fits better as predicted" in reasons[30]
    assert 60 not in reasons


def test_wrong_labels_are_found_among_gaps(spoiled, tmp_path):
    """Half of the faces lack up to a third of their points, next to each other."""
    table = landmark_tables.read_landmarks(spoiled / "train" / "landmarks.csv")
    points, rng = table.landmarks_photo_px.astype(np.float32), np.random.default_rng(3)
    predicted = points + rng.normal(0, 1, (FACES, 1, 2))
    for row in range(0, FACES, 2):
        first, count = rng.integers(points.shape[1]), rng.integers(1, points.shape[1] // 3)
        points[row, first : first + count] = np.nan
    folder = with_labels(spoiled, tmp_path / "faces", table.file_names, points)
    samples = load_samples(folder, "train", tmp_path / "prepared")
    prediction_files.write(tmp_path / "p.npz", table.file_names, predicted)
    out = tmp_path / "s.tsv", tmp_path / "s.png"
    results = find_bad_labels(samples, *out, predictions=tmp_path / "p.npz", count=4, processes=1)
    listed = {int(line) - 2: reason for _, line, _, reason in read_suspects(out[0])}
    assert all("misplaced: fits better" in listed[row] for row in SHIFTED)
    assert len(listed.keys() - {*SHIFTED, *JAGGED, *MIRRORED}) <= 4, listed
    assert (results["rows"], results["rejected"]) == (FACES, 0)
    assert out[1].stat().st_size > 10_000


def test_faces_without_the_compared_points_are_not_judged_by_them(own_faces, tmp_path, caplog):
    table = landmark_tables.read_landmarks(own_faces / "train" / "landmarks.csv")
    points = table.landmarks_photo_px.astype(np.float32)
    # Which points are compared depends a little on the gaps.
    while not np.isnan(points[5, placement.choose_points(points)]).all():
        points[5, placement.choose_points(points)] = np.nan
    folder = with_labels(own_faces, tmp_path / "few_points", table.file_names, points)
    samples = load_samples(folder, "train", tmp_path / "prepared")
    prediction_files.write(tmp_path / "p.npz", table.file_names, table.landmarks_photo_px)
    out = tmp_path / "s.tsv", tmp_path / "s.png"
    results = find_bad_labels(samples, *out, predictions=tmp_path / "p.npz", count=24, processes=1)
    assert (results["rows"], results["rejected"]) == (24, 0)
    assert "7" not in [line for _, line, _, _ in read_suspects(out[0])]
    assert "1 of 24 faces have none of the 48 points that are compared" in caplog.text


def test_point_that_is_never_placed_is_named(own_faces, tmp_path):
    with_gaps(own_faces, {row: [7] for row in range(24)})
    samples = load_samples(own_faces, "train", tmp_path / "prepared")
    with pytest.raises(InputError, match="a place in none of the training photos: Point_M7;"):
        find_bad_labels(samples, tmp_path / "s.tsv", tmp_path / "s.png", processes=1)


@pytest.mark.parametrize(
    ("names", "points", "mentioned"),
    [
        (slice(1, None), slice(None), r"p\.npz: 1 of the 160 "),
        (slice(None), slice(3), r"p\.npz: 3 .* 971"),
    ],
)
def test_mismatched_predictions_are_rejected(many_faces, tmp_path, names, points, mentioned):
    table = landmark_tables.read_landmarks(many_faces / "train" / "landmarks.csv")
    predicted = table.landmarks_photo_px[names, points]
    prediction_files.write(tmp_path / "p.npz", table.file_names[names], predicted)
    samples = load_samples(many_faces, "train", tmp_path / "prepared")
    out = tmp_path / "s.tsv", tmp_path / "s.png"
    with pytest.raises(InputError, match=mentioned):
        find_bad_labels(samples, *out, predictions=tmp_path / "p.npz")
    assert not out[0].exists()


def test_few_faces_are_judged_with_a_warning(own_faces, tmp_path, caplog):
    table = landmark_tables.read_landmarks(own_faces / "train" / "landmarks.csv")
    few = with_labels(
        own_faces, tmp_path / "few", table.file_names[:3], table.landmarks_photo_px[:3, -2:]
    )
    samples = load_samples(few, "train", tmp_path / "prepared")
    results = find_bad_labels(samples, tmp_path / "s.tsv", tmp_path / "s.png", processes=1)
    assert results["rows"] == 3
    assert "3 faces are too few" in caplog.text


def test_train_excludes_suspects(settings, tmp_path, caplog):
    table = tmp_path / "suspects.tsv"
    names = [f"face_{row:06d}.jpg" for row in (2, 3, 23)]  # the last is for validation
    table_files.write_rows(
        table, ("file_name", "row"), [(name, "1") for name in [*names, "gone.jpg"]]
    )
    settings = settings.replace(exclude=str(table), epochs=1)
    with caplog.at_level("INFO", logger="absl"):
        results = train(settings.replace(augment_count=6))
    assert results["excluded"] == 3
    assert results["validation_images"] == 2
    made, unused = re.search(r"extra images .*: (\d+);.* (\d+) whose photos", caplog.text).groups()
    assert int(unused) > 0
    assert results["train_images"] == 21 - 2 + int(made) - int(unused)
    assert "1 of 4 names are not in the table" in caplog.text
