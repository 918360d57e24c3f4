"""Scores predicted points against true ones, matched by file name.

All the points that `predict` writes, and with --test_points the asked ones too:

    python -m keras_landmarks.evaluate --predictions=work/predictions.npz \\
        --truth=faces/test/test_landmarks.csv --test_points=faces/test/test_points.csv

The contest's CSV is scored with --submission=work/submission.csv in place of --predictions. With
--data the mean shape of its train table is scored beside it: what one gets without looking.

Whether one of two predictions (.npz or CSV) is better than the other, or only seems so:

    python -m keras_landmarks.evaluate --compare=a.npz,b.npz --truth=faces/train/landmarks.csv \\
        --groups=persons.csv

Intervals are of 95 %, by the bootstrap: images drawn anew, or whole --groups of them. --only scores
the images that a table names and no others: work/validation.csv, those that training held out.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.contest import (
    grouping,
    labels,
    listed_images,
    locations,
    prediction_files,
    table_files,
)
from keras_landmarks.evaluation import bootstrap, matching, metrics
from keras_landmarks.evaluation.formatting import (
    align_columns,
    describe_intervals,
    describe_invalid_rows,
    format_image_count,
    format_interval,
    round_floats,
)
from keras_landmarks.evaluation.matching import Truth
from keras_landmarks.input.samples import Samples, load_samples, warn_of_rejects
from keras_landmarks.layouts.layout import regions_of
from keras_landmarks.utils.errors import InputError

_FEWEST_POINTS_WITH_SIZE = 3
_ABOUT_NME = (
    "NME: mean distance / sqrt(width x height) of the box around all true points of the face"
)
_NO_NME = "NME: none, for faces of one or two points have no size to divide by"

FLAGS = config.use(
    "predictions",
    "submission",
    "compare",
    "truth",
    "test_points",
    "groups",
    "only",
    "partial",
    "layout",
    "data",
    "split",
    "prepared",
    "seed",
)


def main(_) -> dict[str, Any]:
    """Reads the flags, prints the table, and returns the figures."""
    config.require("truth")
    names = ("truth", "predictions", "submission", "test_points", "groups", "layout", "only")
    paths = config.read_paths(*names)
    if FLAGS.compare:
        if len(FLAGS.compare) != 2 or paths.keys() & {"predictions", "submission"}:
            raise InputError("--compare=a.npz,b.npz takes two files, and no other is scored")
        paths.pop("layout", None)
        figures = compare(
            *map(Path, FLAGS.compare),
            **paths,
            seed=FLAGS.seed,
            partial=FLAGS.partial,
        )
        print(comparison(figures))
        return round_floats(figures)
    if FLAGS.data:
        paths |= config.read_paths("data", "prepared")
    figures = evaluate(**paths, split=FLAGS.split, seed=FLAGS.seed, partial=FLAGS.partial)
    print(table(figures))
    return round_floats(figures)


def evaluate(
    truth: Path,
    predictions: Path | None = None,
    submission: Path | None = None,
    test_points: Path | None = None,
    groups: Sequence[Path] = (),
    layout: Path | None = None,
    data: Path | None = None,
    split: str = "test",
    prepared: Path = Path("prepared"),
    seed: int = 0,
    partial: bool = False,
    only: Path | None = None,
) -> dict[str, Any]:
    """Scores either predictions (.npz) or a submission (CSV) against a table of true points.

    Every image of `truth` must be predicted, or every one that the table `only` names as well,
    unless `partial` lets those count that are; predictions of other images are counted and left
    out. Rows of the truth that `train` would skip are skipped and counted; a submission's rows of
    the images to score must all be sound. `groups` are tables of file name and group, `layout` a
    JSON file with the points' regions. With `data` the mean shape of its train table is scored on
    the split's images, too.

    Returns:
        `images` scored, of the truth's `truth_images`, their `groups`, `points` predicted of each,
        rows of the truth `rejected`, predicted images `without_truth`; with `predictions` the
        figures of `metrics.summary`; with `test_points` those of `metrics.asked_summary`; with
        standard deviations beside the predictions those of `metrics.calibration`; with `data`
        `mean_shape_mse`, and of how many images it is (those whose photo tells its size),
        `mean_shape_images`. Intervals if there are two groups.

    Raises:
        InputError: a file is not what it should be or does not fit the others, or most of the rows
            or photos that are needed are broken; the first such image is named.
    """
    if (predictions is None) == (submission is None):
        raise InputError("give either --predictions or --submission")
    source, is_submission = predictions or submission, submission is not None
    scored = score(truth, source, is_submission, test_points, groups, layout, seed, partial, only)
    if not data:
        return scored.figures
    samples = load_samples(data, "train", prepared)
    warn_of_rejects(samples)
    mse = mean_shape_mse(samples, scored.true, locations.find_image_folder(data, split))
    known = np.isfinite(mse)
    resamples = scored.resamples
    if not known.all():
        resamples = bootstrap.resample(list(itertools.compress(scored.groups, known)), seed)
    figures = metrics.mean_with_interval("mean_shape_mse", mse[known], resamples)
    return scored.figures | figures | {"mean_shape_images": int(known.sum())}


class Predicted(NamedTuple):
    """Predicted points of the truth's images, in its order, (n, k, 2), in photo pixels.

    `sigmas` (n, k), if they are known; how many other images were predicted `without_truth`.
    """

    points: np.ndarray
    sigmas: np.ndarray | None
    without_truth: int


class Score(NamedTuple):
    """What `score` returns: the figures, and what they are of.

    distances_px: (n, K), or None of a submission. face_size_px: (n,), or None of faces of one or
    two points. groups: one an image.
    resamples: None of a single group. regions: those of all K points.
    """

    figures: dict[str, Any]
    true: Truth
    predicted: Predicted
    distances_px: np.ndarray | None
    face_size_px: np.ndarray | None
    groups: list[str]
    resamples: bootstrap.Resamples | None
    regions: dict[str, slice]


def score(
    truth: Path,
    source: Path,
    is_submission: bool = False,
    test_points: Path | None = None,
    groups: Sequence[Path] = (),
    layout: Path | None = None,
    seed: int = 0,
    partial: bool = False,
    only: Path | None = None,
) -> Score:
    """Scores `source`, predictions (.npz) or a submission (CSV), as `evaluate` does."""
    true = _read_truth(truth, test_points, only, [source] if partial else [])
    face_size = _checked_face_sizes(true)
    group_of_each = grouping.read_groups(groups, true.file_names)
    regions = regions_of(true.points.shape[1], layout)
    predicted = _read(source, is_submission, true)
    every, asked = _measure(predicted.points, is_submission, true)
    resamples = bootstrap.resample(group_of_each, seed)
    figures = {
        "images": len(true.file_names),
        "truth_images": len(true.listed),
        "groups": len(set(group_of_each)),
        "points": predicted.points.shape[1],
        "without_truth": predicted.without_truth,
        "rejected": true.rejected,
    }
    if every is not None:
        figures |= metrics.summary(every, face_size, resamples, regions)
        figures |= _calibration(source, predicted, true)
    if asked is not None:
        figures |= metrics.requested_points_summary(asked, face_size, resamples)
    return Score(figures, true, predicted, every, face_size, group_of_each, resamples, regions)


def compare(
    a: Path,
    b: Path,
    truth: Path,
    test_points: Path | None = None,
    groups: Sequence[Path] = (),
    seed: int = 0,
    partial: bool = False,
    only: Path | None = None,
) -> dict[str, Any]:
    """Says whether two predictions of the same images differ in MSE by more than chance.

    Each is an .npz or a submission (CSV). The MSE is over the asked points if `test_points` says
    which they are, otherwise over all. `only` and `partial` are as in `evaluate`.

    Returns:
        `a` and `b` (the files), `images`, their `groups`, rows of the truth `rejected`, `mse_a` and
        `mse_b` with their intervals, and the figures of `bootstrap.paired`.

    Raises:
        InputError: as `evaluate`, or all images are of one group.
    """
    true = _read_truth(truth, test_points, only, [a, b] if partial else [])
    group_of_each = grouping.read_groups(groups, true.file_names)
    resamples = bootstrap.resample(group_of_each, seed)
    if resamples is None:
        tables = ", ".join(map(str, groups or [truth]))
        raise InputError(f"{tables}: a comparison needs two groups of images or more")
    mse_a, mse_b = (_image_mse(path, true) for path in (a, b))
    return {
        "a": str(a),
        "b": str(b),
        "images": len(true.file_names),
        "groups": resamples.groups,
        "rejected": true.rejected,
        **metrics.mean_with_interval("mse_a", mse_a, resamples),
        **metrics.mean_with_interval("mse_b", mse_b, resamples),
        **bootstrap.paired(mse_a, mse_b, resamples),
    }


def _read_truth(
    truth: Path, test_points: Path | None, only: Path | None, predicted: Sequence[Path]
) -> Truth:
    """Reads the truth of the images to score.

    They are those of the table `only`, if it is given, and those that all of `predicted` have.
    """
    tables = [*([only] if only else []), *predicted]
    names_of = {table: set(_read_names(table)) for table in tables}
    wanted = set.intersection(*names_of.values()) if tables else None
    true = matching.read_truth(truth, test_points, wanted)
    left = set(true.listed)
    for table, names in names_of.items():
        left &= names
        if not left:
            raise InputError(f"{table}: none of its images is in {truth}")
    return true


def _read_names(table: Path) -> list[str]:
    is_npz = table.suffix == ".npz"
    return prediction_files.read_names(table)[0] if is_npz else table_files.read_names(table)


def mean_shape_mse(samples: Samples, true: Truth, image_folder: Path) -> np.ndarray:
    """Returns each image's MSE over all points, in photo pixels, of the samples' mean shape.

    The mean is of coordinates over the image's width and height. NaN where the photo does not tell
    its size; the log has how many do not.

    Raises:
        InputError: most photos do not.
    """
    sizes_px = np.full((len(true.file_names), 2), np.nan)
    broken = []
    sizes = listed_images.read_listed_sizes(image_folder, true.file_names)
    for row, (name, size) in enumerate(zip(true.file_names, sizes, strict=True)):
        if isinstance(size, str):
            broken.append(f"{image_folder / name}: {size}")
        else:
            sizes_px[row] = size
    if broken:
        count = f"{len(broken):,} of {len(sizes_px):,} photos have no size to scale the mean shape"
        if 2 * len(broken) > len(sizes_px):
            raise InputError(f"{broken[0]}; {count} to: are --data and --split right?")
        logging.warning("%s; %s to and are skipped there", broken[0], count)
    total = np.zeros(true.points.shape[1:])
    for landmarks, size in zip(samples.landmarks_photo_px, samples.sizes_px, strict=True):
        total += landmarks / size
    predicted_px = total / len(samples) * sizes_px[:, None]
    return metrics.image_mse(metrics.point_distances(predicted_px, true.points))


def _read(source: Path, submission: bool, true: Truth) -> Predicted:
    if submission:
        table = labels.read(source, true.file_names, strict=True)
        listed, sigmas = len(table.listed), None
    else:
        table = prediction_files.read(source)
        listed, sigmas = len(table.file_names), table.sigmas
    true.check_points(source, table.points.shape[1], submission)
    rows = matching.find_rows(table.file_names, true.file_names, source)
    points = table.points[rows]
    matching.check_finite(points, true.file_names, source)
    sigmas = None if sigmas is None else sigmas[rows]
    return Predicted(points, sigmas, listed - len(rows))


class _Distances(NamedTuple):
    """Of predicted points from the true ones, in photo pixels.

    `every` point, (n, K), if all are predicted; the `asked` ones of each image, if some are.
    """

    every: np.ndarray | None
    asked: list[np.ndarray] | None


def _measure(predicted_px: np.ndarray, submission: bool, true: Truth) -> _Distances:
    if submission:
        asked_px = [row[indices] for row, indices in zip(true.points, true.asked, strict=True)]
        return _Distances(None, list(metrics.point_distances(predicted_px, np.stack(asked_px))))
    every, asked = metrics.point_distances(predicted_px, true.points), None
    if true.asked:
        asked = [row[indices] for row, indices in zip(every, true.asked, strict=True)]
    return _Distances(every, asked)


def _calibration(source: Path, predicted: Predicted, true: Truth) -> dict[str, float]:
    if predicted.sigmas is None:
        return {}
    if not (predicted.sigmas > 0).all():
        raise InputError(f"{source}: a standard deviation is not above 0")
    return metrics.calibration(predicted.points, true.points, predicted.sigmas)


def _image_mse(source: Path, true: Truth) -> np.ndarray:
    """Returns the MSE of each image: over the asked points, if there are such."""
    submission = source.suffix != ".npz"
    distances = _measure(_read(source, submission, true).points, submission, true)
    if distances.asked is None:
        return metrics.image_mse(distances.every)
    return np.array([metrics.image_mse(asked) for asked in distances.asked])


def _checked_face_sizes(true: Truth) -> np.ndarray | None:
    """Returns the size of each face; None if faces have one or two points, and so no size."""
    if true.points.shape[1] < _FEWEST_POINTS_WITH_SIZE:
        return None
    face_sizes = metrics.face_sizes(true.points)
    if not face_sizes.all():
        name = true.file_names[np.argmin(face_sizes)]
        raise InputError(f"{true.path}: the points of {name} span no area; NME needs a face's size")
    return face_sizes


# ── the tables for people ──


def table(figures: dict[str, Any]) -> str:
    """Lays out what `evaluate` returns as aligned lines that say what each figure is."""
    lines = [
        f"{format_image_count(figures['images'], figures['truth_images'])},"
        f" {figures['points']} points each;"
        f" {figures['without_truth']:,} more predicted without truth",
        "MSE: sum of squares over x and y / (2 x points), mean over the images",
        _ABOUT_NME if {"nme", "nme_asked"} & figures.keys() else _NO_NME,
        describe_intervals(figures["images"], figures["groups"]),
        *describe_invalid_rows(figures["rejected"]),
        "",
    ]
    rows = [
        (name, f"{mse:.3f}", format_interval(mse_ends), *_nme_cells(nme, nme_ends))
        for name, mse, mse_ends, nme, nme_ends in table_rows(figures)
    ]
    header = ("", "MSE, px²", "interval", "NME, %", "interval")
    lines += align_columns([header, *rows], (28, 10, 22, 10, 18))
    if "auc_at_0.07" in figures:
        lines += [
            "",
            f"{'area under the curve of images by NME, 0 to 7 %':50}{figures['auc_at_0.07']:8.4f}",
            f"{'share of images with an NME over 7 %':50}{figures['failure_rate_at_0.07']:8.4f}",
        ]
    if "within_1_sigma" in figures:
        shares = figures["within_1_sigma"], figures["within_2_sigma"]
        title = "share of coordinates within 1 and 2 sigma"
        lines += ["", f"{title:50}{shares[0]:8.4f}{shares[1]:8.4f}; normal: 0.6827, 0.9545"]
        title = "error / sigma, root mean square"
        lines.append(f"{title:50}{figures['error_by_sigma']:8.4f}; 1 if sigma is right")
    if "mean_shape_mse" in figures:
        ends = format_interval(figures.get("mean_shape_mse_interval"))
        row = ("MSE of the mean shape, all points", f"{figures['mean_shape_mse']:.3f}", ends)
        lines += align_columns([row], (50, 8, 22))
    return "\n".join(lines)


def table_rows(figures: dict[str, Any]) -> Iterator[tuple]:
    """Yields title, MSE, its interval, NME, its interval of what `evaluate` returns.

    An interval is a list of low and high, or None; so is an NME of faces without a size.
    """
    for title, which in [("asked points", "_asked"), ("all points", "")]:
        if f"mse{which}" not in figures:
            continue
        yield title, *_cells(figures, f"mse{which}"), *_cells(figures, f"nme{which}")
        for q in figures[f"mse{which}_percentiles"]:
            names = f"mse{which}_percentiles", f"nme{which}_percentiles"
            mse, nme = (_cells(figures, name, q) for name in names)
            yield f"  {q} % of images are below", *mse, *nme
    for name, region in figures.get("regions", {}).items():
        yield name, *_cells(region, "mse"), *_cells(region, "nme")


def _cells(figures: dict[str, Any], name: str, q: str | None = None) -> tuple:
    """Returns a figure and its interval, or that of percentile `q` of several."""
    figure, ends = figures.get(name), figures.get(f"{name}_interval")
    if figure is None:
        return None, None
    return (figure[q], ends and ends[q]) if q else (figure, ends)


def _nme_cells(nme: float | None, ends: list[float] | None) -> tuple[str, str]:
    return ("", "") if nme is None else (f"{100 * nme:.3f}", format_interval(ends, 100))


def comparison(figures: dict[str, Any]) -> str:
    """Lays out what `compare` returns, and ends with a sentence that says what it means."""
    lines = [
        f"{figures['images']:,} images",
        describe_intervals(figures["images"], figures["groups"]),
    ]
    lines += [*describe_invalid_rows(figures["rejected"]), ""]
    rows = [("", "MSE, px²", "interval")]
    for title, name in [
        (Path(figures["a"]).name, "mse_a"),
        (Path(figures["b"]).name, "mse_b"),
        ("difference, second - first", "difference"),
        ("ratio, second / first", "ratio"),
    ]:
        figure, ends = _cells(figures, name)
        if figure is not None:
            rows.append((title, f"{figure:.3f}", format_interval(ends)))
    lines += align_columns(rows, (28, 10, 22))
    return "\n".join([*lines, "", _verdict(figures)])


def _verdict(figures: dict[str, Any]) -> str:
    a, b, (low, high) = figures["a"], figures["b"], figures["difference_interval"]
    chance = f"it is the better one in {100 * figures['probability_b_better']:.1f} % of the draws"
    if high < 0:
        return f"{b} is better than {a}: its MSE is {-high:.3f} to {-low:.3f} px² lower; {chance}"
    if low > 0:
        return f"{b} is worse than {a}: its MSE is {low:.3f} to {high:.3f} px² higher; {chance}"
    return (
        f"{b} may be as good as {a}: its MSE is anything from {-low:.3f} px² lower"
        f" to {high:.3f} higher; {chance}"
    )


if __name__ == "__main__":
    config.run(main)
