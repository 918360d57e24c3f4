"""Finds the labels of a dataset that are probably wrong.

Every label gets a score for each of three reasons, in robust standard deviations:

    misplaced    its points do not fit the image, or fit better elsewhere; see `placement`
    shape        its points do not have the shape of a face; see `label_scores.shape_scores`
    jagged       one of its curves is jagged; see `label_scores.jaggedness_scores`

Missing points are filled in where the face's other points and the other faces put them, so that
they neither count for a label nor against it. A face that has none of the points that are compared
for the first two reasons is average by both, with a score of 0.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks.cleaning import label_scores, placement
from keras_landmarks.cleaning.placement import LabelInImage, Placement
from keras_landmarks.contest import listed_images, table_files
from keras_landmarks.input.samples import Samples
from keras_landmarks.layouts import gaps, layout
from keras_landmarks.utils.parallel import parallel_map
from keras_landmarks.utils.progress import progress

_MAX_TRAINING_IMAGES = 20_000  # are enough to learn from
_MIN_FACES = 30  # show the range of faces


class Scores(NamedTuple):
    """How suspicious each row is for one reason: (n,) scores, and details for each row."""

    reason: str
    scores: np.ndarray
    details: list[str]


class Suspects(NamedTuple):
    """The suspicion of each of n rows, by all reasons.

    Attributes:
        scores: (n,), each row's highest score; of a suspect, among the reasons that it is one for.
        reasons: for each row the reasons with details; "" if the row is not a suspect.
        ranking: all rows, the suspects first, by falling score.
        counts: the number of suspects for each reason.
    """

    scores: np.ndarray
    reasons: list[str]
    ranking: list[int]
    counts: dict[str, int]

    @property
    def rows(self) -> list[int]:
        """The rows that are suspects, the worst first."""
        return [row for row in self.ranking if self.reasons[row]]


def find_suspects(
    samples: Samples, predicted_px: np.ndarray | None = None, processes: int | None = None
) -> Suspects:
    """Scores every label and finds those that are probably wrong.

    Args:
        samples: n labelled images; every point must have a place in one of them.
        predicted_px: (n, k, 2) predictions, tried as a better place for the points; or None.
        processes: worker processes.
    """
    if len(samples) < _MIN_FACES:
        logging.warning(
            "%d faces are too few to tell wrong labels from rare ones: listed labels may be right",
            len(samples),
        )
    labels, rows = samples.landmarks_photo_px, np.arange(len(samples))
    if samples.num_missing:
        # Only the points that are compared: to fill in a thousand takes minutes.
        chosen = placement.choose_points(labels[:_MAX_TRAINING_IMAGES])
        labels = labels[:, chosen]
        rows = _rows_with_points(labels)
        labels = gaps.fill_gaps(labels[rows])
        predicted_px = None if predicted_px is None else predicted_px[rows][:, chosen]
    names = [samples.file_names[row] for row in rows]
    compared = [
        _misplacement_scores(samples.image_folder, names, labels, predicted_px, processes),
        _shape_scores(labels),
    ]
    by_reason = [_over_all_rows(reason, rows, len(samples)) for reason in compared]
    by_reason.append(_jaggedness_scores(samples.landmarks_photo_px))
    scores = np.array([reason.scores for reason in by_reason])
    suspicious = scores >= [[label_scores.threshold(row)] for row in scores]
    # A suspect's score is the highest of those that make it one.
    counted = np.where(suspicious | ~suspicious.any(axis=0), scores, -np.inf)
    suspicion = counted.max(axis=0)
    return Suspects(
        scores=suspicion,
        reasons=[
            "; ".join(
                f"{reason.reason}: {reason.details[row]}"
                for reason, counts in zip(by_reason, suspicious[:, row], strict=True)
                if counts
            )
            for row in range(len(samples))
        ],
        ranking=np.lexsort((-suspicion, ~suspicious.any(axis=0))).tolist(),
        counts={
            reason.reason: int(rows.sum())
            for reason, rows in zip(by_reason, suspicious, strict=True)
        },
    )


def write_suspects(path: Path, samples: Samples, suspects: Suspects) -> None:
    """Writes the table of suspects, the worst first: file name, row, score, reason."""
    cells = [
        (
            samples.file_names[row],
            str(samples.lines[row]),
            f"{suspects.scores[row]:.1f}",
            suspects.reasons[row],
        )
        for row in suspects.rows
    ]
    table_files.write_rows(path, ("file_name", "row", "score", "reason"), cells)


def _rows_with_points(landmarks_px: np.ndarray) -> np.ndarray:
    """Returns the rows (m,) of (n, p, 2) landmarks that have a point; logs how many have none."""
    num_rows, num_points = landmarks_px.shape[:2]
    rows = np.flatnonzero(gaps.count_missing(landmarks_px) < num_points)
    if num_others := num_rows - len(rows):
        logging.warning(
            "%d of %d faces have none of the %d points that are compared: only their curves are"
            " judged",
            *(num_others, num_rows, num_points),
        )
    return rows


def _over_all_rows(reason: Scores, rows: np.ndarray, num_rows: int) -> Scores:
    """Returns the scores of these rows among those of all rows, where the others are average: 0."""
    scores, details = np.zeros(num_rows), [""] * num_rows
    scores[rows] = reason.scores
    for row, detail in zip(rows, reason.details, strict=True):
        details[row] = detail
    return Scores(reason.reason, scores, details)


# ── misplaced ──


class _Task(NamedTuple):
    """An image and its label, as worker processes get them."""

    folder: Path
    name: str
    label: LabelInImage
    row: int


def _misplacement_scores(
    image_folder: Path,
    file_names: list[str],
    labels: np.ndarray,
    predicted_px: np.ndarray | None,
    processes: int | None,
) -> Scores:
    """Scores by how badly the points fit the image, and how much better they fit elsewhere.

    No point may be missing from the labels (n, p, 2) of the n images.
    """
    rows = np.arange(len(file_names))
    training_rows = np.sort(np.random.default_rng(0).permutation(rows)[:_MAX_TRAINING_IMAGES])
    chosen = placement.choose_points(labels[training_rows])

    def tasks(rows: np.ndarray) -> Iterator[_Task]:
        for row in rows.tolist():
            predicted = None if predicted_px is None else predicted_px[row]
            label = placement.normalise_label(labels[row], chosen, predicted)
            yield _Task(image_folder, file_names[row], label, row)

    examples = parallel_map(_make_examples, tasks(training_rows), processes)
    weights = placement.fit_weights(progress(examples, "learning", "images", len(training_rows)))
    placements = parallel_map(functools.partial(_find_placement, weights), tasks(rows), processes)
    placements = list(progress(placements, "looking", "images", len(rows)))
    misfits = label_scores.standardise(-np.array([place.fit for place in placements]))
    gains = label_scores.standardise(np.array([place.gain for place in placements]))
    details = [_describe(place) for place in placements]
    return Scores("misplaced", np.maximum(misfits, gains), details)


def _make_examples(task: _Task) -> tuple[int, np.ndarray, np.ndarray]:
    image = listed_images.read_image(task.folder, task.name)
    fold = placement.fold_of(task.row)
    return fold, *placement.make_examples(image, task.label, seed=task.row)


def _find_placement(weights: np.ndarray, task: _Task) -> Placement:
    image = listed_images.read_image(task.folder, task.name)
    return placement.find_placement(image, task.label, weights[placement.fold_of(task.row)])


def _describe(place: Placement) -> str:
    if place.gain <= 0:
        return "does not fit the picture"
    if place.move is None:
        return "fits better as predicted"
    x, y, turn, log_scale = place.move
    moves = {
        f"{np.hypot(x, y):.0%} of the face away": np.hypot(x, y) > 0.01,
        f"turned by {np.degrees(turn):.0f} degrees": turn != 0,
        f"{np.exp(log_scale):.2f} times as large": log_scale != 0,
    }
    return "fits better " + ", ".join(text for text, applies in moves.items() if applies)


# ── shape and curves ──


def _shape_scores(labels: np.ndarray) -> Scores:
    return Scores("shape", label_scores.shape_scores(labels), ["unlike the others"] * len(labels))


def _jaggedness_scores(labels: np.ndarray) -> Scores:
    is_contest = labels.shape[1] == layout.CONTEST_POINTS
    regions = layout.REGIONS if is_contest else label_scores.find_curves(labels)
    return Scores("jagged", *label_scores.jaggedness_scores(labels, regions))
