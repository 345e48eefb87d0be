"""Pools: many pictures of one kind, rendered once on every core, kept on disk, loaded as one uint8 tensor.

Picture k of a pool depends on its kind, side and k alone, so a larger pool begins with the smaller one's pictures.
"""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from training.synthesis import drops, outdoors, photographs, scenes, streaks

Renderer = Callable[[int, int], NDArray[np.uint8]]

PHOTOGRAPH_EVERY = 3


def scene_or_photograph(seed: int, side: int) -> NDArray[np.uint8]:
    """A procedural scene; every third is a crop of a public-domain photograph."""
    maker = photographs if seed % PHOTOGRAPH_EVERY == PHOTOGRAPH_EVERY - 1 else scenes
    return maker.render(seed, side)


def mixed(seed: int, side: int) -> NDArray[np.uint8]:
    """In turns a procedural scene, two streets, and a crop of a public-domain photograph."""
    return (scenes, outdoors, outdoors, photographs)[seed % 4].render(seed, side)


RENDERERS: dict[str, Renderer] = {
    "scenes": scene_or_photograph,
    "mixed": mixed,
    "procedural": scenes.render,
    "outdoors": outdoors.render,
    "streaks": streaks.render,
    "drops": drops.render,
}


def default_cache() -> Path:
    """Where pools are kept: $XDG_CACHE_HOME/rddm, or ~/.cache/rddm."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rddm"


def load_pool(kind: str, count: int, side: int, cache: Path | None = None, workers: int | None = None) -> torch.Tensor:
    """Pictures 0..count-1 of a kind, (count, channels, side, side) uint8, memory-mapped from the cache; rendered if not there.

    Raises ValueError, with the list, for an unknown kind.
    """
    if kind not in RENDERERS:
        raise ValueError(f"unknown pool {kind!r}; expected one of {sorted(RENDERERS)}")
    path = (cache or default_cache()) / f"{kind}-{count}x{side}.npy"
    if not path.exists():
        _render_to(path, RENDERERS[kind], count, side, workers or os.cpu_count() or 1)
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _render_to(path: Path, renderer: Renderer, count: int, side: int, workers: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    channels = renderer(0, side).shape[2]
    pool = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(count, channels, side, side))
    with ProcessPoolExecutor(workers) as executor:
        pictures = executor.map(partial(renderer, side=side), range(count), chunksize=8)
        for k, picture in enumerate(track(pictures, f"rendering {path.stem}", total=count)):
            pool[k] = picture.transpose(2, 0, 1)
    pool.flush()
    temporary.rename(path)
