"""What a training run depends on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainSettings:
    """Everything but the extra images: the values of the flags of these names."""

    data: str
    prepared: str
    prepare: bool
    workdir: str
    model: str
    init_weights: str
    image_size: str
    framing: str
    trim_bands: bool
    normalisation: str
    batch_size: int
    epochs: int
    loss: str
    loss_unit: str
    head: str
    shape_components: int
    optimizer: str
    weight_decay: float
    clip_norm: float
    accumulate: int
    ema_momentum: float
    average_last_epochs: int
    schedule: str
    learning_rates: str
    learning_rate: float
    warmup_epochs: float
    first_cycle_epochs: int
    reset_optimizer_each_epoch: bool
    train_fraction: float
    fold: str | None
    validation_groups: list[str] | None
    exclude: str | None
    limit: int | None
    augment_online: list[str]
    rotate_limit: float
    shift_limit: float
    scale_limit: float
    mirror: str | None
    precision: str
    resume: bool
    save_every_steps: int
    seed: int
    processes: int | None
    strict: bool


# The settings that may differ between the starts of one run, and why.
_MAY_CHANGE = {
    # Where things lie, and how the work is done: the result is the same.
    *(
        "data",
        "prepared",
        "prepare",
        "workdir",
        "processes",
        "strict",
        "save_every_steps",
        "resume",
    ),
    # How long it trains, and at which rate: for the user to turn while the run goes on.
    *("epochs", "learning_rates", "learning_rate"),
    # Which images: the run's state holds the fingerprint of those that it trains on.
    *("limit", "train_fraction", "fold", "validation_groups", "exclude"),
    # What the network is, and its mirror map: model.json holds them.
    *("model", "image_size", "framing", "trim_bands", "normalisation", "head", "shape_components"),
    "mirror",
    # Only a run that begins takes its first weights from elsewhere.
    "init_weights",
}


def fixed_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings, by flag, that every start of a run must repeat.

    They decide what a step does to the weights, or what the loss means by which the best weights
    are kept. All others are in `_MAY_CHANGE`. A setting without effect beside the others, such as
    --warmup_epochs with --schedule=steps, is left out.

    Args:
        flags: the values of TrainSettings and of the extra images' settings, by flag.
    """
    fixed = {name: value for name, value in flags.items() if name not in _MAY_CHANGE}
    fixed["augment_online"] = sorted(set(flags["augment_online"]))  # in any order
    moves_images = flags["augment_count"] or "affine" in flags["augment_online"]
    has_effect = {
        "weight_decay": flags["optimizer"] != "adam",
        "warmup_epochs": flags["schedule"] == "cosine",
        "first_cycle_epochs": flags["schedule"] == "restarts",
        "reset_optimizer_each_epoch": flags["schedule"] == "steps",
        "augment_refill": flags["augment_count"],
        **dict.fromkeys(["rotate_limit", "shift_limit", "scale_limit"], moves_images),
    }
    # The last epochs, whose mean is taken, are counted from the end.
    if flags["average_last_epochs"]:
        fixed["epochs"] = flags["epochs"]
    return {name: value for name, value in fixed.items() if has_effect.get(name, True)}


def as_flag(name: str, value: Any) -> str:
    """Returns a flag and its value as they are typed: --epochs=18, --noresume."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, list):
        value = ",".join(value)
    return f"--{name}={value}"


@dataclass(frozen=True)
class ProcessSettings:
    """Which processes train together: the values of the flags of these names."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def parse_fold(text: str) -> tuple[int, int]:
    """Returns 2 and 5 of "2/5", the second of five parts; ValueError if it is none such."""
    if found := re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text):
        fold, folds = int(found[1]), int(found[2])
        if folds > 1 and 1 <= fold <= folds:
            return fold, folds
    raise ValueError(f"{text} is no fold such as 2/5, the second of five")
