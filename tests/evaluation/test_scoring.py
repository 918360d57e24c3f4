import json

import numpy as np
import pytest
from folders import with_gaps
from scored_files import ERROR_PX, NAMES, REQUESTED, TRUE_PX, write_better_predictions, write_files

from keras_landmarks.contest import (
    grouping,
    labels,
    landmark_tables,
    listed_images,
    prediction_files,
    requested_points,
    table_files,
)
from keras_landmarks.evaluation.result_tables import (
    format_comparison,
    format_evaluation,
    metrics_to_dataframe,
)
from keras_landmarks.evaluation.scoring import compare, evaluate
from keras_landmarks.settings import FigureSettings
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def paths(tmp_path):
    return write_files(tmp_path)


def test_predictions_are_matched_by_name(paths):
    results = evaluate(paths["truth"], predictions=paths["predictions"])
    assert results["images"] == 2
    assert results["points"] == 4
    assert results["without_truth"] == 0
    assert results["mse"] == pytest.approx((25 / 8 + 104 / 8) / 2)
    assert results["nme"] == pytest.approx((5 / 4 / 60 + 12 / 4 / 40) / 2)
    assert results["failure_rate_at_0.07"] == 0.5
    assert "mse_asked" not in results
    assert "regions" not in results


def test_partial_scores_predicted_images_only(paths, tmp_path):
    fewer = tmp_path / "fewer.npz"
    prediction_files.write(fewer, ["b.jpg", "c.jpg"], np.stack([TRUE_PX[1] + ERROR_PX[1]] * 2))
    with pytest.raises(InputError, match=r"fewer\.npz: 1 of the 2 .*a\.jpg"):
        evaluate(paths["truth"], predictions=fewer)
    results = evaluate(paths["truth"], predictions=fewer, partial=True)
    assert results["images"] == results["without_truth"] == 1
    assert results["mse"] == pytest.approx(104 / 8)
    prediction_files.write(fewer, ["c.jpg"], TRUE_PX[:1])
    with pytest.raises(InputError, match=r"fewer\.npz: .*landmarks\.csv"):
        evaluate(paths["truth"], predictions=fewer, partial=True)


def test_partial_compares_common_images_only(paths, tmp_path):
    more, names = tmp_path / "more.npz", [*NAMES, "c.jpg"]
    landmark_tables.write_landmarks(paths["truth"], names, np.concatenate([TRUE_PX, TRUE_PX[:1]]))
    prediction_files.write(more, names, np.concatenate([TRUE_PX, TRUE_PX[:1]]))
    results = compare(paths["predictions"], more, paths["truth"], partial=True)
    assert results["images"] == 2
    assert results["mse_b"] == 0


def test_predicted_sigmas_are_calibrated(paths):
    sigmas = np.full((2, 4), 4.0)
    prediction_files.write(paths["predictions"], NAMES, TRUE_PX + ERROR_PX, sigmas)
    results = evaluate(paths["truth"], predictions=paths["predictions"])
    assert results["within_1_sigma"] == 14 / 16
    assert results["within_2_sigma"] == 1
    assert results["error_by_sigma"] == pytest.approx(np.sqrt((25 + 104) / 16 / 16))
    assert "share of coordinates within 1 and 2 sigma" in format_evaluation(results)
    prediction_files.write(paths["predictions"], NAMES, TRUE_PX + ERROR_PX, sigmas * 0)
    with pytest.raises(InputError, match=r"predictions\.npz"):
        evaluate(paths["truth"], predictions=paths["predictions"])


def test_submission_scores_like_its_predictions(paths):
    of_submission = evaluate(
        paths["truth"], submission=paths["submission"], test_points=paths["test_points"]
    )
    of_predictions = evaluate(
        paths["truth"], predictions=paths["predictions"], test_points=paths["test_points"]
    )
    assert of_submission["mse_asked"] == pytest.approx((25 / 4 + 100 / 4) / 2)
    assert of_submission["nme_asked"] == pytest.approx((5 / 2 / 60 + 10 / 2 / 40) / 2)
    assert of_submission["points"] == 2
    assert "mse" not in of_submission
    assert of_predictions | of_submission == of_predictions | {"points": 2}


def test_only_restricts_the_images(paths, write, caplog):
    only = write("file_name\tperson\nb.jpg\t7\nx.jpg\t8\n", "only.tsv")
    results = evaluate(paths["truth"], predictions=paths["predictions"], only=only)
    assert (results["images"], results["truth_images"]) == (1, 2)
    assert "only.tsv: 1 of 2 images are not in " in caplog.text
    assert results["mse"] == pytest.approx(104 / 8)
    first_line = format_evaluation(results).splitlines()[0]
    assert first_line.startswith("1 of the truth's 2 images, 4 points each; 1 more predicted")
    fewer = paths["predictions"].with_name("fewer.npz")
    prediction_files.write(fewer, ["b.jpg"], TRUE_PX[1:] + ERROR_PX[1:])
    assert evaluate(paths["truth"], predictions=fewer, only=only)["mse"] == results["mse"]
    with pytest.raises(InputError, match=r"only\.tsv: .*landmarks\.csv"):
        evaluate(paths["truth"], predictions=fewer, only=write("file_name\nx.jpg\n", "only.tsv"))


def test_imputed_predictions_are_not_scored(paths, tmp_path, caplog):
    whole = evaluate(paths["truth"], predictions=paths["predictions"])
    predicted_px = TRUE_PX + ERROR_PX
    imputed = tmp_path / "imputed.npz"
    prediction_files.write(imputed, NAMES, predicted_px, imputed=NAMES[:1])
    results = evaluate(paths["truth"], predictions=imputed)
    assert (whole["images"], whole["rejected"]) == (2, 0)
    assert (results["images"], results["rejected"]) == (1, 1)
    assert results["mse"] == pytest.approx(104 / 8)
    assert "1 images could not be read when they were predicted" in caplog.text
    only = evaluate(paths["truth"], predictions=imputed, partial=True)
    assert only["mse"] == results["mse"]


@pytest.mark.parametrize("where", ["header", "layout"])
def test_points_in_another_order_are_refused(tmp_path, where):
    names = ["nose", "chin", "brow"]
    truth, predictions = tmp_path / "landmarks.csv", tmp_path / "p.npz"
    titles = names if where == "header" else ["p0", "p1", "p2"]
    cells = [f"{name}_{axis}" for name in titles for axis in "xy"]
    rows = [[f"{row}.jpg", *"102736"] for row in range(2)]
    truth.write_text("\n".join("\t".join(row) for row in [["file_name", *cells], *rows]) + "\n")
    if where == "layout":
        (tmp_path / "layout.json").write_text(json.dumps({"points": names}))
    points_px = np.zeros((2, 3, 2))
    prediction_files.write(predictions, ["0.jpg", "1.jpg"], points_px, None, names)
    assert evaluate(truth, predictions)["images"] == 2
    prediction_files.write(predictions, ["0.jpg", "1.jpg"], points_px, None, names[::-1])
    with pytest.raises(InputError, match=r"p\.npz: point 0 is 'brow', which is point 2 in "):
        evaluate(truth, predictions)


def test_truth_of_another_split_is_refused(own_faces, tmp_path):
    truth = own_faces / "train" / "landmarks.csv"
    table = landmark_tables.read_landmarks(truth)
    prediction_files.write(tmp_path / "p.npz", table.file_names, table.landmarks_photo_px)
    with pytest.raises(InputError, match="belongs to --split=train, not test"):
        evaluate(truth, tmp_path / "p.npz", data=own_faces, prepared=tmp_path / "prepared")


def test_predictions_without_truth_are_counted(paths):
    landmark_tables.write_landmarks(paths["truth"], NAMES[1:], TRUE_PX[1:])
    results = evaluate(paths["truth"], predictions=paths["predictions"])
    assert results["images"] == 1
    assert results["without_truth"] == 1
    assert results["mse"] == pytest.approx(104 / 8)


def test_contest_points_have_regions(tmp_path):
    true_px = np.random.default_rng(0).integers(0, 200, (1, 971, 2))
    error_px = np.zeros((1, 971, 2))
    error_px[0, 970] = [3, 4]
    landmark_tables.write_landmarks(tmp_path / "truth.csv", ["a.jpg"], true_px)
    prediction_files.write(tmp_path / "p.npz", ["a.jpg"], true_px + error_px)
    results = evaluate(tmp_path / "truth.csv", predictions=tmp_path / "p.npz")
    assert results["regions"]["pupil_right"]["mse"] == 12.5
    assert results["regions"]["pupil_left"] == {"mse": 0, "nme": 0}
    assert "pupil_right" in format_evaluation(results)


# ── figures of papers ──


def test_figures_by_a_distance_of_points(paths):
    """The first and second point are 123.69 and 56.57 px apart; NMEs 0.0101 and 0.0530."""
    figures = FigureSettings("points:0,1", ("0.02", "0.08"))
    results = evaluate(paths["truth"], paths["predictions"], figures=figures)
    sizes = np.hypot([30, 40], [120, 40])
    nme = np.array([5 / 4, 12 / 4]) / sizes
    assert results["nme"] == pytest.approx(nme.mean())
    assert results["auc_at_0.02"] == pytest.approx((1 - nme[0] / 0.02) / 2)
    assert results["auc_at_0.08"] == pytest.approx((1 - nme / 0.08).mean())
    assert (results["failure_rate_at_0.02"], results["failure_rate_at_0.08"]) == (0.5, 0)
    # Within 2.47 and 1.13 px, then 9.90 and 4.53 px.
    assert results["pck_at_0.02"] == (3 / 4 + 2 / 4) / 2
    assert results["pck_at_0.08"] == (4 / 4 + 3 / 4) / 2
    assert results["normaliser"] == "points:0,1"
    text = format_evaluation(results)
    for line in ["the distance between the true points 0 and 1", "0 to 2 %", "within 8 % (PCK)"]:
        assert line in text


def test_default_figures_name_their_normaliser(paths):
    results = evaluate(paths["truth"], paths["predictions"])
    assert results["normaliser"] == "box"
    assert results["pck_at_0.07"] == (3 / 4 + 3 / 4) / 2  # within 4.2 and 2.8 px
    assert (results["missing_points"], results["without_size"]) == (0, 0)
    text = format_evaluation(results)
    assert "NME: mean distance / sqrt(width x height) of the box around all true points" in text
    assert "missing" not in text


def test_rows_by_point_have_names(paths, write):
    write('{"points": ["ear_left", "ear_right", "tip", "chin"]}', "layout.json")
    figures = FigureSettings(by_point=True)
    results = evaluate(paths["truth"], paths["predictions"], figures=figures)
    points = results["by_point"]
    assert list(points) == ["ear_left", "ear_right", "tip", "chin"]
    assert points["ear_left"]["images"] == 2
    assert points["ear_left"]["mse"] == (25 / 2 + 100 / 2) / 2
    assert points["ear_left"]["nme_interval"] == pytest.approx([5 / 60, 10 / 40])
    assert points["ear_right"]["pck_at_0.07"] == 1
    cells = "ear_left 2 31.250 12.500 to 50.000 16.667 8.333 to 25.000 0.000"
    assert cells.split() in [line.split() for line in format_evaluation(results).splitlines()]
    table = metrics_to_dataframe(results)
    assert table.loc["point ear_left", "mse"] == 31.25


def test_submission_has_no_rows_by_point(paths):
    with pytest.raises(InputError, match="--by_point needs --predictions"):
        evaluate(
            paths["truth"],
            submission=paths["submission"],
            test_points=paths["test_points"],
            figures=FigureSettings(by_point=True),
        )


# ── missing points ──


@pytest.fixture
def gapped(paths):
    """The first face lacks its second point, the second face its first, third and fourth.

    The others are off by 5, 0 and 0, and by 2 px; the boxes are 20 x 40 and a point.
    """
    true_px = TRUE_PX.astype(np.float32)
    true_px[0, 1] = true_px[1, [0, 2, 3]] = np.nan
    landmark_tables.write_landmarks(paths["truth"], NAMES, true_px)
    return paths


def test_missing_points_are_not_scored(gapped, caplog):
    results = evaluate(gapped["truth"], gapped["predictions"])
    assert results["mse"] == pytest.approx((25 / 6 + 4 / 2) / 2)
    assert results["mse_interval"] == pytest.approx([4 / 2, 25 / 6])
    assert (results["missing_points"], results["without_size"], results["rejected"]) == (4, 1, 0)
    assert results["nme"] == pytest.approx(5 / 3 / np.sqrt(20 * 40))
    assert results["nme_interval"] is None
    assert "no NME: b.jpg" in caplog.text
    text = format_evaluation(results)
    assert "missing from the truth: 4; an image is scored by its other points, and its box" in text


def test_point_or_region_that_is_nowhere_has_a_dash(gapped, write):
    write(
        gapped["truth"].read_text().splitlines()[0] + "\na.jpg\t1\t2\t\t\t5\t9\t7\t8\n", "one.csv"
    )
    layout = write('{"regions": {"two": [1, 1], "rest": [2, 3]}}', "regions.json")
    results = evaluate(
        gapped["truth"].with_name("one.csv"),
        gapped["predictions"],
        layout=layout,
        figures=FigureSettings(by_point=True),
    )
    assert results["regions"]["two"] == {"mse": None, "nme": None}
    assert results["by_point"]["Point_M1"] == {
        "images": 0,
        "mse": None,
        "nme": None,
        "pck_at_0.07": None,
    }
    json.dumps(results, allow_nan=False)
    lines = [line.split() for line in format_evaluation(results).splitlines()]
    assert ["two", "-", "-"] in lines
    assert ["Point_M1", "0", "-", "-", "-"] in lines
    assert np.isnan(metrics_to_dataframe(results).loc["two", "mse"])


def test_requested_points_that_are_missing_are_left_out(gapped):
    """Of a.jpg points 1 and 0 are requested, of b.jpg 3 and 0, which it lacks."""
    files = {"test_points": gapped["test_points"]}
    results = evaluate(gapped["truth"], gapped["predictions"], **files)
    assert results["mse_asked"] == 25 / 2
    assert results["mse_asked_interval"] is None
    of_submission = evaluate(gapped["truth"], submission=gapped["submission"], **files)
    assert of_submission["mse_asked"] == 25 / 2
    with pytest.raises(InputError, match="two groups"):
        compare(gapped["predictions"], gapped["predictions"], gapped["truth"], **files)


def test_comparison_leaves_missing_points_out(gapped, tmp_path):
    better = write_better_predictions(tmp_path)
    results = compare(gapped["predictions"], better, gapped["truth"])
    assert results["mse_a"] == pytest.approx((25 / 6 + 2) / 2)
    assert results["ratio_interval"] == pytest.approx([0.25, 0.25])
    assert results["missing_points"] == 4
    assert "points missing from the truth: 4;" in format_comparison(results)


def test_mean_shape_is_scored_with_gaps(own_faces, tmp_path):
    """It is the mean of the rows that have a point, scored on those that have it."""
    files = {"data": own_faces, "prepared": tmp_path / "prepared"}
    truth = own_faces / "test" / "test_landmarks.csv"
    for table in (truth, own_faces / "train" / "landmarks.csv"):
        rows = [line.split("\t") for line in table.read_text().splitlines()]
        rows[1][1:3] = rows[2][3:5] = "", ""
        table.write_text("".join("\t".join(row) + "\n" for row in rows))
    true = labels.read(truth)
    predicted = np.nan_to_num(true.landmarks_photo_px)
    prediction_files.write(tmp_path / "p.npz", true.file_names, predicted)
    results = evaluate(truth, tmp_path / "p.npz", **files)
    assert results["mse"] == 0
    assert results["missing_points"] == 2
    assert np.isfinite(results["mean_shape_mse"])


def test_mean_shape_needs_every_point(own_faces, tmp_path):
    with_gaps(own_faces, {row: [7] for row in range(24)})
    truth = own_faces / "test" / "test_landmarks.csv"
    true = landmark_tables.read_landmarks(truth)
    prediction_files.write(tmp_path / "p.npz", true.file_names, true.landmarks_photo_px)
    with pytest.raises(InputError, match=r"place in none of the training photos: Point_M7;"):
        evaluate(truth, tmp_path / "p.npz", data=own_faces, prepared=tmp_path / "prepared")


# ── intervals: draws of two images have the first twice, the second twice, or both ──


def test_mse_and_nme_have_intervals(paths):
    results = evaluate(
        paths["truth"], predictions=paths["predictions"], test_points=paths["test_points"]
    )
    assert results["groups"] == 2
    assert results["mse_interval"] == pytest.approx([25 / 8, 104 / 8])
    assert results["nme_interval"] == pytest.approx([5 / 4 / 60, 12 / 4 / 40])
    assert results["mse_asked_interval"] == pytest.approx([25 / 4, 100 / 4])
    assert results["nme_asked_interval"] == pytest.approx([5 / 2 / 60, 10 / 2 / 40])
    assert results["mse_percentiles_interval"]["50"] == pytest.approx([25 / 8, 104 / 8])
    for name in ("mse", "nme", "mse_asked", "nme_asked"):
        ends = results[f"{name}_percentiles_interval"]
        assert ends.keys() == results[f"{name}_percentiles"].keys()


def test_single_group_has_no_intervals(paths, tmp_path):
    grouping.write_group_table(
        tmp_path / "persons.csv", "person", [*NAMES, "c.jpg"], ["7", "7", "8"]
    )
    options = {"predictions": paths["predictions"], "groups": [tmp_path / "persons.csv"]}
    results = evaluate(paths["truth"], **options)
    assert results["groups"] == 1
    assert "mse_interval" not in results
    assert "no intervals" in format_evaluation(results)


def test_image_without_group_is_rejected(paths, tmp_path):
    grouping.write_group_table(tmp_path / "persons.csv", "person", ["b.jpg"], ["7"])
    with pytest.raises(InputError, match=r"persons\.csv: 1 of the 2 .* a\.jpg"):
        evaluate(
            paths["truth"], predictions=paths["predictions"], groups=[tmp_path / "persons.csv"]
        )


def test_layout_file_defines_regions(paths, tmp_path):
    layout = tmp_path / "layout.json"
    layout.write_text('{"regions": {"first": [0, 0], "rest": [1, 3]}}')
    results = evaluate(paths["truth"], predictions=paths["predictions"], layout=layout)
    assert results["regions"]["first"]["mse"] == (25 / 2 + 100 / 2) / 2
    assert "rest " in format_evaluation(results)


def test_regions_have_intervals(tmp_path):
    true_px = np.random.default_rng(0).integers(0, 200, (2, 971, 2))
    error_px = np.zeros((2, 971, 2))
    error_px[:, 970] = [[3, 4], [0, 2]]
    landmark_tables.write_landmarks(tmp_path / "truth.csv", NAMES, true_px)
    prediction_files.write(tmp_path / "p.npz", NAMES, true_px + error_px)
    results = evaluate(tmp_path / "truth.csv", predictions=tmp_path / "p.npz")
    assert results["regions"]["pupil_right"]["mse_interval"] == [2, 12.5]


def test_mean_shape_is_scored(faces, tmp_path):
    truth = faces / "test" / "test_landmarks.csv"
    true = landmark_tables.read_landmarks(truth)
    prediction_files.write(tmp_path / "p.npz", true.file_names, true.landmarks_photo_px)
    results = evaluate(
        truth, predictions=tmp_path / "p.npz", data=faces, prepared=tmp_path / "prepared"
    )
    assert results["mse"] == 0
    low, high = results["mean_shape_mse_interval"]
    assert 10 < low < results["mean_shape_mse"] < high
    assert "MSE of the mean shape" in format_evaluation(results)


def test_mean_shape_skips_photos_without_size(own_faces, tmp_path, caplog):
    """One photo is missing, one is outside the folder; a truncated photo still has a size."""
    truth, images = own_faces / "test" / "test_landmarks.csv", own_faces / "test" / "images"
    true = landmark_tables.read_landmarks(truth)
    files = {"predictions": tmp_path / "p.npz", "data": own_faces, "prepared": tmp_path / "p"}
    prediction_files.write(files["predictions"], true.file_names, true.landmarks_photo_px)
    whole = evaluate(truth, **files)
    assert whole["mean_shape_images"] == 8
    cut_off = images / "face_000000.jpg"
    cut_off.write_bytes(cut_off.read_bytes()[:-100])
    assert evaluate(truth, **files) == whole
    (images / "face_000003.jpg").rename(tmp_path / "outside.jpg")
    (images / "face_000003.jpg").symlink_to(tmp_path / "outside.jpg")
    (images / "face_000005.jpg").unlink()
    results = evaluate(truth, **files)
    assert (results["images"], results["mean_shape_images"]) == (8, 6)
    only = tmp_path / "only.csv"
    table_files.write_rows(
        only, ["file_name"], [[name] for name in true.file_names if name[-5] in "35"]
    )
    with pytest.raises(InputError, match=r"000003\.jpg: .*2 of 2 .*--data"):
        evaluate(truth, **files, only=only)
    others = [[name] for name in true.file_names if name[-5] not in "35"]
    table_files.write_rows(only, ["file_name"], others)
    of_others = evaluate(truth, **files, only=only)
    for name in ("mean_shape_mse", "mean_shape_mse_interval"):
        assert results[name] == pytest.approx(of_others[name])
    assert f"face_000003.jpg: {listed_images.LINK_OUT}; 2 of 8 " in caplog.text


# ── rows of the truth that cannot be used ──


@pytest.fixture
def broken(paths):
    """A truth of six images with invalid rows, and predictions of all of them.

    Images c to f are like a. The row of d is too short, e has two contradicting rows, and the row
    of a is repeated.
    """
    names, images = [*NAMES, "c.jpg", "d.jpg", "e.jpg", "f.jpg"], [0, 1, 0, 0, 0, 0]
    landmark_tables.write_landmarks(paths["truth"], names, TRUE_PX[images])
    rows = paths["truth"].read_text().splitlines(keepends=True)
    rows[4] = rows[4].rpartition("\t")[0] + "\n"
    rows += [rows[1], rows[5].replace("\t10\t", "\t11\t", 1)]
    paths["truth"].write_text("".join(rows))
    prediction_files.write(paths["predictions"], names, (TRUE_PX + ERROR_PX)[images])
    return paths


def test_invalid_truth_rows_are_skipped_and_counted(broken, caplog):
    results = evaluate(broken["truth"], broken["predictions"])
    assert (results["images"], results["truth_images"], results["rejected"]) == (4, 6, 4)
    assert results["without_truth"] == 2
    assert results["mse"] == pytest.approx((3 * 25 / 8 + 104 / 8) / 4)
    assert "rows of the truth that cannot be used: 4" in format_evaluation(results)
    assert "line 5 (d.jpg): " in caplog.text
    same = compare(broken["predictions"], broken["predictions"], broken["truth"])
    assert (same["images"], same["rejected"]) == (4, 4)
    assert "rows of the truth that cannot be used: 4" in format_comparison(same)


def test_rows_of_other_images_are_ignored(broken, write):
    only = write("file_name\nb.jpg\n", "only.csv")
    results = evaluate(broken["truth"], broken["predictions"], only=only)
    assert (results["images"], results["truth_images"], results["rejected"]) == (1, 6, 0)
    assert results["mse"] == pytest.approx(104 / 8)
    prediction_files.write(broken["predictions"], ["b.jpg"], TRUE_PX[1:] + ERROR_PX[1:])
    assert evaluate(broken["truth"], broken["predictions"], partial=True) == results | {
        "without_truth": 0
    }


def test_mostly_invalid_truth_is_rejected(broken, write):
    only = write("file_name\na.jpg\nd.jpg\ne.jpg\n", "only.csv")
    with pytest.raises(InputError, match=r"landmarks\.csv, line 5 .* 4 of 5 "):
        evaluate(broken["truth"], broken["predictions"], only=only)


def test_points_requested_of_other_images_are_ignored(paths):
    paths["test_points"].write_text(
        paths["test_points"].read_text() + "c.jpg\t[99]\nc.jpg\tnothing\nd.jpg\t[1,\n"
    )
    scored = evaluate(
        paths["truth"], submission=paths["submission"], test_points=paths["test_points"]
    )
    assert scored["mse_asked"] == pytest.approx((25 / 4 + 100 / 4) / 2)
    landmark_tables.write_landmarks(paths["truth"], [*NAMES, "d.jpg"], [*TRUE_PX, TRUE_PX[0]])
    prediction_files.write(paths["predictions"], [*NAMES, "d.jpg"], [*TRUE_PX, TRUE_PX[0]])
    with pytest.raises(InputError, match=r"test_points\.csv, line 6 \(d\.jpg\)"):
        evaluate(paths["truth"], paths["predictions"], test_points=paths["test_points"])


def test_invalid_submission_row_is_rejected(paths, write):
    files = {"submission": paths["submission"], "test_points": paths["test_points"]}
    broken = paths["submission"].read_text() + "a.jpg,1,2,3\n"
    paths["submission"].write_text(broken)
    with pytest.raises(InputError, match=r"submission\.csv, line 4 \(a\.jpg\)"):
        evaluate(paths["truth"], **files)
    only = write("file_name\nb.jpg\n", "only.csv")
    assert evaluate(paths["truth"], **files, only=only)["mse_asked"] == pytest.approx(100 / 4)


# ── comparing ──


@pytest.fixture
def better(tmp_path):
    return write_better_predictions(tmp_path)


def test_real_difference_is_reported(paths, better):
    results = compare(paths["predictions"], better, paths["truth"])
    assert results["mse_a"] == pytest.approx(8.0625)
    assert results["mse_b"] == pytest.approx(8.0625 / 4)
    assert results["difference"] == pytest.approx(-0.75 * 8.0625)
    assert results["difference_interval"] == pytest.approx([-0.75 * 13, -0.75 * 3.125])
    assert results["ratio_interval"] == pytest.approx([0.25, 0.25])
    assert results["probability_b_better"] == 1
    assert results["real"]
    assert "better.npz is better than" in format_comparison(results)
    turned = compare(better, paths["predictions"], paths["truth"])
    assert "predictions.npz is worse than" in format_comparison(turned)


def test_chance_difference_is_reported(paths, tmp_path):
    other_px = TRUE_PX + ERROR_PX * [[[2]], [[0.5]]]  # MSE 4 times and a quarter
    prediction_files.write(tmp_path / "other.npz", NAMES, other_px)
    results = compare(paths["predictions"], tmp_path / "other.npz", paths["truth"])
    assert results["difference_interval"] == pytest.approx([-0.75 * 13, 3 * 3.125])
    assert not results["real"]
    assert "other.npz may be as good as" in format_comparison(results)


def test_requested_points_are_compared(paths):
    results = compare(
        paths["submission"], paths["predictions"], paths["truth"], paths["test_points"]
    )
    assert results["mse_a"] == results["mse_b"] == pytest.approx((25 / 4 + 100 / 4) / 2)
    assert results["difference"] == 0


def test_comparison_needs_two_groups(paths, better, tmp_path):
    grouping.write_group_table(tmp_path / "persons.csv", "person", NAMES, ["7", "7"])
    with pytest.raises(InputError, match=r"persons\.csv"):
        compare(paths["predictions"], better, paths["truth"], groups=[tmp_path / "persons.csv"])


# ── files that do not fit ──


def test_either_predictions_or_submission_is_scored(paths):
    with pytest.raises(InputError, match=r"--predictions.*--submission"):
        evaluate(paths["truth"])
    with pytest.raises(InputError, match=r"--predictions.*--submission"):
        evaluate(**paths)


def test_submission_needs_test_points(paths):
    with pytest.raises(InputError, match=r"submission\.csv: .*--test_points"):
        evaluate(paths["truth"], submission=paths["submission"])


def test_missing_predictions_are_counted_and_named(paths):
    prediction_files.write(paths["predictions"], ["c.jpg"], TRUE_PX[:1])
    with pytest.raises(InputError, match=r"predictions\.npz: 2 of the 2 .* a\.jpg"):
        evaluate(paths["truth"], predictions=paths["predictions"])


@pytest.mark.parametrize("changed", ["truth", "predictions", "test_points"])
def test_duplicate_names_are_rejected(paths, changed):
    names = ["a.jpg", "a.jpg"]
    if changed == "truth":
        landmark_tables.write_landmarks(paths[changed], names, TRUE_PX)
    elif changed == "predictions":
        prediction_files.write(paths[changed], names, TRUE_PX)
    else:
        requested_points.write_test_points(paths[changed], names, REQUESTED)
    del paths["submission"]
    mentioned = rf"{paths[changed].name}: a\.jpg .*2"
    if changed == "truth":
        mentioned = r"landmarks\.csv, line 2 \(a\.jpg\): .* 3; 2 of 2 "
    with pytest.raises(InputError, match=mentioned):
        evaluate(**paths)


def test_wrong_number_of_points_is_rejected(paths):
    prediction_files.write(paths["predictions"], NAMES, TRUE_PX[:, :3])
    with pytest.raises(InputError, match=r"predictions\.npz: 3 .* 4"):
        evaluate(paths["truth"], predictions=paths["predictions"])


def test_wrong_number_of_requested_points(paths):
    requested_points.write_test_points(paths["test_points"], NAMES, [[1, 0], [1, 2, 3]])
    with pytest.raises(InputError, match=r"submission\.csv: 2 .* 3 .*b\.jpg"):
        evaluate(paths["truth"], submission=paths["submission"], test_points=paths["test_points"])


def test_requested_point_must_be_in_truth(paths):
    requested_points.write_test_points(paths["test_points"], NAMES, [[1, 0], [1, 4]])
    with pytest.raises(InputError, match=r"test_points\.csv: point 4 .*b\.jpg.* 3"):
        evaluate(paths["truth"], predictions=paths["predictions"], test_points=paths["test_points"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_predictions_are_rejected(paths, value):
    predicted_px = TRUE_PX.astype(np.float32)
    predicted_px[1, 2, 0] = value
    prediction_files.write(paths["predictions"], NAMES, predicted_px)
    with pytest.raises(InputError, match=r"predictions\.npz: .*b\.jpg"):
        evaluate(paths["truth"], predictions=paths["predictions"])


def test_faces_without_size_are_counted_and_listed(paths, caplog):
    landmark_tables.write_landmarks(paths["truth"], NAMES, TRUE_PX * [[[1, 1]], [[1, 0]]])
    prediction_files.write(paths["predictions"], NAMES, TRUE_PX)
    results = evaluate(paths["truth"], predictions=paths["predictions"])
    assert (results["images"], results["without_size"], results["nme"]) == (2, 1, 0)
    assert "1 of 2 faces have no size to divide by and no NME: b.jpg" in caplog.text
    assert "without a size to divide by, so without an NME: 1" in format_evaluation(results)
    landmark_tables.write_landmarks(paths["truth"], NAMES, TRUE_PX * [1, 0])
    with pytest.raises(
        InputError, match=r"landmarks\.csv: 2 of 2 .*a\.jpg.*sqrt.* is 0 or missing"
    ):
        evaluate(paths["truth"], predictions=paths["predictions"])


def test_large_errors_keep_columns_apart(paths):
    """Every coordinate is off by 5000 and 9000 px; the faces' sizes are 60 and 40 px."""
    prediction_files.write(paths["predictions"], NAMES, np.add(TRUE_PX, [[[5000]], [[9000]]]))
    results = evaluate(paths["truth"], predictions=paths["predictions"])
    _, row, *_ = format_evaluation(results).splitlines()[5:]
    nme = 100 * np.sqrt(2) * np.array([5000 / 60, 9000 / 40])
    numbers = [float(cell) for cell in row.split() if cell[0].isdigit()]
    assert numbers == pytest.approx([53e6, 25e6, 81e6, nme.mean(), *nme])


def test_single_point_faces_have_no_nme(tmp_path):
    truth, predictions = tmp_path / "truth.csv", tmp_path / "predictions.npz"
    names = ["a.jpg", "b.jpg"]
    landmark_tables.write_landmarks(truth, names, np.array([[[10, 20]], [[30, 40]]]))
    prediction_files.write(predictions, names, np.array([[[13.0, 24.0]], [[30.0, 40.0]]]))
    results = evaluate(truth, predictions)
    assert results["mse"] == 12.5 / 2  # (9 + 16) / 2 and 0
    assert not [name for name in results if name.startswith(("nme", "auc"))]
    assert "NME: none" in format_evaluation(results)


def test_missing_image_gets_nearest_name_hint(tmp_path):
    truth, predictions = tmp_path / "truth.csv", tmp_path / "predictions.npz"
    points = np.arange(12.0).reshape(2, 3, 2) ** 2
    landmark_tables.write_landmarks(truth, ["0001.jpg", "0002.jpg"], points)
    prediction_files.write(predictions, ["1", "2"], points)
    with pytest.raises(InputError, match=r"0001\.jpg \(.* 1\)"):
        evaluate(truth, predictions)


def test_unicode_forms_of_names_match(tmp_path):
    truth, predictions = tmp_path / "truth.csv", tmp_path / "predictions.npz"
    points = np.arange(6.0).reshape(1, 3, 2) ** 2
    landmark_tables.write_landmarks(truth, ["fu\u0308r.jpg"], points)
    prediction_files.write(predictions, ["f\u00fcr.jpg"], points)
    assert evaluate(truth, predictions)["mse"] == 0
