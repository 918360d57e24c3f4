"""The results of `evaluate`, `compare` and `ensemble` as tables: text, and a pandas DataFrame."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_landmarks.contest.table_files import printable
from keras_landmarks.evaluation.formatting import (
    describe_intervals,
    describe_invalid_rows,
    describe_missing,
    format_image_count,
    format_interval,
)
from keras_landmarks.evaluation.normalisers import describe
from keras_landmarks.utils.text_tables import align_columns

if TYPE_CHECKING:  # Takes half a second to import; only `metrics_to_dataframe` needs it.
    import pandas

_NO_VALUE = "-"
_NO_NME = "NME: none, because faces of one or two points have no size to divide by"


class Metric(NamedTuple):
    """A metric and its 95 % interval, [low, high]; either is None if there is none."""

    value: float | None
    interval: list[float] | None

    def format(self, scale: float = 1) -> tuple[str, str]:
        """Returns the value, a dash if there is none, and the interval, times `scale`, as texts."""
        if self.value is None:
            return _NO_VALUE, ""
        return f"{scale * self.value:.3f}", format_interval(self.interval, scale)


class MetricRow(NamedTuple):
    """A row of the table of metrics."""

    title: str
    mse: Metric  # photo px²
    nme: Metric


def format_evaluation(results: dict[str, Any]) -> str:
    """Returns the results of `scoring.evaluate` as aligned lines with explanations."""
    lines = [
        f"{format_image_count(results['images'], results['truth_images'])},"
        f" {results['points']} points each;"
        f" {results['without_truth']:,} more predicted without truth",
        "MSE: sum of squares over x and y / (2 x points), mean over the images",
        f"NME: mean distance / {describe(results['normaliser'])}"
        if "normaliser" in results
        else _NO_NME,
        *describe_missing(results),
        *_describe_images(results, results["images"]),
    ]
    rows = [(row.title, *row.mse.format(), *row.nme.format(100)) for row in metric_rows(results)]
    header = ("", "MSE, px²", "interval", "NME, %", "interval")
    lines += align_columns([header, *rows], (28, 10, 22, 10, 18))
    for threshold in thresholds_of(results):
        percent, at = as_percent(threshold), f"at_{threshold}"
        lines += [
            "",
            f"{f'area under the curve of images by NME, 0 to {percent}':50}"
            f"{results[f'auc_{at}']:8.4f}",
            f"{f'share of images with an NME over {percent}':50}"
            f"{results[f'failure_rate_{at}']:8.4f}",
            f"{f'share of points within {percent} (PCK)':50}{results[f'pck_{at}']:8.4f}",
        ]
    if "within_1_sigma" in results:
        shares = results["within_1_sigma"], results["within_2_sigma"]
        title = "share of coordinates within 1 and 2 sigma"
        lines += ["", f"{title:50}{shares[0]:8.4f}{shares[1]:8.4f}; normal: 0.6827, 0.9545"]
        title = "error / sigma, root mean square"
        lines.append(f"{title:50}{results['error_by_sigma']:8.4f}; 1 if well calibrated")
    if "mean_shape_mse" in results:
        row = ("MSE of the mean shape, all points", *_metric(results, "mean_shape_mse").format())
        lines += align_columns([row], (50, 8, 22))
    if "by_point" in results:
        lines += ["", *_format_points(results)]
    return "\n".join(lines)


def thresholds_of(results: dict[str, Any]) -> list[str]:
    """Returns the thresholds of the metrics, as their names have them: "0.07" of `auc_at_0.07`."""
    return [name.removeprefix("auc_at_") for name in results if name.startswith("auc_at_")]


def as_percent(threshold: str) -> str:
    """Returns "7 %" for "0.07"."""
    return f"{100 * float(threshold):g} %"


def _format_points(results: dict[str, Any]) -> list[str]:
    """Returns a line for each point: how many images have it, and its metrics."""
    at = thresholds_of(results)
    header = ("point", "images", "MSE, px²", "interval", "NME, %", "interval")
    rows = [(*header, *(f"PCK, {as_percent(threshold)}" for threshold in at))]
    for row, point in zip(point_rows(results), results["by_point"].values(), strict=True):
        shares = (Metric(point[f"pck_at_{threshold}"], None).format()[0] for threshold in at)
        rows.append(
            (row.title, f"{point['images']:,}", *row.mse.format(), *row.nme.format(100), *shares)
        )
    return align_columns(rows, (20, 8, 10, 22, 10, 18, *[12] * len(at)))


def _describe_images(results: dict[str, Any], num_images: int) -> list[str]:
    """Returns the lines above a table about its intervals and rejected rows, then an empty one."""
    intervals = describe_intervals(num_images, results["groups"])
    return [intervals, *describe_invalid_rows(results["rejected"]), ""]


def metric_rows(results: dict[str, Any]) -> Iterator[MetricRow]:
    """Yields MSE and NME over the requested points, over all points, and by region."""
    for title, suffix in [("requested points", "_asked"), ("all points", "")]:
        if f"mse{suffix}" not in results:
            continue
        mse, nme = f"mse{suffix}", f"nme{suffix}"
        yield MetricRow(title, _metric(results, mse), _metric(results, nme))
        for q in results[f"{mse}_percentiles"]:
            percentiles = (_metric(results, f"{name}_percentiles", q) for name in (mse, nme))
            yield MetricRow(f"  {q} % of images are below", *percentiles)
    for name, region in results.get("regions", {}).items():
        yield MetricRow(name, _metric(region, "mse"), _metric(region, "nme"))


def point_rows(results: dict[str, Any]) -> Iterator[MetricRow]:
    """Yields MSE and NME of each point, if the results have them, by the points' names."""
    for name, point in results.get("by_point", {}).items():
        yield MetricRow(printable(name), _metric(point, "mse"), _metric(point, "nme"))


def metrics_to_dataframe(results: dict[str, Any]) -> "pandas.DataFrame":
    """Returns the metrics of `scoring.evaluate` as a pandas DataFrame, for notebooks.

    Args:
        results: what `evaluate` returned, or its JSON line.

    Returns:
        A DataFrame with a row for the requested points, all points, each percentile, each region
        and, if there are any, each point ("point " and its name), indexed by their titles, and the
        columns `mse`, `mse_low`, `mse_high` (photo px²),
        `nme`, `nme_low` and `nme_high` (fractions). low and high are the ends of the 95 %
        confidence interval. What is unknown is NaN.
    """
    import pandas

    columns = ["mse", "mse_low", "mse_high", "nme", "nme_low", "nme_high"]
    unknown = [None, None]
    of_points = (row._replace(title=f"point {row.title}") for row in point_rows(results))
    rows = {
        row.title.strip(): [
            *(row.mse.value, *(row.mse.interval or unknown)),
            *(row.nme.value, *(row.nme.interval or unknown)),
        ]
        for row in itertools.chain(metric_rows(results), of_points)
    }
    return pandas.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)


def _metric(results: dict[str, Any], name: str, q: str | None = None) -> Metric:
    """Returns a metric, or its percentile `q`."""
    value, interval = results.get(name), results.get(f"{name}_interval")
    if q and value:
        return Metric(value[q], interval and interval[q])
    return Metric(value, interval)


def format_comparison(results: dict[str, Any]) -> str:
    """Returns the results of `scoring.compare` as aligned lines and a conclusion in words."""
    lines = [f"{results['images']:,} images", *describe_missing(results)]
    lines += _describe_images(results, results["images"])
    rows = [("", "MSE, px²", "interval")]
    for title, name in [
        (Path(results["a"]).name, "mse_a"),
        (Path(results["b"]).name, "mse_b"),
        ("difference, second - first", "difference"),
        ("ratio, second / first", "ratio"),
    ]:
        metric = _metric(results, name)
        if metric.value is not None:
            rows.append((title, *metric.format()))
    lines += align_columns(rows, (28, 10, 22))
    return "\n".join([*lines, "", _conclusion(results)])


def _conclusion(results: dict[str, Any]) -> str:
    a, b, (low, high) = results["a"], results["b"], results["difference_interval"]
    chance = f"it is the better one in {100 * results['probability_b_better']:.1f} % of the draws"
    if high < 0:
        return f"{b} is better than {a}: its MSE is {-high:.3f} to {-low:.3f} px² lower; {chance}"
    if low > 0:
        return f"{b} is worse than {a}: its MSE is {low:.3f} to {high:.3f} px² higher; {chance}"
    return (
        f"{b} may be as good as {a}: its MSE is anything from {-low:.3f} px² lower"
        f" to {high:.3f} higher; {chance}"
    )


def format_ensemble(results: dict[str, Any]) -> str:
    """Returns the scores of `ensemble` as aligned lines: each model's and the combination's."""
    num_images = results["scored_images"]
    lines = [f"{num_images:,} images scored", *describe_missing(results)]
    lines += _describe_images(results, num_images)
    weights = results["weights"] or [None] * results["models"]
    rows = [("", "weight", "MSE, px²", "interval")]
    for model, weight in [
        *zip(results["mse_of_models"], weights, strict=True),
        (results | {"file": results["combine"]}, None),
    ]:
        weight = "" if weight is None else f"{weight:.3f}"
        rows.append((Path(model["file"]).name, weight, *_metric(model, "mse").format()))
    if best := results.get("against_best"):
        difference = _metric(best, "difference").format()
        rows.append(("difference from the best model", "", *difference))
    return "\n".join([*lines, *align_columns(rows, (28, 8, 10, 22))])
