"""Histogram equalisation, as the authors prepare dark pictures for their low-light models."""

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def equalized(picture: Picture) -> Picture:
    """Each channel's histogram made flat, as OpenCV's equalizeHist: levels are stretched by their cumulative share."""
    return np.stack([_equalized_channel(picture[..., c]) for c in range(picture.shape[2])], axis=-1)


def _equalized_channel(channel: Picture) -> Picture:
    counts = np.bincount(channel.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    above = channel.size - int(counts[first])
    if not above:
        return channel
    scale = np.float32(255) / np.float32(above)
    levels = np.cumsum(counts) - counts[first]
    table = np.rint(levels.clip(0).astype(np.float32) * scale).clip(0, 255).astype(np.uint8)
    return table[channel]
