"""Charts as SVG to stand in a page: words stay words, and colours are the page's own.

Drawn by Matplotlib in stand-in colours, for which CSS variables are then put: so one chart serves a
light page, a dark one and paper. A unit is a CSS pixel. The same figures give the same bytes.
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

# Drawn as the colour, shown as the CSS variable. Any colours that no picture has will do.
_INK, _MUTED, _GRID, _FIRST, _SECOND = (f"#0a000{i}" for i in range(5))
_HEAT = [f"#0a001{i}" for i in range(8)]  # from little to much
_VARIABLES = {_INK: "ink", _MUTED: "muted", _GRID: "grid", _FIRST: "first", _SECOND: "second"}
_VARIABLES |= {colour: f"heat-{level}" for level, colour in enumerate(_HEAT)}

WIDTH, HEIGHT = 360, 240
_FACE_HEIGHT = 400
_BAR_HEIGHT = 19
# Also told apart on paper, in black and white.
_SERIES = ({"color": _FIRST}, {"color": _SECOND, "linestyle": (0, (4, 1.6))})
_MOST_DOTS = 600  # a page of 20,000 would take a phone's patience
_MOST_STAIRS = 300
_FEWEST_IN_BIN, _MOST_BINS = 12, 8
FEWEST_FOR_A_LINE = 2 * _FEWEST_IN_BIN  # images

_STYLE = {
    "svg.fonttype": "none",  # text, not outlines: it can be selected, and is set in the page's font
    "svg.hashsalt": "keras_landmarks",
    "text.parse_math": False,  # a region may be named $x$
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


# ── the run ──


@_styled
def over_epochs(series: dict[str, np.ndarray], unit: str, steps: bool = False) -> str:
    """Draws series, a value an epoch (NaN: no point), by name; the first epoch is 1.

    The axis is logarithmic where the largest value is ten times the smallest, and all are positive.
    `steps`: a value holds for its epoch, nothing lies between.
    """
    figure, axes = _new(title=unit)
    for (name, values), style in zip(series.items(), _SERIES, strict=False):
        epochs = np.arange(1, len(values) + 1)
        way = "steps-mid" if steps else "default"
        axes.plot(epochs, values, label=name, drawstyle=way, **style)
        there = np.pad(np.isfinite(values), 1)
        alone = there[1:-1] & ~there[:-2] & ~there[2:]
        axes.plot(epochs[alone], values[alone], "o", color=style["color"], clip_on=False)
    every = np.concatenate(list(series.values()))
    every = every[np.isfinite(every)]
    if every.max() >= 10 * every.min() > 0:
        _make_logarithmic(axes)
        axes.set_title(f"{unit}, logarithmic".removeprefix(", "))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    axes.set_xlim(1, max(2, *(len(values) for values in series.values())))
    axes.set_xlabel("epoch", loc="right")
    if len(series) > 1:
        axes.legend(loc="upper right")
    return _svg(figure)


# ── the score ──


@_styled
def error_curve(
    nme: np.ndarray, threshold: float, ends: float, band: Sequence[np.ndarray] | None = None
) -> str:
    """Draws the share of images with an NME of at most x, x from 0 to `ends`.

    The area up to `threshold` is shaded. `band`: x, lower and upper end of the share's interval.
    """
    figure, axes = _new(title="% of the images")
    # A stair an image, or as many of them as can be told apart.
    ranks = np.unique(np.linspace(1, len(nme), _MOST_STAIRS).astype(int))
    x = np.concatenate([[0], np.sort(nme)[ranks - 1], [max(ends, nme.max())]])
    share = np.concatenate([[0], ranks / len(nme), [1]])
    shaded = 100 * np.minimum(x, threshold)
    axes.fill_between(shaded, 100 * share, step="post", color=_FIRST, alpha=0.1, linewidth=0)
    if band is not None:
        axes.fill_between(*(100 * part for part in band), color=_FIRST, alpha=0.22, linewidth=0)
    axes.step(100 * x, 100 * share, where="post", color=_FIRST)
    if threshold < ends:
        axes.axvline(100 * threshold, color=_MUTED, linewidth=1, linestyle=(0, (3, 3)))
    axes.set(xlim=(0, 100 * ends), ylim=(0, 102))
    axes.set_xlabel("NME at most, %", loc="right")
    return _svg(figure)


@_styled
def bars(
    values: dict[str, float],
    intervals: dict[str, Sequence[float]],
    colours: dict[str, Sequence[int]],
    unit: str,
) -> str:
    """Draws a bar for each name, the longest on top, with intervals where there are some.

    `colours` are RGB of 0 to 255: that of the name's points in pictures.
    """
    names = sorted(values, key=values.get)
    figure, axes = _new(height=60 + _BAR_HEIGHT * len(names))
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
    return _svg(figure)


@_styled
def on_face(mean: np.ndarray, values: np.ndarray, unit: str) -> str:
    """Draws each point of the mean face (k, 2), y down, in the colour of its value (k,)."""
    figure, axes = _new(height=_FACE_HEIGHT)
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
    return _svg(figure)


@_styled
def scatter(x: np.ndarray, y: np.ndarray, x_unit: str, y_unit: str) -> str:
    """Draws a dot an image, 600 at most, and the median and the quartiles of images in bins.

    Bins are of equally many images, by x: up to 8, none of fewer than 12; one alone is not drawn.
    The axis of y is logarithmic, for a few images are many times as far off as others.
    """
    figure, axes = _new(title=y_unit)
    some = np.random.default_rng(0).permutation(len(x))[:_MOST_DOTS]
    alpha = np.clip(60 / len(some), 0.3, 0.7)  # of few, each is seen; of many, where they are dense
    axes.scatter(x[some], y[some], s=12, color=_FIRST, alpha=alpha, linewidth=0)
    if (bins := min(len(x) // _FEWEST_IN_BIN, _MOST_BINS)) > 1:
        parts = np.array_split(np.argsort(x, kind="stable"), bins)
        middles = [np.median(x[part]) for part in parts]
        low, median, high = np.array([np.percentile(y[part], (25, 50, 75)) for part in parts]).T
        axes.fill_between(middles, low, high, color=_SECOND, alpha=0.2, linewidth=0)
        axes.plot(middles, median, color=_SECOND)
    if y.min() > 0:
        _make_logarithmic(axes)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(x_unit, loc="right")
    return _svg(figure)


@_styled
def foretold(sigmas: np.ndarray, errors: np.ndarray, unit: str) -> str:
    """Draws the true error over the one that was foretold, both (bins,), beside the diagonal."""
    figure, axes = _new(title=f"error, {unit}")
    ends = 1.08 * max(sigmas.max(), errors.max())
    axes.plot([0, ends], [0, ends], color=_MUTED, linewidth=1, linestyle=(0, (3, 3)))
    axes.plot(sigmas, errors, "o-", color=_FIRST, markersize=5)
    axes.set(xlim=(0, ends), ylim=(0, ends))
    axes.set_xlabel(f"sigma, {unit}", loc="right")
    return _svg(figure)


# ── how ──


def _new(title: str = "", height: int = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure((WIDTH / 72, height / 72), dpi=72)  # so that a unit of the SVG is a pixel
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _make_logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _svg(figure: Figure) -> str:
    """Returns the figure as an <svg> element of a page, as wide as it is let."""
    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # it is the page's font that counts
        figure.savefig(written, format="svg", metadata=nothing)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    # It is for all elements of the page that it would come to stand in; the page has its own.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;]*;", "", svg)  # the page's
    svg = re.sub(r"\n\s*", "\n", svg)
    svg = re.sub(r"#0a00[01]\d", lambda found: f"var(--{_VARIABLES[found[0]]})", svg)
    # Of several charts in one page, each has its own names.
    name = "c" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}", svg)
