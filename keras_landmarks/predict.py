"""Predicts the landmarks of a split with a trained model's best weights.

Writes the contest's CSV (the points that test_points.csv asks for, whole photo pixels) and an .npz
with all points of every image (float32 photo pixels) and, if the model tells it, how sure it is of
each (`sigmas`, the standard deviation of a coordinate). Of a split without test_points.csv, such as
train, the images that its landmarks.csv names are predicted, and there is no CSV. An image that
cannot be used is given the mean shape of the other predictions, scaled to its width and height (or
to the others' median ones, if its file does not tell them), so that the files stay complete, and is
listed in a table beside them.
--only predicts the images of the split that a table names: work/validation.csv, say.
With --tta several views of an image are predicted, their points brought back, and the mean taken.
A run that was killed, started again, goes on with the batch that it was at.

Example:

    python -m keras_landmarks.predict --workdir=work --data=contest --submission=submission.csv
"""

import json
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks import config
from keras_landmarks.contest import (
    invalid_samples,
    landmark_tables,
    listed_images,
    locations,
    prediction_files,
    requested_points,
    table_files,
)
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.requested_points import TestPoints
from keras_landmarks.images.geometry import CropTransform
from keras_landmarks.layouts import mirror
from keras_landmarks.utils import compilation_cache
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import Journal, fingerprint, resumable_folder, write_json
from keras_landmarks.utils.progress import progress

_FORMAT = 3  # rises when the same model and images come to mean other predictions


@dataclass(frozen=True)
class PredictSettings:
    """How to predict: the values of the flags of these names."""

    batch_size: int = 256
    tta: str = "none"
    mirror: str | None = None
    rounding: str = "round"
    strict: bool = False


FLAGS = config.use(
    "workdir",
    "data",
    "split",
    "submission",
    "predictions",
    "only",
    PredictSettings,
    "compilation_cache",
)


def main(_) -> dict:
    """Reads the flags, predicts, returns the figures."""
    config.require("data")
    config.use_huge_pages()
    compilation_cache.use(FLAGS.compilation_cache)
    workdir, split = Path(FLAGS.workdir), FLAGS.split
    return predict(
        workdir,
        Path(FLAGS.data),
        split,
        submission=Path(FLAGS.submission) if FLAGS.submission else None,
        predictions=Path(FLAGS.predictions or workdir / f"{split}_predictions.npz"),
        settings=config.read(PredictSettings),
        only=Path(FLAGS.only) if FLAGS.only else None,
    )


def predict(
    workdir: Path,
    data: Path,
    split: str,
    submission: Path | None,
    predictions: Path,
    settings: PredictSettings = PredictSettings(),
    only: Path | None = None,
) -> dict:
    """Predicts every image that the split's table names; writes the predictions and the CSV.

    The CSV is `<split>_submission.csv` in the work directory if `submission` is None. Without a
    test_points.csv the table is landmarks.csv, and there is no CSV; nor with `only`, a table of the
    images to predict.

    Returns:
        Figures: images, rejected, rate, the files; None for a CSV that was not written.

    Raises:
        InputError: as `predict_images`, or a table is missing or wrong, or a submission is wanted
            where there is no test_points.csv or not all images are predicted.
    """
    image_folder = locations.find_image_folder(data, split)
    table = locations.find_test_points_or_landmarks(data, split)
    names, lines, asked = _read_table(table)
    if only:
        rows = _rows_in(only, names, table)
        names, lines = [names[row] for row in rows], [lines[row] for row in rows]
        asked = None
    if not asked:
        if submission:
            why = f"{only} may lack" if only else f"{data / split} has no test_points.csv to say"
            raise InputError(
                f"--submission={submission}: {why} what is asked; leave --submission out"
            )
        return predict_images(workdir, image_folder, names, lines, predictions, settings)
    wanted = asked, submission or workdir / f"{split}_submission.csv"
    return predict_images(workdir, image_folder, names, lines, predictions, settings, wanted)


def predict_images(
    workdir: Path,
    image_folder: Path,
    names: Sequence[str],
    lines: Sequence[int],
    predictions: Path,
    settings: PredictSettings,
    wanted: tuple[TestPoints, Path] | None = None,
) -> dict:
    """Predicts these images of a folder and writes the predictions (.npz).

    `lines` says where the table has each name, for the list of broken images. With `wanted`, the
    points asked of each image and a path, the contest's CSV is written there. With `mirror` in
    `settings.tta` the model's own mirror map counts, and `settings.mirror`, `contest` or a file,
    where it was trained without one.

    Returns:
        Figures, as `predict`.

    Raises:
        InputError: a file is missing or wrong, a point is asked that the model does not have, or
            there is no mirror map.
    """
    # Not at the top: --help does without Keras.
    from keras_landmarks.inference.predictor import Predictor
    from keras_landmarks.models import spec as model_spec
    from keras_landmarks.models.pretrained import BEST_WEIGHTS

    batch_size = min(settings.batch_size, len(names))
    used = [workdir.resolve() / name for name in (model_spec.FILE_NAME, BEST_WEIGHTS)]
    folder = image_folder.resolve()
    used.extend(os.path.join(folder, name) for name in names)
    predictor = Predictor(workdir, settings.tta, settings.mirror)
    spec, mirror_map = predictor.spec, mirror.as_json(predictor.mirror_map)
    if wanted:
        check_indices(wanted[0], spec.points)
    key = fingerprint(used, batch_size, _FORMAT, settings.tta, mirror_map)
    batch = np.dtype((np.float32, (batch_size, spec.points, predictor.numbers)))
    with resumable_folder(predictions, key) as scratch, Journal(scratch / "batches", batch) as done:
        left = names[len(done) * batch_size :]
        started = time.monotonic()
        notes = scratch / "rejects.json"
        broken = _predict_rest(predictor, image_folder, names, done, notes)
        images_per_s = len(left) / (time.monotonic() - started)
        predicted = done.read().reshape(-1, *batch.shape[1:])[: len(names)]
        if broken:
            rejects = [InvalidSample(names[row], lines[row], why) for row, why in broken.items()]
            _refuse(rejects, len(names), settings.strict)
            stand_in(predicted, broken.keys(), image_folder, names)
            _list_rejects(rejects, beside=wanted[1] if wanted else predictions)
        landmarks = predicted[..., :2]
        sigmas = predicted[..., 2] if spec.uncertainty else None
        prediction_files.write(predictions, names, landmarks, sigmas)
        if wanted:
            asked, submission = wanted
            points = asked_points(landmarks, asked, settings.rounding)
            landmark_tables.write_submission(submission, names, points)
    return {
        "images": len(landmarks),
        "rejected": len(broken),
        "images_per_s": round(images_per_s, 1),
        "submission": str(wanted[1]) if wanted else None,
        "predictions": str(predictions),
    }


def _read_table(path: Path) -> tuple[list[str], list[int], TestPoints | None]:
    """Returns the images to predict and the line of each.

    Besides, unless the table is a landmarks.csv, what is asked of them.
    """
    if path.name != "landmarks.csv":
        asked = requested_points.read_test_points(path)
        return asked.file_names, asked.lines, asked
    if line_of := table_files.read_lines(path):
        return list(line_of), list(line_of.values()), None
    raise InputError(f"{path}: there is no row under the header")


def _rows_in(only: Path, names: list[str], table: Path) -> list[int]:
    """Returns those of the table's names, as places in their list, that the table `only` has."""
    listed = set(table_files.read_names(only))
    if unknown := listed.difference(names):
        raise InputError(f"{only}: {min(unknown)} is not in {table}; is --split right?")
    if not listed:
        raise InputError(f"{only}: names no image")
    return [row for row, name in enumerate(names) if name in listed]


def check_indices(asked: TestPoints, points: int) -> None:
    """Raises InputError if a point over the model's `points` is asked, or more of one image."""
    for name, indices in zip(asked.file_names, asked.point_indices, strict=True):
        if indices.max() >= points:
            raise InputError(f"{name}: point {indices.max()} is asked; the model has {points}")
        if len(indices) != len(asked.point_indices[0]):
            raise InputError(
                f"{name}: {len(indices)} points are asked, {len(asked.point_indices[0])} of others"
            )


def _predict_rest(
    predictor, image_folder: Path, file_names: Sequence[str], done: Journal, notes: Path
) -> dict[int, str]:
    """Adds the batches that `done` lacks: (N, k, 2 or 3) float32 in photo pixels.

    They are landmarks, with their standard deviations if the model tells its uncertainty.

    Returns which images are broken, as places in the list of names, in order, and why. They are of
    all batches: `notes` remembers them.
    """
    from keras_landmarks.input import pipeline

    batch_size = done.record.shape[0]
    first = len(done) * batch_size
    broken = _read_broken(notes)
    noted = len(broken)
    batches = pipeline.prediction_batches(
        image_folder,
        file_names[first:],
        predictor.spec.frame,
        batch_size,
        on_reject=lambda index, reason: broken.update({first + index: reason}),
    )
    arrays = progress(batches.as_numpy_iterator(), "predicting", "batches", len(batches))
    for images, scale, offset in arrays:
        predicted = predictor(images, CropTransform(scale, offset))
        if len(told := list(broken.items())) > noted:  # before the batch: what is done is known
            write_json(notes, told)
            noted = len(told)
        done.append(predicted)
    return dict(sorted(broken.items()))


def _read_broken(path: Path) -> dict[int, str]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def asked_points(landmarks: np.ndarray, asked: TestPoints, rounding: str) -> Iterator[np.ndarray]:
    """Yields the points (p, 2) asked of each image, as whole numbers."""
    for face, indices in zip(landmarks, asked.point_indices, strict=True):
        yield whole_px(face[indices], rounding)


def whole_px(points: np.ndarray, rounding: str) -> np.ndarray:
    """Returns the coordinates as whole numbers, by `round` or by `truncate`."""
    return np.rint(points) if rounding == "round" else np.trunc(points)


def _refuse(rejects: list[InvalidSample], images: int, strict: bool) -> None:
    """Raises InputError if all images are broken or, where it is `strict`, any is."""
    if strict or len(rejects) == images:
        name, _, reason = rejects[0]
        raise InputError(f"{name}: {reason} ({len(rejects)} of {images} images are broken)")


def stand_in(
    predicted: np.ndarray, broken: Collection[int], image_folder: Path, file_names: Sequence[str]
) -> None:
    """Gives broken images the mean shape of the others, in place; it lies within their photos.

    The mean is of coordinates over the photo's width and height. It is scaled by the size that the
    header of the broken file tells or, where it tells none, by the others' median size.

    Args:
        predicted: (n, k, 2), or (n, k, 3) with standard deviations, in photo pixels.
        broken: rows of it.
        image_folder: where the photos are.
        file_names: their n names.
    """
    sizes = list(listed_images.read_listed_sizes(image_folder, file_names))
    sound = [row for row, size in enumerate(sizes) if row not in broken and not _is_reason(size)]
    total = np.zeros(predicted.shape[1:])
    for row in sound:
        total += predicted[row] / _units(sizes[row], predicted.shape[-1])
    usual_size = np.median([sizes[row] for row in sound], axis=0) // 1
    for row in broken:
        size = usual_size if _is_reason(sizes[row]) else sizes[row]
        predicted[row] = total / len(sound) * _units(size, predicted.shape[-1])
        points = predicted[row, :, :2]
        np.clip(points, 0, np.subtract(size, 1), out=points)


def _is_reason(size: tuple[int, int] | str) -> bool:
    return isinstance(size, str)


def _units(size_px: Sequence[float], numbers: int) -> np.ndarray:
    """Returns what x, y and, of three numbers, the standard deviation of both is a share of."""
    width, height = size_px
    return np.array([width, height, np.sqrt(width * height)][:numbers])


def _list_rejects(rejects: list[InvalidSample], beside: Path) -> None:
    table = beside.with_name(f"{beside.stem}_rejects.csv")
    invalid_samples.write_invalid_samples(table, rejects)
    logging.warning(
        "%d images are broken and got the mean shape of the others; %s lists them",
        len(rejects),
        table,
    )


if __name__ == "__main__":
    config.run(main)
