"""Pictures enlarged by 2: shrunk by bicubic or area filters, some with the traces of JPEG, then enlarged bicubically."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.synthesis.draws import Dice, Pairs, quantise, recoloured, windows
from training.synthesis.jpeg import some_compressed

SCALE = 2
BICUBIC, COMPRESSED = 0.85, 0.15  # shares; the rest is shrunk by area, and not compressed


def resized(picture: Tensor, side: int) -> Tensor:
    """Pillow's bicubic filter (a = -0.5, widened when shrinking), rounded to bytes: b 3 h w -> b 3 side side."""
    return quantise(functional.interpolate(picture, size=(side, side), mode="bicubic", antialias=True))


@dataclass(frozen=True, eq=False)
class Enlarged:
    """Pairs from a uint8 pool (n, 3, side, side); crop, of the large picture, is a multiple of 32."""

    pool: Tensor
    crop: int = 128

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs: given is the enlargement, of the target's size."""
        half = batch // 2
        plain, coloured = windows(self.pool, batch, self.crop, dice).split([batch - half, half])
        clean = quantise(torch.cat([plain, recoloured(coloured, dice, 0.2)]))
        small = self.crop // SCALE
        shrunk = torch.where(dice.chance(BICUBIC, batch) > 0, resized(clean, small), quantise(functional.avg_pool2d(clean, SCALE)))
        shrunk = quantise(some_compressed(shrunk, COMPRESSED, (75, 98), dice))
        return Pairs(clean * 2 - 1, resized(shrunk, self.crop) * 2 - 1)
