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
from keras_landmarks.utils.chunks import evenly_spread

_CHECKED_PHOTOS = 64
# As a share of the face's longer side: the mean face has about 0.1, points in another order 0.3.
_STRANGE_ERROR = 0.2


def begin(network: keras.Model, settings: TrainSettings, photos: ImageSet) -> None:
    """Begins the head from the head of the model that gave the initial weights.

    Args:
        network: with its initial weights and, in a shape head, its basis.
        settings: the settings of the training.
        photos: the training photos without repeats, which would make the error of photos that are
            left out of a fit too small.
    """
    source = settings.initial_weights
    if source in ("none", "imagenet") or not has_spec(source):
        return
    trained_spec, spec = read_spec(source), read_spec(settings.files.workdir)
    if not head_transfer.is_possible(trained_spec, spec):
        return
    if not spec.can_keep_head_of(trained_spec):
        _, trained = load_trained(source)
        if not head_transfer.is_for_same_views(trained_spec, spec):
            _fit_head(network, trained, photos, source)
            return
        head_transfer.take_head(network, trained)
        if trained_spec.image_size != spec.image_size:
            logging.info("the head of %s is adapted to crops of %s px", source, spec.image_size)
    if settings.first_stage() or (trained_spec.point_names and spec.point_names):
        return  # the same points without doubt
    _check_landmarks(network, photos, source)


def _fit_head(network: keras.Model, trained: keras.Model, photos: ImageSet, source: str) -> None:
    rows = evenly_spread(len(photos), head_transfer.MAX_PHOTOS)
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
    """Warns if the points seem to be in another order than the trained model's."""
    rows = evenly_spread(len(photos), _CHECKED_PHOTOS)
    crops, landmarks_crop_px, _ = photos.load(rows)
    predicted = network.predict_on_batch(crops)[..., :2]
    distances_px = metrics.point_distances(predicted, landmarks_crop_px)
    # Not the root of the box's area, which is small if all points lie nearly on one line.
    sizes_px = metrics.box_sides(landmarks_crop_px).max(axis=1)
    is_face = sizes_px > 0
    errors = np.nanmean(distances_px[is_face], axis=1) / sizes_px[is_face]
    if is_face.any() and np.median(errors) > _STRANGE_ERROR:
        logging.warning(
            "before the training the points of %s are off by %.0f %% of the face's size: do your"
            " points come in the same order?",
            *(source, 100 * np.median(errors)),
        )
