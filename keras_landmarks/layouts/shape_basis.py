"""A linear shape model: the mean face and the directions in which faces vary most.

Cootes et al., "Active shape models", 1995: principal components of all coordinates together. The
positions of a face's 971 points are strongly correlated, so a network that predicts a hundred
coefficients has less to learn than one that predicts 1,942 coordinates.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class ShapeBasis(NamedTuple):
    """Shapes as mean + coefficients @ components.

    Attributes:
        mean: (2 k,) float32, pixels; x and y of each point in turn.
        components: (c, 2 k) float32, pixels, by descending variance. Each is as long as one
            standard deviation of the shapes in its direction, so coefficients have unit variance.
    """

    mean: np.ndarray
    components: np.ndarray


def find_shape_basis(batches: Iterable[np.ndarray], components: int) -> ShapeBasis:
    """Returns the basis of landmarks. Memory does not grow with the number of batches.

    Args:
        batches: (n, k, 2) landmarks each, pixels.
        components: how many to keep. With 2 k or more, the basis represents every shape exactly.
    """
    count, total, products = 0, 0.0, 0.0
    for landmarks_px in batches:
        shapes = np.asarray(landmarks_px, np.float64).reshape(len(landmarks_px), -1)
        count += len(shapes)
        total = total + shapes.sum(axis=0)
        products = products + shapes.T @ shapes
    mean = total / count
    variances, directions = np.linalg.eigh(products / count - np.outer(mean, mean))
    variances, directions = variances[::-1][:components], directions.T[::-1][:components]
    # A direction without variance keeps a small length that can be trained, because a later shape
    # may need it.
    smallest = 1e-3 * variances[0] / len(directions)
    lengths = np.sqrt(np.maximum(variances, smallest))
    scaled = lengths[:, None] * directions
    return ShapeBasis(mean.astype(np.float32), scaled.astype(np.float32))
