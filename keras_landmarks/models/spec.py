"""Which model a work directory holds: its model.json."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from keras_landmarks.images.geometry import CropSpec
from keras_landmarks.models import packaged, registry, weight_files
from keras_landmarks.models.weight_files import EMBEDDED
from keras_landmarks.utils.errors import InputError
from keras_landmarks.utils.files import write_json

FILE_NAME = "model.json"


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What is needed to build a model again, to crop photos for it, and to mirror its landmarks.

    Attributes:
        model: a name in `registry`.
        num_landmarks: landmarks per face.
        image_size: the input's width and height, px, as in "128x160".
        framing: how a photo fills the input; one of `settings.FRAMINGS`.
        trim_bands: whether black bands at the photo's edges are cut off first.
        normalisation: a key of `registry.NORMALISATIONS`.
        head: one of `registry.HEADS`.
        shape_components: of a `shape` head, else 0.
        uncertainty: whether the model also predicts log variances.
        mirror: the mirror map as `mirror.as_json` writes it. It does not affect the network, so
            specs that differ in it alone are equal.
        point_names: of the landmarks, if they have names; like the mirror map, not compared.
    """

    model: str
    num_landmarks: int
    image_size: str
    framing: str = "crop"
    trim_bands: bool = False
    normalisation: str = "half"
    head: str = "linear"
    shape_components: int = 0
    uncertainty: bool = False
    mirror: str | list[int] | None = dataclasses.field(default=None, compare=False, repr=False)
    point_names: list[str] | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def crop_spec(self) -> CropSpec:
        """How photos are cropped and scaled for the model."""
        return CropSpec.of(self)

    def has_points_of(self, other: "ModelSpec") -> bool:
        """Whether both predict the same landmarks, as far as their number and names tell."""
        names, theirs = self.point_names, other.point_names
        same_names = names is None or theirs is None or list(names) == list(theirs)
        return self.num_landmarks == other.num_landmarks and same_names

    def can_keep_head_of(self, trained: "ModelSpec") -> bool:
        """Whether the head of a trained model can be taken as it is.

        Not if it is for other landmarks or another size of crops. Nor if it is a shape head, whose
        basis, which training does not change, is that of the faces and crops it was found on.
        """
        same_outputs = self.has_points_of(trained) and self.image_size == trained.image_size
        return self.head == "linear" and same_outputs

    def to_json(self) -> dict:
        """Returns the contents of model.json."""
        values = {_json_key(name): value for name, value in dataclasses.asdict(self).items()}
        if self.point_names is None:
            del values["point_names"]
        return values


def check_workdir(workdir: Path, spec: ModelSpec) -> None:
    """Raises InputError if the work directory holds another model."""
    if not (workdir / FILE_NAME).exists():
        return
    found = read_spec(workdir)
    if found != spec:
        theirs, ours = _as_flags(found), _as_flags(spec)
        different = [name for name in ours if ours[name] != theirs[name]]
        has, requested = (" ".join(flags[name] for name in different) for flags in (theirs, ours))
        raise InputError(
            f"{workdir} holds a run with {has}, not {requested}; give another --workdir"
        )


def claim_workdir(workdir: Path, spec: ModelSpec) -> None:
    """Writes model.json into the work directory, which is created if need be.

    Raises:
        InputError: the work directory holds another model.
    """
    check_workdir(workdir, spec)
    write_json(workdir / FILE_NAME, spec.to_json())


def read_spec(workdir: str | Path) -> ModelSpec:
    """Reads the description of a trained model.

    Args:
        workdir: a work directory with its model.json; a model in one file, as `export` writes it
            with --format=safetensors; or the name of a packaged model.

    Raises:
        InputError: the description is missing or damaged.
    """
    path = packaged.resolve(workdir)
    if path.suffix == ".safetensors":
        return _read_embedded_spec(path)
    if path.is_file():
        raise InputError(f"{path}: not a model; give a work directory or a .safetensors file")
    path /= FILE_NAME
    try:
        return _parse(json.loads(path.read_text()))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; --workdir must be a training run's folder"
        ) from None
    except (RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error})") from None


def has_spec(source: str | Path) -> bool:
    """Whether `read_spec` finds a description there; a file of weights alone has none."""
    path = packaged.resolve(source)
    if path.suffix == ".safetensors" and path.is_file():
        return EMBEDDED in weight_files.read_metadata(path)
    return (path / FILE_NAME).is_file()


def _read_embedded_spec(path: Path) -> ModelSpec:
    """Reads the description in a model file's header, where landmarks.json has more besides it."""
    texts = weight_files.read_metadata(path)
    if EMBEDDED not in texts:
        raise InputError(
            f"{path}: weights without a model's description; --workdir takes what `export"
            " --format=safetensors` writes"
        )
    try:
        values = json.loads(texts[EMBEDDED])
        own = {_json_key(field.name) for field in dataclasses.fields(ModelSpec)}
        return _parse({key: value for key, value in values.items() if key in own})
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error})") from None


def _as_flags(spec: ModelSpec) -> dict[str, str]:
    """Returns the attributes that are compared, each as the flag that sets it."""
    flags = {
        field.name: f"--{field.name}={getattr(spec, field.name)}"
        for field in dataclasses.fields(spec)
        if field.compare
    }
    return flags | {
        "num_landmarks": f"{spec.num_landmarks} points",
        "trim_bands": "--trim_bands" if spec.trim_bands else "--notrim_bands",
        "uncertainty": "--loss=nll" if spec.uncertainty else "another loss than nll",
    }


def _json_key(attribute: str) -> str:
    return "points" if attribute == "num_landmarks" else attribute


def _parse(values: dict) -> ModelSpec:
    """Returns the model that model.json describes; TypeError or ValueError if it is damaged."""
    if not isinstance(values, dict) or "points" not in values:
        raise TypeError("it does not describe a model")
    spec = ModelSpec(num_landmarks=values.pop("points"), **values)
    # Files from the time when all inputs were square say 128 for 128x128.
    spec = dataclasses.replace(spec, image_size=spec.crop_spec.image_size)
    for field in dataclasses.fields(spec):
        if field.compare and type(getattr(spec, field.name)) is not field.type:
            raise TypeError(f"{_json_key(field.name)} is not of type {field.type.__name__}")
    if spec.normalisation not in registry.NORMALISATIONS:
        raise ValueError(f"normalisation {spec.normalisation!r} is unknown")
    if spec.num_landmarks < 1:
        raise ValueError(f"points {spec.num_landmarks} is not positive")
    max_components = 2 * spec.num_landmarks
    components = range(1, max_components + 1) if spec.head == "shape" else [0]
    if spec.head not in registry.HEADS or spec.shape_components not in components:
        raise ValueError(f"head {spec.head!r} of {spec.shape_components} components is unknown")
    if spec.point_names is not None and not _are_names(spec.point_names, spec.num_landmarks):
        raise ValueError(f"point_names are not {spec.num_landmarks} different texts")
    return spec


def _are_names(names: Any, count: int) -> bool:
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return is_list and len(set(names)) == len(names) == count
