"""How far a mean over images could be off by chance: the bootstrap, over whole groups of images.

Images of one person are alike, so it is persons that are drawn anew, each with all its images: as
often as there are, with replacement, 10,000 times. What is averaged is one number an image, (n,).

An interval is from the 2.5th to the 97.5th percentile of such draws. Simulated with 50 groups or
more, intervals hold the true mean 93 times in 100; 14 groups, or a mean ruled by a few of them, 88.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

DRAWS = 10_000
_ENDS = (2.5, 97.5)  # percentiles
_MOST_UNITS = 2_000  # more groups are put together by chance: that moves an interval's end by 2 %
_DRAWS_AT_ONCE = 500


class Resamples:
    """Draws of the same images for whatever is averaged, so that means compare draw by draw."""

    def __init__(self, groups: Sequence[Hashable], seed: int = 0):
        """Draws the groups; `groups` has one an image."""
        rng = np.random.default_rng(seed)
        _, units = np.unique(groups, return_inverse=True)
        self.groups = int(units.max()) + 1
        if self.groups > _MOST_UNITS:
            units = (rng.permutation(self.groups) % _MOST_UNITS)[units]
        self._units = units
        self._times_drawn = _draw(rng, units.max() + 1)
        self._images = self._sums(np.ones(len(units)))

    def means(self, per_image: np.ndarray) -> np.ndarray:
        """Returns the mean over the images of each draw: (DRAWS,) float32."""
        return self._sums(per_image) / self._images

    def interval(self, per_image: np.ndarray) -> list[float]:
        """Returns the 95 % interval of the mean over the images: low, high."""
        return interval(self.means(per_image))

    def percentile_interval(self, per_image: np.ndarray, q: float) -> list[float]:
        """Returns the 95 % interval of the images' percentile `q`, by Woodruff's method.

        The share of images below it has an interval; at its ends are the percentile's.
        """
        shares = self.interval(per_image <= np.percentile(per_image, q))
        return np.percentile(per_image, 100 * np.clip(shares, 0, 1)).tolist()

    def _sums(self, per_image: np.ndarray) -> np.ndarray:
        by_unit = np.bincount(self._units, per_image)
        return self._times_drawn @ by_unit.astype(np.float32)


def resample(groups: Sequence[Hashable], seed: int = 0) -> Resamples | None:
    """Returns draws of the groups, one an image; None of a single one: it tells of no other."""
    return Resamples(groups, seed) if len(set(groups)) > 1 else None


def _draw(rng: np.random.Generator, units: int) -> np.ndarray:
    """Returns how often each draw has each unit: (DRAWS, units) float32, rows sum to `units`."""
    times = np.empty((DRAWS, units), np.float32)
    first = units * np.arange(_DRAWS_AT_ONCE)[:, None]
    for start in range(0, DRAWS, _DRAWS_AT_ONCE):
        # Counting single draws is quicker than NumPy's multinomial.
        drawn = first + rng.integers(units, size=(_DRAWS_AT_ONCE, units))
        counts = np.bincount(drawn.ravel(), minlength=first.size * units)
        times[start : start + _DRAWS_AT_ONCE] = counts.reshape(-1, units)
    return times


def interval(drawn: np.ndarray) -> list[float]:
    """Returns where the middle 95 % of the drawn figures lie: low, high."""
    return np.percentile(drawn, _ENDS).tolist()


def paired(a: np.ndarray, b: np.ndarray, resamples: Resamples) -> dict[str, Any]:
    """Compares two errors of the same images, (n,) each, by draws of the same images for both.

    Returns:
        `difference` of the means, b - a, and `ratio`, b / a (None where a mean of `a` is 0), each
        with its interval; `probability_b_better`, the share of draws with the lower mean for b;
        `real`, whether the difference's interval leaves 0 out.
    """
    differences, means = resamples.means(b - a), resamples.means(a)
    low, high = interval(differences)
    figures = {
        "difference": float(np.mean(b - a)),
        "difference_interval": [low, high],
        "ratio": None,
        "ratio_interval": None,
        "probability_b_better": float(np.mean(differences < 0) + np.mean(differences == 0) / 2),
        "real": low > 0 or high < 0,
    }
    if means.all():
        figures["ratio"] = float(b.mean() / a.mean())
        figures["ratio_interval"] = interval(1 + differences / means)
    return figures
