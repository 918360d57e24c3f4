"""Predicts the landmarks of a split with a trained model's best weights.

Writes the contest's CSV (the points that test_points.csv asks for, whole photo pixels) and an .npz
with all points of every image (float32 photo pixels). An image that does not decode is given the
mean of the other predictions, so that the CSV stays complete, and is listed in a file beside it.

Example:

    python -m keras_landmarks.predict --workdir=work --data=contest --submission=submission.csv
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks import compilation_cache, config, huge_pages
from keras_landmarks.data import contest, geometry
from keras_landmarks.data.contest import Reject, TestPoints
from keras_landmarks.data.geometry import Framing
from keras_landmarks.errors import InputError
from keras_landmarks.progress import progress

FLAGS = config.use(
    "workdir",
    "data",
    "split",
    "submission",
    "predictions",
    "rounding",
    "batch_size",
    "strict",
    "compilation_cache",
)


def main(_) -> dict:
    """Reads the flags, predicts, returns the figures."""
    config.require("data")
    huge_pages.use()
    compilation_cache.use(FLAGS.compilation_cache)
    workdir, split = Path(FLAGS.workdir), FLAGS.split
    return predict(
        workdir,
        Path(FLAGS.data),
        split,
        submission=Path(FLAGS.submission or workdir / f"{split}_submission.csv"),
        predictions=Path(FLAGS.predictions or workdir / f"{split}_predictions.npz"),
        rounding=FLAGS.rounding,
        batch_size=FLAGS.batch_size,
        strict=FLAGS.strict,
    )


def predict(
    workdir: Path,
    data: Path,
    split: str,
    submission: Path,
    predictions: Path,
    rounding: str = "round",
    batch_size: int = 256,
    strict: bool = False,
) -> dict:
    """Predicts every image that the split's test_points.csv names and writes both files.

    Returns:
        Figures: images, rejected, rate, the files.

    Raises:
        InputError: a file is missing or wrong, or a point is asked that the model does not have.
    """
    # Not at the top: --help does without Keras.
    from keras_landmarks.models.folding import fold_batch_norm
    from keras_landmarks.models.spec import load_trained

    image_folder = contest.find_image_folder(data, split)
    asked = contest.read_test_points(contest.find_test_points(data, split))
    spec, model = load_trained(workdir)
    _check_indices(asked, spec.points)
    names = asked.file_names
    started = time.monotonic()
    model = fold_batch_norm(model)
    landmarks, rejects = _predict_images(model, image_folder, names, spec.image_size, batch_size)
    seconds = time.monotonic() - started
    if rejects:
        _stand_in(landmarks, rejects, names, submission, strict)
    contest.write_predictions(predictions, names, landmarks)
    to_whole = np.rint if rounding == "round" else np.trunc
    chosen = zip(landmarks, asked.point_indices, strict=True)
    points = (to_whole(face[indices]) for face, indices in chosen)
    contest.write_submission(submission, names, points)
    return {
        "images": len(landmarks),
        "rejected": len(rejects),
        "images_per_s": round(len(landmarks) / seconds, 1),
        "submission": str(submission),
        "predictions": str(predictions),
    }


def _check_indices(asked: TestPoints, points: int) -> None:
    for name, indices in zip(asked.file_names, asked.point_indices, strict=True):
        if indices.max() >= points:
            raise InputError(f"{name}: point {indices.max()} is asked; the model has {points}")
        if len(indices) != len(asked.point_indices[0]):
            raise InputError(
                f"{name}: {len(indices)} points are asked, {len(asked.point_indices[0])} of others"
            )


def _predict_images(
    model, image_folder: Path, file_names: Sequence[str], crop_size: int, batch_size: int
) -> tuple[np.ndarray, dict[str, Reject]]:
    """Returns landmarks (n, k, 2) float32 in photo pixels and the images that are broken."""
    from keras_landmarks.data import pipeline

    rejects = {}
    batches = pipeline.prediction_batches(
        image_folder,
        file_names,
        crop_size,
        min(batch_size, len(file_names)),
        on_reject=lambda reject: rejects.update({reject.file_name: reject}),
    )
    landmarks = []
    arrays = progress(batches.as_numpy_iterator(), "predicting", "batches", len(batches))
    for images, scale, offset in arrays:
        landmarks_crop_px = model.predict_on_batch(images)
        landmarks.append(geometry.to_photo(landmarks_crop_px, Framing(scale, offset)))
    return np.concatenate(landmarks)[: len(file_names)], rejects


def _stand_in(
    landmarks: np.ndarray,
    rejects: dict[str, Reject],
    file_names: Sequence[str],
    submission: Path,
    strict: bool,
) -> None:
    """Puts the mean of the other predictions where the image was broken."""
    first = next(iter(rejects.values()))
    broken = np.array([name in rejects for name in file_names])
    if strict or broken.all():
        raise InputError(f"{first.reason} ({len(rejects)} of {len(file_names)} images are broken)")
    landmarks[broken] = landmarks[~broken].mean(axis=0)
    table = submission.with_name(f"{submission.stem}_rejects.csv")
    contest.write_rejects(table, rejects.values())
    logging.warning(
        "%d images are broken and got the mean of the others' points; %s lists them",
        len(rejects),
        table,
    )


if __name__ == "__main__":
    config.run(main)
