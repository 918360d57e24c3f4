"""Labels that a better model has improved: the mean of a label and of that model's prediction.

A large model, or the mean of several, predicts the training images; a small one is trained on the
mean of its predictions and the labels. The mean has less noise than either, and the prediction
alone stands where a label lacks a landmark. Source of the idea: Hinton et al., "Distilling the
knowledge in a neural network", 2015.
"""

import dataclasses
from pathlib import Path

import numpy as np

from keras_landmarks.contest import prediction_files
from keras_landmarks.contest.checking import digest
from keras_landmarks.input.samples import Samples
from keras_landmarks.layouts import gaps
from keras_landmarks.utils.chunks import evenly_spread
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import short_hash

_CHECKED_IMAGES = 1000
_MOST_ERROR = 0.6  # of a teacher, relative to that of another image's labels


def teach(samples: Samples, rows: np.ndarray, predictions: Path) -> Samples:
    """Returns samples of which these rows have labels that are averaged with predictions.

    Args:
        samples: the samples.
        rows: the rows to train on; others keep their labels, so that scores stay comparable.
        predictions: a file that `predict` wrote, with these rows' images at least.

    Raises:
        InputError: the file is broken, lacks an image or has one twice, has another number of
            landmarks or some that are not finite, or does not look like the labels.
    """
    teacher = prediction_files.read(predictions)
    if (count := teacher.landmarks_photo_px.shape[1]) != samples.num_landmarks:
        raise InputError(
            f"--teacher={predictions}: {count} points, but the labels have {samples.num_landmarks}"
        )
    row_of = {name: row for row, name in enumerate(teacher.file_names)}
    if len(row_of) < len(teacher.file_names):
        raise InputError(f"--teacher={predictions}: it has an image twice")
    names = [samples.file_names[row] for row in rows]
    if missing := [name for name in names if name not in row_of]:
        raise InputError(
            f"--teacher={predictions}: {len(missing)} of {len(names)} training images are missing,"
            f" the first is {missing[0]}; make it with `predict --split=train`"
        )
    predicted = teacher.landmarks_photo_px[[row_of[name] for name in names]]
    landmarks = np.array(samples.landmarks_photo_px, np.float32)
    labels = landmarks[rows]
    sample = evenly_spread(len(rows), _CHECKED_IMAGES)
    if not np.isfinite(predicted).all():
        raise InputError(f"--teacher={predictions}: a coordinate is not finite")
    _check_teacher(predictions, predicted[sample], labels[sample])
    landmarks[rows] = np.where(np.isnan(labels), predicted, (labels + predicted) / 2)
    identity = digest(samples.fingerprint.encode(), landmarks.tobytes()).hex()
    return dataclasses.replace(
        samples,
        landmarks_photo_px=landmarks,
        num_missing=int(gaps.count_missing(landmarks).sum()),
        key=f"{samples.key}-{short_hash(identity)}",
        fingerprint=identity,
    )


def _check_teacher(path: Path, predicted_px: np.ndarray, labels_px: np.ndarray) -> None:
    """Raises InputError if predictions (n, k, 2) do not belong to the labels.

    Predictions of other images, or of points in another order, are as far from the labels as the
    labels of another image are.
    """
    if len(labels_px) < 2:
        return
    of_another_image = np.roll(labels_px, 1, axis=0)
    errors = [np.nanmedian(np.abs(other - labels_px)) for other in (predicted_px, of_another_image)]
    if errors[0] > _MOST_ERROR * errors[1]:
        raise InputError(
            f"--teacher={path}: it is off by {errors[0]:.3g} px, where the labels of another image"
            f" are off by {errors[1]:.3g}; are they predictions of these images and points?"
        )
