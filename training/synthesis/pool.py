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


def scene_or_photograph(seed: int, side: int, photograph: Renderer = photographs.render) -> NDArray[np.uint8]:
    """A procedural scene; every third is a window of a free photograph."""
    return (photograph if seed % PHOTOGRAPH_EVERY == PHOTOGRAPH_EVERY - 1 else scenes.render)(seed, side)


def mixed(seed: int, side: int, photograph: Renderer = photographs.render) -> NDArray[np.uint8]:
    """In turns a procedural scene, two streets, and a window of a free photograph."""
    return (scenes.render, outdoors.render, outdoors.render, photograph)[seed % 4](seed, side)


def photographic(seed: int, side: int, photograph: Renderer = photographs.render) -> NDArray[np.uint8]:
    """Three photographs, then in turns a procedural scene and a street: for tasks that live on fine texture."""
    if seed % 4 != 3:
        return photograph(seed // 4 * 3 + seed % 4, side)
    return (scenes, outdoors)[seed // 4 % 2].render(seed, side)


# Kinds of which a share are photographs: those of scikit-image, or of a folder.
WITH_PHOTOGRAPHS: dict[str, Callable[..., NDArray[np.uint8]]] = {
    "scenes": scene_or_photograph,
    "mixed": mixed,
    "photographic": photographic,
}
RENDERERS: dict[str, Renderer] = {
    **WITH_PHOTOGRAPHS,
    "procedural": scenes.render,
    "outdoors": outdoors.render,
    "streaks": streaks.render,
    "drops": drops.render,
}


def default_cache() -> Path:
    """Where pools are kept: $XDG_CACHE_HOME/rddm, or ~/.cache/rddm."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rddm"


def load_pool(
    kind: str,
    count: int,
    side: int,
    cache: Path | None = None,
    workers: int | None = None,
    collection: photographs.Collection | None = None,
) -> torch.Tensor:
    """Pictures 0..count-1 of a kind, (count, channels, side, side) uint8, memory-mapped from the cache; rendered if not there.

    collection: its photographs instead of scikit-image's, in the kinds that hold any. Raises ValueError, with the list, for an
    unknown kind.
    """
    if kind not in RENDERERS:
        raise ValueError(f"unknown pool {kind!r}; expected one of {sorted(RENDERERS)}")
    renderer, name = RENDERERS[kind], kind
    if collection is not None and kind in WITH_PHOTOGRAPHS:
        renderer, name = partial(WITH_PHOTOGRAPHS[kind], photograph=collection.render), f"{kind}-{collection.digest}"
    path = (cache or default_cache()) / f"{name}-{count}x{side}.npy"
    if not path.exists():
        _render_to(path, renderer, count, side, workers or os.cpu_count() or 1)
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _render_to(path: Path, renderer: Renderer, count: int, side: int, workers: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    channels = renderer(0, side=side).shape[2]
    pool = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(count, channels, side, side))
    with ProcessPoolExecutor(workers) as executor:
        pictures = executor.map(partial(renderer, side=side), range(count), chunksize=8)
        for k, picture in enumerate(track(pictures, f"rendering {path.stem}", total=count)):
            pool[k] = picture.transpose(2, 0, 1)
    pool.flush()
    temporary.rename(path)
