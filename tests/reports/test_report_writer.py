import json
import re
from pathlib import Path

import numpy as np
import pytest
from report_files import (
    ODD_NAME,
    TRUE_PX,
    make_scored,
    make_workdir,
    read_page,
    write_full_report,
)

from keras_landmarks.contest import grouping, landmark_tables, prediction_files, table_files
from keras_landmarks.reports.report_writer import write_report
from keras_landmarks.settings import FigureSettings
from keras_landmarks.utils.errors import InputError


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(tmp_path / "run <1>")


@pytest.fixture
def scored(tmp_path):
    return make_scored(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page with all sections, and its results; tests only read it."""
    return write_full_report(tmp_path_factory.mktemp("report"))


# ── the run alone ──


def test_work_directory_alone_is_reported(workdir):
    html = workdir / "deep" / "report.html"
    results = write_report(workdir, html)
    page, text = read_page(html), read_page(html).text()
    assert results == {"html": str(html), "bytes": html.stat().st_size, "epochs": 3}
    title = f"{workdir.parent.name}/run <1>"
    assert [words for words in page.words if words.startswith(title)]
    assert "tiny, 4 points, input 64 x 96 px, 3 epochs" in text
    assert "lowest, 10, in epoch 2" in text
    assert "Epochs done: 3, in 4 s." in text
    assert "use its weights." in text
    assert "25.0\xa0% of the time" in text or "25.0 % of the time" in text
    assert "90 median epoch" in text
    for known in ["--exclude=<b>", "keras: 3.15.1", "devices: 2 x <cpu>", "image_size: 64x96"]:
        assert known in text
    assert "Score" not in text
    assert [path.name for path in html.parent.iterdir()] == ["report.html"]


def test_unfinished_run_with_averages(workdir):
    with (workdir / "flags.cfg").open("a") as flagfile:
        flagfile.write("--epochs=18\n--ema_momentum=0.99\n--augment_online=mirror,blur\n")
    write_report(workdir, workdir / "report.html")
    text = read_page(workdir / "report.html").text()
    assert "input 64 x 96 px, 3 of 18 epochs" in text
    assert "Epochs 3 of 18 epochs" in text
    assert "the average of the weights up to it, and so does validation." in text
    assert "Training uses augmented images, validation the original ones." in text


def test_first_training_has_its_own_section(workdir):
    first = make_workdir(workdir / "first")
    (first / "model.json").write_text('{"model": "tiny", "points": 4, "image_size": "32x48"}')
    write_report(workdir, workdir / "report.html")
    text = read_page(workdir / "report.html").text()
    assert text.index("First training, crops of 32 x 48 px") < text.rindex("Training")
    assert text.count("Epochs done: 3, in 4 s.") == 2


def test_folder_of_another_training_is_not_the_first(workdir):
    make_workdir(workdir / "first")
    with (workdir / "flags.cfg").open("a") as flagfile:
        flagfile.write("--first_epochs=0\n")
    write_report(workdir, workdir / "report.html")
    assert "First training" not in read_page(workdir / "report.html").text()


def test_first_training_alone_is_reported(workdir, tmp_path):
    (tmp_path / "begun").mkdir()
    workdir.rename(tmp_path / "begun" / "first")
    write_report(tmp_path / "begun", tmp_path / "report.html")
    text = read_page(tmp_path / "report.html").text()
    assert "First training, crops of 64 x 96 px" in text
    assert "No epochs are recorded" in text


def test_missing_files_are_reported(workdir):
    for name in ("history.csv", "flags.cfg", "versions.json"):
        (workdir / name).unlink()
    write_report(workdir, workdir / "report.html")
    text = read_page(workdir / "report.html").text()
    assert "No epochs are recorded: history.csv is missing or empty." in text
    assert "versions used for training are unknown" in text


def test_training_run_records_flags_and_versions(tiny_run, tmp_path):
    settings, _ = tiny_run
    write_report(Path(settings.files.workdir), tmp_path / "report.html")
    text = read_page(tmp_path / "report.html").text()
    for word in ["--model=tiny", "--epochs=2", "jax: ", "python: 3.", "devices: 1 x cpu"]:
        assert word in text


def test_damaged_run_gives_no_page(workdir):
    (workdir / "model.json").write_text("{")
    with pytest.raises(InputError, match=r"model\.json"):
        write_report(workdir, workdir / "report.html")
    assert not (workdir / "report.html").exists()


# ── with a score ──


def test_score_by_hand(whole):
    html, results = whole
    # Off by 1 to 12 px in x alone: the squares' mean is 650 / 12, half of it for x and y.
    assert results["mse"] == pytest.approx(650 / 24, rel=1e-5)
    assert results["nme"] == pytest.approx(6.5 / np.sqrt(40 * 55), rel=1e-5)
    assert results["images"] == 12
    text = read_page(html).text()
    for word in ["12 images of 4 points", "27.1 px²", "13.86 %", "Yaw compares", "not checked"]:
        assert word in text


def test_page_is_self_contained(whole):
    page = read_page(whole[0])
    for tag in ("script", "link", "iframe", "object", "style"):
        assert len(page.having(tag)) == (tag == "style"), tag
    assert not [name for _, held in page.elements for name in held if name.startswith("on")]
    [policy] = [held["content"] for held in page.having("meta") if "http-equiv" in held]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert all(held["src"].startswith("data:image/jpeg;base64,") for held in page.having("img"))
    assert not re.findall(r"url\((?!#)|@import", whole[0].read_text())
    links = [held["href"] for held in page.having("a")]
    ids = [held["id"] for _, held in page.elements if "id" in held]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links} <= set(ids)


def test_names_are_escaped(whole):
    page = read_page(whole[0])
    assert ODD_NAME in page.text()
    assert any(held["alt"].startswith(ODD_NAME) for held in page.having("img"))
    assert len(page.having("img")) == 12
    assert "<i>middle</i>" in page.words  # in the chart
    colours = ["background: rgb(0, 114, 210)", "background: rgb(86, 180, 233)"]
    assert page.having("i") == [{"style": colour} for colour in colours]


def test_faces_are_shown_once_by_error(whole):
    text = read_page(whole[0]).text()
    text = text[text.index("By NME") : text.index("Training", text.index("By NME"))]
    shown = re.findall(r"Worst|Median|Best|NME [\d.]+", text)
    by_error = [f"NME {100 * px / np.sqrt(40 * 55):.2f}" for px in range(1, 13)]
    worst, best, middle = by_error[:5:-1], by_error[:3], by_error[3:6]
    assert shown[:8] == ["Worst", *worst, "Median"]
    assert sorted(shown[8:11]) == sorted(middle)
    assert shown[11:] == ["Best", *best]


def test_charts_have_alternative_text(whole):
    page = read_page(whole[0])
    said = [held["aria-label"] for held in page.having("div") if held.get("role") == "img"]
    assert len(said) == len(page.having("svg")) == 11
    size = np.sqrt(40 * 55)
    for words in [
        "Loss over 3 epochs, from the first to the last: training 30 to 12; validation 40 to 19.",
        "From the largest to the smallest: ears 13.86 %, <i>middle</i> 13.86 %.",
        f"from {100 / size:.2f} % at point 0 (ears) to {200 / size:.2f} % at point 3 (<i>middle",
    ]:
        assert any(words in chart for chart in said), words


def test_no_layout_means_no_regions_or_yaw(workdir, scored):
    write_report(workdir, workdir / "report.html", **scored)
    text = read_page(workdir / "report.html").text()
    assert "There is no yaw" in text
    assert "By region" not in text
    assert "Predicted uncertainty" not in text


def test_one_face_of_each_group_is_shown(workdir, scored, tmp_path):
    names = table_files.read_names(scored["truth"])
    groups = tmp_path / "persons.csv"
    grouping.write_group_table(groups, "person", names, ["a"] * 4 + ["b"] * 8)
    (tmp_path / "data" / "images" / "11.png").write_bytes(b"no photo")
    write_report(workdir, workdir / "report.html", **scored, groups=[groups])
    page = read_page(workdir / "report.html")
    assert "10,000 draws of 2 groups of images" in page.text()
    assert "11.png: " in page.text()
    assert len(page.having("img")) == 5  # two persons thrice, one photo is broken


def test_names_are_shown_without_photos(workdir, tmp_path):
    truth = tmp_path / "t.csv"
    prediction_files.write(tmp_path / "p.npz", ["a.jpg"], TRUE_PX[None])
    landmark_tables.write_landmarks(truth, ["a.jpg"], [TRUE_PX])
    results = write_report(
        workdir, tmp_path / "r.html", predictions=tmp_path / "p.npz", truth=truth
    )
    assert results["mse"] == 0
    page = read_page(tmp_path / "r.html")
    assert page.having("img") == []
    for word in ["a.jpg", "give --data and --split", "no intervals"]:
        assert word in page.text()


def test_truth_needs_predictions(workdir, scored):
    with pytest.raises(InputError, match=r"--predictions.*--truth"):
        write_report(workdir, workdir / "report.html", truth=scored["truth"])


# ── figures, names and missing points ──


def test_figures_of_papers(workdir, scored):
    """Divided by the 40 px between the ears: NME 1/40 to 12/40."""
    figures = FigureSettings("points:0,1", ("0.1", "0.2"))
    results = write_report(workdir, workdir / "report.html", **scored, figures=figures)
    assert results["nme"] == 6.5 / 40
    text = read_page(workdir / "report.html").text()
    for words in [
        "NME is the mean distance of a face's points / the distance between the true points 0",
        "Area under the curve to 10 % 0.125",  # (0.075 + 0.05 + 0.025) / 0.1 / 12
        "NME over 10 % 66.7 %",
        "At 20 %: area under the curve 0.2917, failure rate 33.33 % of the images, 66.67 % of the",
        "Face size is the distance between the true points 0 and 1.",
    ]:
        assert words in text.replace("\xa0", " "), words


def test_points_have_their_names(workdir, scored):
    names = ["left ear", "right ear", "brow", "<b>chin"]
    (scored["truth"].parent / "layout.json").write_text(json.dumps({"points": names}))
    write_report(workdir, workdir / "report.html", **scored)
    page = read_page(workdir / "report.html")
    table = page.text().split("Metrics by point")[1]
    assert [table.index(name) for name in names] == sorted(table.index(name) for name in names)
    said = [held["aria-label"] for held in page.having("div") if held.get("role") == "img"]
    assert any("% at left ear to " in words for words in said)


def test_missing_points_are_reported(workdir, scored):
    """Photo i is off by i + 1 px; the brow has no place, and the last face has only one point."""
    table = prediction_files.read(scored["predictions"])
    true_px = np.tile(np.float32(TRUE_PX), (12, 1, 1))
    true_px[:, 2] = true_px[11, 1:] = np.nan
    landmark_tables.write_landmarks(scored["truth"], table.file_names, true_px)
    sigmas = np.ones((12, 4))
    prediction_files.write(
        scored["predictions"], table.file_names, table.landmarks_photo_px, sigmas
    )
    layout = scored["truth"].with_name("regions.json")
    layout.write_text(json.dumps({"regions": {"ears": [0, 1], "brow": [2, 2]}}))
    results = write_report(workdir, workdir / "report.html", **scored, layout=layout)
    assert results["mse"] == pytest.approx(650 / 24, rel=1e-5)
    assert results["nme"] == pytest.approx(6 / np.sqrt(40 * 50), rel=1e-5)  # of the first eleven
    page = read_page(workdir / "report.html")
    text = page.text().replace("\xa0", " ")
    for words in [
        "Points missing from the truth: 14; an image is scored by its other points, and its box",
        "Faces without a size to divide by, so without an NME: 1.",
        "Predicted points stand in for missing ones.",
        "brow - -",
        "point 2 - -",
    ]:
        assert words in text, words
    assert "nan" not in text.lower()
    said = [held["aria-label"] for held in page.having("div") if held.get("role") == "img"]
    assert any(words.startswith("From the largest to the smallest: ears ") for words in said)
    assert len(page.having("img")) == 11


# ── images, points and photos ──


def test_training_images_are_counted(workdir, tmp_path):
    scored = make_scored(tmp_path)
    own = tmp_path / "own" / "train"
    own.parent.mkdir()
    scored["truth"].parent.rename(own)
    scored["truth"] = (own / "truth.csv").rename(own / "landmarks.csv")
    with (workdir / "flags.cfg").open("a") as flagfile:
        flagfile.write(f"--data={own.parent}\n")
    held_out = workdir / "validation.csv"
    held_out.write_text("file_name\n3.png\n9.png\n")
    html = tmp_path / "page.html"
    assert write_report(workdir, html, **scored)["images"] == 12
    text = read_page(html).text()
    assert "12 images of 4 points" in text
    assert "was trained on 10 of these images" in text
    results = write_report(workdir, html, **scored, only=held_out)
    assert results["images"] == 2
    assert results["mse"] == (4**2 + 10**2) / 2 / 2
    text = read_page(html).text()
    assert "2 of the truth's 12 images of 4 points" in text
    assert "was trained on" not in text
    assert f"only: {held_out}" in text


def test_invalid_truth_rows_are_skipped(workdir, scored):
    """The row of the third image, off by 3 px, is broken."""
    rows = scored["truth"].read_text().splitlines(keepends=True)
    rows[3] = rows[3].rpartition("\t")[0] + "\n"
    scored["truth"].write_text("".join(rows))
    results = write_report(workdir, workdir / "report.html", **scored)
    assert (results["images"], results["rejected"]) == (11, 1)
    assert results["mse"] == pytest.approx((650 - 9) / 11 / 2, rel=1e-5)
    text = read_page(workdir / "report.html").text()
    assert "11 of the truth's 12 images of 4 points" in text
    assert "Rows of the truth that cannot be used: 1." in text


def test_missing_photos_are_rejected(workdir, scored):
    elsewhere = scored["truth"].parent.parent / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(InputError, match=r"elsewhere.*--data.*--split"):
        write_report(workdir, workdir / "report.html", **scored, images=elsewhere)
    assert not (workdir / "report.html").exists()


def test_points_of_another_model_are_rejected(workdir, scored):
    (workdir / "model.json").write_text('{"model": "tiny", "points": 5}')
    with pytest.raises(InputError, match=r"truth\.csv: 4 .* 5.*--workdir"):
        write_report(workdir, workdir / "report.html", **scored)
    assert not (workdir / "report.html").exists()
