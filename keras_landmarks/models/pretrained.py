"""The initial weights of a new network: ImageNet weights, a weight file, or random values."""

import huggingface_hub

from keras_landmarks.models import keras_applications, keras_weights, registry
from keras_landmarks.models.keras_on_jax import keras
from keras_landmarks.models.spec import ModelSpec, has_spec, read_spec
from keras_landmarks.utils.errors import InputError

_NO_IMAGENET_WEIGHTS = {"tiny", "resnet18_half"}


def initialise(model: keras.Model, spec: ModelSpec, source: str) -> None:
    """Gives a new network its initial weights.

    Args:
        model: a network that `build_model` made.
        spec: its description.
        source: "imagenet" (downloaded), "none" (the model stays random), or what
            `weight_files.read_arrays` takes: a packaged model's name, a file, a work directory.
            Layers of the head that do not fit stay random, and are named in the log.

    Raises:
        InputError: the weights cannot be downloaded or read, or do not fit.
    """
    if source == "none":
        return
    if source == "imagenet" and spec.model in registry.KERAS_APPLICATIONS:
        keras_applications.set_imagenet_weights(model, spec.model)
        return
    path = fetch_imagenet(spec.model) if source == "imagenet" else source
    trained = read_spec(source) if source != "imagenet" and has_spec(source) else None
    if trained:
        _check_network(source, trained, spec)
    has_other_head = bool(trained) and not spec.can_keep_head_of(trained)
    keras_weights.load_weights(model, path, skip_mismatched_head=True, skip_head=has_other_head)


def _check_network(source: str, trained: ModelSpec, spec: ModelSpec) -> None:
    """Raises InputError if a trained model is another network, or sees other pixels."""
    for name in ("model", "normalisation"):
        theirs, ours = getattr(trained, name), getattr(spec, name)
        if theirs != ours:
            raise InputError(f"--init_weights={source} is for --{name}={theirs}, not {ours}")


def fetch_imagenet(name: str) -> str:
    """Returns the path of torchvision's ImageNet weights for a ResNet, downloaded once and cached.

    Source: torchvision's first weights ("tv_in1k"), as timm hosts them on the Hugging Face hub.

    Raises:
        InputError: there are none for this network, or the hub cannot be reached.
    """
    if name in _NO_IMAGENET_WEIGHTS:
        raise InputError(f"model {name!r} has no ImageNet weights: pass --init_weights=none")
    repository, filename = f"timm/{name}.tv_in1k", "model.safetensors"
    try:
        return huggingface_hub.hf_hub_download(repository, filename)
    except Exception as error:  # the hub's client lets errors of several libraries through
        reason = " ".join(str(error).split())
        raise InputError(
            f"cannot download {filename} of {repository} from the Hugging Face hub"
            f" ({reason}): download it yourself and pass --init_weights=PATH"
        ) from error
