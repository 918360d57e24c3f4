"""Which model a work directory holds: its model.json."""

import dataclasses
import json
from pathlib import Path

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.models import heads, networks, pretrained
from keras_landmarks.models.heads import Head
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.keras_settings import own_settings
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_json

FILE_NAME = "model.json"


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What it takes to build a model again, to show it photos, and to mirror its points.

    The mirror map says nothing of the network: models that differ in it alone are the same.
    """

    model: str
    points: int
    image_size: str
    framing: str = "crop"
    trim_bands: bool = False
    normalisation: str = "half"
    head: str = "linear"
    shape_components: int = 0
    uncertainty: bool = False
    mirror: str | list[int] | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def frame(self) -> CropSpec:
        """How photos are framed for the model."""
        return CropSpec.of(self)

    def build(self, precision: str = "float32") -> keras.Model:
        """Returns the model with random weights, its layers of one dtype policy."""
        image_size = self.frame.height, self.frame.width
        normalisation = networks.NORMALISATIONS[self.normalisation]
        head = Head(self.head, self.shape_components, self.uncertainty)
        with own_settings(precision):
            return networks.build(self.model, self.points, image_size, *normalisation, head)


def check_workdir(workdir: Path, spec: ModelSpec) -> None:
    """Raises InputError if the work directory holds another model."""
    if (workdir / FILE_NAME).exists() and (found := read_spec(workdir)) != spec:
        theirs, ours = _as_flags(found), _as_flags(spec)
        different = [name for name in ours if ours[name] != theirs[name]]
        has, asked = (" ".join(some[name] for name in different) for some in (theirs, ours))
        raise InputError(f"{workdir} holds a run with {has}, not {asked}; give another --workdir")


def claim_workdir(workdir: Path, spec: ModelSpec) -> None:
    """Makes the work directory, for this model and no other.

    Raises:
        InputError: it holds another model.
    """
    check_workdir(workdir, spec)
    write_json(workdir / FILE_NAME, dataclasses.asdict(spec))


def _as_flags(spec: ModelSpec) -> dict[str, str]:
    """Returns what tells models apart, each as the flag that asks for it."""
    known = {
        field.name: f"--{field.name}={getattr(spec, field.name)}"
        for field in dataclasses.fields(spec)
        if field.compare
    }
    return known | {
        "points": f"{spec.points} points",
        "trim_bands": "--trim_bands" if spec.trim_bands else "--notrim_bands",
        "uncertainty": "--loss=nll" if spec.uncertainty else "another loss than nll",
    }


def read_spec(workdir: Path) -> ModelSpec:
    """Returns the spec of the model in a work directory; InputError if there is none."""
    path = workdir / FILE_NAME
    try:
        return _parse(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; --workdir must be a training run's") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error})") from None


def _parse(text: str) -> ModelSpec:
    """Raises TypeError or ValueError unless the text is a spec's JSON."""
    spec = ModelSpec(**json.loads(text))
    # What was written when every input was square says 128.
    spec = dataclasses.replace(spec, image_size=spec.frame.image_size)
    for field in dataclasses.fields(spec):
        if field.compare and type(getattr(spec, field.name)) is not field.type:
            raise TypeError(f"{field.name} is no {field.type.__name__}")
    if spec.normalisation not in networks.NORMALISATIONS:
        raise ValueError(f"normalisation {spec.normalisation!r} is unknown")
    if spec.points < 1:
        raise ValueError(f"{spec.points} points")
    components = range(1, 2 * spec.points + 1) if spec.head == "shape" else [0]
    if spec.head not in heads.KINDS or spec.shape_components not in components:
        raise ValueError(f"head {spec.head!r} of {spec.shape_components} components is unknown")
    return spec


def load_trained(workdir: Path) -> tuple[ModelSpec, keras.Model]:
    """Returns a work directory's model with its best weights; InputError if it has none.

    It computes in float32, whatever precision it was trained with. Predict with it within
    `own_settings`, as `Predictor` does.
    """
    spec = read_spec(workdir)
    model = spec.build()
    pretrained.load_weights(model, workdir)
    return spec, model
