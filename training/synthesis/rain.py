"""Rainy photographs: streak maps (training.synthesis.streaks) laid over clean scenes, with veil and noise; some stay dry."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthesis.draws import Dice, Pairs, quantise, varied, windows
from training.synthesis.jpeg import some_compressed

DRY = 0.12  # share of pictures without rain, whose target is themselves
MEANS = (0.22, 0.75)  # of the clean pictures: rain falls before dark hills and bright skies, where streaks clip


def rained(clean: Tensor, streaks: Tensor, dice: Dice) -> Tensor:
    """Clean b 3 h w and streaks b 1 h w, 0..1 -> the rainy 8-bit picture.

    Streaks add light (most), or cover the scene with the sky's light; heavy rain also lifts the whole picture a little (veil).
    """
    batch = len(clean)
    strength = dice.uniform(0.25, 1.0, batch, 1, 1, 1)
    tint = 1 + 0.06 * dice.normal(batch, 3, 1, 1) * dice.chance(0.6, batch)
    rain = streaks * strength * tint
    sky = dice.uniform(0.7, 1, batch, 1, 1, 1)
    covered = clean + rain.clamp(0, 1) * (sky - clean).clamp(min=0)
    added = clean + rain
    veil = dice.chance(0.08, batch) * dice.uniform(0, 0.1, batch, 1, 1, 1)
    mixed = torch.where(dice.chance(0.75, batch) > 0, added, covered)
    return (mixed + veil * (sky - mixed)).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Rain:
    """Pairs from uint8 pools of scenes (n, 3, side, side) and of streak maps (n, 1, side, side); crop a multiple of 16."""

    pool: Tensor
    maps: Tensor
    crop: int = 128

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs without context."""
        clean = varied(self.pool, batch, self.crop, MEANS, dice)
        # Photographs are JPEGs: rain fell on the scene's blocks too, and removing rain must not try to remove them.
        clean = quantise(some_compressed(clean, 0.4, (75, 98), dice))
        rainy = quantise(rained(clean, windows(self.maps, batch, self.crop, dice), dice))
        given = torch.where(dice.chance(DRY, batch) > 0, clean, rainy)
        return Pairs(clean * 2 - 1, given * 2 - 1)
