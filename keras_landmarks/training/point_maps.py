"""What a training has to know of its points: the mirror map, and a mean head to turn heads by.

Both are checked on training faces, because wrong ones would spoil the labels without an error.
"""

from pathlib import Path

import numpy as np
from absl import logging

from keras_landmarks.input.head_turning import CHECKED_FACES, find_head
from keras_landmarks.input.samples import Samples
from keras_landmarks.layouts import gaps, layout, mirror, mirror_estimation
from keras_landmarks.models import spec
from keras_landmarks.settings import TrainSettings
from keras_landmarks.utils.chunks import evenly_spread
from keras_landmarks.utils.errors import InputError


def choose_mirror_map(
    settings: TrainSettings, samples: Samples, train_rows: np.ndarray
) -> np.ndarray | None:
    """Returns the mirror map (k,) that `--mirror` names, checked on training faces, or None.

    A map that is found from the training faces is found once: a resumed training takes the one
    that it recorded, since other faces could give another map.

    Raises:
        InputError: images are mirrored and no map is given, or the map does not fit the faces.
    """
    mirrors = "mirror" in settings.augmentation.augment_online
    has_contest_points = samples.num_landmarks == layout.CONTEST_POINTS
    default = "contest" if mirrors and has_contest_points else "none"
    choice = settings.augmentation.mirror or default
    if mirrors and choice == "none":
        raise InputError(
            "--augment_online=mirror needs a mirror map: give --mirror=found or --mirror=FILE"
        )
    if choice in ("found", "auto") and (recorded := _recorded_mirror_map(settings)) is not None:
        return recorded
    landmarks = samples.landmarks_photo_px
    rows = train_rows[evenly_spread(len(train_rows), mirror_estimation.MAX_FACES)]
    more = gaps.rows_to_add(landmarks[rows], (landmarks[row] for row in train_rows))
    faces = landmarks[np.concatenate([rows, train_rows[more]])]
    if choice == "auto":
        return _choose_any_map(Path(settings.files.data) / layout.FILE_NAME, faces)
    return mirror.choose_map(choice, faces)


def choose_head(
    settings: TrainSettings, samples: Samples, train_rows: np.ndarray
) -> np.ndarray | None:
    """Returns the mean head (k, 3) if heads are turned, checked on training faces, else None.

    Raises:
        InputError: the depth of the landmarks is not known, or the head does not fit the faces.
    """
    if "turn" not in settings.augmentation.augment_online:
        return None
    rows = train_rows[evenly_spread(len(train_rows), CHECKED_FACES)]
    faces = samples.landmarks_photo_px[rows]
    return find_head(samples.num_landmarks, Path(settings.files.data) / layout.FILE_NAME, faces)


def _choose_any_map(layout_file: Path, faces: np.ndarray) -> np.ndarray | None:
    """Returns the layout file's map, else the one that the faces show; None without either."""
    if "mirror" in layout.read_if_exists(layout_file):
        return mirror.choose_map(str(layout_file), faces)
    try:
        return mirror.choose_map("found", faces)
    except InputError as error:
        logging.warning("images are not mirrored: %s", error)
        return None


def _recorded_mirror_map(settings: TrainSettings) -> np.ndarray | None:
    path = Path(settings.files.workdir) / spec.FILE_NAME
    if not settings.run.resume or not path.exists():
        return None
    recorded = spec.read_spec(path.parent)
    if recorded.mirror is None:
        return None
    return mirror.from_json(recorded.mirror, recorded.num_landmarks, str(path))
