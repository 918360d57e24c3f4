"""Which model a work directory holds: its model.json."""

import dataclasses
import json
from pathlib import Path

import keras

from keras_landmarks.errors import InputError
from keras_landmarks.files import write_json
from keras_landmarks.models import pretrained, resnet

FILE_NAME = "model.json"


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What it takes to build a model again, and the mirror map of its points, if one is known.

    The map says nothing of the network, so models that differ in it alone are the same.
    """

    model: str
    points: int
    image_size: int
    mirror: str | list[int] | None = dataclasses.field(default=None, compare=False, repr=False)

    def build(self) -> keras.Model:
        """Returns the model with random weights."""
        return resnet.build(self.model, self.points, self.image_size)


def claim_workdir(workdir: Path, spec: ModelSpec) -> None:
    """Makes the work directory, for this model and no other.

    Raises:
        InputError: it holds another model.
    """
    if (workdir / FILE_NAME).exists() and (found := read_spec(workdir)) != spec:
        raise InputError(f"{workdir} holds {found}, not {spec}; give another --workdir")
    write_json(workdir / FILE_NAME, dataclasses.asdict(spec))


def read_spec(workdir: Path) -> ModelSpec:
    """Returns the spec of the model in a work directory; InputError if there is none."""
    path = workdir / FILE_NAME
    try:
        return ModelSpec(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; --workdir must be a training run's") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error})") from None


def load_trained(workdir: Path) -> tuple[ModelSpec, keras.Model]:
    """Returns a work directory's model with its best weights; InputError if it has none."""
    spec = read_spec(workdir)
    model = spec.build()
    pretrained.load_weights(model, workdir)
    return spec, model
