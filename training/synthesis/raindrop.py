"""Photographs through a wet window: drop maps (training.synthesis.drops) bend, blur and shade the scene; some windows are dry."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.synthesis.draws import Dice, Pairs, quantise, smoothed, varied, windows
from training.synthesis.drops import REACH
from training.synthesis.jpeg import some_compressed

DRY = 0.2  # share of pictures without drops, whose target is themselves
MEANS = (0.25, 0.7)  # of the clean pictures
SKY = (-1.0, 0.0, 0.4)  # how its light parts from grey


def blurred(picture: Tensor, factor: int) -> Tensor:
    """Out of focus by about `factor` pixels; h and w multiples of it."""
    small = smoothed(functional.avg_pool2d(picture, factor), 3)
    return functional.interpolate(small, size=picture.shape[2:], mode="bilinear")


def refracted(picture: Tensor, shift: Tensor) -> Tensor:
    """The picture seen displaced by shift (b 2 h w: y, x in pixels), mirrored at its borders."""
    height, width = picture.shape[2:]
    y = torch.linspace(-1, 1, height, device=picture.device)[None, :, None] + shift[:, 0] * (2 / (height - 1))
    x = torch.linspace(-1, 1, width, device=picture.device)[None, None] + shift[:, 1] * (2 / (width - 1))
    grid = torch.stack([x, y], -1)
    return functional.grid_sample(picture, grid, padding_mode="reflection", align_corners=True)


def wet(clean: Tensor, drops: Tensor, dice: Dice) -> Tensor:
    """Clean b 3 h w and drop maps b 4 h w (training.synthesis.drops.CHANNELS), 0..1 -> seen through the wet window.

    A drop shows the scene refracted and out of focus, under a share of the sky's light, which is blue more often than red; it lets
    more or less of the scene behind it through.
    """
    batch = len(clean)
    cover, shift, shade = drops[:, :1], (drops[:, 1:3] - 128 / 255) * REACH, (drops[:, 3:] - 128 / 255) * 2
    soft = torch.where(dice.chance(0.5, batch) > 0, blurred(clean, 16), blurred(clean, 8))
    sharp = torch.where(dice.chance(0.5, batch) > 0, blurred(clean, 4), clean)
    lens = refracted(torch.where(dice.chance(0.85, batch) > 0, soft, sharp), shift)
    blue = dice.uniform(-0.03, 0.12, batch, 1, 1, 1) * torch.tensor(SKY, device=clean.device)[:, None, None]
    sky = dice.uniform(0.55, 0.95, batch, 1, 1, 1) + blue + 0.05 * dice.normal(batch, 3, 1, 1)
    lens = lens + dice.uniform(0.15, 0.9, batch, 1, 1, 1) * (sky - lens)
    lens = (lens * torch.exp(dice.uniform(0, 1, batch, 1, 1, 1) * shade)).clamp(0, 1)
    opacity = cover * dice.uniform(0.6, 1, batch, 1, 1, 1)
    return clean + opacity * (lens - clean)


def veiled(picture: Tensor, cover: Tensor, dice: Dice) -> Tensor:
    """Light that the drops scatter into their surroundings: a pale veil where drops are many, faint, in one of four pictures.

    Between real drops a window is clear.
    """
    batch = len(picture)
    crowd = blurred(blurred(cover, 16), 16)
    strength = dice.chance(0.25, batch) * dice.uniform(0, 0.35, batch, 1, 1, 1)
    return picture + strength * crowd * (dice.uniform(0.55, 0.85, batch, 1, 1, 1) - picture)


def metered(picture: Tensor, clean: Tensor, dice: Dice) -> Tensor:
    """The picture as a camera exposes it whose meter sees bright drops: darker, by a part of what they add to its mean."""
    brighter = picture.mean((1, 2, 3), keepdim=True) / clean.mean((1, 2, 3), keepdim=True)
    return picture * brighter.clamp(1, 2) ** -dice.uniform(0, 0.7, len(picture), 1, 1, 1)


@dataclass(frozen=True, eq=False)
class Raindrop:
    """Pairs from uint8 pools of scenes (n, 3, side, side) and drop maps (n, 4, side, side); crop a multiple of 16."""

    pool: Tensor
    maps: Tensor
    crop: int = 128

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs without context."""
        clean = varied(self.pool, batch, self.crop, MEANS, dice)
        clean = quantise(some_compressed(clean, 0.4, (75, 98), dice))
        drops = windows(self.maps, batch, self.crop, dice)
        through = veiled(wet(clean, drops, dice), drops[:, :1], dice)
        through = quantise(metered(through, clean, dice))
        given = torch.where(dice.chance(DRY, batch) > 0, clean, through)
        return Pairs(clean * 2 - 1, given * 2 - 1)
