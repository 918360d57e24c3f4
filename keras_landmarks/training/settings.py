"""What a training run depends on."""

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
    schedule: str
    learning_rates: str
    learning_rate: float
    warmup_epochs: float
    first_cycle_epochs: int
    reset_optimizer_each_epoch: bool
    train_fraction: float
    validation_groups: str | None
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
