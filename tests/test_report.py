import base64
import json
import re

import pytest
from browser import chromium, needs_chromium
from report_files import make_scored, make_workdir, write_full_report

from keras_landmarks.reports.report_writer import write_report


def test_command_output_is_reproducible(run, tmp_path):
    workdir, scored = make_workdir(tmp_path / "run <1>"), make_scored(tmp_path)
    flags = [f"--{name}={path}" for name, path in scored.items()]
    done = run("report", f"--workdir={workdir}", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["html"] == str(workdir / "report.html")
    write_report(workdir, workdir / "again.html", **scored)
    assert (workdir / "again.html").read_bytes() == (workdir / "report.html").read_bytes()


# ── in a browser ──


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    html, _ = write_full_report(tmp_path_factory.mktemp("report"))
    return html.as_uri()


@needs_chromium
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_page_fits_the_screen(browser, page, width):
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
def test_chart_text_is_readable_and_selectable(browser, page):
    browser.open(page, 390, 844)
    heights = """return [...document.querySelectorAll("svg text")]
        .map(text => text.getBoundingClientRect().height)"""
    assert min(browser.run(heights)) >= 9
    browser.run("getSelection().selectAllChildren(document.querySelector('main'))")
    assert "NME at most, %" in browser.run("return getSelection().toString()")


@needs_chromium
def test_page_follows_colour_scheme(browser, page):
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
def test_file_names_are_not_executed(browser, page):
    browser.open(page, 1280, 800)
    assert browser.run("return document.querySelectorAll('img[src=x], main b').length") == 0


@needs_chromium
def test_page_prints(browser, page):
    browser.open(page, 1280, 800, dark=True)
    pdf = base64.b64decode(browser.print())
    assert pdf.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12
