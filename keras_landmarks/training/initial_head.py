"""The head that a training begins with, if a trained model gave the other initial weights."""

import numpy as np
from absl import logging

from keras_landmarks.evaluation import metrics
from keras_landmarks.input.pipeline import ImageSet
from keras_landmarks.layouts.gaps import rows_to_add
from keras_landmarks.models.keras_models import load_trained
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.spec import has_spec, read_spec
from keras_landmarks.settings import TrainSettings
from keras_landmarks.training import head_transfer

_CHECKED_PHOTOS = 64
_STRANGE_NME = 0.2  # the mean face has about 0.1, points in another order 0.3 and more


def begin(network: keras.Model, settings: TrainSettings, photos: ImageSet) -> None:
    """Begins the head from the head of the model that gave the initial weights.

    Args:
        network: with its initial weights and, in a shape head, its basis.
        settings: the settings of the training.
        photos: the training photos, each once: copies would stay when one is left out of a fit.
    """
    source = settings.initial_weights
    if source in ("none", "imagenet") or not has_spec(source):
        return
    trained_spec, spec = read_spec(source), read_spec(settings.files.workdir)
    has_same_points = trained_spec.has_points_of(spec)
    if head_transfer.is_possible(trained_spec, spec):
        _, trained = load_trained(source)
        if has_same_points:
            head_transfer.take_head(network, trained)
        else:
            _fit_head(network, trained, photos, source)
    if has_same_points and trained_spec.head == spec.head and not settings.first_stage():
        _check_landmarks(network, photos, source)


def _fit_head(network: keras.Model, trained: keras.Model, photos: ImageSet, source: str) -> None:
    rows = _spread_rows(photos, head_transfer.MAX_PHOTOS)
    crops, landmarks_crop_px, _ = photos.load(rows)
    if more := rows_to_add(landmarks_crop_px, photos.landmarks()):
        crops, landmarks_crop_px, _ = photos.load(np.concatenate([rows, more]))
    error_px = head_transfer.fit_head(network, trained, crops, landmarks_crop_px)
    logging.info(
        "the new head begins as a linear function of the points of %s, fitted to %d photos:"
        " it is off by %.2f px of the crop on photos that are left out",
        *(source, len(crops), error_px),
    )


def _check_landmarks(network: keras.Model, photos: ImageSet, source: str) -> None:
    """Warns if points that have no names seem to be in another order than the trained model's."""
    crops, landmarks_crop_px, _ = photos.load(_spread_rows(photos, _CHECKED_PHOTOS))
    predicted = network.predict_on_batch(crops)[..., :2]
    distances_px = metrics.point_distances(predicted, landmarks_crop_px)
    nme = np.nanmean(distances_px / metrics.face_sizes(landmarks_crop_px)[:, None])
    if nme > _STRANGE_NME:
        logging.warning(
            "before the training the points of %s are off by %.0f %% of the face's size: do your"
            " points come in the same order?",
            *(source, 100 * nme),
        )


def _spread_rows(photos: ImageSet, count: int) -> np.ndarray:
    """Returns at most so many rows, evenly spread."""
    return np.arange(len(photos))[:: -(-len(photos) // count)]
