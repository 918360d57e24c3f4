"""What varies from epoch to epoch in a training image. `augmentation` does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

KINDS = ("affine", "colour", "blur", "cut_out", "mirror")


class AugmentationSettings(Protocol):
    """Anything with the values of the flags of these names."""

    augment_online: Sequence[str]
    rotate_limit: float
    shift_limit: float
    scale_limit: float


@dataclass(frozen=True)
class AugmentationConfig:
    """How images are varied anew in every epoch.

    Attributes:
        kinds: some of KINDS.
        rotate_limit, shift_limit, scale_limit: of `affine`: +- degrees, share of each side, share.
    """

    kinds: tuple[str, ...] = KINDS
    rotate_limit: float = 20.0
    shift_limit: float = 0.0625
    scale_limit: float = 0.1

    @classmethod
    def of(cls, settings: AugmentationSettings) -> "AugmentationConfig":
        """Returns the variation that settings ask for."""
        limits = settings.rotate_limit, settings.shift_limit, settings.scale_limit
        return cls(tuple(settings.augment_online), *limits)
