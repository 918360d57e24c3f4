"""Charts as SVG elements for an HTML page, with selectable text and the page's colours.

Matplotlib draws them in placeholder colours, which are then replaced by CSS variables, so that one
chart suits a light page, a dark page and paper. A unit is a CSS pixel. The output is reproducible:
the same data give the same bytes.

A chart is 10 to 100 kB of text that prints sharp and can be selected; Plotly and Vega bundle 1 to
4 MB of script for what a finger and paper cannot do.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

# Placeholder colours and the CSS variables that replace them; no other colour may equal one.
_INK, _MUTED, _GRID, _FIRST, _SECOND = (f"#0a000{i}" for i in range(5))
_HEAT = [f"#0a001{i}" for i in range(8)]  # from low to high
_VARIABLES = {_INK: "ink", _MUTED: "muted", _GRID: "grid", _FIRST: "first", _SECOND: "second"}
_VARIABLES |= {colour: f"heat-{level}" for level, colour in enumerate(_HEAT)}

WIDTH, HEIGHT = 360, 240
_FACE_HEIGHT = 400
_BAR_HEIGHT = 19
# Distinguishable in black and white, too.
_SERIES = ({"color": _FIRST}, {"color": _SECOND, "linestyle": (0, (4, 1.6))})
_MOST_DOTS = 600  # 20,000 would make the page slow on a phone
_MOST_STAIRS = 300
_FEWEST_IN_BIN, _MOST_BINS = 12, 8
MIN_FOR_MEDIANS = 2 * _FEWEST_IN_BIN  # images

_STYLE = {
    "svg.fonttype": "none",  # text, not outlines: selectable, in the page's font
    "svg.hashsalt": "keras_landmarks",
    "text.parse_math": False,  # a region may have a name like $x$
    "font.size": 11,
    "font.family": "sans-serif",
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.titlecolor": _MUTED,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": _MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
}
_styled = matplotlib.rc_context(_STYLE)


# ── training run ──


@_styled
def over_epochs(series: dict[str, np.ndarray], unit: str, steps: bool = False) -> str:
    """Draws named series with one value per epoch, from epoch 1; NaN leaves a gap.

    The axis is logarithmic if all values are positive and the largest is at least ten times the
    smallest. With `steps` a value holds for its whole epoch instead of being interpolated.
    """
    figure, axes = _new_chart(title=unit)
    for (name, values), style in zip(series.items(), _SERIES, strict=False):
        epochs = np.arange(1, len(values) + 1)
        drawstyle = "steps-mid" if steps else "default"
        axes.plot(epochs, values, label=name, drawstyle=drawstyle, **style)
        # A value between two gaps has no line, so it is drawn as a dot.
        finite = np.pad(np.isfinite(values), 1)
        isolated = finite[1:-1] & ~finite[:-2] & ~finite[2:]
        axes.plot(epochs[isolated], values[isolated], "o", color=style["color"], clip_on=False)
    all_values = np.concatenate(list(series.values()))
    all_values = all_values[np.isfinite(all_values)]
    if all_values.max() >= 10 * all_values.min() > 0:
        _make_logarithmic(axes)
        axes.set_title(f"{unit}, logarithmic".removeprefix(", "))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    axes.set_xlim(1, max(2, *(len(values) for values in series.values())))
    axes.set_xlabel("epoch", loc="right")
    if len(series) > 1:
        axes.legend(loc="upper right")
    return _to_svg(figure)


# ── score ──


@_styled
def error_curve(
    nme: np.ndarray, threshold: float, largest: float, band: Sequence[np.ndarray] | None = None
) -> str:
    """Draws the cumulative error curve: the share of images with an NME of at most x.

    Args:
        nme: (n,), of the images.
        threshold: the area up to this NME is shaded.
        largest: the right end of the x axis.
        band: x and the lower and upper end of the share's confidence interval, three arrays.
    """
    figure, axes = _new_chart(title="% of the images")
    # One step per image, or as many steps as can be distinguished.
    ranks = np.unique(np.linspace(1, len(nme), _MOST_STAIRS).astype(int))
    x = np.concatenate([[0], np.sort(nme)[ranks - 1], [max(largest, nme.max())]])
    share = np.concatenate([[0], ranks / len(nme), [1]])
    shaded = 100 * np.minimum(x, threshold)
    axes.fill_between(shaded, 100 * share, step="post", color=_FIRST, alpha=0.1, linewidth=0)
    if band is not None:
        axes.fill_between(*(100 * part for part in band), color=_FIRST, alpha=0.22, linewidth=0)
    axes.step(100 * x, 100 * share, where="post", color=_FIRST)
    if threshold < largest:
        axes.axvline(100 * threshold, color=_MUTED, linewidth=1, linestyle=(0, (3, 3)))
    axes.set(xlim=(0, 100 * largest), ylim=(0, 102))
    axes.set_xlabel("NME at most, %", loc="right")
    return _to_svg(figure)


@_styled
def bars(
    values: dict[str, float],
    intervals: dict[str, Sequence[float]],
    colours: dict[str, Sequence[int]],
    unit: str,
) -> str:
    """Draws a bar for each name, the longest on top, with the intervals that are given.

    `colours` has the RGB colour (0 to 255) of each name's points in pictures.
    """
    names = sorted(values, key=values.get)
    figure, axes = _new_chart(height=60 + _BAR_HEIGHT * len(names))
    rows = np.arange(len(names))
    axes.barh(rows, [values[name] for name in names], height=0.62, color=_FIRST, alpha=0.45)
    for row, name in enumerate(names):
        if name in intervals:
            axes.plot(intervals[name], [row, row], color=_INK, linewidth=1.2)
    axes.set_yticks(rows, [name[:28] for name in names], color=_INK)
    axes.tick_params(axis="y", pad=17)
    axes.scatter(
        *[np.full(len(names), -0.025), rows],
        s=44,
        marker="s",
        color=[np.divide(colours[name], 255) for name in names],
        edgecolor=_MUTED,
        linewidth=0.6,
        transform=axes.get_yaxis_transform(),
        clip_on=False,
    )
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="x", color=_GRID)
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(unit, loc="right")
    return _to_svg(figure)


@_styled
def on_face(mean: np.ndarray, values: np.ndarray, unit: str) -> str:
    """Draws each point of the mean face (k, 2), y down, coloured by its value (k,).

    Points without a value, NaN, are not drawn.
    """
    mean, values = mean[~np.isnan(values)], values[~np.isnan(values)]
    figure, axes = _new_chart(height=_FACE_HEIGHT)
    edges = ticker.MaxNLocator(7, min_n_ticks=3).tick_values(values.min(), values.max())
    levels = np.rint(np.linspace(0, len(_HEAT) - 1, len(edges) - 1)).astype(int)
    colours = ListedColormap([_HEAT[level] for level in levels])
    dots = axes.scatter(
        *mean.T,
        c=values,
        s=np.clip(7000 / len(mean), 8, 90),
        cmap=colours,
        norm=BoundaryNorm(edges, len(levels)),
        linewidth=0,
        clip_on=False,
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.axis("off")
    bar = figure.colorbar(dots, orientation="horizontal", shrink=0.8, aspect=34, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_ticks(edges, labels=[f"{edge:g}" for edge in edges])
    bar.set_label(unit)
    return _to_svg(figure)


@_styled
def scatter(x: np.ndarray, y: np.ndarray, x_unit: str, y_unit: str) -> str:
    """Draws a dot for each image, at most 600, and the median and quartiles of bins of images.

    There are two to eight bins by x, each with an equal number of images, at least 12; with fewer
    images no bins are drawn. The y axis is logarithmic if all values are positive, because the
    errors of a few images are many times those of the others.
    """
    figure, axes = _new_chart(title=y_unit)
    drawn = np.random.default_rng(0).permutation(len(x))[:_MOST_DOTS]
    alpha = np.clip(60 / len(drawn), 0.3, 0.7)  # the more dots, the fainter, to show the density
    axes.scatter(x[drawn], y[drawn], s=12, color=_FIRST, alpha=alpha, linewidth=0)
    if (bins := min(len(x) // _FEWEST_IN_BIN, _MOST_BINS)) > 1:
        rows_of_bin = np.array_split(np.argsort(x, kind="stable"), bins)
        middles = [np.median(x[rows]) for rows in rows_of_bin]
        quartiles = [np.percentile(y[rows], (25, 50, 75)) for rows in rows_of_bin]
        low, median, high = np.array(quartiles).T
        axes.fill_between(middles, low, high, color=_SECOND, alpha=0.2, linewidth=0)
        axes.plot(middles, median, color=_SECOND)
    if y.min() > 0:
        _make_logarithmic(axes)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(x_unit, loc="right")
    return _to_svg(figure)


@_styled
def calibration(sigmas: np.ndarray, errors: np.ndarray, unit: str) -> str:
    """Draws the actual errors over the predicted ones, both (bins,), with the diagonal."""
    figure, axes = _new_chart(title=f"error, {unit}")
    ends = 1.08 * max(sigmas.max(), errors.max())
    axes.plot([0, ends], [0, ends], color=_MUTED, linewidth=1, linestyle=(0, (3, 3)))
    axes.plot(sigmas, errors, "o-", color=_FIRST, markersize=5)
    axes.set(xlim=(0, ends), ylim=(0, ends))
    axes.set_xlabel(f"sigma, {unit}", loc="right")
    return _to_svg(figure)


# ── helpers ──


def _new_chart(title: str = "", height: int = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure((WIDTH / 72, height / 72), dpi=72)  # so that a unit of the SVG is a pixel
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _make_logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _to_svg(figure: Figure) -> str:
    """Returns the figure as an <svg> element that fills the width of its container."""
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page has its own font
        figure.savefig(buffer, format="svg", metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    # This style sheet would apply to the whole page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;]*;", "", svg)  # the page sets it
    svg = re.sub(r"\n\s*", "\n", svg)
    svg = re.sub(r"#0a00[01]\d", lambda found: f"var(--{_VARIABLES[found[0]]})", svg)
    # Ids get a prefix, so that those of several charts in a page do not clash.
    prefix = "c" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
