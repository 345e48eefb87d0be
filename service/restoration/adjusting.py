"""What is turned after the network: how bright the result is, and how much of it there is. In linear light, from the kept result.

A stop more is twice the light. The gain lies behind the network and not in the exposure that it is given: 26 training pairs brought
to their target's mean are 24.0 dB that way and 16.1 dB by the exposure alone, which the network follows for about a stop only. So a
second request with other values needs no network call, and a page can show them at once.
"""

import numpy as np
from numpy.typing import NDArray

from rddm.exposure import encoded, linear, to_root
from rddm.image import Pixels, enlarged
from rddm.spec import ModelSpec

Floats = NDArray[np.float32]
BAND_PIXELS = 1 << 20
GAINS, HALVINGS = (-8.0, 8.0), 16  # in stops; the last halving moves the mean by less than a level
STOPS, MEANS = (-3.0, 3.0), (0.15, 0.65)


def adjusted(before: Pixels, after: Pixels, strength: float = 1.0, stops: float = 0.0, mean: float | None = None) -> Pixels:
    """The result `after`, h w 3, adjusted; before: what was sent, of the same type, and of its size or a whole part of it.

    strength: the result's share, 0..1, the rest is what was sent. stops: more light than the network's own. mean: of the sRGB
    values, 0..1, in place of stops; it is reached as far as GAINS allow: black has no gain that brightens it.
    """
    stops = stops if mean is None else stops_to(mean, after)
    if stops == 0 and strength == 1:
        return after
    light = levels_of(after.dtype)
    table = to_levels(light * np.float32(2**stops), after.dtype) if stops else None
    bright = after if table is None else table[after]
    if strength == 1:
        return bright
    return blended(enlarged(as_type(before, after.dtype), after.shape[0] // before.shape[0]), bright, strength)


def takes_brightness(spec: ModelSpec) -> bool:
    """Whether a model decides how bright its result is."""
    return spec.exposure is not None or spec.task == "lowlight"


def blended(before: Pixels, after: Pixels, strength: float) -> Pixels:
    """strength of `after` and the rest of `before`, both h w 3 of one type, in linear light."""
    light, mixed = levels_of(after.dtype), np.empty_like(after)
    share, rows = np.float32(strength), max(1, BAND_PIXELS // after.shape[1])
    for top in range(0, after.shape[0], rows):
        band = slice(top, top + rows)
        mixed[band] = to_levels(light[after[band]] * share + light[before[band]] * (1 - share), after.dtype)
    return mixed


def stops_to(mean: float, pixels: Pixels) -> float:
    """The gain, in stops, that brings the mean of all values there, clipped at white."""
    top = np.iinfo(pixels.dtype).max
    counts = np.bincount(pixels.ravel(), minlength=top + 1)
    used = np.flatnonzero(counts)
    light, shares = levels_of(pixels.dtype)[used], counts[used] / pixels.size
    low, high = GAINS
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = float(shares @ to_levels(light * np.float32(2**middle), np.dtype(np.uint16))) < mean * 65535
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


def levels_of(kind: np.dtype[np.uint8] | np.dtype[np.uint16]) -> Floats:
    """The linear light, 0..1, of each level of that type."""
    top = np.iinfo(kind).max
    return linear(np.linspace(-1, 1, top + 1, dtype=np.float32))


def to_levels(light: Floats, kind: np.dtype[np.uint8] | np.dtype[np.uint16]) -> Pixels:
    """Linear light as sRGB levels of that type, clipped."""
    srgb: Pixels = np.rint(encoded(light, to_root(light)) * np.float32(np.iinfo(kind).max)).astype(kind)
    return srgb


def as_type(pixels: Pixels, kind: np.dtype[np.uint8] | np.dtype[np.uint16]) -> Pixels:
    """8 bits as 16, where those are wanted."""
    return pixels if pixels.dtype == kind else pixels.astype(np.uint16) * np.uint16(257)
