import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from keras_landmarks.reports import charts

RNG = np.random.default_rng(0)
ODD = "<b>&\"'$x$ é 顔"


def drawn():
    """One chart of each kind, by its function's name."""
    nme = RNG.gamma(4, 0.01, 60)
    epochs = {"training": np.array([100.0, 10, 1]), "validation": np.array([90.0, np.nan, 5])}
    band = [np.linspace(0, 0.1, 5), np.linspace(0, 0.9, 5), np.linspace(0.1, 1, 5)]
    mean = RNG.normal(size=(68, 2))
    return {
        "over_epochs": charts.over_epochs(epochs, ODD),
        "error_curve": charts.error_curve(nme, 0.07, 0.1, band),
        "bars": charts.bars(
            {ODD: 2, "b": 1}, {"b": [0, 3]}, {ODD: (255, 0, 0), "b": (0, 0, 9)}, "%"
        ),
        "on_face": charts.on_face(mean, RNG.gamma(4, 1, 68), "px"),
        "scatter": charts.scatter(RNG.normal(size=60), nme, ODD, "NME, %"),
        "calibration": charts.calibration(np.arange(1, 4), np.arange(2, 5), "px"),
    }


@pytest.fixture(scope="module")
def svgs():
    return drawn()


def words(svg):
    return {text.text for text in ElementTree.fromstring(svg).iter() if text.tag.endswith("text")}


def dots(svg):
    return len(re.findall("<use ", svg))


def test_charts_are_self_contained_xml(svgs):
    for name, svg in svgs.items():
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg"), name
        assert "width" not in root.attrib
        assert "viewBox" in root.attrib
        targets = re.findall(r'href="([^"]*)"', svg) + re.findall(r"url\(([^)]*)\)", svg)
        assert all(target.startswith("#") for target in targets), name
        assert {target[1:] for target in targets} <= set(re.findall(r' id="([^"]*)"', svg)), name


def test_text_is_kept_verbatim(svgs):
    assert f"{ODD}, logarithmic" in words(svgs["over_epochs"])
    assert {ODD, "b", "%"} <= words(svgs["bars"])
    assert {"training", "validation", "epoch"} <= words(svgs["over_epochs"])


def test_colours_are_css_variables(svgs):
    for name, svg in svgs.items():
        assert "#0a00" not in svg, name
    assert "var(--first)" in svgs["over_epochs"]
    assert "var(--second)" in svgs["over_epochs"]
    assert {"var(--heat-0)", "var(--heat-7)"} <= set(
        re.findall(r"var\(--heat-\d\)", svgs["on_face"])
    )


def test_ids_differ_between_charts(svgs):
    names = [name for svg in svgs.values() for name in re.findall(r' id="([^"]*)"', svg)]
    assert len(names) == len(set(names))


def test_charts_are_reproducible():
    def chart():
        return charts.scatter(np.arange(20.0), np.arange(1.0, 21), "px", "%")

    assert chart() == chart()


def test_every_point_is_drawn_on_face(svgs):
    assert dots(svgs["on_face"]) == 68


def test_constant_values_are_drawn_on_face():
    assert dots(charts.on_face(RNG.normal(size=(5, 2)), np.full(5, 2.0), "%")) == 5


def test_points_without_a_value_are_not_drawn_on_face():
    values = np.array([1, np.nan, 2, 3, np.nan])
    assert dots(charts.on_face(RNG.normal(size=(5, 2)), values, "%")) == 3


def test_charts_of_many_images_stay_small():
    many = RNG.gamma(4, 0.01, 100_000)
    assert len(charts.scatter(np.arange(100_000.0), many, "px", "%")) < 100_000
    assert len(charts.error_curve(many, 0.07, 0.1)) < 60_000


def test_error_curve_has_a_step_per_image():
    curve = charts.error_curve(np.array([0.01, 0.02, 0.04]), 0.07, 0.07)
    line = curve[curve.rindex("<path", 0, curve.index("fill: none; stroke: var(--first)")) :]
    heights = {float(y) for y in re.findall(r"[ML] \S+ (\S+)", line[: line.index("/>")])}
    assert len(heights) == 4


@pytest.mark.parametrize("count", [1, 2, 23, 24])
def test_medians_need_two_bins(count):
    svg = charts.scatter(np.arange(float(count)), np.arange(1.0, count + 1), "px", "%")
    assert ("var(--second)" in svg) == (count >= 24)


def test_zero_errors_are_drawn():
    assert dots(charts.scatter(np.arange(3.0), np.zeros(3), "px", "%")) >= 3
    assert "var(--first)" in charts.error_curve(np.zeros(3), 0.07, 0.07)
    assert {"a", "%"} <= words(charts.bars({"a": 0.0}, {}, {"a": (0, 0, 0)}, "%"))


def test_isolated_epoch_is_a_dot():
    isolated = charts.over_epochs({"validation": np.array([1, 2, np.nan, 3, np.nan])}, "loss")
    assert dots(isolated) == dots(charts.over_epochs({"a": np.array([1.0, 2])}, "")) + 1


def test_first_epoch_is_drawn():
    assert "1" in words(charts.over_epochs({"training": np.array([3.0])}, "loss"))


def test_negative_losses_have_a_linear_axis():
    """Negative log likelihoods may be negative."""
    shown = words(charts.over_epochs({"training": np.array([2.0, -1, -2])}, "loss"))
    assert "0" in shown
