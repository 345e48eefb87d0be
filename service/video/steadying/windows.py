"""What neighbouring frames of a shot decide together: a context, a brightness."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rddm.exposure import POOL

Floats = NDArray[np.float32]

REACH = 8  # frames to each side that share in what is decided of a frame


def window_mean(values: Sequence[float], middle: int) -> float:
    """The mean of numbers, by how near each is to the middle one (a triangle)."""
    return float(np.average(values, weights=_weights(len(values), middle)))


def window_context(contexts: Sequence[Floats], middle: int) -> Floats:
    """One context for the frame at `middle`, 1 3 h w: each square is taken from one of the neighbouring frames.

    So means and histograms, which are all that a network may use of a context, are those of the whole window, where an average of
    the frames would wash out their histograms. Near frames give more squares (a triangle); which squares is fixed by their place.
    A square is what an exposure takes the mean of: single pixels of several frames there would be such an average again (dark
    example clip: 26.7 dB, with squares as much as frame by frame).
    """
    weights = _weights(len(contexts), middle)
    height, width = contexts[middle].shape[2:]
    places = _spread(-(-height // POOL), -(-width // POOL)).repeat(POOL, 0).repeat(POOL, 1)[:height, :width]
    owner = np.searchsorted(np.cumsum(weights) / weights.sum(), places, side="right").clip(0, len(contexts) - 1)
    mixed = contexts[middle].copy()
    for k in np.unique(owner):
        taken = owner == k
        mixed[..., taken] = contexts[k][..., taken]
    return mixed


def _spread(height: int, width: int) -> NDArray[np.float64]:
    """Numbers in 0..1, evenly spread over any neighbourhood of places (the R2 sequence of M. Roberts, by place)."""
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    return (0.7548776662466927 * columns + 0.5698402909980532 * rows) % 1.0


def _weights(count: int, middle: int) -> NDArray[np.float64]:
    return np.array([REACH + 1 - abs(k - middle) for k in range(count)], np.float64).clip(0)
