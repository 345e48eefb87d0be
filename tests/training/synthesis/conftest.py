"""What several tests of synthesis need: a small pool, and a source of every degradation."""

import pytest
import torch

from training.synthesis import drops, scenes, sheet, streaks
from training.synthesis.draws import Dice, PairSource
from training.synthesis.registry import DEGRADATIONS

SIDE = 96


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def clean() -> torch.Tensor:
    return sheet.pool_of(scenes.render, 0, 6, SIDE)


@pytest.fixture(scope="session")
def sources(clean: torch.Tensor) -> dict[str, PairSource]:
    maps = {"streaks": sheet.pool_of(streaks.render, 0, 6, SIDE), "drops": sheet.pool_of(drops.render, 0, 6, SIDE)}
    return {name: kind.make(clean, maps.get(kind.maps or ""), 32, 64) for name, kind in DEGRADATIONS.items()}
