"""Writes a report of a training run as one HTML page, to look at, print and send.

    python -m keras_landmarks.report --workdir=work

The page has the run's flags and versions, and its curves. With predictions and the true points it
also has the score with its intervals, the errors by region, by point, by face size and by pose, how
sure the model is (if the predictions say so), and the best, median and worst faces:

    python -m keras_landmarks.report --workdir=work --predictions=work/test_predictions.npz \\
        --truth=faces/test/test_landmarks.csv

Photos are looked for in the folder `images` beside --truth, or in --data and --split. It holds all
it shows, the photos too: whoever has the file can see them. --only scores the images that a table
names and no others: work/validation.csv, those that training held out.
"""

import functools
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_landmarks import config, evaluate
from keras_landmarks.contest import listed_images, locations, table_files
from keras_landmarks.evaluation.formatting import round_floats
from keras_landmarks.layouts import mirror
from keras_landmarks.reports import sections
from keras_landmarks.reports.page import Page, Section, render
from keras_landmarks.reports.sections import Scored
from keras_landmarks.training.history import HISTORY_FILE, VALIDATION_FILE, read_history
from keras_landmarks.training.versions import VERSIONS_FILE
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

FLAGS = config.use(
    "workdir",
    "html",
    "predictions",
    "truth",
    "test_points",
    "groups",
    "only",
    "partial",
    "layout",
    "data",
    "split",
    "seed",
)
_FLAGFILE, _MODEL_FILE = "flags.cfg", "model.json"
_REPORTED = ("images", "rejected", "mse", "nme")


def main(_) -> dict[str, Any]:
    """Reads the flags, writes the page, and returns the figures."""
    paths = config.read_paths("predictions", "truth", "test_points", "groups", "layout", "only")
    workdir = Path(FLAGS.workdir)
    split = FLAGS.split if FLAGS["split"].present else None
    data = Path(FLAGS.data) if FLAGS.data else None
    images = locations.find_photos(paths.get("truth"), data, split)
    html = Path(FLAGS.html or workdir / "report.html")
    others = {"images": images, "seed": FLAGS.seed, "partial": FLAGS.partial}
    return report(workdir, html, **paths, **others)


def report(
    workdir: Path,
    html: Path,
    predictions: Path | None = None,
    truth: Path | None = None,
    test_points: Path | None = None,
    groups: Sequence[Path] = (),
    layout: Path | None = None,
    images: Path | None = None,
    seed: int = 0,
    partial: bool = False,
    only: Path | None = None,
) -> dict[str, Any]:
    """Writes the page `html` of a work directory and, with a truth, of predictions (.npz).

    The others are as in `evaluate.evaluate`; `images` is the folder of the photos, None for the one
    beside `truth`.

    Returns:
        `html`, its `bytes`, `epochs` done; with a truth `images`, rows of it `rejected`, `mse` and
        `nme`.

    Raises:
        InputError: there is no run, one of predictions and truth is missing, a file is broken or
            does not fit the others, or `images` has none of the photos to show.
    """
    if (predictions is None) != (truth is None):
        raise InputError("--predictions and --truth: give both, or neither for the run alone")
    run = _read_run(workdir)
    tiles, about_score, figures = sections.run_tiles(run.history, run.flags), [], {}
    if truth:
        score = evaluate.score(
            truth, predictions, False, test_points, groups, layout, seed, partial, only
        )
        if score.face_size_px is None:
            raise InputError(
                f"{truth}: a report divides errors by the faces' sizes, which two points lack;"
                " evaluate gives their MSE"
            )
        points = run.model.get("points", score.figures["points"])
        if points != score.figures["points"]:
            raise InputError(
                f"{truth}: {score.figures['points']} points, the model of {workdir} has {points};"
                " --workdir must be the run that the predictions are of"
            )
        scored, figures = _as_scored(score, run, layout), score.figures
        tiles = sections.score_tiles(scored)
        about_score = _score_sections(scored, images or locations.find_photos(truth, None, None))
    files = {"predictions": predictions, "truth": truth, "test_points": test_points}
    files |= {"groups": ", ".join(map(str, groups)), "layout": layout, "only": only}
    page = Page(
        title=table_files.printable("/".join(workdir.resolve().parts[-2:])),
        lead=_lead(run),
        tiles=tiles,
        sections=[
            *about_score,
            sections.training(run.history, run.flags),
            sections.run(
                run.flagfile,
                {
                    "Model": run.model,
                    "Versions": run.versions,
                    "Scored": {name: str(path) for name, path in files.items() if path},
                },
            ),
        ],
        version=importlib.metadata.version("keras_landmarks"),
    )
    content = render(page).encode()
    write_atomically(html, content)
    known = {"html": str(html), "bytes": len(content), "epochs": len(run.history)}
    return round_floats(known | {name: figures[name] for name in _REPORTED if name in figures})


def _score_sections(scored: Scored, images: Path | None) -> list[Section]:
    chosen = [sections.score, sections.where, sections.when]
    if scored.sigmas_px is not None:
        chosen.append(sections.certainty)
    read = functools.partial(listed_images.read_image, images) if images else None
    return [*(section(scored) for section in chosen), sections.faces(scored, read)]


# ── the run ──


class _Run(NamedTuple):
    """What a work directory says, as far as it does: each may be empty."""

    workdir: Path
    history: list[dict[str, float]]
    flagfile: list[str]
    model: dict[str, Any]
    versions: dict[str, Any]

    @property
    def flags(self) -> dict[str, str]:
        """The flagfile's, by name."""
        pairs = (line.removeprefix("--").partition("=") for line in self.flagfile)
        return {name: value for name, _, value in pairs}

    def trained_on(self, truth: evaluate.Truth) -> int:
        """Returns how many of the truth's images were trained on: some if it is the run's own."""
        own = Path(self.flags.get("data", "")) / "train" / "landmarks.csv"
        held_out = self.workdir / VALIDATION_FILE
        if truth.path.resolve() != own.resolve() or not held_out.exists():
            return 0
        return len(set(truth.file_names).difference(table_files.read_names(held_out)))


def _read_run(workdir: Path) -> _Run:
    if not any((workdir / name).exists() for name in (HISTORY_FILE, _FLAGFILE, _MODEL_FILE)):
        raise InputError(f"{workdir}: no training run; --workdir must be a folder of `train`")
    flagfile = workdir / _FLAGFILE
    text = flagfile.read_text(errors="replace") if flagfile.exists() else ""
    return _Run(
        workdir,
        read_history(workdir / HISTORY_FILE),
        [line for line in text.splitlines() if line.strip()],
        _read_json(workdir / _MODEL_FILE),
        _read_json(workdir / VERSIONS_FILE),
    )


def _read_json(path: Path) -> dict[str, Any]:
    """Returns the object of a JSON file; an empty one if there is no such file."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: damaged (no object)")
    return value


def _lead(run: _Run) -> str:
    model = run.model
    said = [str(model["model"])] if "model" in model else []
    if "points" in model:
        said.append(f"{model['points']} points")
    if "image_size" in model:
        said.append(f"input {str(model['image_size']).replace('x', ' x ')} px")
    done = sections.epochs_done(run.history, run.flags)
    said.append(f"{done} epoch{'s' * (done != '1')}")
    return table_files.printable(", ".join(said))


# ── the score ──


def _as_scored(score: evaluate.Score, run: _Run, layout: Path | None) -> Scored:
    return Scored(
        file_names=score.true.file_names,
        groups=score.groups,
        predicted_px=score.predicted.points,
        true_px=score.true.points,
        sigmas_px=score.predicted.sigmas,
        distances=score.distances_px,
        face_size=score.face_size_px,
        figures=score.figures,
        rows=list(evaluate.table_rows(score.figures)),
        resamples=score.resamples,
        regions=score.regions,
        mirror_map=_mirror_map(run, layout, score.true.points.shape[1]),
        trained_on=run.trained_on(score.true),
    )


def _mirror_map(run: _Run, layout: Path | None, points: int) -> np.ndarray | None:
    """Returns the layout's map, the one that the model was trained with, the contest's, or none."""
    trained = run.model.get("mirror") if run.model.get("points") == points else None
    return mirror.known_map(points, layout, trained, str(run.workdir / _MODEL_FILE))


if __name__ == "__main__":
    config.run(main)
