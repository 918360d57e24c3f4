import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import chromium, needs_chromium

from keras_landmarks.contest import grouping, landmark_tables, prediction_files, table_files
from keras_landmarks.report import report
from keras_landmarks.utils.errors import InputError

# A name that would end an attribute, begin an element and run a script.
ODD = "\"'><img src=x onerror=alert(1)><b>&amp;.jpg"
VOID = {"meta", "img", "br", "path", "use", "rect"}
TRUE_PX = np.array([[10, 20], [50, 20], [30, 15], [30, 70]])  # ears, brow, chin: 40 x 55
LAYOUT = {"regions": {"ears": [0, 1], "<i>middle</i>": [2, 3]}, "mirror": [1, 0, 2, 3]}


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the words in it."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.words.append(data)

    def having(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self):
        return " ".join(" ".join(self.words).split())


def read(path):
    return Elements(Path(path).read_text())


def make_workdir(folder):
    """A run of three epochs."""
    folder.mkdir()
    (folder / "history.csv").write_text(
        "epoch,loss,mse,val_loss,val_mse,waiting,learning_rate,seconds,images_per_s\n"
        "0,30,90,40,120,0.5,0.01,2,50\n1,10,30,20,60,0.25,0.001,1,100\n2,12,36,19,57,0,0.001,1,90\n"
    )
    (folder / "flags.cfg").write_text("--model=tiny\n--loss=mse\n--loss_unit=crop\n--exclude=<b>\n")
    (folder / "model.json").write_text('{"model": "tiny", "points": 4, "image_size": "64x96"}')
    (folder / "versions.json").write_text('{"keras": "3.15.1", "devices": "2 x <cpu>"}')
    return folder


def make_scored(folder):
    """Twelve photos of four points; photo i is off by i + 1 px, the first has an odd name."""
    names = [ODD, *(f"{i}.png" for i in range(1, 12))]
    (folder / "data" / "images").mkdir(parents=True)
    for i, name in enumerate(names):
        photo = cv2.imencode(".png", np.full((90, 60, 3), 20 * i, np.uint8))[1]
        (folder / "data" / "images" / name).write_bytes(photo.tobytes())
    predicted = np.stack([np.add(TRUE_PX, [i + 1, 0]) for i in range(12)])
    paths = {"truth": folder / "data" / "truth.csv", "predictions": folder / "p.npz"}
    landmark_tables.write_landmarks(paths["truth"], names, [TRUE_PX] * 12)
    prediction_files.write(paths["predictions"], names, predicted)
    return paths


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(tmp_path / "run <1>")


@pytest.fixture
def scored(tmp_path):
    return make_scored(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page with all there is, and its figures; tests only read it."""
    folder = tmp_path_factory.mktemp("report")
    layout = folder / "layout.json"
    layout.write_text(json.dumps(LAYOUT))
    scored = make_scored(folder)
    table = prediction_files.read(scored["predictions"])
    sigmas = np.tile([1, 1, 1, 2], (12, 1))
    prediction_files.write(scored["predictions"], table.file_names, table.points, sigmas)
    html = folder / "page.html"
    return html, report(make_workdir(folder / "run <1>"), html, **scored, layout=layout)


# ── the run alone ──


def test_a_work_directory_is_enough(workdir):
    html = workdir / "deep" / "report.html"
    figures = report(workdir, html)
    page, text = read(html), read(html).text()
    assert figures == {"html": str(html), "bytes": html.stat().st_size, "epochs": 3}
    title = f"{workdir.parent.name}/run <1>"
    assert [words for words in page.words if words.startswith(title)]
    assert "tiny, 4 points, input 64 x 96 px, 3 epochs" in text
    assert "lowest, 10, in epoch 2" in text
    assert "Epochs done: 3, in 4 s." in text
    assert "with its weights." in text
    assert "25.0\xa0% of the time" in text or "25.0 % of the time" in text
    assert "90 median epoch" in text
    for known in ["--exclude=<b>", "keras: 3.15.1", "devices: 2 x <cpu>", "image_size: 64x96"]:
        assert known in text
    assert "Score" not in text
    assert [path.name for path in html.parent.iterdir()] == ["report.html"]


def test_a_run_that_is_not_at_its_end_and_predicts_with_averages_says_so(workdir):
    with (workdir / "flags.cfg").open("a") as flagfile:
        flagfile.write("--epochs=18\n--ema_momentum=0.99\n--augment_online=mirror,blur\n")
    report(workdir, workdir / "report.html")
    text = read(workdir / "report.html").text()
    assert "input 64 x 96 px, 3 of 18 epochs" in text
    assert "Epochs 3 of 18 epochs" in text
    assert "the average of the weights up to it, and validation is of these averages." in text
    assert "Training is of varied images, validation of images as they are." in text


def test_what_the_work_directory_lacks_is_said(workdir):
    for name in ("history.csv", "flags.cfg", "versions.json"):
        (workdir / name).unlink()
    report(workdir, workdir / "report.html")
    text = read(workdir / "report.html").text()
    assert "No epoch is noted: history.csv is not there, or empty." in text
    assert "the run did not note them" in text


def test_a_training_run_notes_what_the_report_shows(tiny_run, tmp_path):
    settings, _ = tiny_run
    report(Path(settings.workdir), tmp_path / "report.html")
    text = read(tmp_path / "report.html").text()
    for word in ["--model=tiny", "--epochs=2", "jax: ", "python: 3.", "devices: 1 x cpu"]:
        assert word in text


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("history.csv", "epoch,loss\n0,much\n", "history.csv: damaged"),
        ("history.csv", "epoch,loss\n0,1,2\n", "history.csv: damaged"),
        ("model.json", "{", "model.json: damaged"),
        ("versions.json", "[]", "versions.json: damaged"),
    ],
)
def test_a_damaged_file_is_named(workdir, name, content, says):
    (workdir / name).write_text(content)
    with pytest.raises(InputError, match=says):
        report(workdir, workdir / "report.html")
    assert not (workdir / "report.html").exists()


def test_a_folder_of_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no training run"):
        report(tmp_path, tmp_path / "report.html")


# ── with a score ──


def test_the_score_by_hand(whole):
    html, figures = whole
    # Off by 1 to 12 px in x alone: the squares' mean is 650 / 12, half of it for x and y.
    assert figures["mse"] == pytest.approx(650 / 24, rel=1e-5)
    assert figures["nme"] == pytest.approx(6.5 / np.sqrt(40 * 55), rel=1e-5)
    assert figures["images"] == 12
    text = read(html).text()
    for word in ["12 images of 4 points", "27.1 px²", "13.86 %", "Yaw compares", "not checked"]:
        assert word in text


def test_the_page_is_sound_and_asks_for_nothing(whole):
    page = read(whole[0])
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


def test_whatever_is_named_is_shown_as_it_is(whole):
    page = read(whole[0])
    assert ODD in page.text()
    assert any(held["alt"].startswith(ODD) for held in page.having("img"))
    assert len(page.having("img")) == 12
    assert "<i>middle</i>" in page.words  # in the chart
    colours = ["background: rgb(0, 114, 210)", "background: rgb(86, 180, 233)"]
    assert page.having("i") == [{"style": colour} for colour in colours]


def test_faces_are_shown_by_error_each_once(whole):
    text = read(whole[0]).text()
    text = text[text.index("By NME") : text.index("Training", text.index("By NME"))]
    shown = re.findall(r"Worst|Median|Best|NME [\d.]+", text)
    by_error = [f"NME {100 * px / np.sqrt(40 * 55):.2f}" for px in range(1, 13)]
    worst, best, middle = by_error[:5:-1], by_error[:3], by_error[3:6]
    assert shown[:8] == ["Worst", *worst, "Median"]
    assert sorted(shown[8:11]) == sorted(middle)
    assert shown[11:] == ["Best", *best]


def test_charts_have_words_for_whoever_does_not_see_them(whole):
    page = read(whole[0])
    said = [held["aria-label"] for held in page.having("div") if held.get("role") == "img"]
    assert len(said) == len(page.having("svg")) == 11
    size = np.sqrt(40 * 55)
    for words in [
        "Loss over 3 epochs, from the first to the last: training 30 to 12; validation 40 to 19.",
        "From the largest to the smallest: ears 13.86 %, <i>middle</i> 13.86 %.",
        f"from {100 / size:.2f} % at point 0 (ears) to {200 / size:.2f} % at point 3 (<i>middle",
    ]:
        assert any(words in chart for chart in said), words


def test_points_without_layout_have_neither_regions_nor_yaw(workdir, scored):
    report(workdir, workdir / "report.html", **scored)
    text = read(workdir / "report.html").text()
    assert "There is no yaw" in text
    assert "By region" not in text
    assert "How sure it is" not in text


def test_of_each_group_one_face_is_shown(workdir, scored, tmp_path):
    names = table_files.read_names(scored["truth"])
    groups = tmp_path / "persons.csv"
    grouping.write_group_table(groups, "person", names, ["a"] * 4 + ["b"] * 8)
    (tmp_path / "data" / "images" / "11.png").write_bytes(b"no photo")
    report(workdir, workdir / "report.html", **scored, groups=[groups])
    page = read(workdir / "report.html")
    assert "10,000 draws of 2 groups of images" in page.text()
    assert "11.png: neither a JPEG nor a PNG" in page.text()
    assert len(page.having("img")) == 5  # two persons thrice, one photo is broken


def test_without_photos_the_names_are_shown(workdir, tmp_path):
    truth = tmp_path / "t.csv"
    prediction_files.write(tmp_path / "p.npz", ["a.jpg"], TRUE_PX[None])
    landmark_tables.write_landmarks(truth, ["a.jpg"], [TRUE_PX])
    figures = report(workdir, tmp_path / "r.html", predictions=tmp_path / "p.npz", truth=truth)
    assert figures["mse"] == 0
    page = read(tmp_path / "r.html")
    assert page.having("img") == []
    for word in ["a.jpg", "Photos are shown with --data", "no intervals"]:
        assert word in page.text()


def test_predictions_want_a_truth(workdir, scored):
    with pytest.raises(InputError, match="give both, or neither"):
        report(workdir, workdir / "report.html", truth=scored["truth"])


def test_the_command_writes_the_same_page_each_time(workdir, scored):
    command = [sys.executable, "-m", "keras_landmarks.report", f"--workdir={workdir}"]
    command += [f"--{name}={path}" for name, path in scored.items()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["html"] == str(workdir / "report.html")
    report(workdir, workdir / "again.html", **scored)
    assert (workdir / "again.html").read_bytes() == (workdir / "report.html").read_bytes()


# ── in a browser ──


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(whole):
    return whole[0].as_uri()


@needs_chromium
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_a_browser_shows_it_all_within_the_screen(browser, page, width):
    browser.open(page, width, 800)
    assert browser.messages() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    beyond = """return [...document.querySelectorAll("main *")].filter(element => {
        const box = element.getBoundingClientRect();
        return box.width && (box.right > innerWidth + 1 || box.left < -1);
    }).map(element => element.outerHTML.slice(0, 80))"""
    assert browser.run(beyond) == []
    loaded = "return [...document.images].every(image => image.complete && image.naturalWidth > 99)"
    assert browser.run(loaded)
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


@needs_chromium
def test_words_of_charts_are_large_enough_to_read_and_can_be_selected(browser, page):
    browser.open(page, 390, 844)
    heights = """return [...document.querySelectorAll("svg text")]
        .map(text => text.getBoundingClientRect().height)"""
    assert min(browser.run(heights)) >= 9
    browser.run("getSelection().selectAllChildren(document.querySelector('main'))")
    assert "NME at most, %" in browser.run("return getSelection().toString()")


@needs_chromium
def test_dark_and_light(browser, page):
    colour = "return getComputedStyle(document.body).backgroundColor"
    line = "document.querySelector('[style*=\"stroke: var(--first)\"]')"
    stroke = f"return getComputedStyle({line}).stroke"
    shown = {}
    for dark in (False, True):
        browser.open(page, 1280, 800, dark=dark)
        shown[dark] = [browser.run(colour), browser.run(stroke)]
    assert shown[False][0] == "rgb(255, 255, 255)"
    assert shown[True][0] == "rgb(21, 21, 24)"
    assert shown[False][1] != shown[True][1]


@needs_chromium
def test_nothing_of_a_name_is_run(browser, page):
    browser.open(page, 1280, 800)
    assert browser.run("return document.querySelectorAll('img[src=x], main b').length") == 0


@needs_chromium
def test_it_prints(browser, page):
    browser.open(page, 1280, 800, dark=True)
    pdf = base64.b64decode(browser.print())
    assert pdf.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12


# ── which images ──


def test_images_that_were_trained_on_are_told_and_those_held_out_scored_alone(workdir, tmp_path):
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
    assert report(workdir, html, **scored)["images"] == 12
    text = read(html).text()
    assert "12 images of 4 points" in text
    assert "was trained on 10 of these images" in text
    figures = report(workdir, html, **scored, only=held_out)
    assert figures["images"] == 2
    assert figures["mse"] == (4**2 + 10**2) / 2 / 2
    text = read(html).text()
    assert "2 of the truth's 12 images of 4 points" in text
    assert "was trained on" not in text
    assert f"only: {held_out}" in text


def test_rows_of_the_truth_that_cannot_be_used_are_left_out_and_counted(workdir, scored):
    """The row of the third image, off by 3 px, is broken."""
    rows = scored["truth"].read_text().splitlines(keepends=True)
    rows[3] = rows[3].rpartition("\t")[0] + "\n"
    scored["truth"].write_text("".join(rows))
    figures = report(workdir, workdir / "report.html", **scored)
    assert (figures["images"], figures["rejected"]) == (11, 1)
    assert figures["mse"] == pytest.approx((650 - 9) / 11 / 2, rel=1e-5)
    text = read(workdir / "report.html").text()
    assert "11 of the truth's 12 images of 4 points" in text
    assert "Rows of the truth that cannot be used: 1." in text


def test_photos_that_are_elsewhere_and_points_of_another_model_are_refused(workdir, scored):
    elsewhere = scored["truth"].parent.parent / "elsewhere"
    elsewhere.mkdir()
    says = r"elsewhere.*there is no such image, nor any other to show; --data and --split say"
    with pytest.raises(InputError, match=says):
        report(workdir, workdir / "report.html", **scored, images=elsewhere)
    (workdir / "model.json").write_text('{"model": "tiny", "points": 5}')
    says = r"truth\.csv: 4 points, the model of .* has 5; --workdir must be the run"
    with pytest.raises(InputError, match=says):
        report(workdir, workdir / "report.html", **scored)
    assert not (workdir / "report.html").exists()
