"""Shadows thrown on a scene: what the sun no longer reaches keeps the sky's light, which is weaker and bluish.

In linear light; the outline is that of a branch, a person or a roof, sharp where the thing that throws it is near, else a penumbra.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.colour import to_linear, to_srgb
from training.synthesis.draws import Dice, Pairs, quantise, smoothed, varied
from training.synthesis.jpeg import some_compressed

LIT = 0.12  # share of pictures without a shadow, whose target is themselves
MEANS = (0.3, 0.75)
PENUMBRAS = (1, 3, 5, 9, 15)
TOLD = 0.5  # share of shadows that a mask marks
STROKES = (1, 5, 13)  # pixels by which a mask drawn by hand is wider than the shadow


def outline(batch: int, size: tuple[int, int], dice: Dice) -> Tensor:
    """Where a shadow falls, b 1 h w, 0 or 1: blobs, or stripes and edges, over 5 to 60 % of the picture."""
    height, width = size
    blob = dice.field(batch, size, 2) + dice.uniform(0, 0.7, batch, 1, 1, 1) * dice.field(batch, size, 7)
    y = torch.linspace(-1, 1, height, device=dice.device)[:, None]
    x = torch.linspace(-1, 1, width, device=dice.device)[None]
    angle, pitch = dice.uniform(0, 6.3, batch, 1, 1, 1), dice.uniform(0.5, 5, batch, 1, 1, 1)
    across = x * angle.cos() + y * angle.sin()
    edge = torch.sin(across * pitch + dice.uniform(0, 6.3, batch, 1, 1, 1)) + 0.25 * dice.field(batch, size, 4)
    relief = torch.where(dice.chance(0.6, batch) > 0, blob, edge)
    share = dice.uniform(0.4, 0.95, batch)
    level = torch.stack([torch.quantile(one, part) for one, part in zip(relief.flatten(1), share, strict=True)])
    return (relief > level[:, None, None, None]).float()


def soft(hard: Tensor, dice: Dice) -> Tensor:
    """The outline with a penumbra: each picture smoothed twice by a square of its own size."""
    sizes = [PENUMBRAS[k] for k in dice.integers(0, len(PENUMBRAS), len(hard)).tolist()]
    return torch.cat([smoothed(smoothed(one[None], size), size) for one, size in zip(hard, sizes, strict=True)])


def shaded(clean: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    """(clean b 3 h w, 0..1, with a shadow; where it falls, b 1 h w, 0..1)."""
    batch = len(clean)
    where = soft(outline(batch, (clean.shape[2], clean.shape[3]), dice), dice)
    left = torch.exp(dice.uniform(-2.0, -0.3, batch, 1, 1, 1))  # of the light
    blue = dice.uniform(0, 0.35, batch, 1, 1, 1) * torch.tensor([-1.0, -0.2, 1.0], device=clean.device)[:, None, None]
    uneven = torch.exp(0.12 * dice.field(batch, (clean.shape[2], clean.shape[3]), 3))
    gain = (left * torch.exp(0.5 * blue) * uneven).clamp(max=1)
    light = to_linear(clean) * (1 - where + where * gain)
    return to_srgb(light) + 2 / 255 * dice.uniform(0, 1, batch, 1, 1, 1) * dice.normal(*clean.shape), where


def marked(where: Tensor, dice: Dice) -> Tensor:
    """The masks that somebody would draw over shadows b 1 h w: 0 or 1, some wider than the shadow."""
    widths = [STROKES[k] for k in dice.integers(0, len(STROKES), len(where)).tolist()]
    hard = (where > 0.5).float()
    return torch.cat([functional.max_pool2d(one[None], w, 1, w // 2) for one, w in zip(hard, widths, strict=True)])


@dataclass(frozen=True, eq=False)
class Shadow:
    """Pairs from a uint8 pool (n, 3, side, side): a crop of a picture of `whole` pixels (a multiple of 16), and the context."""

    pool: Tensor
    crop: int = 128
    whole: int = 240

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs with context; of a share of the shadows a mask, of the others one that marks nothing (0)."""
        clean = quantise(varied(self.pool, batch, self.whole, MEANS, dice))
        dark, where = shaded(clean, dice)
        dark = quantise(some_compressed(quantise(dark), 0.3, (75, 97), dice))
        lit = dice.chance(LIT, batch)
        given, where = torch.where(lit > 0, clean, dark), where * (1 - lit)
        context = functional.interpolate(given, size=(self.crop, self.crop), mode="area")
        top, left = dice.integers(0, self.whole - self.crop + 1, 2).tolist()
        window = (..., slice(top, top + self.crop), slice(left, left + self.crop))
        mask = (marked(where[window], dice) * dice.chance(TOLD, batch)).expand(-1, 3, -1, -1)
        return Pairs(clean[window] * 2 - 1, given[window] * 2 - 1, context * 2 - 1, mask)
