import json
import subprocess
import sys

import numpy as np
import pytest

from keras_landmarks.contest import (
    grouping,
    landmark_tables,
    listed_images,
    prediction_files,
    requested_points,
    table_files,
)
from keras_landmarks.evaluate import compare, comparison, evaluate, table
from keras_landmarks.utils.errors import InputError

NAMES = ["a.jpg", "b.jpg"]
# Four points each; boxes 30 x 120 and 40 x 40: sizes 60 and 40.
TRUE_PX = np.array(
    [[[10, 20], [40, 140], [20, 50], [30, 60]], [[0, 0], [40, 40], [10, 10], [20, 20]]]
)
# Distances: 5, 0, 0, 0 and 10, 2, 0, 0. MSE: 25 / 8 and 104 / 8.
ERROR_PX = np.array([[[3, 4], [0, 0], [0, 0], [0, 0]], [[-6, 8], [0, 2], [0, 0], [0, 0]]])
ASKED = [[1, 0], [3, 0]]


@pytest.fixture
def paths(tmp_path):
    """Truth, predictions in another order, asked points and the submission that answers them."""
    predicted_px = TRUE_PX + ERROR_PX
    paths = {
        "truth": tmp_path / "landmarks.csv",
        "predictions": tmp_path / "predictions.npz",
        "test_points": tmp_path / "test_points.csv",
        "submission": tmp_path / "submission.csv",
    }
    landmark_tables.write_landmarks(paths["truth"], NAMES, TRUE_PX)
    prediction_files.write(paths["predictions"], NAMES[::-1], predicted_px[::-1])
    requested_points.write_test_points(paths["test_points"], NAMES, ASKED)
    answers = [points[indices] for points, indices in zip(predicted_px, ASKED, strict=True)]
    landmark_tables.write_submission(paths["submission"], NAMES[::-1], answers[::-1])
    return paths


def test_predictions_are_matched_by_name(paths):
    figures = evaluate(paths["truth"], predictions=paths["predictions"])
    assert figures["images"] == 2
    assert figures["points"] == 4
    assert figures["without_truth"] == 0
    assert figures["mse"] == pytest.approx((25 / 8 + 104 / 8) / 2)
    assert figures["nme"] == pytest.approx((5 / 4 / 60 + 12 / 4 / 40) / 2)
    assert figures["failure_rate_at_0.07"] == 0.5
    assert "mse_asked" not in figures
    assert "regions" not in figures


def test_images_that_are_not_predicted_are_missed_unless_some_are_enough(paths, tmp_path):
    some = tmp_path / "some.npz"
    prediction_files.write(some, ["b.jpg", "c.jpg"], np.stack([TRUE_PX[1] + ERROR_PX[1]] * 2))
    with pytest.raises(InputError, match=r"1 of the 2 images to score are missing.*a\.jpg"):
        evaluate(paths["truth"], predictions=some)
    figures = evaluate(paths["truth"], predictions=some, partial=True)
    assert figures["images"] == figures["without_truth"] == 1
    assert figures["mse"] == pytest.approx(104 / 8)
    prediction_files.write(some, ["c.jpg"], TRUE_PX[:1])
    with pytest.raises(InputError, match=r"some\.npz: none of its images is in \S+landmarks\.csv"):
        evaluate(paths["truth"], predictions=some, partial=True)


def test_two_are_compared_on_the_images_that_both_have(paths, tmp_path):
    some, names = tmp_path / "some.npz", [*NAMES, "c.jpg"]
    landmark_tables.write_landmarks(paths["truth"], names, np.concatenate([TRUE_PX, TRUE_PX[:1]]))
    prediction_files.write(some, names, np.concatenate([TRUE_PX, TRUE_PX[:1]]))
    figures = compare(paths["predictions"], some, paths["truth"], partial=True)
    assert figures["images"] == 2
    assert figures["mse_b"] == 0


def test_deviations_beside_the_predictions_are_held_against_the_errors(paths):
    sigmas = np.full((2, 4), 4.0)
    prediction_files.write(paths["predictions"], NAMES, TRUE_PX + ERROR_PX, sigmas)
    figures = evaluate(paths["truth"], predictions=paths["predictions"])
    assert figures["within_1_sigma"] == 14 / 16
    assert figures["within_2_sigma"] == 1
    assert figures["error_by_sigma"] == pytest.approx(np.sqrt((25 + 104) / 16 / 16))
    assert "share of coordinates within 1 and 2 sigma" in table(figures)
    prediction_files.write(paths["predictions"], NAMES, TRUE_PX + ERROR_PX, sigmas * 0)
    with pytest.raises(InputError, match="a standard deviation is not above 0"):
        evaluate(paths["truth"], predictions=paths["predictions"])


def test_asked_points_of_predictions_and_of_a_submission_score_the_same(paths):
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


def test_only_the_images_that_a_table_names_are_scored(paths, write):
    only = write("file_name\tperson\nb.jpg\t7\nx.jpg\t8\n", "only.tsv")
    figures = evaluate(paths["truth"], predictions=paths["predictions"], only=only)
    assert (figures["images"], figures["truth_images"]) == (1, 2)
    assert figures["mse"] == pytest.approx(104 / 8)
    assert "1 of the truth's 2 images, 4 points each; 1 more predicted" in table(figures)
    some = paths["predictions"].with_name("some.npz")
    prediction_files.write(some, ["b.jpg"], TRUE_PX[1:] + ERROR_PX[1:])
    assert evaluate(paths["truth"], predictions=some, only=only)["mse"] == figures["mse"]
    with pytest.raises(InputError, match=r"only\.tsv: none of its images is in .*landmarks\.csv"):
        evaluate(paths["truth"], predictions=some, only=write("file_name\nx.jpg\n", "only.tsv"))


def test_predictions_without_truth_are_counted(paths):
    landmark_tables.write_landmarks(paths["truth"], NAMES[1:], TRUE_PX[1:])
    figures = evaluate(paths["truth"], predictions=paths["predictions"])
    assert figures["images"] == 1
    assert figures["without_truth"] == 1
    assert figures["mse"] == pytest.approx(104 / 8)


def test_regions_of_the_contest_points(tmp_path):
    true_px = np.random.default_rng(0).integers(0, 200, (1, 971, 2))
    error_px = np.zeros((1, 971, 2))
    error_px[0, 970] = [3, 4]
    landmark_tables.write_landmarks(tmp_path / "truth.csv", ["a.jpg"], true_px)
    prediction_files.write(tmp_path / "p.npz", ["a.jpg"], true_px + error_px)
    figures = evaluate(tmp_path / "truth.csv", predictions=tmp_path / "p.npz")
    assert figures["regions"]["pupil_right"]["mse"] == 12.5
    assert figures["regions"]["pupil_left"] == {"mse": 0, "nme": 0}
    assert "pupil_right" in table(figures)


# ── intervals: two images drawn anew are both the first, both the second, or as they are ──


def test_every_mse_and_nme_has_an_interval(paths):
    figures = evaluate(
        paths["truth"], predictions=paths["predictions"], test_points=paths["test_points"]
    )
    assert figures["groups"] == 2
    assert figures["mse_interval"] == pytest.approx([25 / 8, 104 / 8])
    assert figures["nme_interval"] == pytest.approx([5 / 4 / 60, 12 / 4 / 40])
    assert figures["mse_asked_interval"] == pytest.approx([25 / 4, 100 / 4])
    assert figures["nme_asked_interval"] == pytest.approx([5 / 2 / 60, 10 / 2 / 40])
    assert figures["mse_percentiles_interval"]["50"] == pytest.approx([25 / 8, 104 / 8])
    for name in ("mse", "nme", "mse_asked", "nme_asked"):
        ends = figures[f"{name}_percentiles_interval"]
        assert ends.keys() == figures[f"{name}_percentiles"].keys()


def test_images_of_one_group_are_drawn_together(paths, tmp_path):
    grouping.write_group_table(
        tmp_path / "persons.csv", "person", [*NAMES, "c.jpg"], ["7", "7", "8"]
    )
    options = {"predictions": paths["predictions"], "groups": [tmp_path / "persons.csv"]}
    figures = evaluate(paths["truth"], **options)
    assert figures["groups"] == 1
    assert "mse_interval" not in figures
    assert "no intervals" in table(figures)


def test_an_image_without_group_is_named(paths, tmp_path):
    grouping.write_group_table(tmp_path / "persons.csv", "person", ["b.jpg"], ["7"])
    with pytest.raises(InputError, match=r"persons\.csv: 1 of the 2 images .* a\.jpg"):
        evaluate(
            paths["truth"], predictions=paths["predictions"], groups=[tmp_path / "persons.csv"]
        )


def test_regions_of_a_layout_file(paths, tmp_path):
    layout = tmp_path / "layout.json"
    layout.write_text('{"regions": {"first": [0, 0], "rest": [1, 3]}}')
    figures = evaluate(paths["truth"], predictions=paths["predictions"], layout=layout)
    assert figures["regions"]["first"]["mse"] == (25 / 2 + 100 / 2) / 2
    assert "rest " in table(figures)


def test_regions_have_intervals_too(tmp_path):
    true_px = np.random.default_rng(0).integers(0, 200, (2, 971, 2))
    error_px = np.zeros((2, 971, 2))
    error_px[:, 970] = [[3, 4], [0, 2]]
    landmark_tables.write_landmarks(tmp_path / "truth.csv", NAMES, true_px)
    prediction_files.write(tmp_path / "p.npz", NAMES, true_px + error_px)
    figures = evaluate(tmp_path / "truth.csv", predictions=tmp_path / "p.npz")
    assert figures["regions"]["pupil_right"]["mse_interval"] == [2, 12.5]


def test_the_mean_shape_is_scored_beside(faces, tmp_path):
    truth = faces / "test" / "test_landmarks.csv"
    true = landmark_tables.read_landmarks(truth)
    prediction_files.write(tmp_path / "p.npz", true.file_names, true.points)
    figures = evaluate(
        truth, predictions=tmp_path / "p.npz", data=faces, prepared=tmp_path / "prepared"
    )
    assert figures["mse"] == 0
    low, high = figures["mean_shape_mse_interval"]
    assert 10 < low < figures["mean_shape_mse"] < high
    assert "MSE of the mean shape" in table(figures)


def test_the_mean_shape_is_not_scored_on_photos_without_a_size(own_faces, tmp_path, caplog):
    """One that is missing, one outside the folder; a photo cut off still tells its size."""
    truth, images = own_faces / "test" / "test_landmarks.csv", own_faces / "test" / "images"
    true = landmark_tables.read_landmarks(truth)
    files = {"predictions": tmp_path / "p.npz", "data": own_faces, "prepared": tmp_path / "p"}
    prediction_files.write(files["predictions"], true.file_names, true.points)
    whole = evaluate(truth, **files)
    assert whole["mean_shape_images"] == 8
    cut_off = images / "face_000000.jpg"
    cut_off.write_bytes(cut_off.read_bytes()[:-100])
    assert evaluate(truth, **files) == whole
    (images / "face_000003.jpg").rename(tmp_path / "outside.jpg")
    (images / "face_000003.jpg").symlink_to(tmp_path / "outside.jpg")
    (images / "face_000005.jpg").unlink()
    figures = evaluate(truth, **files)
    assert (figures["images"], figures["mean_shape_images"]) == (8, 6)
    only = tmp_path / "only.csv"
    table_files.write_rows(
        only, ["file_name"], [[name] for name in true.file_names if name[-5] in "35"]
    )
    with pytest.raises(
        InputError, match=r"000003\.jpg: a link that leaves .*; 2 of 2 photos have no"
    ):
        evaluate(truth, **files, only=only)
    others = [[name] for name in true.file_names if name[-5] not in "35"]
    table_files.write_rows(only, ["file_name"], others)
    of_others = evaluate(truth, **files, only=only)
    for name in ("mean_shape_mse", "mean_shape_mse_interval"):
        assert figures[name] == pytest.approx(of_others[name])
    assert f"face_000003.jpg: {listed_images.LINK_OUT}; 2 of 8 photos" in caplog.text


# ── rows of the truth that cannot be used ──


@pytest.fixture
def broken(paths):
    """A truth of six images whose fourth and fifth row cannot be used; all are predicted.

    a and b are as ever, c to f as a. The row of d is broken, e has another that disagrees, and a
    row of a repeats.
    """
    names, images = [*NAMES, "c.jpg", "d.jpg", "e.jpg", "f.jpg"], [0, 1, 0, 0, 0, 0]
    landmark_tables.write_landmarks(paths["truth"], names, TRUE_PX[images])
    rows = paths["truth"].read_text().splitlines(keepends=True)
    rows[4] = rows[4].rpartition("\t")[0] + "\n"
    rows += [rows[1], rows[5].replace("\t10\t", "\t11\t", 1)]
    paths["truth"].write_text("".join(rows))
    prediction_files.write(paths["predictions"], names, (TRUE_PX + ERROR_PX)[images])
    return paths


def test_rows_of_the_truth_that_train_rejects_are_skipped_and_counted(broken, caplog):
    figures = evaluate(broken["truth"], broken["predictions"])
    assert (figures["images"], figures["truth_images"], figures["rejected"]) == (4, 6, 4)
    assert figures["without_truth"] == 2
    assert figures["mse"] == pytest.approx((3 * 25 / 8 + 104 / 8) / 4)
    assert "rows of the truth that cannot be used: 4" in table(figures)
    assert "line 5 (d.jpg): fewer cells than the header has" in caplog.text
    same = compare(broken["predictions"], broken["predictions"], broken["truth"])
    assert (same["images"], same["rejected"]) == (4, 4)
    assert "rows of the truth that cannot be used: 4" in comparison(same)


def test_rows_of_images_that_are_not_scored_do_not_matter(broken, write):
    only = write("file_name\nb.jpg\n", "only.csv")
    figures = evaluate(broken["truth"], broken["predictions"], only=only)
    assert (figures["images"], figures["truth_images"], figures["rejected"]) == (1, 6, 0)
    assert figures["mse"] == pytest.approx(104 / 8)
    prediction_files.write(broken["predictions"], ["b.jpg"], TRUE_PX[1:] + ERROR_PX[1:])
    assert evaluate(broken["truth"], broken["predictions"], partial=True) == figures | {
        "without_truth": 0
    }


def test_a_truth_that_is_mostly_broken_is_refused(broken, write):
    only = write("file_name\na.jpg\nd.jpg\ne.jpg\n", "only.csv")
    with pytest.raises(InputError, match=r"landmarks\.csv, line 5 .*; 4 of 5 rows cannot be used"):
        evaluate(broken["truth"], broken["predictions"], only=only)


def test_what_is_asked_of_images_that_are_not_scored_does_not_matter(paths):
    paths["test_points"].write_text(
        paths["test_points"].read_text() + "c.jpg\t[99]\nc.jpg\tnothing\nd.jpg\t[1,\n"
    )
    scored = evaluate(
        paths["truth"], submission=paths["submission"], test_points=paths["test_points"]
    )
    assert scored["mse_asked"] == pytest.approx((25 / 4 + 100 / 4) / 2)
    landmark_tables.write_landmarks(paths["truth"], [*NAMES, "d.jpg"], [*TRUE_PX, TRUE_PX[0]])
    prediction_files.write(paths["predictions"], [*NAMES, "d.jpg"], [*TRUE_PX, TRUE_PX[0]])
    with pytest.raises(
        InputError, match=r"test_points\.csv, line 6 \(d\.jpg\): not a list of point"
    ):
        evaluate(paths["truth"], paths["predictions"], test_points=paths["test_points"])


def test_a_submissions_row_must_be_sound_if_its_image_is_scored(paths, write):
    files = {"submission": paths["submission"], "test_points": paths["test_points"]}
    broken = paths["submission"].read_text() + "a.jpg,1,2,3\n"
    paths["submission"].write_text(broken)
    with pytest.raises(InputError, match=r"submission\.csv, line 4 \(a\.jpg\): fewer cells"):
        evaluate(paths["truth"], **files)
    only = write("file_name\nb.jpg\n", "only.csv")
    assert evaluate(paths["truth"], **files, only=only)["mse_asked"] == pytest.approx(100 / 4)


# ── comparing ──


@pytest.fixture
def better(paths, tmp_path):
    """Predictions whose error is halved: an MSE of a quarter on each image."""
    prediction_files.write(tmp_path / "better.npz", NAMES, TRUE_PX + ERROR_PX / 2)
    return tmp_path / "better.npz"


def test_a_real_difference_is_told(paths, better):
    figures = compare(paths["predictions"], better, paths["truth"])
    assert figures["mse_a"] == pytest.approx(8.0625)
    assert figures["mse_b"] == pytest.approx(8.0625 / 4)
    assert figures["difference"] == pytest.approx(-0.75 * 8.0625)
    assert figures["difference_interval"] == pytest.approx([-0.75 * 13, -0.75 * 3.125])
    assert figures["ratio_interval"] == pytest.approx([0.25, 0.25])
    assert figures["probability_b_better"] == 1
    assert figures["real"]
    assert "better.npz is better than" in comparison(figures)
    turned = compare(better, paths["predictions"], paths["truth"])
    assert "predictions.npz is worse than" in comparison(turned)


def test_a_difference_that_may_be_chance_is_told(paths, tmp_path):
    other_px = TRUE_PX + ERROR_PX * [[[2]], [[0.5]]]  # MSE 4 times and a quarter
    prediction_files.write(tmp_path / "other.npz", NAMES, other_px)
    figures = compare(paths["predictions"], tmp_path / "other.npz", paths["truth"])
    assert figures["difference_interval"] == pytest.approx([-0.75 * 13, 3 * 3.125])
    assert not figures["real"]
    assert "other.npz may be as good as" in comparison(figures)


def test_submissions_and_predictions_are_compared_on_the_asked_points(paths):
    figures = compare(
        paths["submission"], paths["predictions"], paths["truth"], paths["test_points"]
    )
    assert figures["mse_a"] == figures["mse_b"] == pytest.approx((25 / 4 + 100 / 4) / 2)
    assert figures["difference"] == 0


def test_one_group_alone_is_not_compared(paths, better, tmp_path):
    grouping.write_group_table(tmp_path / "persons.csv", "person", NAMES, ["7", "7"])
    with pytest.raises(InputError, match=r"persons\.csv: a comparison needs two groups"):
        compare(paths["predictions"], better, paths["truth"], groups=[tmp_path / "persons.csv"])


# ── files that do not fit ──


def test_exactly_one_of_predictions_and_submission(paths):
    with pytest.raises(InputError, match="either --predictions or --submission"):
        evaluate(paths["truth"])
    with pytest.raises(InputError, match="either --predictions or --submission"):
        evaluate(**paths)


def test_a_submission_needs_test_points(paths):
    with pytest.raises(InputError, match=r"submission\.csv: a submission needs --test_points"):
        evaluate(paths["truth"], submission=paths["submission"])


def test_missing_predictions_are_counted_and_the_first_is_named(paths):
    prediction_files.write(paths["predictions"], ["c.jpg"], TRUE_PX[:1])
    with pytest.raises(InputError, match=r"npz: 2 of the 2 images to score are missing.* a\.jpg"):
        evaluate(paths["truth"], predictions=paths["predictions"])


@pytest.mark.parametrize("changed", ["truth", "predictions", "test_points"])
def test_a_name_given_twice(paths, changed):
    names = ["a.jpg", "a.jpg"]
    if changed == "truth":
        landmark_tables.write_landmarks(paths[changed], names, TRUE_PX)
    elif changed == "predictions":
        prediction_files.write(paths[changed], names, TRUE_PX)
    else:
        requested_points.write_test_points(paths[changed], names, ASKED)
    del paths["submission"]
    says = rf"{paths[changed].name}: a\.jpg is there 2 times"
    if changed == "truth":
        says = (
            r"landmarks\.csv, line 2 \(a\.jpg\): another row of this name disagrees: 3; 2 of 2 rows"
        )
    with pytest.raises(InputError, match=says):
        evaluate(**paths)


def test_another_number_of_points(paths):
    prediction_files.write(paths["predictions"], NAMES, TRUE_PX[:, :3])
    with pytest.raises(InputError, match="3 points an image, the truth has 4"):
        evaluate(paths["truth"], predictions=paths["predictions"])


def test_another_number_of_asked_points(paths):
    requested_points.write_test_points(paths["test_points"], NAMES, [[1, 0], [1, 2, 3]])
    with pytest.raises(InputError, match=r"2 points an image, 3 asked of b\.jpg"):
        evaluate(paths["truth"], submission=paths["submission"], test_points=paths["test_points"])


def test_an_asked_point_that_the_truth_lacks(paths):
    requested_points.write_test_points(paths["test_points"], NAMES, [[1, 0], [1, 4]])
    with pytest.raises(InputError, match=r"point 4 is asked of b\.jpg, the truth has 0 to 3"):
        evaluate(paths["truth"], predictions=paths["predictions"], test_points=paths["test_points"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_not_finite(paths, value):
    predicted_px = TRUE_PX.astype(np.float32)
    predicted_px[1, 2, 0] = value
    prediction_files.write(paths["predictions"], NAMES, predicted_px)
    with pytest.raises(InputError, match=r"predicted point of b\.jpg is not a finite number"):
        evaluate(paths["truth"], predictions=paths["predictions"])


def test_a_face_without_size(paths):
    landmark_tables.write_landmarks(paths["truth"], NAMES, TRUE_PX * [[[1, 1]], [[1, 0]]])
    with pytest.raises(InputError, match=r"points of b\.jpg span no area"):
        evaluate(paths["truth"], predictions=paths["predictions"])


def test_large_figures_do_not_run_into_their_intervals(paths):
    """Every coordinate is off by 5000 and 9000 px; the faces' sizes are 60 and 40 px."""
    prediction_files.write(paths["predictions"], NAMES, np.add(TRUE_PX, [[[5000]], [[9000]]]))
    figures = evaluate(paths["truth"], predictions=paths["predictions"])
    _, row, *_ = table(figures).splitlines()[5:]
    nme = 100 * np.sqrt(2) * np.array([5000 / 60, 9000 / 40])
    numbers = [float(cell) for cell in row.split() if cell[0].isdigit()]
    assert numbers == pytest.approx([53e6, 25e6, 81e6, nme.mean(), *nme])


# ── the command ──


def run_command(**flags):
    command = [sys.executable, "-m", "keras_landmarks.evaluate"]
    command += [f"--{name}={value}" for name, value in flags.items()]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def test_command_prints_a_table_and_then_json(paths):
    del paths["submission"]
    result = run_command(**paths)
    assert result.returncode == 0, result.stderr
    *lines, last = result.stdout.splitlines()
    figures = json.loads(last)
    assert figures["mse"] == 8.0625
    assert figures["nme_asked"] == 0.0833333
    assert figures["mse_interval"] == [3.125, 13]
    cells = "all points 8.062 3.125 to 13.000 4.792 2.083 to 7.500"
    assert any(line.split() == cells.split() for line in lines)
    assert not result.stderr


def test_command_fails_with_one_line(paths):
    result = run_command(truth=paths["truth"], submission=paths["submission"])
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"error: {paths['submission']}: a submission needs --test_points:"
        " they say which points its columns are"
    ]


def test_command_compares(paths, better):
    result = run_command(compare=f"{paths['predictions']},{better}", truth=paths["truth"])
    assert result.returncode == 0, result.stderr
    *lines, last = result.stdout.splitlines()
    assert json.loads(last)["real"] is True
    assert lines[-1].startswith(f"{better} is better than {paths['predictions']}: ")
    assert not result.stderr


@pytest.mark.parametrize("flags", [{"compare": "a.npz"}, {"compare": "a,b", "predictions": "c"}])
def test_command_compares_two_files_and_no_other(flags):
    result = run_command(truth="t.csv", **flags)
    assert result.returncode == 1
    assert result.stderr.startswith("error: --compare=a.npz,b.npz takes two files")


def test_faces_of_one_point_have_an_mse_and_no_nme(tmp_path):
    truth, predictions = tmp_path / "truth.csv", tmp_path / "predictions.npz"
    names = ["a.jpg", "b.jpg"]
    landmark_tables.write_landmarks(truth, names, np.array([[[10, 20]], [[30, 40]]]))
    prediction_files.write(predictions, names, np.array([[[13.0, 24.0]], [[30.0, 40.0]]]))
    figures = evaluate(truth, predictions)
    assert figures["mse"] == 12.5 / 2  # (9 + 16) / 2 and 0
    assert not [name for name in figures if name.startswith(("nme", "auc"))]
    assert "NME: none" in table(figures)


def test_a_missing_image_is_named_with_the_nearest_name(tmp_path):
    truth, predictions = tmp_path / "truth.csv", tmp_path / "predictions.npz"
    points = np.arange(12.0).reshape(2, 3, 2) ** 2
    landmark_tables.write_landmarks(truth, ["0001.jpg", "0002.jpg"], points)
    prediction_files.write(predictions, ["1", "2"], points)
    with pytest.raises(InputError, match=r"0001\.jpg \(the nearest name there is 1\)"):
        evaluate(truth, predictions)


def test_names_of_truth_and_predictions_meet_in_either_unicode_form(tmp_path):
    truth, predictions = tmp_path / "truth.csv", tmp_path / "predictions.npz"
    points = np.arange(6.0).reshape(1, 3, 2) ** 2
    landmark_tables.write_landmarks(truth, ["fu\u0308r.jpg"], points)
    prediction_files.write(predictions, ["f\u00fcr.jpg"], points)
    assert evaluate(truth, predictions)["mse"] == 0
