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
    image_size: int
    batch_size: int
    epochs: int
    learning_rates: str
    reset_optimizer_each_epoch: bool
    train_fraction: float
    validation_groups: str | None
    exclude: str | None
    limit: int | None
    augment_online: bool
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
