"""A trained model for prediction, with test-time augmentation."""

import numpy as np

from keras_landmarks.images import geometry
from keras_landmarks.images.geometry import CropTransform
from keras_landmarks.inference.runtimes import Network
from keras_landmarks.inference.tta import TTATransform, tta_transforms
from keras_landmarks.layouts import mirror
from keras_landmarks.models.spec import FILE_NAME, ModelSpec
from keras_landmarks.settings import TTA
from keras_landmarks.utils.errors import InputError


class Predictor:
    """A trained network, for crops of photos.

    Attributes:
        spec: the model's description.
        mirror_map: (k,) int, the map that inverts mirroring; None without mirroring.
        values_per_landmark: 2 (x and y), or 3 if the model predicts their standard deviation too.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: Network,
        tta: str = "none",
        mirror_choice: str | None = None,
    ):
        """Combines a network of `inference.runtimes` with its description.

        Args:
            spec: the network's description.
            network: the network.
            tta: the test-time augmentation, one of `settings.TTA`.
            mirror_choice: the mirror map for `tta` with "mirror" if the model was trained without
                one: "contest" or the path of a JSON file.

        Raises:
            InputError: there is no mirror map.
            ValueError: `tta` is unknown.
        """
        if tta not in TTA:
            raise ValueError(f"tta={tta!r} is none of {', '.join(map(repr, TTA))}")
        self.spec = spec
        self.mirror_map = _select_mirror_map(spec, mirror_choice) if "mirror" in tta else None
        self._transforms = tta_transforms("crops" in tta, self.mirror_map)
        self._network = network
        self.values_per_landmark = 3 if spec.uncertainty else 2

    def __call__(self, crops: np.ndarray, transform: CropTransform) -> np.ndarray:
        """Predicts the landmarks of a batch of crops.

        Args:
            crops: (N, height, width, 3) uint8 RGB.
            transform: the N transforms from photo pixels to crop pixels.

        Returns:
            (N, k, values_per_landmark) float32, all in photo pixels.
        """
        predicted = [self._predict_transformed(each, crops) for each in self._transforms]
        return _to_photo(np.mean(predicted, axis=0), transform)

    def _predict_transformed(self, tta_transform: TTATransform, crops: np.ndarray) -> np.ndarray:
        return tta_transform.invert(self._network(tta_transform.apply(crops)), crops)


def _select_mirror_map(spec: ModelSpec, choice: str | None) -> np.ndarray:
    """Returns the mirror map of the training or, if there was none, the chosen one."""
    if spec.mirror is not None:
        return mirror.from_json(spec.mirror, spec.num_landmarks, FILE_NAME)
    if choice in (None, "none", "found", "auto"):
        raise InputError(f"{FILE_NAME}: no mirror map; say which with --mirror=contest or a file")
    return mirror.named_map(choice, spec.num_landmarks)


def _to_photo(predicted: np.ndarray, transform: CropTransform) -> np.ndarray:
    """Maps predictions from crop pixels to photo pixels; log variances become deviations."""
    landmarks = geometry.to_photo(predicted[..., :2], transform)
    if predicted.shape[-1] == 2:
        return landmarks
    scale = np.sqrt(transform.scale.prod(axis=-1))
    sigmas = np.exp(predicted[..., 2] / 2) / scale[:, None]
    return np.dstack([landmarks, sigmas.astype(np.float32)])
