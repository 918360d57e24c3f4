"""Finds labels that are probably wrong: rows of train/landmarks.csv.

A row is suspect for one of three reasons, each a score in robust standard deviations:

    misplaced    its points do not fit the picture, or fit better elsewhere, turned or at another
                 size, by what the other images teach (see `data.placement`); with --predictions
                 of the train split, its points lie elsewhere than the model has them
    shape        its points make no face like the others, wherever they lie
    jagged       one of its curves is jagged

From which score on a row is listed follows from the scores themselves: of those listed, at most a
tenth is expected to be sound. --suspects gets the rows, worst first: file name, row (the line in
its table), score, reason; `train --exclude` takes it. --out gets a picture of the worst rows,
listed or not.

Examples:

    python -m keras_landmarks.find_bad_labels --data=contest --suspects=suspects.tsv
    python -m keras_landmarks.train --data=contest --exclude=suspects.tsv
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from keras_landmarks import config
from keras_landmarks.data import contest, label_scores, layout, placement
from keras_landmarks.data.placement import Face, Place
from keras_landmarks.data.samples import Samples, load_samples
from keras_landmarks.errors import InputError
from keras_landmarks.files import write_whole
from keras_landmarks.parallel import parallel_map
from keras_landmarks.progress import progress
from keras_landmarks.reports import drawing, matching

FLAGS = config.use(
    "data", "prepared", "predictions", "layout", "suspects", "out", "count", "processes"
)

_LEARN_FROM = 20_000  # images are enough to learn from
_TILES_ACROSS = 8


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
    samples = load_samples(Path(FLAGS.data), "train", Path(FLAGS.prepared))
    return find_bad_labels(
        samples,
        Path(FLAGS.suspects),
        Path(FLAGS.out),
        predictions=Path(FLAGS.predictions) if FLAGS.predictions else None,
        regions=_regions(samples),
        count=FLAGS.count,
        processes=FLAGS.processes,
    )


def find_bad_labels(
    samples: Samples,
    suspects: Path,
    out: Path,
    predictions: Path | None = None,
    regions: dict[str, slice] | None = None,
    count: int = 24,
    processes: int | None = None,
) -> dict:
    """Writes the table of suspects and a picture of the `count` worst rows.

    Without `regions` the curves are found from the labels.

    Returns:
        Figures: rows, suspects, and of these how many for each reason.

    Raises:
        InputError: the predictions are broken, lack an image, or have other points.
    """
    labels = samples.landmarks_photo_px
    if predictions:
        misplaced = _against_predictions(samples, predictions)
    else:
        misplaced = _against_pictures(samples, processes)
    shape = Scores("shape", label_scores.shape_scores(labels), ["unlike the others"] * len(labels))
    regions = regions or label_scores.find_curves(labels)
    jagged = Scores("jagged", *label_scores.jaggedness_scores(labels, regions))
    reasons = [misplaced, shape, jagged]
    scores = np.array([reason.scores for reason in reasons])
    listed = scores >= [[label_scores.threshold(row)] for row in scores]
    # What is listed first, each by the highest of the scores that count.
    highest = np.where(listed.any(axis=0), np.where(listed, scores, -np.inf), scores).max(axis=0)
    worst = np.lexsort((-highest, ~listed.any(axis=0)))
    texts = [_say(reasons, listed[:, row], row) for row in range(len(labels))]
    rows = [
        (samples.file_names[row], str(samples.lines[row]), f"{highest[row]:.1f}", texts[row])
        for row in worst
        if texts[row]
    ]
    contest.write_rows(suspects, ["file_name", "row", "score", "reason"], rows)
    _draw(samples, out, worst[:count], highest, texts)
    by_reason = {reason.reason: int(row.sum()) for reason, row in zip(reasons, listed, strict=True)}
    return {
        "rows": len(labels),
        "suspects": len(rows),
        **by_reason,
        "table": str(suspects),
        "out": str(out),
    }


def _regions(samples: Samples) -> dict[str, slice] | None:
    if FLAGS.layout:
        return layout.read_regions(Path(FLAGS.layout), samples.points)
    return layout.REGIONS if samples.points == layout.CONTEST_POINTS else None


# ── misplaced ──


def _against_pictures(samples: Samples, processes: int | None) -> Scores:
    """Scores by how badly the points fit, and how much better they would fit elsewhere."""
    labels, step = samples.landmarks_photo_px, -(-len(samples) // _LEARN_FROM)
    chosen = placement.choose_points(labels[::step])

    def tasks(rows: range) -> Iterator[Task]:
        for row in rows:
            face = placement.face(labels[row], chosen)
            yield Task(samples.image_folder, samples.file_names[row], face, row)

    learned_from, all_rows = range(0, len(samples), step), range(len(samples))
    lessons = progress(
        parallel_map(_lesson, tasks(learned_from), processes),
        "learning from",
        "images",
        len(learned_from),
    )
    weights = placement.learn(lessons)
    look = functools.partial(_best_place, weights)
    places = list(
        progress(
            parallel_map(look, tasks(all_rows), processes), "looking at", "images", len(all_rows)
        )
    )
    misfits = label_scores.standardise(-np.array([place.fit for place in places]))
    gains = label_scores.standardise(np.array([place.gain for place in places]))
    return Scores("misplaced", np.maximum(misfits, gains), [_describe(place) for place in places])


def _lesson(task: Task) -> tuple[int, np.ndarray, np.ndarray]:
    image = contest.read_image(task.folder, task.name)
    return placement.fold(task.row), *placement.lesson(image, task.face, task.row)


def _best_place(weights: np.ndarray, task: Task) -> Place:
    image = contest.read_image(task.folder, task.name)
    return placement.best_place(image, task.face, weights[placement.fold(task.row)])


def _describe(place: Place) -> str:
    if place.gain <= 0:
        return "does not fit the picture"
    x, y, turn, scale = place.move
    moves = {
        f"{np.hypot(x, y):.0%} of the face away": np.hypot(x, y) > 0,
        f"turned by {np.degrees(turn):.0f} degrees": turn != 0,
        f"{np.exp(scale):.2f} times as large": scale != 0,
    }
    return "fits better " + ", ".join(text for text, is_so in moves.items() if is_so)


def _against_predictions(samples: Samples, predictions: Path) -> Scores:
    """Scores by how far the middle of the points lies from that of the predicted ones."""
    table = contest.read_predictions(predictions)
    if table.points.shape[1] != samples.points:
        raise InputError(
            f"{predictions}: {table.points.shape[1]} points an image, the labels have"
            f" {samples.points}"
        )
    rows = matching.find_rows(table.file_names, samples.file_names, predictions)
    matching.check_finite(table.points, table.file_names, predictions)
    labels = samples.landmarks_photo_px
    shifts = np.array([table.points[row] for row in rows]).mean(axis=1) - labels.mean(axis=1)
    shares = np.linalg.norm(shifts, axis=1) / placement.face_sizes(labels)
    texts = [f"{share:.0%} of the face from the prediction" for share in shares]
    return Scores("misplaced", label_scores.standardise(shares), texts)


# ── what is written ──


def _say(reasons: list[Scores], listed: np.ndarray, row: int) -> str:
    """Returns the reasons for which a row is listed; "" if it is not."""
    return "; ".join(
        f"{reason.reason}: {reason.particulars[row]}"
        for reason, is_so in zip(reasons, listed, strict=True)
        if is_so
    )


def _draw(
    samples: Samples, out: Path, rows: np.ndarray, scores: np.ndarray, texts: list[str]
) -> None:
    tiles, titles = [], []
    for row in rows.tolist():
        photo = contest.read_image(samples.image_folder, samples.file_names[row])
        label = f"{scores[row]:.1f} {texts[row] or 'not listed'}"
        tiles.append(drawing.draw_tile(photo, samples.landmarks_photo_px[row], label))
        titles.append(samples.file_names[row])
    sheet = drawing.contact_sheet(tiles, titles, _TILES_ACROSS)
    write_whole(out, cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


if __name__ == "__main__":
    config.run(main)
