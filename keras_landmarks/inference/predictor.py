"""A trained model as it predicts: batch normalisation folded, several views of a crop if asked."""

from pathlib import Path

import numpy as np

from keras_landmarks.images import geometry
from keras_landmarks.images.geometry import CropTransform
from keras_landmarks.inference.tta import TTA, View, tta_views
from keras_landmarks.layouts import mirror
from keras_landmarks.models import spec as model_spec
from keras_landmarks.models.folding import fold_batch_norm
from keras_landmarks.models.keras_settings import own_settings
from keras_landmarks.utils.errors import InputError


class Predictor:
    """The model of a work directory, with its best weights.

    Attributes:
        spec: which model it is.
        mirror_map: by which mirrored views are brought back; None without such.
        numbers: of a point: x and y and, if the model tells it, the standard deviation of each.
    """

    def __init__(self, workdir: Path, tta: str = "none", mirror_choice: str | None = None):
        """Loads the model. `tta` is which views of a crop are predicted, one of `views.TTA`.

        With `mirror` among them the model's own mirror map counts, and `mirror_choice`, `contest`
        or a file, where it was trained without one.

        Raises:
            InputError: there is no such model, or no mirror map.
            ValueError: there are no such views.
        """
        if tta not in TTA:
            raise ValueError(f"tta={tta!r} is none of {', '.join(map(repr, TTA))}")
        self.spec, model = model_spec.load_trained(workdir)
        self.mirror_map = None
        if "mirror" in tta:
            where = str(workdir / model_spec.FILE_NAME)
            self.mirror_map = _mirror_map(self.spec, mirror_choice, where)
        self._views = tta_views("crops" in tta, self.mirror_map)
        self._model = fold_batch_norm(model)
        self.numbers = 3 if self.spec.uncertainty else 2

    @own_settings()
    def __call__(self, crops: np.ndarray, framing: CropTransform) -> np.ndarray:
        """Returns the points of crops (N, height, width, 3) uint8: (N, k, numbers) float32.

        In photo pixels, the standard deviations too. `framing` has N rows.
        """
        by_view = [self._see(view, crops) for view in self._views]
        return _to_photo(np.mean(by_view, axis=0), framing)

    def _see(self, view: View, crops: np.ndarray) -> np.ndarray:
        return view.back(self._model.predict_on_batch(view.of(crops)), crops)


def _mirror_map(spec: model_spec.ModelSpec, choice: str | None, where: str) -> np.ndarray:
    """Returns the map that the model was trained with, or the chosen one if it was with none."""
    if spec.mirror is not None:
        return mirror.from_json(spec.mirror, spec.points, where)
    if choice in (None, "none", "found"):
        raise InputError(f"{where}: no mirror map; say which with --mirror=contest or a file")
    return mirror.named_map(choice, spec.points)


def _to_photo(predicted: np.ndarray, framing: CropTransform) -> np.ndarray:
    """Maps landmarks, and log variances in crop pixels to standard deviations in the photo's."""
    landmarks = geometry.to_photo(predicted[..., :2], framing)
    if predicted.shape[-1] == 2:
        return landmarks
    scale = np.sqrt(framing.scale.prod(axis=-1))
    sigmas = np.exp(predicted[..., 2] / 2) / scale[:, None]
    return np.dstack([landmarks, sigmas.astype(np.float32)])
