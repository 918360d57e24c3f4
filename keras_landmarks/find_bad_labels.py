"""Finds labels that are probably wrong: rows of train/landmarks.csv.

A row is suspect for one of three reasons, each a score in robust standard deviations:

    misplaced    its points do not fit the picture, or fit better elsewhere, turned or at another
                 size, by what the other images teach (see `data.placement`); with --predictions,
                 where a model has them is tried, too
    shape        its points make no face like the others, wherever they lie
    jagged       one of its curves is jagged

From which score on a row is listed follows from the scores themselves: of those listed, at most a
tenth is expected to be sound. --suspects gets the rows, worst first: file name, row (the line in
its table), score, reason; `train --exclude` takes it. --out gets a picture of the worst rows,
listed or not. --predictions is optional; `predict --split=train` makes it.

Examples:

    python -m keras_landmarks.find_bad_labels --data=contest --suspects=suspects.tsv
    python -m keras_landmarks.train --data=contest --exclude=suspects.tsv
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.cleaning import label_scores, placement
from keras_landmarks.cleaning.placement import Face, Place
from keras_landmarks.contest import listed_images, prediction_files, table_files
from keras_landmarks.evaluation import matching
from keras_landmarks.images import drawing
from keras_landmarks.input.samples import Samples, load_samples, warn_of_rejects
from keras_landmarks.layouts import layout
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress

FLAGS = config.use("data", "prepared", "predictions", "suspects", "out", "count", "processes")

_LEARN_FROM = 20_000  # images are enough to learn from
_TILES_ACROSS = 8
_FEWEST_FACES = 30  # show what faces are like


class Scores(NamedTuple):
    """How suspicious each row is for one reason: (n,) scores, and what to say of each row."""

    reason: str
    scores: np.ndarray
    particulars: list[str]


class Task(NamedTuple):
    """An image and its label, as worker processes get them."""

    folder: Path
    name: str
    face: Face
    row: int


def main(_) -> dict:
    """Reads the flags, looks for wrong labels, returns the figures."""
    config.require("data")
    out = Path(FLAGS.out or drawing.FILE_NAME)
    drawing.check_sheet_name(out)
    samples = load_samples(Path(FLAGS.data), "train", Path(FLAGS.prepared))
    warn_of_rejects(samples)
    return find_bad_labels(
        samples,
        Path(FLAGS.suspects),
        out,
        predictions=Path(FLAGS.predictions) if FLAGS.predictions else None,
        count=FLAGS.count,
        processes=FLAGS.processes,
    )


def find_bad_labels(
    samples: Samples,
    suspects: Path,
    out: Path,
    predictions: Path | None = None,
    count: int = 24,
    processes: int | None = None,
) -> dict:
    """Writes the table of suspects and a picture of the `count` worst rows.

    Returns:
        Figures: rows, rows that are `rejected` as `train` rejects them, suspects, and of these how
        many for each reason.

    Raises:
        InputError: the predictions are broken, lack an image, or have other points.
    """
    predicted = _read_predictions(samples, predictions) if predictions else None
    if len(samples) < _FEWEST_FACES:
        logging.warning(
            "%d faces are too few to tell wrong labels from rare ones: what is listed may be right",
            len(samples),
        )
    reasons = [
        _misplaced(samples, predicted, processes),
        _unlike(samples),
        _jagged(samples),
    ]
    scores = np.array([reason.scores for reason in reasons])
    listed = scores >= [[label_scores.threshold(row)] for row in scores]
    suspicion = _suspicion(scores, listed)
    texts = [_say(reasons, listed[:, row], row) for row in range(len(samples))]
    # What is listed first.
    worst = np.lexsort((-suspicion, ~listed.any(axis=0)))
    rows = [row for row in worst.tolist() if texts[row]]
    _write_suspects(suspects, samples, rows, suspicion, texts)
    _draw(out, samples, worst[:count].tolist(), suspicion, texts)
    counts = {r.reason: int(found.sum()) for r, found in zip(reasons, listed, strict=True)}
    files = {"table": str(suspects), "out": str(out)}
    rejected = len(samples.rejects)
    return {
        "rows": len(samples),
        "rejected": rejected,
        "suspects": len(rows),
        **counts,
        **files,
    }


def _read_predictions(samples: Samples, path: Path) -> np.ndarray:
    """Returns the predicted points of each sample, (n, k, 2)."""
    table = prediction_files.read(path)
    if table.points.shape[1] != samples.points:
        raise InputError(
            f"{path}: {table.points.shape[1]} points an image, the labels have {samples.points}"
        )
    matching.check_finite(table.points, table.file_names, path)
    return table.points[matching.find_rows(table.file_names, samples.file_names, path)]


# ── reasons ──


def _misplaced(samples: Samples, predicted: np.ndarray | None, processes: int | None) -> Scores:
    """Scores by how badly the points fit, and how much better they would fit elsewhere."""
    labels, rows = samples.landmarks_photo_px, np.arange(len(samples))
    learned_from = np.sort(np.random.default_rng(0).permutation(rows)[:_LEARN_FROM])
    chosen = placement.choose_points(labels[learned_from])

    def tasks(rows: np.ndarray) -> Iterator[Task]:
        for row in rows.tolist():
            also = None if predicted is None else predicted[row]
            face = placement.face(labels[row], chosen, also)
            yield Task(samples.image_folder, samples.file_names[row], face, row)

    lessons = parallel_map(_lesson, tasks(learned_from), processes)
    weights = placement.learn(progress(lessons, "learning", "images", len(learned_from)))
    looks = parallel_map(functools.partial(_best_place, weights), tasks(rows), processes)
    places = list(progress(looks, "looking", "images", len(rows)))
    misfits = label_scores.standardise(-np.array([place.fit for place in places]))
    gains = label_scores.standardise(np.array([place.gain for place in places]))
    return Scores("misplaced", np.maximum(misfits, gains), [_describe(place) for place in places])


def _lesson(task: Task) -> tuple[int, np.ndarray, np.ndarray]:
    image = listed_images.read_image(task.folder, task.name)
    return placement.fold(task.row), *placement.lesson(image, task.face, task.row)


def _best_place(weights: np.ndarray, task: Task) -> Place:
    image = listed_images.read_image(task.folder, task.name)
    return placement.best_place(image, task.face, weights[placement.fold(task.row)])


def _describe(place: Place) -> str:
    if place.gain <= 0:
        return "does not fit the picture"
    if place.move is None:
        return "fits better as predicted"
    x, y, turn, scale = place.move
    moves = {
        f"{np.hypot(x, y):.0%} of the face away": np.hypot(x, y) > 0.01,
        f"turned by {np.degrees(turn):.0f} degrees": turn != 0,
        f"{np.exp(scale):.2f} times as large": scale != 0,
    }
    return "fits better " + ", ".join(text for text, is_so in moves.items() if is_so)


def _unlike(samples: Samples) -> Scores:
    scores = label_scores.shape_scores(samples.landmarks_photo_px)
    return Scores("shape", scores, ["unlike the others"] * len(samples))


def _jagged(samples: Samples) -> Scores:
    labels, is_contest = samples.landmarks_photo_px, samples.points == layout.CONTEST_POINTS
    regions = layout.REGIONS if is_contest else label_scores.find_curves(labels)
    return Scores("jagged", *label_scores.jaggedness_scores(labels, regions))


def _suspicion(scores: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Returns each row's highest score, of those that count if it is listed: (n,)."""
    counted = np.where(listed | ~listed.any(axis=0), scores, -np.inf)
    return counted.max(axis=0)


def _say(reasons: list[Scores], listed: np.ndarray, row: int) -> str:
    """Returns the reasons for which a row is listed; "" if it is not."""
    return "; ".join(
        f"{reason.reason}: {reason.particulars[row]}"
        for reason, is_so in zip(reasons, listed, strict=True)
        if is_so
    )


# ── what is written ──


def _write_suspects(
    path: Path, samples: Samples, rows: list[int], suspicion: np.ndarray, texts: list[str]
) -> None:
    cells = [
        (samples.file_names[row], str(samples.lines[row]), f"{suspicion[row]:.1f}", texts[row])
        for row in rows
    ]
    table_files.write_rows(path, ("file_name", "row", "score", "reason"), cells)


def _draw(
    path: Path, samples: Samples, rows: list[int], suspicion: np.ndarray, texts: list[str]
) -> None:
    tiles = []
    for row in rows:
        photo = listed_images.read_image(samples.image_folder, samples.file_names[row])
        label = f"{suspicion[row]:.1f} {texts[row] or 'not listed'}"
        # No wider than high: a wrong point makes a crop wide, and cells are as wide as the widest.
        tiles.append(drawing.draw_tile(photo, samples.landmarks_photo_px[row], label, widest=1))
    titles = [samples.file_names[row] for row in rows]
    drawing.write_sheet(path, drawing.contact_sheet(tiles, titles, _TILES_ACROSS))


if __name__ == "__main__":
    config.run(main)
