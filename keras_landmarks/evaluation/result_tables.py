"""The results of `evaluate`, `compare` and `ensemble` as tables: text, and a pandas DataFrame."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_landmarks.evaluation.formatting import (
    describe_intervals,
    describe_invalid_rows,
    format_image_count,
    format_interval,
)
from keras_landmarks.utils.text_tables import align_columns

if TYPE_CHECKING:  # Takes half a second to import; only `metrics_to_dataframe` needs it.
    import pandas

_ABOUT_NME = (
    "NME: mean distance / sqrt(width x height) of the box around all true points of the face"
)
_NO_NME = "NME: none, because faces of one or two points have no size to divide by"


class Metric(NamedTuple):
    """A metric and its 95 % interval, [low, high]; either is None if there is none."""

    value: float | None
    interval: list[float] | None

    def format(self, scale: float = 1) -> tuple[str, str]:
        """Returns the value and the interval, times `scale`, as texts."""
        if self.value is None:
            return "", ""
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
        _ABOUT_NME if {"nme", "nme_asked"} & results.keys() else _NO_NME,
        *_describe_images(results, results["images"]),
    ]
    rows = [(row.title, *row.mse.format(), *row.nme.format(100)) for row in metric_rows(results)]
    header = ("", "MSE, px²", "interval", "NME, %", "interval")
    lines += align_columns([header, *rows], (28, 10, 22, 10, 18))
    if "auc_at_0.07" in results:
        lines += [
            "",
            f"{'area under the curve of images by NME, 0 to 7 %':50}{results['auc_at_0.07']:8.4f}",
            f"{'share of images with an NME over 7 %':50}{results['failure_rate_at_0.07']:8.4f}",
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
    return "\n".join(lines)


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


def metrics_to_dataframe(results: dict[str, Any]) -> "pandas.DataFrame":
    """Returns the metrics of `scoring.evaluate` as a pandas DataFrame, for notebooks.

    Args:
        results: what `evaluate` returned, or its JSON line.

    Returns:
        A DataFrame with a row for the requested points, all points, each percentile and each
        region, indexed by their titles, and the columns `mse`, `mse_low`, `mse_high` (photo px²),
        `nme`, `nme_low` and `nme_high` (fractions). low and high are the ends of the 95 %
        confidence interval. What is unknown is NaN.
    """
    import pandas

    columns = ["mse", "mse_low", "mse_high", "nme", "nme_low", "nme_high"]
    unknown = [None, None]
    rows = {
        row.title.strip(): [
            *(row.mse.value, *(row.mse.interval or unknown)),
            *(row.nme.value, *(row.nme.interval or unknown)),
        ]
        for row in metric_rows(results)
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
    lines = [f"{results['images']:,} images", *_describe_images(results, results["images"])]
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
    lines = [f"{num_images:,} images scored", *_describe_images(results, num_images)]
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
