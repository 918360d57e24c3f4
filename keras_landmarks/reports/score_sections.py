"""The report's sections about a score: error curve, errors by point and pose, sigmas, faces."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_landmarks.contest.table_files import printable
from keras_landmarks.evaluation import metrics, normalisers, pose
from keras_landmarks.evaluation.bootstrap import Resamples
from keras_landmarks.evaluation.formatting import (
    describe_intervals,
    describe_invalid_rows,
    describe_missing,
    format_image_count,
)
from keras_landmarks.evaluation.result_tables import (
    MetricRow,
    as_percent,
    metric_rows,
    point_rows,
    thresholds_of,
)
from keras_landmarks.evaluation.scoring import ScoredPredictions
from keras_landmarks.images import contact_sheet, decoding, drawing
from keras_landmarks.reports import charts
from keras_landmarks.reports.page import Cell, Chart, Face, Faces, Row, Section, Table, Tile
from keras_landmarks.utils.errors import InputError

ReadPhoto = Callable[[str], np.ndarray]  # file name -> (H, W, 3) uint8, or raises InputError

_PICTURE_HEIGHT = 300  # px, of a photo
_NUM_FACES = {"Worst": 6, "Median": 3, "Best": 3}
_CURVE_STEPS = 80  # of the interval of the error curve
_MOST_POINT_ROWS = 100
_SIGMA_BINS, _MOST_SIGMAS = 10, 1_000_000


def score_tiles(scored: ScoredPredictions) -> list[Tile]:
    """Returns the headline numbers of a score, by the first of its thresholds."""
    results, threshold = scored.metrics, thresholds_of(scored.metrics)[0]
    return [
        Tile("MSE", f"{results['mse']:.3g} px²", _tile_interval(results.get("mse_interval"))),
        Tile(
            "NME",
            f"{100 * results['nme']:.2f} %",
            _tile_interval(results.get("nme_interval"), 100),
        ),
        Tile(
            f"Area under the curve to {as_percent(threshold)}",
            f"{results[f'auc_at_{threshold}']:.3f}",
            "1: best",
        ),
        Tile(
            f"NME over {as_percent(threshold)}",
            f"{100 * results[f'failure_rate_at_{threshold}']:.1f} %",
            "of the images",
        ),
    ]


def _tile_interval(interval: list[float] | None, scale: float = 1) -> str:
    if not interval:
        return ""
    return f"95 %: {scale * interval[0]:.3g} to {scale * interval[1]:.3g}"


# ── score ──


def score_section(scored: ScoredPredictions, num_trained_on: int = 0) -> Section:
    """Returns the section with the table of metrics and the cumulative error curve.

    `num_trained_on` is the number of the images that the model was trained on.
    """
    results = scored.metrics
    texts = [
        f"{format_image_count(results['images'], results['truth_images'])}"
        f" of {results['points']} points;"
        f" {describe_intervals(results['images'], results['groups'])}."
        f" MSE is the contest's unit: the sum of squares over x and y / (2 x points), in pixels of"
        " the photo, mean over the images. NME is the mean distance of a face's points /"
        f" {normalisers.describe(scored.figures.normaliser)}. Predictions do not"
        " record which model made them, so it is not checked that it was this one.",
        " ".join(_describe_threshold(results, threshold) for threshold in thresholds_of(results)),
    ]
    lines = [*describe_missing(results), *describe_invalid_rows(results["rejected"])]
    texts += [f"{line[0].upper()}{line[1:]}." for line in lines]
    if num_trained_on:
        texts.append(
            f"The model was trained on {num_trained_on:,} of these images, so expect larger errors"
            " on new ones. --only=validation.csv, a table in the work directory, scores the images"
            " that were held out."
        )
    rows = [row for row in metric_rows(results) if row.title not in scored.regions]
    table = _metric_table("All metrics", rows)
    return Section("Score", texts, beside=[table], charts=[_error_curve(scored)])


def _describe_threshold(results: dict[str, Any], threshold: str) -> str:
    percent, at = as_percent(threshold), f"at_{threshold}"
    return (
        f"At {percent}: area under the curve {results[f'auc_{at}']:.4f}, failure rate"
        f" {100 * results[f'failure_rate_{at}']:.2f} % of the images,"
        f" {100 * results[f'pck_{at}']:.2f} % of the points within it (PCK)."
    )


def _error_curve(scored: ScoredPredictions) -> Chart:
    nme = metrics.known(scored.nme)
    threshold = thresholds_of(scored.metrics)[0]
    percent, limit = as_percent(threshold), float(threshold)
    largest = max(limit, np.percentile(nme, 95))
    at = [f"{q} % at most {100 * np.percentile(nme, q):.2f} %" for q in metrics.PERCENTILES]
    within = np.mean(nme <= limit)
    band = _error_curve_band(scored.nme, largest, scored.resamples)
    return Chart(
        "Images by error",
        charts.error_curve(nme, limit, largest, band),
        f"Cumulative error curve. NME of the images: {', '.join(at)};"
        f" {100 * within:.1f} % of the images have at most {percent}.",
        f"The area under the curve up to {percent} is"
        f" {scored.metrics[f'auc_at_{threshold}']:.3f} of the maximum."
        + (" The band is the 95 % interval." if band else "")
        + (" Images with larger errors are not drawn." if largest < nme.max() else ""),
    )


def _error_curve_band(
    nme: np.ndarray, largest: float, resamples: Resamples | None
) -> list[np.ndarray] | None:
    """Returns x and the ends of the 95 % interval of the share of images with an NME up to x."""
    if resamples is None or resamples.interval(nme) is None:
        return None
    x = np.linspace(0, largest, _CURVE_STEPS)
    within = (np.where(np.isnan(nme), np.nan, nme <= limit) for limit in x)
    low, high = np.clip([resamples.interval(share) for share in within], 0, 1).T
    return [x, low, high]


def _metric_table(title: str, rows: Sequence[MetricRow]) -> Table:
    lines = [
        Row(
            printable(row.title.strip()),
            [Cell(*row.mse.format()), Cell(*row.nme.format(100))],
            inner=row.title.startswith(" "),
        )
        for row in rows
    ]
    return Table(title, ("", "MSE, px²", "NME, %"), lines)


# ── errors by point and region ──


def _mean_face(
    scored: ScoredPredictions,
    mirror_map: np.ndarray | None,
    labels: Sequence[str],
    values: np.ndarray,
    what: str,
) -> Chart:
    """Returns the mean face, its points coloured by values (k,), in % of the face's size."""
    mean = pose.mean_face(_completed_faces(scored), mirror_map)
    least, most = (
        f"{values[point]:.2f} % at {labels[point]}{_in_region(point, scored.regions)}"
        for point in (int(np.nanargmin(values)), int(np.nanargmax(values)))
    )
    return Chart(
        "By point, on the mean face",
        charts.on_face(mean, values, f"{what}, % of the face's size"),
        f"The mean face, coloured by the {what}, from {least} to {most}.",
    )


def _completed_faces(scored: ScoredPredictions) -> np.ndarray:
    """Returns the true faces (n, k, 2), with the predicted points in place of missing ones."""
    true_px = scored.truth.landmarks_px
    if not scored.metrics["missing_points"]:
        return true_px
    return np.where(np.isnan(true_px), scored.predictions.landmarks_px, true_px)


def _in_region(point: int, regions: dict[str, slice]) -> str:
    names = [name for name, part in regions.items() if part.start <= point < part.stop]
    return f" ({printable(names[0])})" if names else ""


def error_by_point_section(
    scored: ScoredPredictions, mirror_map: np.ndarray | None, labels: Sequence[str]
) -> Section:
    """Returns the section with the error of each point and, if there are regions, of each region.

    Up to a hundred points have a table, too.

    Args:
        scored: the score.
        mirror_map: (k,), or None if it is not known.
        labels: what to call the k points.
    """
    errors = 100 * _mean_over_images(scored.distances_px / scored.face_sizes_px[:, None])
    shown, tables = [_mean_face(scored, mirror_map, labels, errors, "mean distance")], []
    if scored.regions:
        rows = [row for row in metric_rows(scored.metrics) if row.title in scored.regions]
        tables.append(_metric_table("Metrics by region", rows))
        if any(row.nme.value is not None for row in rows):
            shown.insert(0, _region_bars(scored))
    if len(labels) <= _MOST_POINT_ROWS:
        tables.append(_metric_table("Metrics by point", _point_rows(scored, labels)))
    return Section("Errors by point", charts=shown, below=tables)


def _mean_over_images(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the images of values (n, k) that are there: (k,), NaN without one."""
    return metrics.mean_over_known(values.T) if np.isnan(values).any() else values.mean(axis=0)


def _point_rows(scored: ScoredPredictions, labels: Sequence[str]) -> list[MetricRow]:
    by_point = metrics.by_point(
        labels, scored.distances_px, scored.face_sizes_px, scored.resamples, thresholds=()
    )
    return list(point_rows({"by_point": by_point}))


def _region_bars(scored: ScoredPredictions) -> Chart:
    regions = {printable(name): value for name, value in scored.metrics["regions"].items()}
    nme = {
        name: 100 * region["nme"] for name, region in regions.items() if region["nme"] is not None
    }
    intervals = {
        name: np.multiply(100, regions[name]["nme_interval"])
        for name in nme
        if regions[name].get("nme_interval")
    }
    by_error = sorted(nme, key=nme.get, reverse=True)
    return Chart(
        "By region",
        charts.bars(nme, intervals, _region_colours(scored), "NME, %"),
        "From the largest to the smallest: "
        + ", ".join(f"{name} {nme[name]:.2f} %" for name in by_error)
        + ".",
        "Divided by the size of the whole face. Squares show the points' colours in the pictures."
        + (" Lines are 95 % intervals." if scored.resamples else ""),
    )


def _region_colours(scored: ScoredPredictions) -> dict[str, tuple[int, int, int]]:
    """Returns the RGB colour of each region, by its name as it is shown."""
    colours = drawing.region_colours(scored.regions)
    return {printable(name): colour for name, colour in colours.items()}


# ── errors by face size and pose ──


def error_by_pose_section(scored: ScoredPredictions, mirror_map: np.ndarray | None) -> Section:
    """Returns the section with the error over face size, yaw and roll.

    Without a mirror map (k,) there is no yaw.
    """
    has_nme = ~np.isnan(scored.nme)
    nme, true_px = 100 * scored.nme[has_nme], _completed_faces(scored)[has_nme]
    mean = pose.mean_face(true_px, mirror_map)
    roll = pose.roll_deg(true_px, mean)
    axes = [("Face size", "size", scored.face_sizes_px[has_nme], "px of the photo")]
    text = (
        f"Face size is {normalisers.describe(scored.figures.normaliser)}. Pose is"
        " estimated from the true points alone, to sort faces by, not to measure them. Roll is the"
        " rotation that fits the mean face to the points."
    )
    if scored.metrics["missing_points"]:
        text += " Predicted points stand in for missing ones."
    yaw = None if mirror_map is None else pose.yaw_deg(true_px, mean, mirror_map)
    if yaw is None:
        text += " There is no yaw: it needs a mirror map (--layout) to tell left from right."
    else:
        text += (
            " Yaw compares the middle of the face, the points that are their own mirror partners,"
            " with its outline, the tenth of the pairs that lie furthest apart: its tangent is how"
            f" far the middle lies from halfway between left and right, over {pose.DEPTH} times"
            " half of the distance between them."
        )
        axes.append(("Yaw", "yaw", yaw, "degrees; above 0: to the right of the picture"))
    axes.append(("Roll", "roll", roll, "degrees; above 0: clockwise in the picture"))
    note = "Each dot is an image"
    if len(nme) >= charts.MIN_FOR_MEDIANS:
        note += "; the line shows the median of bins of images, the band their quartiles"
    note += "." + (" The scale is logarithmic." if nme.min() > 0 else "")
    scatters = [
        Chart(title, charts.scatter(x, nme, unit, "NME, %"), _describe_thirds(name, x, nme), note)
        for title, name, x, unit in axes
    ]
    return Section("Errors by face size and pose", [text], charts=scatters)


def _describe_thirds(name: str, x: np.ndarray, nme: np.ndarray) -> str:
    """Describes a chart of the NME (in %) over x by the medians of three parts."""
    parts = [part for part in np.array_split(np.argsort(x, kind="stable"), 3) if len(part)]
    medians = [
        f"{np.median(nme[part]):.2f} % where {name} is {x[part].min():.3g} to {x[part].max():.3g}"
        for part in parts
    ]
    return f"Median NME: {'; '.join(medians)}."


# ── calibration ──


def calibration_section(
    scored: ScoredPredictions, mirror_map: np.ndarray | None, labels: Sequence[str]
) -> Section:
    """Returns the section that compares predicted standard deviations with the errors.

    The arguments are those of `error_by_point_section`.
    """
    sigmas_px, has_size = scored.predictions.sigmas_px, ~np.isnan(scored.face_sizes_px)
    relative = sigmas_px[has_size] / scored.face_sizes_px[has_size, None]
    medians = 100 * np.median(relative, axis=0)
    face = _mean_face(scored, mirror_map, labels, medians, "median sigma")
    is_known = ~np.isnan(scored.distances_px)
    sigmas, errors = _bin_by_sigma(sigmas_px[is_known], scored.distances_px[is_known])
    pairs = [
        f"{error:.3g} where sigma is {sigma:.3g}"
        for sigma, error in zip(sigmas, errors, strict=True)
    ]
    line = Chart(
        "Error by sigma",
        charts.calibration(sigmas, errors, "px of the photo"),
        f"Root mean square of a coordinate's error, px: {', '.join(pairs)}.",
        "Root mean squares of a coordinate, in ten bins of points by sigma. On the dashed line"
        " sigma equals the error; above it the model is overconfident.",
    )
    results = scored.metrics
    text = (
        "Sigma is the standard deviation that the model predicts for a point's x and y."
        f" {100 * results['within_1_sigma']:.1f} % of the coordinates are within 1 sigma and"
        f" {100 * results['within_2_sigma']:.1f} % within 2 (for normal errors 68.3 % and 95.4 %);"
        f" the root mean square of error / sigma is {results['error_by_sigma']:.3g} (1 if sigma is"
        " well calibrated)."
    )
    return Section("Predicted uncertainty", [text], charts=[line, face])


def _bin_by_sigma(sigmas: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the root mean squares of sigma and of a coordinate's error in bins by sigma."""
    sampled = np.random.default_rng(0).permutation(len(sigmas))[:_MOST_SIGMAS]
    order = sampled[np.argsort(sigmas[sampled], kind="stable")]
    bins = [rows for rows in np.array_split(order, _SIGMA_BINS) if len(rows)]
    root_mean_squares = [
        (np.sqrt(np.mean(sigmas[rows] ** 2)), np.sqrt(np.mean(distances[rows] ** 2) / 2))
        for rows in bins
    ]
    return np.array(root_mean_squares, float).T


# ── faces ──


def faces_section(scored: ScoredPredictions, read_photo: ReadPhoto | None) -> Section:
    """Returns the section with the worst, median and best faces, predictions beside the truth.

    Without `read_photo` the faces are listed by name.

    Raises:
        InputError: none of the photos can be read.
    """
    rows_by_title = choose_faces(scored.nme, scored.groups)
    if read_photo:
        rows = [row for rows in rows_by_title.values() for row in rows]
        _validate_photos(read_photo, [scored.truth.file_names[row] for row in rows])
    text = "By NME, one of each group; the prediction is on the left of each pair, the truth right."
    if len(set(scored.groups)) == len(scored.groups):
        text = text.replace(", one of each group", "")
    if read_photo is None:
        text += " To see the photos, give --data and --split, or put them beside the truth."
    return Section(
        "Faces",
        [text],
        faces=[
            Faces(title, [_face(scored, row, read_photo) for row in rows_by_title[title]])
            for title in _NUM_FACES
            if rows_by_title[title]
        ],
        legend=_region_colours(scored),
    )


def choose_faces(nme: np.ndarray, groups: Sequence[str]) -> dict[str, list[int]]:
    """Returns the rows of the faces to show as "Worst", "Best" and "Median", by NME (n,).

    Each title has at most one face of a group, and no face is shown twice. Faces without an NME,
    NaN, are not shown.
    """
    ranks = {"Worst": -nme, "Best": nme, "Median": abs(nme - np.median(metrics.known(nme)))}
    chosen, shown = {}, set(np.flatnonzero(np.isnan(nme)).tolist())
    for title, rank in ranks.items():
        first_of_group = {}
        for row in np.argsort(rank, kind="stable").tolist():
            if row not in shown:
                first_of_group.setdefault(groups[row], row)
        chosen[title] = list(first_of_group.values())[: _NUM_FACES[title]]
        shown.update(chosen[title])
    return chosen


def _validate_photos(read_photo: ReadPhoto, names: Sequence[str]) -> None:
    """Raises InputError if none of the photos can be read: they are in another folder."""
    for name in names:
        try:
            read_photo(name)
        except InputError as error:
            problem = error
        else:
            return
    raise InputError(
        f"{problem}, nor any other to show; --data and --split say where the photos are"
    )


def _face(scored: ScoredPredictions, row: int, read_photo: ReadPhoto | None) -> Face:
    file_name = scored.truth.file_names[row]
    name = printable(file_name)
    mse = metrics.image_mse(scored.distances_px[row])
    note = f"NME {100 * scored.nme[row]:.2f} %, MSE {mse:.3g} px²"
    if read_photo is None:
        return Face(name, note)
    try:
        photo = read_photo(file_name)
    except InputError as error:
        return Face(name, f"{note}; {printable(str(error))}")
    colours = drawing.point_colours(scored.truth.num_landmarks, scored.regions)
    landmarks_px = {
        "prediction": scored.predictions.landmarks_px[row],
        "truth": scored.truth.landmarks_px[row],
    }
    tiles = [
        contact_sheet.draw_tile(photo, points_px, label, _PICTURE_HEIGHT, colours)
        for label, points_px in landmarks_px.items()
    ]
    picture = np.hstack(tiles)
    alt = f"{name} twice, the predicted points on the left and the true points on the right."
    height, width = picture.shape[:2]
    jpeg = decoding.encode_jpeg(picture, contact_sheet.JPEG_QUALITY)
    return Face(name, note, alt, jpeg, width, height)
