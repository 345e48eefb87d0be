"""From a recipe's data section to something that draws training pairs, and to fixed pairs for validation."""

from pathlib import Path

import torch

from training.recipe import EmojiData, FolderData, SynthesisData
from training.synthesis.draws import PairSource
from training.synthesis.photographs import Collection
from training.synthesis.pool import load_pool
from training.synthesis.registry import DEGRADATIONS

MAP_SIDE = 384


def make_sources(
    data: SynthesisData | EmojiData | FolderData, cache: Path | None, device: torch.device
) -> tuple[PairSource, PairSource]:
    """(source for training, source for validation); they share no clean picture. Scenes and maps are kept on the device."""
    if isinstance(data, SynthesisData):
        return _synthesised(data, cache, device)
    if isinstance(data, EmojiData):
        from training.synthesis.emoji import emoji_sources  # noqa: PLC0415 (needs the emoji font)

        return emoji_sources(data.size, data.glyphs)
    from training.data.pairs import folder_sources  # noqa: PLC0415 (only runs on pairs from disk need it)

    return folder_sources(data)


def _synthesised(data: SynthesisData, cache: Path | None, device: torch.device) -> tuple[PairSource, PairSource]:
    kind = DEGRADATIONS[data.kind]
    collection = Collection.read(data.photographs) if data.photographs else None
    pool = load_pool(data.scenes or kind.pool, data.pictures, data.side, cache, collection=collection).to(device)
    maps = None if kind.maps is None else load_pool(kind.maps, data.maps, MAP_SIDE, cache).to(device)
    training, held_out = pool[: -data.holdout], pool[-data.holdout :]
    return kind.make(training, maps, data.crop, data.whole), kind.make(held_out, maps, data.crop, data.whole)
