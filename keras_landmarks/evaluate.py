"""Scores predicted points against true ones, matched by file name.

All the points that `predict` writes, and with --test_points the asked ones too:

    python -m keras_landmarks.evaluate --predictions=work/predictions.npz \\
        --truth=faces/test/test_landmarks.csv --test_points=faces/test/test_points.csv

The contest's CSV is scored with --submission=work/submission.csv in place of --predictions. With
--data the mean shape of its train table is scored beside it: what one gets without looking.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_landmarks import config
from keras_landmarks.data import contest
from keras_landmarks.data.samples import Samples, load_samples
from keras_landmarks.errors import InputError
from keras_landmarks.reports import metrics

FLAGS = config.use("predictions", "submission", "truth", "test_points", "data", "split", "prepared")


def main(_) -> dict[str, Any]:
    """Reads the flags, prints the table, and returns the figures."""
    config.require("truth")
    names = ("truth", "predictions", "submission", "test_points")
    figures = evaluate(**{name: Path(FLAGS[name].value) for name in names if FLAGS[name].value})
    if FLAGS.data:
        samples = load_samples(Path(FLAGS.data), "train", Path(FLAGS.prepared))
        image_folder = contest.find_image_folder(Path(FLAGS.data), FLAGS.split)
        figures["mean_shape_mse"] = mean_shape_mse(samples, Path(FLAGS.truth), image_folder)
    print(table(figures))
    return _rounded(figures)


def evaluate(
    truth: Path,
    predictions: Path | None = None,
    submission: Path | None = None,
    test_points: Path | None = None,
) -> dict[str, Any]:
    """Scores either predictions (.npz) or a submission (CSV) against a table of true points.

    Every image of `truth` must be predicted; predictions of other images are counted and left out.

    Returns:
        `images`, `points` predicted of each, predicted images `without_truth`; with `predictions`
        the figures of `metrics.summary`; with `test_points` those of `metrics.asked_summary`.

    Raises:
        InputError: a file is broken or does not fit the others; the first such image is named.
    """
    if (predictions is None) == (submission is None):
        raise InputError("give either --predictions or --submission")
    if submission and not test_points:
        raise InputError("--submission needs --test_points: they say which points its columns are")
    true = contest.read_landmarks(truth)
    _check_unique(true.file_names, truth)
    face_sizes = _checked_face_sizes(true, truth)
    asked = _read_asked(test_points, true) if test_points else None
    if submission:
        predicted, source = contest.read_landmarks(submission), submission
    else:
        predicted, source = contest.read_predictions(predictions), predictions
    predicted_px = _match_predictions(predicted, true.file_names, source)
    counts = {
        "images": len(true.file_names),
        "points": predicted_px.shape[1],
        "without_truth": len(predicted.file_names) - len(true.file_names),
    }
    score = _score_submission if submission else _score_predictions
    return counts | score(predicted_px, true, face_sizes, asked, source)


def mean_shape_mse(samples: Samples, truth: Path, image_folder: Path) -> float:
    """Returns the MSE over all points, in photo pixels, of the samples' mean shape.

    The mean is of coordinates over the image's width and height.
    """
    true = contest.read_landmarks(truth)
    sizes_px = [contest.read_image(image_folder, name).shape[1::-1] for name in true.file_names]
    total = np.zeros(true.points.shape[1:])
    for landmarks, size in zip(samples.landmarks_photo_px, samples.sizes_px, strict=True):
        total += landmarks / size
    predicted_px = total / len(samples) * np.array(sizes_px)[:, None]
    return float(metrics.image_mse(metrics.point_distances(predicted_px, true.points)).mean())


def _score_predictions(
    predicted_px: np.ndarray,
    true: contest.LandmarkTable,
    face_sizes: np.ndarray,
    asked: list[np.ndarray] | None,
    source: Path,
) -> dict[str, Any]:
    if predicted_px.shape != true.points.shape:
        predicted, expected = predicted_px.shape[1], true.points.shape[1]
        raise InputError(f"{source}: {predicted} points an image, the truth has {expected}")
    distances = metrics.point_distances(predicted_px, true.points)
    figures = metrics.summary(distances, face_sizes)
    if asked:
        asked_distances = [row[indices] for row, indices in zip(distances, asked, strict=True)]
        figures |= metrics.asked_summary(asked_distances, face_sizes)
    return figures


def _score_submission(
    predicted_px: np.ndarray,
    true: contest.LandmarkTable,
    face_sizes: np.ndarray,
    asked: list[np.ndarray],
    source: Path,
) -> dict[str, Any]:
    for name, indices in zip(true.file_names, asked, strict=True):
        if len(indices) != predicted_px.shape[1]:
            raise InputError(
                f"{source}: {predicted_px.shape[1]} points an image, {len(indices)} asked of {name}"
            )
    asked_px = np.stack([row[indices] for row, indices in zip(true.points, asked, strict=True)])
    distances = metrics.point_distances(predicted_px, asked_px)
    return metrics.asked_summary(list(distances), face_sizes)


# ── files that fit each other ──


def _checked_face_sizes(true: contest.LandmarkTable, source: Path) -> np.ndarray:
    face_sizes = metrics.face_sizes(true.points)
    if not face_sizes.all():
        name = true.file_names[np.argmin(face_sizes)]
        raise InputError(f"{source}: the points of {name} span no area; NME needs a face's size")
    return face_sizes


def _read_asked(path: Path, true: contest.LandmarkTable) -> list[np.ndarray]:
    """Returns the asked point indices of each row of `true`."""
    table = contest.read_test_points(path)
    rows = _find_rows(table.file_names, true.file_names, path)
    asked = [table.point_indices[row] for row in rows]
    for name, indices in zip(true.file_names, asked, strict=True):
        if indices.max() >= true.points.shape[1]:
            raise InputError(
                f"{path}: point {indices.max()} is asked of {name},"
                f" the truth has 0 to {true.points.shape[1] - 1}"
            )
    return asked


def _match_predictions(
    predicted: contest.LandmarkTable, file_names: list[str], source: Path
) -> np.ndarray:
    """Returns the predicted points of `file_names`, in their order: (n, k, 2)."""
    points = predicted.points[_find_rows(predicted.file_names, file_names, source)]
    finite = np.isfinite(points).all(axis=(1, 2))
    if not finite.all():
        name = file_names[np.argmin(finite)]
        raise InputError(f"{source}: a predicted point of {name} is not a finite number")
    return points


def _find_rows(file_names: list[str], wanted: list[str], source: Path) -> list[int]:
    """Returns the row of each wanted name among `file_names`, which are those of `source`."""
    _check_unique(file_names, source)
    rows = {name: row for row, name in enumerate(file_names)}
    missing = [name for name in wanted if name not in rows]
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of {len(wanted)} images with truth are missing,"
            f" the first is {missing[0]}"
        )
    return [rows[name] for name in wanted]


def _check_unique(file_names: list[str], source: Path) -> None:
    if len(set(file_names)) < len(file_names):
        [(name, count)] = Counter(file_names).most_common(1)
        raise InputError(f"{source}: {name} is there {count} times; remove all rows of it but one")


# ── the table for people ──


def table(figures: dict[str, Any]) -> str:
    """Lays out what `evaluate` returns as aligned lines that say what each figure is."""
    lines = [
        f"{figures['images']:,} images, {figures['points']} points each;"
        f" {figures['without_truth']:,} more predicted without truth",
        "MSE: sum of squares over x and y / (2 x points), mean over the images",
        "NME: mean distance / sqrt(width x height) of the box around all true points of the face",
        "",
        f"{'':28}{'MSE, px²':>10}{'NME, %':>10}",
    ]
    lines += [f"{name:28}{mse:10.3f}{100 * nme:10.3f}" for name, mse, nme in _table_rows(figures)]
    if "auc_at_0.07" in figures:
        lines += [
            "",
            f"{'area under the curve of images by NME, 0 to 7 %':50}{figures['auc_at_0.07']:8.4f}",
            f"{'share of images with an NME over 7 %':50}{figures['failure_rate_at_0.07']:8.4f}",
        ]
    if "mean_shape_mse" in figures:
        lines.append(f"{'MSE of the mean shape, all points':50}{figures['mean_shape_mse']:8.3f}")
    return "\n".join(lines)


def _table_rows(figures: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    for title, mse, nme in [
        ("asked points", "mse_asked", "nme_asked"),
        ("all points", "mse", "nme"),
    ]:
        if mse in figures:
            yield title, figures[mse], figures[nme]
            for q, value in figures[f"{mse}_percentiles"].items():
                yield f"  {q} % of images are below", value, figures[f"{nme}_percentiles"][q]
    for name, region in figures.get("regions", {}).items():
        yield name, region["mse"], region["nme"]


def _rounded(figures: Any) -> Any:
    """Rounds every figure, at any depth, to 6 significant digits."""
    if isinstance(figures, dict):
        return {name: _rounded(value) for name, value in figures.items()}
    return float(f"{figures:.6g}") if isinstance(figures, float) else figures


if __name__ == "__main__":
    config.run(main)
