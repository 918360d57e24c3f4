"""Seeds for random numbers."""

import numpy as np


def sample_seed(*numbers: int) -> int:
    """Returns a 32-bit seed that depends on all the numbers (a run's seed, an epoch, a row)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
