"""Builds the Keras model that a description means, and loads it with its trained weights."""

from pathlib import Path

from keras_landmarks.models import keras_weights, networks
from keras_landmarks.models.heads import HeadConfig
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.keras_settings import pinned_settings
from keras_landmarks.models.registry import NORMALISATIONS
from keras_landmarks.models.spec import ModelSpec, read_spec


def build_model(spec: ModelSpec, precision: str = "float32") -> keras.Model:
    """Returns the model with random weights; `precision` is the dtype policy of its layers."""
    image_size = spec.crop_spec.height, spec.crop_spec.width
    normalisation = NORMALISATIONS[spec.normalisation]
    head = HeadConfig(spec.head, spec.shape_components, spec.uncertainty)
    with pinned_settings(precision):
        return networks.build(spec.model, spec.num_landmarks, image_size, *normalisation, head)


def load_trained(workdir: str | Path) -> tuple[ModelSpec, keras.Model]:
    """Loads a trained model with its best weights.

    It computes in float32, whatever precision it was trained with. Predict with it within
    `pinned_settings`, as `inference.runtimes` does.

    Args:
        workdir: as `spec.read_spec` takes it.

    Raises:
        InputError: there is no model, or its weights are missing or broken.
    """
    spec = read_spec(workdir)
    model = build_model(spec)
    keras_weights.load_weights(model, workdir)
    return spec, model
