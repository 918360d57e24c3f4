"""What a training run depends on."""

import re
from dataclasses import dataclass


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
