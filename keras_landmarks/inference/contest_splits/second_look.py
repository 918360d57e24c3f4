"""A second prediction for faces that lie where few faces of the training photos did.

The contest's photos are cut around their faces. Where one is not, because its face is cut off, off
the middle, too small or too large, the first prediction tells where the face is. The photo is cut
there as the others are (`images.face_crops`) and predicted once more.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from keras_landmarks.contest import listed_images
from keras_landmarks.images import face_crops
from keras_landmarks.images.face_crops import CONTEST_CROPPING
from keras_landmarks.images.geometry import Region
from keras_landmarks.inference.predictor import Predictor
from keras_landmarks.utils.chunks import in_chunks
from keras_landmarks.utils.progress import progress

# A photo is cut anew if an edge would move by more than this fraction of its width or height. It
# moves by 0.03 for most faces of the contest's form, and by 0.06 for 1 in 50.
_USUAL_SHIFT = 0.08


def look_again(
    predictor: Predictor,
    predicted: np.ndarray,
    image_folder: Path,
    file_names: Sequence[str],
    skipped_rows: Collection[int],
    batch_size: int,
) -> int:
    """Replaces the predictions of misplaced faces, in place. Starts over after a kill.

    Args:
        predictor: the model.
        predicted: (n, k, 2 or 3) landmarks, photo pixels, from the whole photos.
        image_folder: the folder of the photos.
        file_names: names of the n photos.
        skipped_rows: the rows of photos that cannot be read.
        batch_size: the number of photos to predict together.

    Returns:
        The number of faces that were predicted again.

    Raises:
        InputError: a photo, named, cannot be read any more.
    """
    regions = {}
    for row, size in enumerate(listed_images.read_listed_sizes(image_folder, file_names)):
        if row not in skipped_rows and not isinstance(size, str):  # a string says why there is none
            region = _region_of(predicted[row], size)
            if _is_misplaced(region, size):
                regions[row] = region
    batches = in_chunks(list(regions), batch_size)
    for rows in progress(batches, "looking again", "batches", len(batches)):
        # As many as in other batches, because the network is compiled for that number.
        filled = rows + rows[-1:] * (batch_size - len(rows))
        crops, transform = face_crops.crop_faces(
            (listed_images.read_image(image_folder, file_names[row]) for row in filled),
            (regions[row] for row in filled),
            predictor.spec.crop_spec,
        )
        predicted[rows] = predictor(crops, transform)[: len(rows)]
    return len(regions)


def _region_of(landmarks_photo_px: np.ndarray, size_px: tuple[int, int]) -> Region:
    """Returns the region around a face in a photo of this width and height."""
    edges_px = (0, 0, size_px[0] - 1, size_px[1] - 1)
    return face_crops.region_of_points(landmarks_photo_px[:, :2], edges_px, CONTEST_CROPPING.points)


def _is_misplaced(region: Region, size_px: tuple[int, int]) -> bool:
    shifts = np.reshape(region, (2, 2)) - [[0, 0], size_px]
    return bool(np.any(np.abs(shifts) > _USUAL_SHIFT * np.array(size_px)))
