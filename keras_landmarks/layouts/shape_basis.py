"""The shapes that faces come in: their mean, and the directions in which they differ most.

Cootes et al., "Active shape models", 1995: principal components of all coordinates together. A face
has 971 points but few ways to look, so a network that gives a hundred coefficients has less to
learn than one that gives 1,942 numbers.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class ShapeBasis(NamedTuple):
    """Shapes as mean + coefficients @ components.

    Attributes:
        mean: (2 k,) float32, pixels; x and y of each point in turn.
        components: (c, 2 k) float32, pixels: each as long as one standard deviation of the shapes
            in its direction, so coefficients are of size 1; the greatest first.
    """

    mean: np.ndarray
    components: np.ndarray


def find_shape_basis(batches: Iterable[np.ndarray], components: int) -> ShapeBasis:
    """Returns the basis of landmarks that come as batches (n, k, 2).

    With `components` of 2 k or more, every shape is mean + coefficients @ components exactly.
    Memory does not grow with the number of batches.
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
    # A direction in which the shapes do not differ keeps its place, with a length that can be
    # trained: it may be needed for a shape to come.
    smallest = 1e-3 * variances[0] / len(directions)
    lengths = np.sqrt(np.maximum(variances, smallest))
    scaled = lengths[:, None] * directions
    return ShapeBasis(mean.astype(np.float32), scaled.astype(np.float32))
