"""Predicts the images of a contest folder's split, and writes the predictions and a submission.

A run that was killed continues with the batch that it was at. Images that cannot be read get
imputed landmarks and are listed in a table.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from keras_landmarks.contest import (
    invalid_samples,
    landmark_tables,
    locations,
    prediction_files,
    requested_points,
    table_files,
)
from keras_landmarks.contest.invalid_samples import InvalidSample
from keras_landmarks.contest.requested_points import RequestedPointsTable
from keras_landmarks.inference.contest_splits.imputation import impute_mean_shape
from keras_landmarks.inference.contest_splits.resumable_prediction import (
    ImageList,
    journal_key,
    predict_in_batches,
)
from keras_landmarks.inference.contest_splits.second_look import look_again
from keras_landmarks.inference.contest_splits.submission import (
    requested_landmarks,
    validate_requested_landmarks,
)
from keras_landmarks.inference.predictor import Predictor
from keras_landmarks.inference.runtimes import load_for_splits
from keras_landmarks.layouts import layout
from keras_landmarks.models.packaged import output_folder
from keras_landmarks.models.spec import read_spec
from keras_landmarks.settings import PredictSettings
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.folders import resumable_folder

_DEFAULT_SETTINGS = PredictSettings()


class Submission(NamedTuple):
    """The submission to write: its path, and the landmarks requested of each image."""

    path: Path
    requested: RequestedPointsTable


def predict_split(
    workdir: str | Path,
    data: Path,
    split: str,
    submission: Path | None,
    predictions: Path,
    settings: PredictSettings = _DEFAULT_SETTINGS,
    only: Path | None = None,
) -> dict:
    """Predicts the images that the split's table lists.

    The table is test_points.csv or, where there is none, landmarks.csv. A submission needs
    test_points.csv and all of its images.

    Args:
        workdir: the model, as `runtimes.load_for_splits` takes it.
        data: the contest folder.
        split: name of the split, such as "test".
        submission: the submission to write; by default `<split>_submission.csv` in `workdir`.
        predictions: the .npz file to write.
        settings: how to predict.
        only: a table of the images to predict; by default all.

    Returns:
        The results of `predict_images`.

    Raises:
        InputError: as `predict_images`; or a table is missing or invalid; or `submission` is given
            where none can be written.
    """
    image_folder = locations.find_image_folder(data, split)
    table = locations.find_test_points_or_landmarks(data, split)
    images, requested = _read_image_list(table, image_folder)
    if only:
        images, requested = _select_images(images, only, table), None
    if requested:
        path = submission or output_folder(workdir) / f"{split}_submission.csv"
        return predict_images(workdir, images, predictions, settings, Submission(path, requested))
    if submission:
        reason = f"{only} may lack" if only else f"{data / split} has no test_points.csv to say"
        raise InputError(
            f"--submission={submission}: {reason} what is requested; leave --submission out"
        )
    return predict_images(workdir, images, predictions, settings)


def predict_images(
    workdir: str | Path,
    images: ImageList,
    predictions: Path,
    settings: PredictSettings,
    submission: Submission | None = None,
) -> dict:
    """Predicts the images of a list, and writes the predictions and, if given, the submission.

    Args:
        workdir: the model, as `runtimes.load_for_splits` takes it.
        images: the images to predict.
        predictions: the .npz file to write.
        settings: how to predict. `mirror` is used for `tta` with "mirror" if the model was
            trained without a mirror map: "contest" or the path of a JSON file.
        submission: the submission to write.

    Returns:
        The number of images, of those `rejected` and `looked_again` at, the rate, and the paths of
        the files written.

    Raises:
        InputError: a file is missing or invalid, a landmark is requested that the model does not
            have, there is no mirror map, or no image (with `strict`, not every image) is readable.
    """
    num_landmarks = read_spec(workdir).num_landmarks
    if settings.two_pass and num_landmarks != layout.CONTEST_POINTS:
        raise InputError(f"--two_pass: {workdir} has {num_landmarks} points, not the contest's")
    if submission:
        validate_requested_landmarks(submission.requested, num_landmarks)
    predictor = Predictor(*load_for_splits(workdir), settings.tta, settings.mirror)

    batch_size = min(settings.batch_size, len(images.file_names))
    key = journal_key(workdir, images, batch_size, settings.tta, predictor.mirror_map)
    with resumable_folder(predictions, key) as scratch:
        predicted, invalid, images_per_s = predict_in_batches(
            predictor, images, batch_size, scratch
        )
        looked_again = 0
        if settings.two_pass:
            looked_again = look_again(
                predictor, predicted, images.folder, images.file_names, invalid.keys(), batch_size
            )
        if invalid:
            output = submission.path if submission else predictions
            rejects_table = output.with_name(f"{output.stem}_rejects.csv")
            _impute_invalid(predicted, invalid, images, rejects_table, settings.strict)

        landmarks = predicted[..., :2]
        sigmas = predicted[..., 2] if predictor.spec.uncertainty else None
        imputed = [images.file_names[row] for row in invalid]
        prediction_files.write(
            predictions, images.file_names, landmarks, sigmas, predictor.spec.point_names, imputed
        )
        if submission:
            requested = requested_landmarks(landmarks, submission.requested, settings.rounding)
            landmark_tables.write_submission(submission.path, images.file_names, requested)
    return {
        "images": len(landmarks),
        "rejected": len(invalid),
        "looked_again": looked_again,
        "images_per_s": round(images_per_s, 1),
        "submission": str(submission.path) if submission else None,
        "predictions": str(predictions),
    }


def _read_image_list(
    table: Path, image_folder: Path
) -> tuple[ImageList, RequestedPointsTable | None]:
    """Returns the images that a table lists and, of test_points.csv, the landmarks requested."""
    if table.name != "landmarks.csv":
        requested = requested_points.read_test_points(table)
        return ImageList(image_folder, requested.file_names, requested.lines), requested
    if line_of := table_files.read_name_lines(table):
        return ImageList(image_folder, list(line_of), list(line_of.values())), None
    raise InputError(f"{table}: there is no row under the header")


def _select_images(images: ImageList, only: Path, table: Path) -> ImageList:
    """Returns the images that the table `only` lists, in the order of `table`."""
    selected = set(table_files.read_names(only))
    if unknown := selected.difference(images.file_names):
        raise InputError(f"{only}: {min(unknown)} is not in {table}; is --split right?")
    if not selected:
        raise InputError(f"{only}: names no image")
    rows = [row for row, name in enumerate(images.file_names) if name in selected]
    names, lines = ([column[row] for row in rows] for column in images[1:])
    return ImageList(images.folder, names, lines)


def _impute_invalid(
    predicted: np.ndarray,
    reasons: dict[int, str],
    images: ImageList,
    rejects_table: Path,
    strict: bool,
) -> None:
    """Imputes the landmarks of invalid images, in place, and lists these images in a table.

    Args:
        predicted: (n, k, 2 or 3), changed in the rows of invalid images.
        reasons: the reason why an image is invalid, by row.
        images: the n images.
        rejects_table: the table to write.
        strict: do not accept any invalid image.

    Raises:
        InputError: all images are invalid or, with `strict`, any is.
    """
    invalid = [
        InvalidSample(images.file_names[row], images.lines[row], reason)
        for row, reason in reasons.items()
    ]
    num_images = len(images.file_names)
    if strict or len(invalid) == num_images:
        name, _, reason = invalid[0]
        raise InputError(f"{name}: {reason} ({len(invalid)} of {num_images} images are invalid)")
    impute_mean_shape(predicted, reasons.keys(), images.folder, images.file_names)
    invalid_samples.write_invalid_samples(rejects_table, invalid)
    logging.warning(
        "%d invalid images got the mean shape of the others; %s lists them",
        len(invalid),
        rejects_table,
    )
