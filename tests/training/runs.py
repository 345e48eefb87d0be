"""A tiny recipe and its pairs, for tests of training."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rddm.spec import ModelSpec
from training.networks import SmallConfig
from training.recipe import EmaConfig, Optimiser, Recipe, SynthesisData
from training.synthesis.draws import Dice, Pairs
from training.trainer import MicroBatch, Trainer, drawn_batches

SPEC = ModelSpec(name="tiny", task="tiny", licence="CC0-1.0", size_multiple=8, default_steps=2)


NETWORK = SmallConfig(widths=(8, 8), depths=(1, 1), time_width=8)


RECIPE = Recipe(
    spec=SPEC,
    network=NETWORK,
    data=SynthesisData(kind="rain"),
    steps=30,
    batch=4,
    optimiser=Optimiser(rate=3e-3),
    ema=EmaConfig(update_every=1, update_after_step=0),
)


@dataclass(frozen=True)
class Dimmed:
    """Pairs whose given picture is the target, half as bright."""

    def draw(self, batch: int, dice: Dice) -> Pairs:
        target = dice.uniform(-1, 1, batch, 3, 16, 16)
        return Pairs(target, (target - 1) / 2)


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def batches(trainer: Trainer, own: Dice) -> Iterator[MicroBatch]:
    return drawn_batches(trainer.recipe, trainer.objective, Dimmed(), own)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
