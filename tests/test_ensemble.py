import itertools
import json
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
from keras_landmarks.ensemble import ensemble, least_error_weights, table
from keras_landmarks.utils.errors import InputError

NAMES = ["a.jpg", "b.jpg", "c.jpg"]
TRUE_PX = np.random.default_rng(0).integers(0, 200, (3, 4, 2))
# Whole numbers added to every coordinate: the MSEs are their squares.
OFF_PX = {"a": 2, "b": -1, "c": 8}
ASKED = [[3, 0], [1, 2], [0, 1]]


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
    requested_points.write_test_points(tmp_path / "test" / "test_points.csv", NAMES, ASKED)
    return tmp_path


def answers(points):
    return [face[indices] for face, indices in zip(points, ASKED, strict=True)]


@pytest.fixture
def combine(folder):
    """Combines files of the folder, given by name; returns the points written and the figures."""

    def run(names, combine="mean", **options):
        for option in ("truth", "test_points", "predictions", "submission"):
            if option in options:
                options[option] = folder / options[option]
        held_out = [folder / name for name in options.pop("held_out", [])]
        inputs = [folder / name for name in names]
        figures = ensemble(inputs, combine, held_out=held_out, **options)
        if "predictions" in options:
            return prediction_files.read(options["predictions"]), figures
        return landmark_tables.read_landmarks(options["submission"]), figures

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
    combined, figures = combine(models, how, predictions="out.npz", **options)
    assert combined.file_names == NAMES
    np.testing.assert_allclose(combined.points, TRUE_PX + off_px, atol=1e-4)
    assert combined.points.dtype == np.float32
    assert (figures["models"], figures["images"]) == (3, 3)
    assert figures["weights"] == options.get("weights")
    assert "mse" not in figures


def test_pieces_of_rows_make_no_difference(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(600)]
    models_px = rng.uniform(0, 300, (3, 600, 2, 2)).astype(np.float32)
    paths = [tmp_path / f"{model}.npz" for model in range(3)]
    for path, points in zip(paths, models_px, strict=True):
        prediction_files.write(path, names, points)
    for how, expected in [("mean", np.mean), ("median", np.median)]:
        ensemble(paths, how, predictions=tmp_path / "out.npz")
        combined = prediction_files.read(tmp_path / "out.npz").points
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
def test_standard_deviations_are_those_of_all_models_together(
    combine, folder, how, options, sigma_px
):
    write_with_sigmas(folder / "a.npz", TRUE_PX + 2, 3.0)
    write_with_sigmas(folder / "b.npz", TRUE_PX + 4, 4.0)
    table, _ = combine(["a.npz", "b.npz"], how, predictions="out.npz", **options)
    np.testing.assert_allclose(table.sigmas, sigma_px, rtol=1e-6)


def test_standard_deviations_of_some_models_only_are_left_out(combine, folder):
    write_with_sigmas(folder / "a.npz", TRUE_PX + 2, 3.0)
    table, _ = combine(["a.npz", "b.npz"], predictions="out.npz")
    assert table.sigmas is None


def test_a_submission_of_predictions_has_what_is_asked(combine, folder):
    _, figures = combine(["a.npz", "c.npz"], submission="out.csv", data=folder)
    written = (folder / "out.csv").read_bytes()
    landmark_tables.write_submission(folder / "expected.csv", NAMES, answers(TRUE_PX + 5))
    assert written == (folder / "expected.csv").read_bytes()
    assert figures["submission"].endswith("out.csv")


@pytest.mark.parametrize(("rounding", "off_px"), [("round", 1), ("truncate", 0)])
def test_submissions_are_combined_to_whole_numbers(combine, rounding, off_px):
    """(2 + 2 - 1 - 1 + 2) / 5 = 0.8."""
    models = ["a.csv", "a.csv", "b.csv", "b.csv", "a.csv"]
    combined, _ = combine(models, submission="out.csv", rounding=rounding)
    np.testing.assert_array_equal(combined.points, answers(TRUE_PX + off_px))


@pytest.mark.parametrize("rounding", ["round", "truncate"])
@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_no_submission_has_a_minus_nought(combine, folder, rounding, kind):
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


def test_models_and_their_mean_are_scored(combine):
    """On the rows that were predicted, in whatever order the truth has them."""
    models = ["a.npz", "b.npz", "c.npz"]
    _, figures = combine(models, predictions="out.npz", truth="truth.csv")
    assert figures["mse"] == pytest.approx(9)
    assert figures["mse_interval"] == pytest.approx([9, 9])
    assert [model["mse"] for model in figures["mse_of_models"]] == [4, 1, 64]
    assert figures["scored_images"] == 3
    assert figures["against_best"]["difference"] == pytest.approx(8)
    assert figures["against_best"]["real"]
    lines = table(figures).splitlines()
    assert lines[-2].split() == ["mean", "9.000", "9.000", "to", "9.000"]


def test_the_asked_points_alone_are_scored(combine, folder):
    predicted_px = TRUE_PX.astype(float)
    predicted_px[0, 1] += 100  # not asked
    predicted_px[0, 3] += [3, 4]
    for name in ("one.npz", "two.npz"):
        prediction_files.write(folder / name, NAMES, predicted_px)
    options = {"truth": "truth.csv", "test_points": "test/test_points.csv"}
    _, figures = combine(["one.npz", "two.npz"], predictions="out.npz", **options)
    assert figures["mse"] == pytest.approx(25 / 4 / 3)
    _, figures = combine(["a.csv", "b.csv", "c.csv"], "median", submission="out.csv", **options)
    assert figures["mse"] == 4


def test_a_submission_is_read_once(combine, folder, monkeypatch):
    read, paths = landmark_tables.iterate_landmarks, []

    def iterate(path, *options):
        paths.append(path)
        return read(path, *options)

    monkeypatch.setattr(landmark_tables, "iterate_landmarks", iterate)
    options = {"truth": "truth.csv", "test_points": "test/test_points.csv"}
    combine(["a.csv", "b.csv"], submission="out.csv", **options)
    assert sorted(path.name for path in paths) == ["a.csv", "b.csv", "out.csv", "truth.csv"]


@pytest.mark.parametrize("spoil", ["a broken row", "two rows that disagree"])
def test_images_whose_truth_cannot_be_used_are_not_scored(combine, folder, spoil):
    """The models are off by 2 and -1 px; b is wrong by far more on the image without truth."""
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
    combined, figures = combine(models, **options)
    assert len(combined.file_names) == 3
    assert figures["scored_images"] == 2
    assert figures["rejected"] == (1 if spoil == "a broken row" else 2)
    assert [model["mse"] for model in figures["mse_of_models"]] == [4, 1]
    assert f"rows of the truth that cannot be used: {figures['rejected']}" in table(figures)
    _, figures = combine(models, "weights", held_out=models, **options)
    np.testing.assert_allclose(figures["weights"], [1 / 3, 2 / 3], atol=1e-9)
    _, figures = combine(models, **options, test_points="test/test_points.csv")
    assert [model["mse"] for model in figures["mse_of_models"]] == [4, 1]


def test_a_submission_with_a_broken_row_is_not_combined(combine, folder):
    text = (folder / "b.csv").read_text()
    (folder / "b.csv").write_text(text.rpartition(",")[0] + "\n")
    with pytest.raises(InputError, match=r"b\.csv, line 4 \(c\.jpg\): fewer cells"):
        combine(["a.csv", "b.csv"], submission="out.csv")


def test_large_errors_do_not_run_into_their_intervals(combine, folder):
    name = "a file name that is longer than its column.npz"
    for file, off_px in ((name, 30_000), ("b.npz", 20_000)):
        prediction_files.write(folder / file, NAMES, TRUE_PX + off_px)
    _, figures = combine([name, "b.npz"], predictions="out.npz", truth="truth.csv")
    rows = [line.split() for line in table(figures).splitlines()[-4:]]
    ends = {px: [f"{px**2:.3f}"] * 2 for px in (30_000, 20_000, 25_000)}
    for row, px in zip(rows, ends, strict=False):
        assert row[-4:] == [ends[px][0], ends[px][0], "to", ends[px][0]]


# ── fitted weights ──


def test_weights_are_fitted_to_held_out_images(combine):
    """2 x 1/3 - 1 x 2/3 is no error at all."""
    models = ["a.npz", "b.npz"]
    combined, figures = combine(
        models, "weights", predictions="out.npz", held_out=models, truth="truth.csv"
    )
    np.testing.assert_allclose(figures["weights"], [1 / 3, 2 / 3], atol=1e-9)
    assert figures["mse"] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(combined.points, TRUE_PX, atol=1e-4)


def test_weights_of_predictions_serve_submissions(combine):
    held_out = ["a.npz", "b.npz"]
    combined, _ = combine(
        ["a.csv", "b.csv"], "weights", submission="out.csv", held_out=held_out, truth="truth.csv"
    )
    np.testing.assert_array_equal(combined.points, answers(TRUE_PX))


def test_independent_models_weigh_by_their_precision():
    np.testing.assert_allclose(least_error_weights(np.diag([1.0, 2, 4])), [4 / 7, 2 / 7, 1 / 7])


def test_a_worse_model_that_errs_alike_has_no_weight():
    """Without the bound it would be negative: w = (4 - 1.8, 1 - 1.8) / (5 - 3.6)."""
    np.testing.assert_allclose(least_error_weights(np.array([[1, 1.8], [1.8, 4]])), [1, 0])


@pytest.mark.parametrize("products", [np.zeros((2, 2)), np.ones((2, 2))])
def test_models_that_err_alike_or_not_at_all_have_weights_that_add_up(products):
    weights = least_error_weights(products)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)


def test_no_weights_on_a_grid_are_better():
    steps = np.array([w for w in itertools.product(range(21), repeat=4) if sum(w) == 20]) / 20
    for seed in range(20):
        rng = np.random.default_rng(seed)
        errors = rng.normal(size=(4, 50)) * rng.uniform(0.5, 2, (4, 1)) + rng.normal(size=50)
        products = errors @ errors.T / 50
        weights = least_error_weights(products)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1)
        on_grid = np.einsum("wi,ij,wj->w", steps, products, steps)
        assert weights @ products @ weights <= on_grid.min() + 1e-12


# ── files that do not match ──


def test_another_name_is_told_with_both_files_and_the_row(combine, folder):
    prediction_files.write(folder / "b.npz", ["a.jpg", "x.jpg", "c.jpg"], TRUE_PX)
    says = r"a\.npz and .*b\.npz do not match: row 2 is b\.jpg in the first and x\.jpg"
    with pytest.raises(InputError, match=says):
        combine(["a.npz", "b.npz"], predictions="out.npz")


def test_a_missing_row_is_told(combine, folder):
    prediction_files.write(folder / "b.npz", NAMES[:2], TRUE_PX[:2])
    with pytest.raises(InputError, match=r"row 3 is c\.jpg in the first and missing in the second"):
        combine(["a.npz", "b.npz"], predictions="out.npz")


def test_another_number_of_points_is_told(combine, folder):
    prediction_files.write(folder / "b.npz", NAMES, TRUE_PX[:, :3])
    with pytest.raises(InputError, match=r"do not match: 4 points an image in the first and 3"):
        combine(["a.npz", "b.npz"], predictions="out.npz")


def test_points_of_other_names_are_refused(combine, folder):
    text = (folder / "b.csv").read_text()
    (folder / "b.csv").write_text(text.replace("Point_M0_", "nose_"))
    with pytest.raises(InputError, match="point 1 is Point_M0 in the first and nose in"):
        combine(["a.csv", "b.csv"], submission="out.csv")


def test_submissions_do_not_mix_with_predictions(combine):
    with pytest.raises(InputError, match=r"either all are \.npz or all are submissions"):
        combine(["a.npz", "b.csv"], predictions="out.npz")


def test_asked_points_of_other_images_are_told(combine, folder):
    table = folder / "test" / "test_points.csv"
    requested_points.write_test_points(table, NAMES[::-1], ASKED)
    with pytest.raises(InputError, match=r"a\.npz and .*test_points\.csv do not match: row 1"):
        combine(["a.npz", "b.npz"], submission="out.csv", data=folder)


def test_images_without_truth_are_told(combine, folder):
    landmark_tables.write_landmarks(folder / "truth.csv", NAMES[:2], TRUE_PX[:2])
    with pytest.raises(InputError, match=r"truth\.csv: 1 of the 3 images .* c\.jpg"):
        combine(["a.npz", "b.npz"], predictions="out.npz", truth="truth.csv")


def test_a_point_that_is_no_number_is_told(combine, folder):
    predicted_px = TRUE_PX.astype(np.float32)
    predicted_px[1, 2, 0] = np.nan
    prediction_files.write(folder / "b.npz", NAMES, predicted_px)
    with pytest.raises(InputError, match=r"b\.npz: a predicted point of b\.jpg is not a finite"):
        combine(["a.npz", "b.npz"], predictions="out.npz")
    assert not (folder / "out.npz").exists()


@pytest.mark.parametrize(
    ("how", "options", "says"),
    [
        ("mean", {}, "give --predictions or --submission"),
        ("mean", {"submission": "out.csv"}, "--submission needs --data"),
        ("mean", {"predictions": "a.npz"}, r"a\.npz is one of --inputs"),
        ("mean", {"predictions": "out.npz", "weights": [1, 0]}, "--combine=weights, and no other"),
        ("weights", {"predictions": "out.npz"}, "--combine=weights, and no other"),
        ("weights", {"predictions": "o.npz", "weights": [0.5]}, "--weights: 2 numbers of 0"),
        ("weights", {"predictions": "o.npz", "weights": [1.5, -0.5]}, "--weights: 2 numbers of 0"),
        ("weights", {"predictions": "o.npz", "weights": [0.5, 0.4]}, "--weights: 2 numbers of 0"),
        ("weights", {"predictions": "o.npz", "weights": [float("nan"), 1]}, "--weights: 2"),
        ("weights", {"predictions": "o.npz", "held_out": ["a.npz"]}, "--held_out has 1 files"),
        ("weights", {"predictions": "o.npz", "held_out": ["a.npz"] * 2}, "--held_out needs --tru"),
    ],
)
def test_options_that_do_not_go_together_are_told(combine, how, options, says):
    with pytest.raises(InputError, match=says):
        combine(["a.npz", "b.npz"], how, **options)


def test_one_model_is_no_ensemble(combine):
    with pytest.raises(InputError, match="two files or more"):
        combine(["a.npz"], predictions="out.npz")


def test_submissions_do_not_make_predictions(combine):
    with pytest.raises(InputError, match=r"a\.csv: submissions do not have all points"):
        combine(["a.csv", "b.csv"], predictions="out.npz")


def test_submissions_are_scored_only_where_it_is_known_what_was_asked(combine):
    with pytest.raises(InputError, match=r"a\.csv: a submission needs --test_points"):
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


def test_the_models_are_not_in_memory_at_once(large, tmp_path):
    tracemalloc.start()
    ensemble(large, "median", predictions=tmp_path / "out.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4.5 * large[0].stat().st_size


def test_a_full_disk_is_told_and_an_earlier_file_is_left(large, tmp_path):
    (tmp_path / "out.npz").write_bytes(b"earlier")
    before = contents(tmp_path)
    with no_file_beyond(1 << 20), pytest.raises(OSError, match=r"out\.npz: File too large"):
        ensemble(large[:2], predictions=tmp_path / "out.npz")
    assert contents(tmp_path) == before


def test_killed_and_started_again_it_writes_the_same(large, tmp_path):
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


def test_command_prints_a_table_and_then_json(folder):
    models = f"{folder / 'a.npz'},{folder / 'b.npz'}"
    flags = [f"--inputs={models}", f"--held_out={models}", f"--truth={folder / 'truth.csv'}"]
    flags += ["--combine=weights", f"--predictions={folder / 'out.npz'}"]
    flags += [f"--submission={folder / 'out.csv'}", f"--data={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "keras_landmarks.ensemble", *flags], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert figures["weights"] == [0.333333, 0.666667]
    assert [model["mse"] for model in figures["mse_of_models"]] == [4, 1]
    assert any(line.split()[:3] == ["b.npz", "0.667", "1.000"] for line in lines)
    np.testing.assert_array_equal(
        landmark_tables.read_landmarks(folder / "out.csv").points, answers(TRUE_PX)
    )
