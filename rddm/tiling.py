"""Where tiles lie, their window, and the blend: predictions of overlapping tiles become one field without seams.

Arrays are b c h w, NumPy or torch. Tiles start at multiples of the network's size multiple, so that a tile sees the same
sampling grid as the whole picture would.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rddm.condition import padded
from rddm.spec import ModelSpec

Array = Any


@dataclass(frozen=True)
class Tile:
    """One tile's place in the padded picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, field: Array) -> Array:
        """The tile's part of a field b c h w."""
        return field[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, eq=False)
class Window:
    """How much a tile's prediction counts at each of its pixels: down (h 1) times across (1 w), float32."""

    down: NDArray[np.float32]
    across: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Plan:
    """The padded size of a picture, its tiles, and each tile's window. Over every pixel the windows sum to 1."""

    height: int
    width: int
    tiles: tuple[Tile, ...]
    windows: tuple[Window, ...]


@lru_cache(maxsize=64)
def plan(spec: ModelSpec, height: int, width: int) -> Plan:
    """How a picture of height x width pixels is worked on: as one tile up to whole_max pixels, else as tiles of one size.

    Size alone decides, so the answer never depends on load, and is kept. Raises ValueError for sides under 1.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} pixels has no content")
    rows, columns = padded(height, spec.size_multiple), padded(width, spec.size_multiple)
    if rows * columns <= spec.whole_max:
        everywhere = Window(np.ones((rows, 1), np.float32), np.ones((1, columns), np.float32))
        return Plan(rows, columns, (Tile(0, 0, rows, columns),), (everywhere,))
    rows, columns = max(rows, spec.tile), max(columns, spec.tile)
    down, down_weights = _places(rows, spec)
    across, across_weights = _places(columns, spec)
    tiles = tuple(Tile(top, left, spec.tile, spec.tile) for top in down for left in across)
    windows = tuple(Window(v[:, None], h[None, :]) for v in down_weights for h in across_weights)
    return Plan(rows, columns, tiles, windows)


def _places(length: int, spec: ModelSpec) -> tuple[list[int], list[NDArray[np.float32]]]:
    """Evenly spread starts at multiples of the size multiple, and each tile's share of the pixels it covers."""
    count = max(1, -(-(length - spec.overlap) // (spec.tile - spec.overlap)))
    last = length - spec.tile
    starts = [last * i // (count - 1) // spec.size_multiple * spec.size_multiple for i in range(count)] if count > 1 else [0]
    bells = [_bell(start, length, spec.tile) for start in starts]
    total = np.sum(bells, axis=0)
    shares = [(bell / total)[start : start + spec.tile] for start, bell in zip(starts, bells, strict=True)]
    return starts, [share.astype(np.float32) for share in shares]


def _bell(start: int, length: int, tile: int) -> NDArray[np.float64]:
    """A raised cosine over the tile, zero elsewhere; never zero inside, so that a border covered once still counts."""
    bell = np.zeros(length)
    bell[start : start + tile] = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
    return bell


def blend(field: Array, tile: Tile, output: Array, window: Window) -> None:
    """Adds a tile's output to the field b c h w, in place, weighted by the tile's window."""
    place = tile.cut(field)
    place += output * (window.down * window.across)
