"""Hazy photographs: I = J t + A (1 - t) in linear or encoded values, t = exp(-beta depth) (Koschmieder; Narasimhan & Nayar 2002).

Pictures come without depth. It is drawn: the far lies above on a ground, or beyond, in smooth relief; layers stand at one depth
each, and their outlines follow the picture's own, since what is far and what is near mostly differ in colour.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.colour import to_linear, to_srgb
from training.synthesis.draws import Dice, Pairs, quantise, smoothed, varied
from training.synthesis.jpeg import some_compressed

CLEAR = 0.12  # share of pictures without haze, whose target is themselves
MEANS = (0.2, 0.7)
NOISE = 3 / 255


def depth(picture: Tensor, dice: Dice) -> Tensor:
    """A depth for each pixel of b 3 h w: b 1 h w, 0 (near) to about 1 (far)."""
    batch, (height, width) = len(picture), picture.shape[2:]
    above = torch.linspace(1, 0, height, device=picture.device)[:, None].expand(batch, 1, height, width)
    ground = dice.uniform(0, 1, batch, 1, 1, 1) * above ** dice.uniform(0.5, 2.5, batch, 1, 1, 1)
    relief = dice.uniform(0, 0.35, batch, 1, 1, 1) * dice.field(batch, (height, width), 3)
    tone = smoothed((picture * torch.softmax(3 * dice.normal(batch, 3, 1, 1), 1)).sum(1, keepdim=True), 5)
    edge = tone.mean((2, 3), keepdim=True) + 0.1 * dice.normal(batch, 1, 1, 1)
    layer = torch.sigmoid((tone - edge) * torch.exp(dice.uniform(2, 4, batch, 1, 1, 1)))
    layers = dice.chance(0.7, batch) * dice.uniform(-0.4, 0.6, batch, 1, 1, 1) * layer
    total = ground + relief + layers
    low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
    nearest = dice.uniform(0, 0.6, batch, 1, 1, 1)
    return nearest + (1 - nearest) * (total - low) / (high - low).clamp(min=1e-3)


def airlight(batch: int, dice: Dice) -> Tensor:
    """The colour of endless haze, sRGB (b, 3, 1, 1): pale, seldom dim, a little bluish or yellowish."""
    level = torch.where(dice.chance(0.75, batch) > 0, dice.uniform(0.7, 1, batch, 1, 1, 1), dice.uniform(0.4, 0.8, batch, 1, 1, 1))
    warmth = 0.05 * dice.normal(batch, 1, 1, 1) * torch.tensor([1.0, 0.1, -1.0], device=dice.device)[:, None, None]
    return (level + warmth + 0.015 * dice.normal(batch, 3, 1, 1)).clamp(0.2, 1)


def hazed(clean: Tensor, dice: Dice) -> Tensor:
    """Clean b 3 h w, 0..1 -> in haze. Half mix in linear light, as haze does, half in encoded values, as most data sets do."""
    batch = len(clean)
    thickness = torch.exp(dice.uniform(-1.4, 1.0, batch, 1, 1, 1))
    clear = torch.exp(-thickness * depth(clean, dice) * (1 + 0.06 * dice.normal(batch, 3, 1, 1)))
    light = airlight(batch, dice)
    half = batch // 2
    linear = to_linear(clean[:half]) * clear[:half] + to_linear(light[:half]) * (1 - clear[:half])
    encoded = clean[half:] * clear[half:] + light[half:] * (1 - clear[half:])
    mixed = torch.cat([to_srgb(linear), encoded])
    dimmed = mixed * dice.uniform(0.75, 1.05, batch, 1, 1, 1)  # haze takes light, and cameras meter it
    return (dimmed + NOISE * dice.uniform(0, 1, batch, 1, 1, 1) * dice.normal(*clean.shape)).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Haze:
    """Pairs from a uint8 pool (n, 3, side, side): pictures of `whole` pixels (a multiple of 16) in haze, a crop of each.

    The context is the whole hazy picture shrunk to the crop.
    """

    pool: Tensor
    crop: int = 128
    whole: int = 240

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs with context."""
        clean = quantise(varied(self.pool, batch, self.whole, MEANS, dice))
        hazy = quantise(some_compressed(quantise(hazed(clean, dice)), 0.3, (70, 97), dice))
        given = torch.where(dice.chance(CLEAR, batch) > 0, clean, hazy)
        context = functional.interpolate(given, size=(self.crop, self.crop), mode="area")
        top, left = dice.integers(0, self.whole - self.crop + 1, 2).tolist()
        window = (..., slice(top, top + self.crop), slice(left, left + self.crop))
        return Pairs(clean[window] * 2 - 1, given[window] * 2 - 1, context * 2 - 1)
