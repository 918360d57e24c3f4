"""Seeds for what is drawn at random."""

import numpy as np


def sample_seed(*numbers: int) -> int:
    """Mixes whole numbers (a run's seed, an epoch, a row) into one seed of 32 bits."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
