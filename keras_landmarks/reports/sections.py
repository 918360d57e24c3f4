"""What a report says: its sections, their words and charts, from a run's and a score's figures."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_landmarks.contest.table_files import printable
from keras_landmarks.evaluation import metrics, pose
from keras_landmarks.evaluation.bootstrap import Resamples
from keras_landmarks.evaluation.formatting import (
    describe_intervals,
    describe_invalid_rows,
    format_image_count,
    format_interval,
)
from keras_landmarks.images import drawing
from keras_landmarks.reports import charts
from keras_landmarks.reports.page import Cell, Chart, Face, Faces, Row, Section, Table, Tile
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.progress import duration

_PICTURE_HEIGHT = 300  # px, of a photo
_FEW, _WORST = 3, 6  # faces shown
_CURVE_STEPS = 80  # of the curve's interval
_THRESHOLD_PERCENT = round(100 * metrics.NME_THRESHOLD)
_SIGMA_BINS, _MOST_SIGMAS = 10, 1_000_000


class Scored(NamedTuple):
    """Predictions beside the truth: n images of k points, in pixels of their photos.

    groups: the group of each image, or its name. predicted_px, true_px: (n, k, 2). sigmas_px:
    (n, k), or None where they are not told. distances: (n, k). face_size: (n,). figures: what
    `evaluate` returns; rows: those of its table. regions may be none. mirror_map: (k,), or None
    where it is not known. trained_on: how many of the images the model has seen.
    """

    file_names: Sequence[str]
    groups: Sequence[str]
    predicted_px: np.ndarray
    true_px: np.ndarray
    sigmas_px: np.ndarray | None
    distances: np.ndarray
    face_size: np.ndarray
    figures: dict[str, Any]
    rows: Sequence[tuple]
    resamples: Resamples | None
    regions: dict[str, slice]
    mirror_map: np.ndarray | None
    trained_on: int = 0

    @property
    def nme(self) -> np.ndarray:
        """The normalised mean error of each image, (n,)."""
        return metrics.image_nme(self.distances, self.face_size)


# ── the run ──


def epochs_done(history: Sequence[dict[str, float]], flags: dict[str, str]) -> str:
    """Returns "18" or, of a run that is not at its end, "5 of 18"."""
    done, wanted = len(history), flags.get("epochs", "")
    return f"{done} of {wanted}" if wanted.isdecimal() and done < int(wanted) else f"{done}"


def run_tiles(history: Sequence[dict[str, float]], flags: dict[str, str]) -> list[Tile]:
    """Returns a run's first figures, where there is no score; its flags by name."""
    if not history:
        return []
    done, _, wanted = epochs_done(history, flags).partition(" of ")
    tiles = [Tile("Epochs", done, f"of {wanted} epochs" if wanted else "")]
    for title, column in [("training loss", "loss"), ("validation loss", "val_loss")]:
        if np.isfinite(values := _column(history, column)).any():
            epoch = int(np.nanargmin(values))
            tiles.append(Tile(f"Lowest {title}", f"{values[epoch]:.4g}", f"in epoch {epoch + 1}"))
    rates = _column(history, "images_per_s")
    if np.isfinite(rates).any():
        tiles.append(Tile("Images a second", f"{np.nanmedian(rates):,.0f}", "median epoch"))
    return tiles


def training(history: Sequence[dict[str, float]], flags: dict[str, str]) -> Section:
    """Returns the curves of a run's epochs; `flags` by name."""
    if not history:
        return Section("Training", ["No epoch is noted: history.csv is not there, or empty."])
    seconds = _column(history, "seconds")
    took = f", in {duration(seconds.sum())}" if np.isfinite(seconds).all() else ""
    text = f"Epochs done: {epochs_done(history, flags)}{took}."
    loss = _column(history, "loss")
    averages = any(_number(flags, name) for name in ("ema_momentum", "average_last_epochs"))
    if np.isfinite(loss).any():
        best = int(np.nanargmin(loss))
        text += (
            f" The training loss was lowest, {loss[best]:.4g}, in epoch {best + 1}:"
            f" predictions are made with {'the average of the' if averages else 'its'} weights"
            f"{' up to it, and validation is of these averages' if averages else ''}."
        )
    if flags.get("augment_online") and np.isfinite(_column(history, "val_loss")).any():
        text += " Training is of varied images, validation of images as they are."
    waiting = _column(history, "waiting")
    if np.isfinite(waiting).any():
        text += f" {100 * np.nanmean(waiting):.1f} % of the time was spent on waiting for data."
    squared = "² " if flags.get("loss") == "mse" else " "
    units = f"{flags.get('loss', '')}, in px{squared}of the {flags.get('loss_unit', '')}"
    wanted = [
        ("Loss", "loss", "", units if "loss" in flags else ""),
        ("Squared error", "mse", "MSE, px² of the photo", "The contest's unit, over all points."),
        ("Learning rate", "learning_rate", "", "Of an epoch's last step."),
    ]
    curves = [_curve(history, *curve) for curve in wanted]
    return Section("Training", [text], charts=[curve for curve in curves if curve])


def _curve(history, title: str, column: str, unit: str, note: str) -> Chart | None:
    names = {"training": column, "validation": f"val_{column}"}
    series = {name: _column(history, column) for name, column in names.items()}
    series = {name: values for name, values in series.items() if np.isfinite(values).any()}
    if not series:
        return None
    ends = [f"{name} {values[0]:.4g} to {values[-1]:.4g}" for name, values in series.items()]
    alt = f"{title} over {len(history)} epochs, from the first to the last: {'; '.join(ends)}."
    return Chart(
        title, charts.over_epochs(series, unit, steps=column == "learning_rate"), alt, note
    )


def _number(flags: dict[str, str], name: str) -> float:
    try:
        return float(flags.get(name, 0))
    except ValueError:
        return 0.0


def _column(history: Sequence[dict[str, float]], name: str) -> np.ndarray:
    return np.array([row.get(name, np.nan) for row in history], float)


def run(flagfile: Sequence[str], facts: dict[str, dict[str, Any]]) -> Section:
    """Returns the flags, a line each, and what else is known, by title."""
    lists = {"Flags": [printable(line) for line in flagfile]} if flagfile else {}
    for title, known in facts.items():
        if known:
            lists[title] = [f"{printable(name)}: {_short(value)}" for name, value in known.items()]
    unknown = ["With which versions it was trained is not known: the run did not note them."]
    return Section("The run", [] if facts.get("Versions") else unknown, lists=lists)


def _short(value: Any) -> str:
    text = printable(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= 100 else text[:100] + " …"


# ── the score ──


def score_tiles(scored: Scored) -> list[Tile]:
    """Returns the score's first figures."""
    figures, threshold = scored.figures, _THRESHOLD_PERCENT
    return [
        Tile("MSE", f"{figures['mse']:.3g} px²", _interval(figures.get("mse_interval"))),
        Tile("NME", f"{100 * figures['nme']:.2f} %", _interval(figures.get("nme_interval"), 100)),
        Tile(f"Area under the curve to {threshold} %", f"{figures['auc_at_0.07']:.3f}", "1: best"),
        Tile(
            f"NME over {threshold} %",
            f"{100 * figures['failure_rate_at_0.07']:.1f} %",
            "of the images",
        ),
    ]


def score(scored: Scored) -> Section:
    """Returns the table of figures and the cumulative error curve."""
    figures, nme = scored.figures, scored.nme
    texts = [
        f"{format_image_count(figures['images'], figures['truth_images'])}"
        f" of {figures['points']} points;"
        f" {describe_intervals(figures['images'], figures['groups'])}."
        f" MSE is the contest's unit: the sum of squares over x and y / (2 x points), in pixels of"
        " the photo, mean over the images. NME is the mean distance of a face's points / the square"
        " root of width x height of the box around its true points. Predictions do not say which"
        " model made them; that it was this one is not checked."
    ]
    texts += [
        f"{line[0].upper()}{line[1:]}." for line in describe_invalid_rows(figures["rejected"])
    ]
    if scored.trained_on:
        texts.append(
            f"The model was trained on {scored.trained_on:,} of these images: what it does on new"
            " ones is another matter. --only=validation.csv, in the work directory, scores those"
            " that were held out."
        )
    rows = [row for row in scored.rows if row[0] not in scored.regions]
    most = max(metrics.NME_THRESHOLD, np.percentile(nme, 95))
    at = [f"{q} % at most {100 * np.percentile(nme, q):.2f} %" for q in metrics.PERCENTILES]
    within = np.mean(nme <= metrics.NME_THRESHOLD)
    curve = Chart(
        "Images by error",
        charts.error_curve(nme, metrics.NME_THRESHOLD, most, _band(nme, most, scored.resamples)),
        f"Cumulative error curve. Of the images have an NME of: {', '.join(at)};"
        f" {100 * within:.1f} % of the images are at {_THRESHOLD_PERCENT} % or below.",
        f"The area under the curve up to {_THRESHOLD_PERCENT} % is"
        f" {figures['auc_at_0.07']:.3f} of what it could be."
        + (" The band is the interval of 95 %." if scored.resamples else "")
        + (" Images further off are not drawn." if most < nme.max() else ""),
    )
    return Section("Score", texts, beside=[_table("All figures", rows)], charts=[curve])


def _band(nme: np.ndarray, most: float, resamples: Resamples | None) -> list[np.ndarray] | None:
    if resamples is None:
        return None
    x = np.linspace(0, most, _CURVE_STEPS)
    low, high = np.clip([resamples.interval(nme <= limit) for limit in x], 0, 1).T
    return [x, low, high]


def _table(title: str, rows: Sequence[tuple]) -> Table:
    lines = [
        Row(
            printable(name.strip()),
            [
                Cell(f"{mse:.3f}", format_interval(mse_ends)),
                Cell(f"{100 * nme:.3f}", format_interval(nme_ends, 100)),
            ],
            inner=name.startswith(" "),
        )
        for name, mse, mse_ends, nme, nme_ends in rows
    ]
    return Table(title, ("", "MSE, px²", "NME, %"), lines)


def _interval(ends: list[float] | None, times: float = 1) -> str:
    return f"95 %: {times * ends[0]:.3g} to {times * ends[1]:.3g}" if ends else ""


# ── where and when it errs ──


def where(scored: Scored) -> Section:
    """Returns the error by region and by point."""
    per_point = 100 * (scored.distances / scored.face_size[:, None]).mean(axis=0)
    worst = int(per_point.argmax())
    mean = pose.mean_face(scored.true_px, scored.mirror_map)
    face = Chart(
        "By point, on the mean face",
        charts.on_face(mean, per_point, "mean distance, % of the face's size"),
        f"The mean face, its points in colours from {per_point.min():.2f} % to"
        f" {per_point[worst]:.2f} % of the face's size; the largest error is at point {worst}"
        f"{_in_region(worst, scored.regions)}, the smallest at point {per_point.argmin()}"
        f"{_in_region(int(per_point.argmin()), scored.regions)}.",
    )
    if not scored.regions:
        return Section("Where it errs", charts=[face])
    regions = scored.figures["regions"]
    values = {printable(name): 100 * region["nme"] for name, region in regions.items()}
    by_size = sorted(values, key=values.get, reverse=True)
    bars = Chart(
        "By region",
        charts.bars(
            values,
            {
                printable(name): np.multiply(100, region["nme_interval"])
                for name, region in regions.items()
                if "nme_interval" in region
            },
            {printable(name): colour for name, colour in _colours(scored.regions).items()},
            "NME, %",
        ),
        "From the largest to the smallest: "
        + ", ".join(f"{name} {values[name]:.2f} %" for name in by_size)
        + ".",
        "By the size of the whole face. The squares are the points' colours in the pictures."
        + (" Lines are intervals of 95 %." if scored.resamples else ""),
    )
    table = _table("Figures by region", [row for row in scored.rows if row[0] in scored.regions])
    return Section("Where it errs", charts=[bars, face], below=[table])


def _in_region(point: int, regions: dict[str, slice]) -> str:
    names = [name for name, part in regions.items() if part.start <= point < part.stop]
    return f" ({printable(names[0])})" if names else ""


def _colours(regions: dict[str, slice]) -> dict[str, tuple[int, int, int]]:
    return drawing.region_colours(regions)


def when(scored: Scored) -> Section:
    """Returns the error against face size and pose."""
    nme, mean = 100 * scored.nme, pose.mean_face(scored.true_px, scored.mirror_map)
    roll = pose.roll_deg(scored.true_px, mean)
    against = [("Face size", "size", scored.face_size, "px of the photo")]
    texts = [
        "Face size is the square root of width x height of the box around the true points. Pose is"
        " estimated from the true points alone, to sort faces by and not to measure them. Roll is"
        " the rotation that brings the mean face nearest to the points."
    ]
    yaw = None
    if scored.mirror_map is not None:
        yaw = pose.yaw_deg(scored.true_px, mean, scored.mirror_map)
    if yaw is None:
        texts[0] += " There is no yaw: it wants a mirror map (--layout) to tell left from right."
    else:
        texts[0] += (
            " Yaw compares the middle of the face, the points that are their own mirror partners,"
            " with its outline, the tenth of the pairs that lie furthest apart: its tangent is how"
            f" far the middle lies from halfway between left and right, over {pose.DEPTH} times"
            " half of the distance between them."
        )
        against.append(("Yaw", "yaw", yaw, "degrees; above 0: to the right of the picture"))
    against.append(("Roll", "roll", roll, "degrees; above 0: clockwise in the picture"))
    note = "A dot is an image"
    if len(nme) >= charts.FEWEST_FOR_A_LINE:
        note += "; the line is the median, the band the quartiles of some at a time"
    note += "." + (" The scale is logarithmic." if nme.min() > 0 else "")
    section_charts = [
        Chart(title, charts.scatter(x, nme, unit, "NME, %"), _thirds(name, x, nme), note)
        for title, name, x, unit in against
    ]
    return Section("When it errs", texts, charts=section_charts)


def _thirds(name: str, x: np.ndarray, nme: np.ndarray) -> str:
    """Says in words what a chart of the NME (in %) over x shows."""
    parts = [part for part in np.array_split(np.argsort(x, kind="stable"), 3) if len(part)]
    told = [
        f"{np.median(nme[part]):.2f} % where {name} is {x[part].min():.3g} to {x[part].max():.3g}"
        for part in parts
    ]
    return f"Median NME: {'; '.join(told)}."


# ── how sure it is ──


def certainty(scored: Scored) -> Section:
    """Returns how the model's standard deviations lie on the face, and how well they foretell."""
    relative = 100 * np.median(scored.sigmas_px / scored.face_size[:, None], axis=0)
    mean = pose.mean_face(scored.true_px, scored.mirror_map)
    least, most = int(relative.argmin()), int(relative.argmax())
    face = Chart(
        "By point, on the mean face",
        charts.on_face(mean, relative, "median sigma, % of the face's size"),
        f"The mean face, its points in colours from {relative[least]:.2f} % at point {least}"
        f"{_in_region(least, scored.regions)} to {relative[most]:.2f} % at point {most}"
        f"{_in_region(most, scored.regions)}.",
    )
    sigmas, errors = _binned(scored.sigmas_px.ravel(), scored.distances.ravel())
    told = [
        f"{error:.3g} where sigma is {sigma:.3g}"
        for sigma, error in zip(sigmas, errors, strict=True)
    ]
    line = Chart(
        "Error by sigma",
        charts.foretold(sigmas, errors, "px of the photo"),
        f"Root mean square of a coordinate's error, px: {', '.join(told)}.",
        "Root mean squares of a coordinate, over ten parts of all points by their sigma. On the"
        " dashed line sigma foretells the error; above it the model is too sure of itself.",
    )
    figures = scored.figures
    text = (
        "Sigma is the standard deviation that the model gives to a point's x and y."
        f" {100 * figures['within_1_sigma']:.1f} % of the coordinates are within 1 sigma and"
        f" {100 * figures['within_2_sigma']:.1f} % within 2 (of normal errors 68.3 % and 95.4 %);"
        f" the root mean square of error / sigma is {figures['error_by_sigma']:.3g} (1 if sigma is"
        " right)."
    )
    return Section("How sure it is", [text], charts=[line, face])


def _binned(sigmas: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns root mean squares of sigma and of a coordinate's error, in bins by sigma."""
    some = np.random.default_rng(0).permutation(len(sigmas))[:_MOST_SIGMAS]
    order = some[np.argsort(sigmas[some], kind="stable")]
    parts = [part for part in np.array_split(order, _SIGMA_BINS) if len(part)]
    root_mean_squares = [
        (np.sqrt(np.mean(sigmas[part] ** 2)), np.sqrt(np.mean(distances[part] ** 2) / 2))
        for part in parts
    ]
    return np.array(root_mean_squares, float).T


# ── the faces ──


def faces(scored: Scored, read: Callable[[str], np.ndarray] | None) -> Section:
    """Returns the best, the middle and the worst faces, the prediction beside the truth.

    `read` returns the photo (H, W, 3) uint8 of a file name or raises InputError; None: no photos.

    Raises:
        InputError: not one of them can be read.
    """
    rows = _choose(scored.nme, scored.groups)
    if read:
        shown = [row for some in rows.values() for row in some]
        read = _readable(read, [scored.file_names[row] for row in shown])
    text = "By NME, one of each group; left of each pair the prediction, right the truth."
    if len(set(scored.groups)) == len(scored.groups):
        text = text.replace(", one of each group", "")
    if read is None:
        text += " Photos are shown with --data and --split, or where they lie beside the truth."
    return Section(
        "Faces",
        [text],
        faces=[
            Faces(title, [_face(scored, row, read) for row in rows[title]])
            for title in ("Worst", "Median", "Best")
            if rows[title]
        ],
        legend={printable(name): colour for name, colour in _colours(scored.regions).items()},
    )


def _readable(
    read: Callable[[str], np.ndarray], names: Sequence[str]
) -> Callable[[str], np.ndarray]:
    """Returns `read`, or raises InputError if it reads none of these: they lie elsewhere."""
    for name in names:
        try:
            read(name)
        except InputError as error:
            problem = error
        else:
            return read
    raise InputError(f"{problem}, nor any other to show; --data and --split say where photos are")


def _choose(nme: np.ndarray, groups: Sequence[str]) -> dict[str, list[int]]:
    """Returns the rows to show, by title: one of each group, and none twice where there are few."""
    ranks = {
        "Worst": (-nme, _WORST),
        "Best": (nme, _FEW),
        "Median": (abs(nme - np.median(nme)), _FEW),
    }
    chosen, shown = {}, set()
    for title, (rank, count) in ranks.items():
        first = {}
        for row in np.argsort(rank, kind="stable").tolist():
            if row not in shown:
                first.setdefault(groups[row], row)
        chosen[title] = list(first.values())[:count]
        shown.update(chosen[title])
    return chosen


def _face(scored: Scored, row: int, read: Callable[[str], np.ndarray] | None) -> Face:
    name = printable(scored.file_names[row])
    mse = metrics.image_mse(scored.distances[row])
    note = f"NME {100 * scored.nme[row]:.2f} %, MSE {mse:.3g} px²"
    try:
        image = read(scored.file_names[row]) if read else None
    except InputError as error:
        return Face(name, f"{note}; {printable(str(error))}")
    if image is None:
        return Face(name, note)
    colours = drawing.point_colours(scored.true_px.shape[1], scored.regions)
    points = {"prediction": scored.predicted_px[row], "truth": scored.true_px[row]}
    picture = np.hstack(
        [
            drawing.draw_tile(image, px, label, _PICTURE_HEIGHT, colours)
            for label, px in points.items()
        ]
    )
    alt = f"{name} twice, with the predicted points on the left and the true ones on the right."
    height, width = picture.shape[:2]
    return Face(name, note, alt, drawing.as_jpeg(picture), width, height)
