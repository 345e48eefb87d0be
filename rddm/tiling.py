"""Where tiles lie, their window, and the blend: predictions of overlapping tiles become one field without seams.

Arrays are b c h w, NumPy or torch. Tiles start at multiples of the network's size multiple, so that a tile sees the same
sampling grid as the whole picture would.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rddm.condition import padded
from rddm.spec import ModelSpec

Array = Any

TILE_PIXELS = 1280 * 1024  # of one call; its memory, 80 to 125 bytes a pixel, sets the bound
MOST_COMPUTED = 1.2  # times a picture's pixels, if tiles of TILE_PIXELS allow it
ROUND = 4  # tiles: one, two or four cores end a round together, where one tile more would keep one core busy
USUAL_SIDE = 256


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
    """How a picture of height x width pixels is worked on: in one call of up to `most_pixels`, else in tiles of one size.

    Tiles are the smallest that compute at most `MOST_COMPUTED` times the picture: they need less memory, and more of them keep more
    cores busy. Where none are, those that compute least. A round that is not full counts as a full one. The picture's size alone
    decides, so the answer never depends on load, and is kept. Raises ValueError for sides under 1.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} pixels has no content")
    rows, columns = padded(height, spec.size_multiple), padded(width, spec.size_multiple)
    grids = _fixed_grids(spec, rows, columns) if spec.sizes else _free_grids(spec, rows, columns)
    vertical, horizontal = min(grids, key=partial(_cost, rows * columns, 1 if spec.sizes else ROUND))
    rows, columns = max(rows, vertical.tile), max(columns, horizontal.tile)
    down, down_weights = _places(rows, vertical, spec.size_multiple)
    across, across_weights = _places(columns, horizontal, spec.size_multiple)
    tiles = tuple(Tile(top, left, vertical.tile, horizontal.tile) for top in down for left in across)
    windows = tuple(Window(v[:, None], h[None, :]) for v in down_weights for h in across_weights)
    return Plan(rows, columns, tiles, windows)


def most_pixels(spec: ModelSpec) -> int:
    """Of the largest call that a picture is made of."""
    return max((height * width for height, width in spec.sizes), default=spec.most_pixels or TILE_PIXELS)


def usual_size(spec: ModelSpec) -> tuple[int, int]:
    """Height and width of a call as most are: the generated picture's, a small picture's, or the smallest that the file takes."""
    side = max(min(USUAL_SIDE, math.isqrt(most_pixels(spec))) // spec.size_multiple, 1) * spec.size_multiple
    return spec.image_size or min(spec.sizes, default=(side, side))


@dataclass(frozen=True)
class _Axis:
    """So many tiles of so many pixels along one side."""

    count: int
    tile: int


def _cost(pixels: int, together: int, grid: tuple[_Axis, _Axis]) -> tuple[float, int]:
    """Grids within the bound are equally good, and of them that of the smallest tiles. together: tiles of a round."""
    tile = grid[0].tile * grid[1].tile
    return max(MOST_COMPUTED, padded(grid[0].count * grid[1].count, together) * tile / pixels), tile


def _free_grids(spec: ModelSpec, rows: int, columns: int) -> Iterator[tuple[_Axis, _Axis]]:
    """One call, if it is small enough; else every number of tiles down and across that keeps it so."""
    if rows * columns <= most_pixels(spec):
        yield _Axis(1, rows), _Axis(1, columns)
        return
    horizontal = list(_divisions(columns, spec))
    for vertical in _divisions(rows, spec):
        yield from ((vertical, axis) for axis in horizontal if axis.tile * vertical.tile <= most_pixels(spec))


def _divisions(length: int, spec: ModelSpec) -> Iterator[_Axis]:
    """A side as one tile, two, and so on, each as long as it must be; down to tiles that overlap by half."""
    for count in itertools.count(1):
        tile = padded(-(-(length + (count - 1) * spec.overlap) // count), spec.size_multiple)
        if count > 1 and tile < max(2 * spec.overlap, spec.size_multiple):
            return
        yield _Axis(count, tile)
        if tile <= max(2 * spec.overlap, spec.size_multiple):
            return


def _fixed_grids(spec: ModelSpec, rows: int, columns: int) -> Iterator[tuple[_Axis, _Axis]]:
    """One for each size that the file takes."""
    for height, width in spec.sizes:
        yield _covering(rows, height, spec.overlap), _covering(columns, width, spec.overlap)


def _covering(length: int, tile: int, overlap: int) -> _Axis:
    return _Axis(1 if length <= tile else -(-(length - overlap) // (tile - overlap)), tile)


def _places(length: int, axis: _Axis, multiple: int) -> tuple[list[int], list[NDArray[np.float32]]]:
    """Evenly spread starts at multiples of the size multiple, and each tile's share of the pixels it covers."""
    last = length - axis.tile
    starts = [last * i // (axis.count - 1) // multiple * multiple for i in range(axis.count)] if axis.count > 1 else [0]
    bells = [_bell(start, length, axis.tile) for start in starts]
    total = np.sum(bells, axis=0)
    shares = [(bell / total)[start : start + axis.tile] for start, bell in zip(starts, bells, strict=True)]
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
