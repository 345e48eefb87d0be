"""From a recipe's data section to something that draws training pairs, and to fixed pairs for validation."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from training.recipe import EmojiData, FolderData, ScenesData
from training.synthesis.draws import PairSource
from training.synthesis.lowlight import LowLight
from training.synthesis.photographs import Collection
from training.synthesis.pool import load_pool
from training.synthesis.rain import Rain
from training.synthesis.raindrop import Raindrop

MAP_SIDE = 384


def make_sources(
    data: ScenesData | EmojiData | FolderData, cache: Path | None, device: torch.device
) -> tuple[PairSource, PairSource]:
    """(source for training, source for validation); they share no clean picture. Scenes and maps are kept on the device."""
    if isinstance(data, ScenesData):
        return _scene_sources(data, cache, device)
    if isinstance(data, EmojiData):
        from training.synthesis.emoji import emoji_sources  # noqa: PLC0415 (needs the emoji font)

        return emoji_sources(data.size, data.glyphs)
    from training.data.pairs import folder_sources  # noqa: PLC0415 (only runs on pairs from disk need it)

    return folder_sources(data)


def _scene_sources(data: ScenesData, cache: Path | None, device: torch.device) -> tuple[PairSource, PairSource]:
    collection = Collection.read(Path(data.photographs)) if data.photographs else None
    scenes = load_pool(data.scenes, data.pictures, data.side, cache, collection=collection).to(device)
    make = _degraders(data, cache, device)
    return make(scenes[: -data.holdout]), make(scenes[-data.holdout :])


def _degraders(data: ScenesData, cache: Path | None, device: torch.device) -> Callable[[Tensor], PairSource]:
    if data.kind == "lowlight":
        return lambda scenes: LowLight(scenes, data.crop, data.whole)
    if data.kind == "clean":
        from training.synthesis.clean import Clean  # noqa: PLC0415

        return lambda scenes: Clean(scenes, data.crop)
    if data.kind == "rain":
        streaks = load_pool("streaks", data.maps, MAP_SIDE, cache).to(device)
        return lambda scenes: Rain(scenes, streaks, data.crop)
    drops = load_pool("drops", data.maps, MAP_SIDE, cache).to(device)
    return lambda scenes: Raindrop(scenes, drops, data.crop)
