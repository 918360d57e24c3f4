"""The report's sections about a training run: its curves, flags and versions."""

import json
from typing import Any

import numpy as np

from keras_landmarks.contest.table_files import printable
from keras_landmarks.reports import charts
from keras_landmarks.reports.page import Chart, Section, Tile
from keras_landmarks.reports.training_run import TrainingRun
from keras_landmarks.utils.progress import format_duration

_MAX_VALUE_LENGTH = 100  # characters of a flag or fact


def run_tiles(run: TrainingRun) -> list[Tile]:
    """Returns the headline numbers of a run, for a report without a score."""
    if not run.history:
        return []
    done, _, planned = run.progress.partition(" of ")
    tiles = [Tile("Epochs", done, f"of {planned} epochs" if planned else "")]
    for title, column in [("training loss", "loss"), ("validation loss", "val_loss")]:
        if np.isfinite(values := run.column(column)).any():
            epoch = int(np.nanargmin(values))
            tiles.append(Tile(f"Lowest {title}", f"{values[epoch]:.4g}", f"in epoch {epoch + 1}"))
    rates = run.column("images_per_s")
    if np.isfinite(rates).any():
        tiles.append(Tile("Images a second", f"{np.nanmedian(rates):,.0f}", "median epoch"))
    return tiles


def training_sections(run: TrainingRun) -> list[Section]:
    """Returns the sections with a run's learning curves: one for each stage."""
    training = _training_section(run, "Training")
    if run.first is None:
        return [training]
    size = printable(str(run.first.model.get("image_size", "?")).replace("x", " x "))
    return [_training_section(run.first, f"First training, crops of {size} px"), training]


def _training_section(run: TrainingRun, title: str) -> Section:
    if not run.history:
        return Section(title, ["No epochs are recorded: history.csv is missing or empty."])
    squared = "² " if run.flags.get("loss") == "mse" else " "
    loss_note = (
        f"{run.flags.get('loss', '')}, in px{squared}of the {run.flags.get('loss_unit', '')}"
    )
    curves = [
        _curve(run, "Loss", "loss", unit="", note=loss_note if "loss" in run.flags else ""),
        _curve(
            run,
            "Squared error",
            "mse",
            unit="MSE, px² of the photo",
            note="The contest's unit, over all points.",
        ),
        _curve(
            run, "Learning rate", "learning_rate", unit="", note="At the last step of each epoch."
        ),
    ]
    text = _training_text(run)
    return Section(title, [text], charts=[curve for curve in curves if curve])


def _training_text(run: TrainingRun) -> str:
    flags = run.flags
    seconds = run.column("seconds")
    took = f", in {format_duration(seconds.sum())}" if np.isfinite(seconds).all() else ""
    text = f"Epochs done: {run.progress}{took}."
    loss = run.column("loss")
    averages = any(_number(flags, name) for name in ("ema_momentum", "average_last_epochs"))
    if np.isfinite(loss).any():
        best = int(np.nanargmin(loss))
        text += (
            f" The training loss was lowest, {loss[best]:.4g}, in epoch {best + 1};"
            f" predictions use {'the average of the' if averages else 'its'} weights"
            f"{' up to it, and so does validation' if averages else ''}."
        )
    if flags.get("augment_online") and np.isfinite(run.column("val_loss")).any():
        text += " Training uses augmented images, validation the original ones."
    waiting = run.column("waiting")
    if np.isfinite(waiting).any():
        text += f" {100 * np.nanmean(waiting):.1f} % of the time was spent waiting for data."
    return text


def _curve(run: TrainingRun, title: str, column: str, unit: str, note: str) -> Chart | None:
    columns = {"training": column, "validation": f"val_{column}"}
    series = {name: run.column(column) for name, column in columns.items()}
    series = {name: values for name, values in series.items() if np.isfinite(values).any()}
    if not series:
        return None
    ends = [f"{name} {values[0]:.4g} to {values[-1]:.4g}" for name, values in series.items()]
    alt = f"{title} over {len(run.history)} epochs, from the first to the last: {'; '.join(ends)}."
    svg = charts.over_epochs(series, unit, steps=column == "learning_rate")
    return Chart(title, svg, alt, note)


def _number(flags: dict[str, str], name: str) -> float:
    try:
        return float(flags.get(name, 0))
    except ValueError:
        return 0.0


def run_section(run: TrainingRun, scored_files: dict[str, str]) -> Section:
    """Returns the section with a run's flags, model and versions, and the files that were scored.

    `scored_files` has a path for each flag that names one.
    """
    lists = {"Flags": [printable(line) for line in run.flag_lines]} if run.flag_lines else {}
    facts = {"Model": run.model, "Versions": run.versions, "Scored": scored_files}
    for title, values in facts.items():
        if values:
            lists[title] = [f"{printable(name)}: {_short(value)}" for name, value in values.items()]
    unknown = ["The versions used for training are unknown: the run did not record them."]
    return Section("The run", [] if run.versions else unknown, lists=lists)


def _short(value: Any) -> str:
    text = printable(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= _MAX_VALUE_LENGTH else text[:_MAX_VALUE_LENGTH] + " …"
