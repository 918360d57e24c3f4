import random
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from folders import contents, no_file_beyond

from keras_landmarks.contest import landmark_tables, prediction_files, requested_points
from keras_landmarks.ensemble import ensemble
from keras_landmarks.evaluation.result_tables import format_ensemble
from keras_landmarks.utils.errors import InputError

NAMES = ["a.jpg", "b.jpg", "c.jpg"]
TRUE_PX = np.random.default_rng(0).integers(0, 200, (3, 4, 2))
# Offsets that are added to all coordinates: the MSEs are their squares.
OFF_PX = {"a": 2, "b": -1, "c": 8}
REQUESTED = [[3, 0], [1, 2], [0, 1]]


@pytest.fixture
def folder(tmp_path):
    """Predictions a.npz, b.npz, c.npz, submissions a.csv, b.csv, c.csv, the truth, test/."""
    for name, off_px in OFF_PX.items():
        prediction_files.write(tmp_path / f"{name}.npz", NAMES, TRUE_PX + off_px)
        landmark_tables.write_submission(tmp_path / f"{name}.csv", NAMES, answers(TRUE_PX + off_px))
    # More images, in another order.
    landmark_tables.write_landmarks(
        tmp_path / "truth.csv", ["d.jpg", *NAMES[::-1]], TRUE_PX[[0, 2, 1, 0]]
    )
    (tmp_path / "test").mkdir()
    requested_points.write_test_points(tmp_path / "test" / "test_points.csv", NAMES, REQUESTED)
    return tmp_path


def answers(points):
    return [face[indices] for face, indices in zip(points, REQUESTED, strict=True)]


@pytest.fixture
def combine(folder):
    """Combines files of the folder, given by name; returns the written points and the results."""

    def run(names, combine="mean", **options):
        for option in ("truth", "test_points", "predictions", "submission"):
            if option in options:
                options[option] = folder / options[option]
        held_out = [folder / name for name in options.pop("held_out", [])]
        inputs = [folder / name for name in names]
        results = ensemble(inputs, combine, held_out=held_out, **options)
        if "predictions" in options:
            return prediction_files.read(options["predictions"]), results
        return landmark_tables.read_landmarks(options["submission"]), results

    return run


# ── what comes out ──


@pytest.mark.parametrize(
    ("how", "options", "off_px"),
    [
        ("mean", {}, 3),  # (2 - 1 + 8) / 3
        ("median", {}, 2),
        ("weights", {"weights": [0.5, 0.25, 0.25]}, 2.75),  # 1 - 0.25 + 2
    ],
)
def test_predictions_are_combined(combine, how, options, off_px):
    models = ["a.npz", "b.npz", "c.npz"]
    combined, results = combine(models, how, predictions="out.npz", **options)
    assert combined.file_names == NAMES
    np.testing.assert_allclose(combined.landmarks_photo_px, TRUE_PX + off_px, atol=1e-4)
    assert combined.landmarks_photo_px.dtype == np.float32
    assert (results["models"], results["images"]) == (3, 3)
    assert results["weights"] == options.get("weights")
    assert "mse" not in results


def test_images_are_combined_in_chunks(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(600)]
    models_px = rng.uniform(0, 300, (3, 600, 2, 2)).astype(np.float32)
    paths = [tmp_path / f"{model}.npz" for model in range(3)]
    for path, points in zip(paths, models_px, strict=True):
        prediction_files.write(path, names, points)
    for how, expected in [("mean", np.mean), ("median", np.median)]:
        ensemble(paths, how, predictions=tmp_path / "out.npz")
        combined = prediction_files.read(tmp_path / "out.npz").landmarks_photo_px
        np.testing.assert_allclose(combined, expected(models_px, axis=0), rtol=1e-6)


def write_with_sigmas(path, points, sigma_px):
    prediction_files.write(path, NAMES, points, np.full(points.shape[:2], sigma_px))


@pytest.mark.parametrize(
    ("how", "options", "sigma_px"),
    [
        # Variances 9 and 16, points 1 px and 1 px from their mean, 3: 12.5 + 1.
        ("mean", {}, np.sqrt(13.5)),
        ("median", {}, np.sqrt(13.5)),
        # The mean is 1.5 px from one, 0.5 px from the other: (9 + 2.25) / 4 + 3 (16 + 0.25) / 4.
        ("weights", {"weights": [0.25, 0.75]}, np.sqrt(15.0)),
    ],
)
def test_sigmas_are_those_of_the_mixture(combine, folder, how, options, sigma_px):
    write_with_sigmas(folder / "a.npz", TRUE_PX + 2, 3.0)
    write_with_sigmas(folder / "b.npz", TRUE_PX + 4, 4.0)
    table, _ = combine(["a.npz", "b.npz"], how, predictions="out.npz", **options)
    np.testing.assert_allclose(table.sigmas_px, sigma_px, rtol=1e-6)


def test_sigmas_of_some_models_are_dropped(combine, folder):
    write_with_sigmas(folder / "a.npz", TRUE_PX + 2, 3.0)
    table, _ = combine(["a.npz", "b.npz"], predictions="out.npz")
    assert table.sigmas_px is None


def test_submission_has_requested_points(combine, folder):
    _, results = combine(["a.npz", "c.npz"], submission="out.csv", data=folder)
    written = (folder / "out.csv").read_bytes()
    landmark_tables.write_submission(folder / "expected.csv", NAMES, answers(TRUE_PX + 5))
    assert written == (folder / "expected.csv").read_bytes()
    assert results["submission"].endswith("out.csv")


@pytest.mark.parametrize(("rounding", "off_px"), [("round", 1), ("truncate", 0)])
def test_submission_coordinates_are_whole(combine, rounding, off_px):
    """(2 + 2 - 1 - 1 + 2) / 5 = 0.8."""
    models = ["a.csv", "a.csv", "b.csv", "b.csv", "a.csv"]
    combined, _ = combine(models, submission="out.csv", rounding=rounding)
    np.testing.assert_array_equal(combined.landmarks_photo_px, answers(TRUE_PX + off_px))


@pytest.mark.parametrize("rounding", ["round", "truncate"])
@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_submission_has_no_negative_zero(combine, folder, rounding, kind):
    """The mean of -1, 0 and 0 is -0.33."""
    for name, px in (("a", -1), ("b", 0), ("c", 0)):
        points = np.full((3, 4, 2), px)
        prediction_files.write(folder / f"{name}.npz", NAMES, points)
        landmark_tables.write_submission(folder / f"{name}.csv", NAMES, answers(points))
    models = [f"{name}.{kind}" for name in "abc"]
    combine(models, submission="out.csv", data=folder, rounding=rounding)
    assert (folder / "out.csv").read_text().splitlines()[1:] == [
        f"{name},0,0,0,0" for name in NAMES
    ]


def test_models_and_combination_are_scored(combine):
    """The truth has more images, in another order."""
    models = ["a.npz", "b.npz", "c.npz"]
    _, results = combine(models, predictions="out.npz", truth="truth.csv")
    assert results["mse"] == pytest.approx(9)
    assert results["mse_interval"] == pytest.approx([9, 9])
    assert [model["mse"] for model in results["mse_of_models"]] == [4, 1, 64]
    assert results["scored_images"] == 3
    assert results["against_best"]["difference"] == pytest.approx(8)
    assert results["against_best"]["real"]
    lines = format_ensemble(results).splitlines()
    assert lines[-2].split() == ["mean", "9.000", "9.000", "to", "9.000"]


def test_requested_points_alone_are_scored(combine, folder):
    predicted_px = TRUE_PX.astype(float)
    predicted_px[0, 1] += 100  # not requested
    predicted_px[0, 3] += [3, 4]
    for name in ("one.npz", "two.npz"):
        prediction_files.write(folder / name, NAMES, predicted_px)
    options = {"truth": "truth.csv", "test_points": "test/test_points.csv"}
    _, results = combine(["one.npz", "two.npz"], predictions="out.npz", **options)
    assert results["mse"] == pytest.approx(25 / 4 / 3)
    _, results = combine(["a.csv", "b.csv", "c.csv"], "median", submission="out.csv", **options)
    assert results["mse"] == 4


def test_submissions_are_read_once(combine, folder, monkeypatch):
    read, paths = landmark_tables.iterate_landmarks, []

    def iterate(path, *options):
        paths.append(path)
        return read(path, *options)

    monkeypatch.setattr(landmark_tables, "iterate_landmarks", iterate)
    options = {"truth": "truth.csv", "test_points": "test/test_points.csv"}
    combine(["a.csv", "b.csv"], submission="out.csv", **options)
    assert sorted(path.name for path in paths) == ["a.csv", "b.csv", "out.csv", "truth.csv"]


@pytest.mark.parametrize("spoil", ["a broken row", "two rows that disagree"])
def test_images_with_invalid_truth_are_not_scored(combine, folder, spoil):
    """The models are off by 2 and -1 px; b is off by 500 px on the image without truth."""
    predicted_px = TRUE_PX - 1
    predicted_px[1] += 500
    prediction_files.write(folder / "b.npz", NAMES, predicted_px)
    rows = (folder / "truth.csv").read_text().splitlines(keepends=True)
    (row,) = (number for number, row in enumerate(rows) if row.startswith("b.jpg"))
    if spoil == "a broken row":
        rows[row] = rows[row].rpartition("\t")[0] + "\n"
    else:
        rows.append(rows[row].rpartition("\t")[0] + "\t999\n")
    (folder / "truth.csv").write_text("".join(rows))
    models = ["a.npz", "b.npz"]
    options = {"predictions": "out.npz", "truth": "truth.csv"}
    combined, results = combine(models, **options)
    assert len(combined.file_names) == 3
    assert results["scored_images"] == 2
    assert results["rejected"] == (1 if spoil == "a broken row" else 2)
    assert [model["mse"] for model in results["mse_of_models"]] == [4, 1]
    lines = format_ensemble(results).splitlines()
    assert f"rows of the truth that cannot be used: {results['rejected']}" in lines
    _, results = combine(models, "weights", held_out=models, **options)
    np.testing.assert_allclose(results["weights"], [1 / 3, 2 / 3], atol=1e-9)
    _, results = combine(models, **options, test_points="test/test_points.csv")
    assert [model["mse"] for model in results["mse_of_models"]] == [4, 1]


def test_invalid_submission_row_is_rejected(combine, folder):
    text = (folder / "b.csv").read_text()
    (folder / "b.csv").write_text(text.rpartition(",")[0] + "\n")
    with pytest.raises(InputError, match=r"b\.csv, line 4 \(c\.jpg\)"):
        combine(["a.csv", "b.csv"], submission="out.csv")


def test_large_errors_keep_columns_apart(combine, folder):
    name = "a file name that is longer than its column.npz"
    for file, off_px in ((name, 30_000), ("b.npz", 20_000)):
        prediction_files.write(folder / file, NAMES, TRUE_PX + off_px)
    _, results = combine([name, "b.npz"], predictions="out.npz", truth="truth.csv")
    rows = [line.split() for line in format_ensemble(results).splitlines()[-4:]]
    ends = {px: [f"{px**2:.3f}"] * 2 for px in (30_000, 20_000, 25_000)}
    for row, px in zip(rows, ends, strict=False):
        assert row[-4:] == [ends[px][0], ends[px][0], "to", ends[px][0]]


# ── fitted weights ──


def test_weights_are_fitted_to_held_out_images(combine):
    """2 x 1/3 - 1 x 2/3 = 0: no error at all."""
    models = ["a.npz", "b.npz"]
    combined, results = combine(
        models, "weights", predictions="out.npz", held_out=models, truth="truth.csv"
    )
    np.testing.assert_allclose(results["weights"], [1 / 3, 2 / 3], atol=1e-9)
    assert results["mse"] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(combined.landmarks_photo_px, TRUE_PX, atol=1e-4)


def test_weights_fit_on_npz_apply_to_submissions(combine):
    held_out = ["a.npz", "b.npz"]
    combined, _ = combine(
        ["a.csv", "b.csv"], "weights", submission="out.csv", held_out=held_out, truth="truth.csv"
    )
    np.testing.assert_array_equal(combined.landmarks_photo_px, answers(TRUE_PX))


# ── files that do not match ──


def test_different_name_is_located(combine, folder):
    prediction_files.write(folder / "b.npz", ["a.jpg", "x.jpg", "c.jpg"], TRUE_PX)
    files_and_names = r"a\.npz .*b\.npz .* 2 .*b\.jpg.*x\.jpg"
    with pytest.raises(InputError, match=files_and_names):
        combine(["a.npz", "b.npz"], predictions="out.npz")


def test_missing_row_is_located(combine, folder):
    prediction_files.write(folder / "b.npz", NAMES[:2], TRUE_PX[:2])
    with pytest.raises(InputError, match=r"a\.npz .*b\.npz .* 3 .*c\.jpg"):
        combine(["a.npz", "b.npz"], predictions="out.npz")


def test_different_number_of_points_is_rejected(combine, folder):
    prediction_files.write(folder / "b.npz", NAMES, TRUE_PX[:, :3])
    with pytest.raises(InputError, match=r"a\.npz .*b\.npz .* 4 .* 3"):
        combine(["a.npz", "b.npz"], predictions="out.npz")


def test_different_point_names_are_rejected(combine, folder):
    text = (folder / "b.csv").read_text()
    (folder / "b.csv").write_text(text.replace("Point_M0_", "nose_"))
    with pytest.raises(InputError, match=r"a\.csv .*b\.csv .* 1 .*Point_M0.*nose"):
        combine(["a.csv", "b.csv"], submission="out.csv")


def test_submissions_and_npz_do_not_mix(combine):
    with pytest.raises(InputError, match=r"a\.npz .*b\.csv"):
        combine(["a.npz", "b.csv"], predictions="out.npz")


def test_requested_points_must_match_images(combine, folder):
    table = folder / "test" / "test_points.csv"
    requested_points.write_test_points(table, NAMES[::-1], REQUESTED)
    with pytest.raises(InputError, match=r"a\.npz .*test_points\.csv .* 1 "):
        combine(["a.npz", "b.npz"], submission="out.csv", data=folder)


# ── missing points ──


@pytest.fixture
def gapped(folder):
    """Models that are off by 2 and -1 px, but by 30 px where a point of the truth is missing."""
    missing = np.zeros((3, 4), bool)
    missing[0, [0, 3]] = missing[2, 1] = True
    true_px = np.where(missing[..., None], np.nan, TRUE_PX)
    landmark_tables.write_landmarks(folder / "truth.csv", NAMES, true_px)
    for name in "ab":
        off_px = np.where(missing, 30, OFF_PX[name])[..., None]
        prediction_files.write(folder / f"{name}.npz", NAMES, TRUE_PX + off_px)
        submitted = answers(TRUE_PX + off_px)
        landmark_tables.write_submission(folder / f"{name}.csv", NAMES, submitted)
    return folder


def test_weights_are_fitted_where_the_truth_has_points(combine, gapped):
    models = ["a.npz", "b.npz"]
    combined, results = combine(
        models, "weights", held_out=models, truth="truth.csv", predictions="out.npz"
    )
    # 2 w - (1 - w) = 0.
    assert results["weights"] == pytest.approx([1 / 3, 2 / 3])
    assert [model["mse"] for model in results["mse_of_models"]] == pytest.approx([4, 1])
    assert results["mse"] == pytest.approx(0, abs=1e-9)
    assert results["missing_points"] == 3
    assert combined.landmarks_photo_px[0, 0] == pytest.approx(TRUE_PX[0, 0] + 30, abs=1e-4)
    assert "points missing from the truth: 3;" in format_ensemble(results)


def test_image_without_requested_points_does_not_count(combine, gapped):
    """Points 3 and 0 are requested of the first image, which has neither."""
    files = {"truth": "truth.csv", "test_points": "test/test_points.csv"}
    models = ["a.csv", "b.csv"]
    _, results = combine(models, "weights", held_out=models, submission="out.csv", **files)
    assert results["weights"] == pytest.approx([1 / 3, 2 / 3])
    assert [model["mse"] for model in results["mse_of_models"]] == pytest.approx([4, 1])
    assert results["against_best"]["difference"] == pytest.approx(-1)


def test_weights_need_points_in_the_truth(combine, gapped):
    """Only the first image is predicted, and it has none of the points that are asked of it."""
    for name in "ab":
        table = landmark_tables.read_landmarks(gapped / f"{name}.csv")
        points_px = table.landmarks_photo_px[:1]
        landmark_tables.write_submission(gapped / f"{name}.csv", NAMES[:1], points_px)
    models = ["a.csv", "b.csv"]
    with pytest.raises(InputError, match=r"truth\.csv: there is none of the points"):
        combine(
            models,
            "weights",
            held_out=models,
            submission="out.csv",
            truth="truth.csv",
            test_points="test/test_points.csv",
        )


def test_images_without_truth_are_rejected(combine, folder):
    landmark_tables.write_landmarks(folder / "truth.csv", NAMES[:2], TRUE_PX[:2])
    with pytest.raises(InputError, match=r"truth\.csv: 1 of the 3 .* c\.jpg"):
        combine(["a.npz", "b.npz"], predictions="out.npz", truth="truth.csv")


def test_names_and_imputed_images_are_kept(combine, folder):
    names = ["nose", "chin", "brow", "lip"]
    for model, imputed in (("a", ["a.jpg"]), ("b", [])):
        path = folder / f"{model}.npz"
        prediction_files.write(path, NAMES, TRUE_PX, None, names, imputed)
    combine(["a.npz", "b.npz"], predictions="out.npz")
    header = prediction_files.read_header(folder / "out.npz")
    assert (header.point_names, header.imputed) == (names, {"a.jpg"})
    prediction_files.write(folder / "b.npz", NAMES, TRUE_PX, None, names[::-1])
    with pytest.raises(InputError, match="point 1 is nose in the first and lip in the second"):
        combine(["a.npz", "b.npz"], predictions="out.npz")


def test_non_finite_point_is_rejected(combine, folder):
    predicted_px = TRUE_PX.astype(np.float32)
    predicted_px[1, 2, 0] = np.nan
    prediction_files.write(folder / "b.npz", NAMES, predicted_px)
    with pytest.raises(InputError, match=r"b\.npz: .*b\.jpg"):
        combine(["a.npz", "b.npz"], predictions="out.npz")
    assert not (folder / "out.npz").exists()


@pytest.mark.parametrize(
    ("how", "options", "mentioned"),
    [
        ("mean", {}, "--predictions or --submission"),
        ("mean", {"submission": "out.csv"}, "--submission.*--data"),
        ("mean", {"predictions": "a.npz"}, r"a\.npz .*--inputs"),
        ("mean", {"predictions": "out.npz", "weights": [1, 0]}, "--combine=weights"),
        ("weights", {"predictions": "out.npz"}, "--combine=weights"),
        ("weights", {"predictions": "o.npz", "weights": [0.5]}, "--weights: .*2"),
        ("weights", {"predictions": "o.npz", "weights": [1.5, -0.5]}, "--weights: .*2"),
        ("weights", {"predictions": "o.npz", "weights": [0.5, 0.4]}, "--weights: .*2"),
        ("weights", {"predictions": "o.npz", "weights": [float("nan"), 1]}, "--weights: .*2"),
        ("weights", {"predictions": "o.npz", "held_out": ["a.npz"]}, "--held_out .*1 .*2"),
        ("weights", {"predictions": "o.npz", "held_out": ["a.npz"] * 2}, "--held_out .*--truth"),
    ],
)
def test_contradicting_options_are_rejected(combine, how, options, mentioned):
    with pytest.raises(InputError, match=mentioned):
        combine(["a.npz", "b.npz"], how, **options)


def test_single_model_is_rejected(combine):
    with pytest.raises(InputError, match="--inputs"):
        combine(["a.npz"], predictions="out.npz")


def test_submissions_cannot_give_predictions(combine):
    with pytest.raises(InputError, match=r"a\.csv: .*--submission"):
        combine(["a.csv", "b.csv"], predictions="out.npz")


def test_scoring_submissions_needs_test_points(combine):
    with pytest.raises(InputError, match=r"a\.csv: .*--test_points"):
        combine(["a.csv", "b.csv"], submission="out.csv", truth="truth.csv")


# ── memory, disk and kills ──


@pytest.fixture
def large(tmp_path):
    """Six models' predictions of 2,000 images, 15.5 MB each."""
    rng = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(2000)]
    paths = [tmp_path / f"{model}.npz" for model in range(6)]
    for path in paths:
        landmarks = rng.uniform(0, 300, (2000, 971, 2))
        prediction_files.write(path, names, landmarks)
    return paths


def test_models_are_not_in_memory_at_once(large, tmp_path):
    tracemalloc.start()
    ensemble(large, "median", predictions=tmp_path / "out.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4.5 * large[0].stat().st_size


def test_full_disk_keeps_previous_file(large, tmp_path):
    (tmp_path / "out.npz").write_bytes(b"earlier")
    before = contents(tmp_path)
    with no_file_beyond(1 << 20), pytest.raises(OSError, match=r"out\.npz: File too large"):
        ensemble(large[:2], predictions=tmp_path / "out.npz")
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_rerun_after_kill_writes_the_same(large, tmp_path):
    out = tmp_path / "out.npz"
    inputs = f"--inputs={','.join(map(str, large))}"
    command = [sys.executable, "-m", "keras_landmarks.ensemble", inputs, f"--predictions={out}"]
    subprocess.run(command, check=True, capture_output=True)
    straight = out.read_bytes()
    out.unlink()
    kills = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(kills.uniform(0.5, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists() or out.read_bytes() == straight
    subprocess.run(command, check=True, capture_output=True)
    assert out.read_bytes() == straight
    assert not list(tmp_path.glob(".*"))


# ── the command ──


def test_command_prints_table_and_json(run, folder):
    models = f"{folder / 'a.npz'},{folder / 'b.npz'}"
    flags = [f"--inputs={models}", f"--held_out={models}", f"--truth={folder / 'truth.csv'}"]
    flags += ["--combine=weights", f"--predictions={folder / 'out.npz'}"]
    flags += [f"--submission={folder / 'out.csv'}", f"--data={folder}"]
    done = run("ensemble", *flags)
    *lines, _ = done.stdout.splitlines()
    results = done.results
    assert results["weights"] == [0.333333, 0.666667]
    assert [model["mse"] for model in results["mse_of_models"]] == [4, 1]
    assert any(line.split()[:3] == ["b.npz", "0.667", "1.000"] for line in lines)
    np.testing.assert_array_equal(
        landmark_tables.read_landmarks(folder / "out.csv").landmarks_photo_px, answers(TRUE_PX)
    )
