"""Writes the report of a training run, with or without a score, as one HTML page."""

import functools
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_landmarks.contest import listed_images, locations, table_files
from keras_landmarks.contest.point_names import find_names, point_labels
from keras_landmarks.evaluation import scoring
from keras_landmarks.evaluation.formatting import round_floats
from keras_landmarks.evaluation.scoring import ScoredPredictions
from keras_landmarks.models import packaged
from keras_landmarks.reports import run_sections, score_sections
from keras_landmarks.reports.page import Page, Section, render
from keras_landmarks.reports.training_run import TrainingRun, read_training_run
from keras_landmarks.settings import FigureSettings
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_atomically

_RETURNED_METRICS = ("images", "rejected", "mse", "nme")


def write_report(
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
    figures: FigureSettings = scoring.DEFAULT_FIGURES,
) -> dict[str, Any]:
    """Writes the page `html` about a work directory and, with a truth, about predictions.

    Args:
        workdir: work directory of a training run.
        html: the page to write.
        predictions: predictions (.npz) to score; needs `truth`.
        truth: table of true landmarks; needs `predictions`.
        test_points: as in `scoring.evaluate`.
        groups: as in `scoring.evaluate`.
        layout: as in `scoring.evaluate`; also for the mirror map.
        images: folder of the photos; None for the one beside `truth`.
        seed: of the bootstrap.
        partial: as in `scoring.evaluate`.
        only: as in `scoring.evaluate`.
        figures: as in `scoring.evaluate`; headlines and the error curve use the first threshold.

    Returns:
        `html`, its `bytes`, `epochs` done; with a truth `images`, rows of it `rejected`, `mse` and
        `nme`.

    Raises:
        InputError: there is no run; only one of predictions and truth is given; a file is damaged
            or does not match the others; or `images` has none of the photos to show.
    """
    if (predictions is None) != (truth is None):
        raise InputError("--predictions and --truth: give both, or neither for the run alone")
    packaged.require_folder(workdir, "a report")
    run = read_training_run(workdir)
    tiles, about_score, metrics = run_sections.run_tiles(run), [], {}
    if truth:
        scored = scoring.score_predictions(
            truth, predictions, False, test_points, groups, layout, seed, partial, only, figures
        )
        _validate_scored(scored, run)
        metrics = scored.metrics
        tiles = score_sections.score_tiles(scored)
        photos = images or locations.find_photos(truth, None, None)
        about_score = _score_sections(scored, run, layout, photos)
    files = {"predictions": predictions, "truth": truth, "test_points": test_points}
    files |= {"groups": ", ".join(map(str, groups)), "layout": layout, "only": only}
    scored_files = {name: str(path) for name, path in files.items() if path}
    page = Page(
        title=table_files.printable("/".join(workdir.resolve().parts[-2:])),
        lead=_lead(run),
        tiles=tiles,
        sections=[
            *about_score,
            *run_sections.training_sections(run),
            run_sections.run_section(run, scored_files),
        ],
        version=importlib.metadata.version("keras_landmarks"),
    )
    content = render(page).encode()
    write_atomically(html, content)
    results = {"html": str(html), "bytes": len(content), "epochs": len(run.history)}
    results |= {name: metrics[name] for name in _RETURNED_METRICS if name in metrics}
    return round_floats(results)


def _validate_scored(scored: ScoredPredictions, run: TrainingRun) -> None:
    if scored.face_sizes_px is None:
        raise InputError(
            f"{scored.truth.path}: a report divides errors by the faces' sizes, which two points"
            " lack; evaluate gives their MSE"
        )
    num_landmarks = scored.metrics["points"]
    expected = run.model.get("points", num_landmarks)
    if expected != num_landmarks:
        raise InputError(
            f"{scored.truth.path}: {num_landmarks} points, the model of {run.workdir} has"
            f" {expected}; --workdir must be the run that the predictions are of"
        )


def _score_sections(
    scored: ScoredPredictions, run: TrainingRun, layout: Path | None, photos: Path | None
) -> list[Section]:
    num_landmarks = scored.truth.num_landmarks
    mirror_map = run.mirror_map(num_landmarks, layout)
    labels = point_labels(find_names(scored.truth.path, num_landmarks, layout), num_landmarks)
    sections = [
        score_sections.score_section(scored, run.count_training_images(scored.truth)),
        score_sections.error_by_point_section(scored, mirror_map, labels),
        score_sections.error_by_pose_section(scored, mirror_map),
    ]
    if scored.predictions.sigmas_px is not None:
        sections.append(score_sections.calibration_section(scored, mirror_map, labels))
    read = functools.partial(listed_images.read_image, photos) if photos else None
    return [*sections, score_sections.faces_section(scored, read)]


def _lead(run: TrainingRun) -> str:
    """Returns the line under the title: the model, its points, its input size, the epochs."""
    model = run.model
    parts = [str(model["model"])] if "model" in model else []
    if "points" in model:
        parts.append(f"{model['points']} points")
    if "image_size" in model:
        parts.append(f"input {str(model['image_size']).replace('x', ' x ')} px")
    parts.append(f"{run.progress} epoch{'s' * (run.progress != '1')}")
    return table_files.printable(", ".join(parts))
