"""Dark photographs: a well-exposed scene under less light, as a sensor and an 8-bit file would have kept it.

In linear light: light falls by up to 8 stops (evenly, or unevenly as with one lamp), the white balance is off, photons arrive at
random (shot noise), reading adds noise, the black level is cut off; then a tone curve, 8 bits, sometimes JPEG.

Brightness of the targets: mean sRGB 0.44 +- 0.07 of 0..1 (112 of 255), the middle of what well-exposed photographs have. Pictures
that are bright enough already, and some mildly dark ones, are in the mix, so that what was fine stays as it was.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.synthesis.draws import Dice, Pairs, quantise, to_linear, to_srgb, windows
from training.synthesis.jpeg import some_compressed

DARK, MILD, FINE = 0.72, 0.1, 0.18  # shares of the mix; they sum to 1
STOPS = (2.0, 7.5)
DEEPEST = 8.0


def exposures(batch: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """(stops of darkening >= 0, 1 where the picture is fine as it is), each (batch, 1, 1, 1)."""
    kind, stops = dice.uniform(0, 1, batch, 1, 1, 1), dice.uniform(*STOPS, batch, 1, 1, 1)
    extreme = dice.uniform(0.5, DEEPEST, batch, 1, 1, 1)
    stops = torch.where(dice.chance(0.2, batch) > 0, extreme, stops)
    stops = torch.where(kind > DARK, dice.uniform(0.3, 2, batch, 1, 1, 1), stops)
    fine = (kind > DARK + MILD).float()
    return stops * (1 - fine), fine


def brightened(picture: Tensor, fine: Tensor, dice: Dice) -> Tensor:
    """Where fine: the picture with another mean, 0.38..0.75, by a gamma: bright pictures are good pictures too."""
    mean = picture.mean((1, 2, 3), keepdim=True).clamp(0.05, 0.95)
    gamma = torch.log(dice.uniform(0.38, 0.75, len(picture), 1, 1, 1)) / torch.log(mean)
    return torch.where(fine > 0, picture.clamp(min=1e-4) ** gamma, picture)


def falloff(picture: Tensor, dice: Dice) -> Tensor:
    """A factor on the light, (b, 1, h, w) in 0..1: even for most, else a smooth field of up to 4 stops."""
    batch = len(picture)
    field = torch.sigmoid(2.5 * dice.field(batch, (picture.shape[2], picture.shape[3]), 2))
    depth = dice.chance(0.2, batch) * dice.uniform(0.5, 4, batch, 1, 1, 1)
    return torch.exp2(-depth * field)


def sensor(light: Tensor, dice: Dice) -> Tensor:
    """Shot and read noise on linear light 0..1, clipped at black; some of it smoothed, as cameras' own denoisers leave it."""
    batch = len(light)
    full_well = torch.exp(dice.uniform(7.2, 11, batch, 1, 1, 1))  # electrons at white: 1,300 .. 60,000
    read = dice.uniform(0.3, 3, batch, 1, 1, 1) * full_well**0.25 / 6
    deviation = (light / full_well + (read / full_well) ** 2).sqrt()
    noise = dice.normal(*light.shape)
    smooth = functional.avg_pool2d(noise, 3, stride=1, padding=1, count_include_pad=False) * 2
    noise = torch.where(dice.chance(0.35, batch) > 0, smooth, noise)
    return (light + deviation * noise).clamp(min=0)


def darkened(target: Tensor, stops: Tensor, dice: Dice) -> Tensor:
    """The target (sRGB 0..1) as a dark 8-bit file; stops (b, 1, 1, 1)."""
    batch = len(target)
    cast = torch.exp(0.16 * dice.normal(batch, 3, 1, 1) * dice.uniform(0, 1, batch, 1, 1, 1))
    light = to_linear(target) * torch.exp2(-stops) * falloff(target, dice) * cast
    gamma = dice.uniform(0.92, 1.12, batch, 1, 1, 1)
    dark = to_srgb(sensor(light, dice)).clamp(min=1e-5) ** gamma
    black = dice.chance(0.4, batch) * dice.uniform(0, 0.012, batch, 3, 1, 1)
    return quantise(some_compressed(quantise(dark - black), 0.2, (60, 97), dice))


@dataclass(frozen=True, eq=False)
class LowLight:
    """Pairs from a uint8 pool (n, 3, side, side): whole pictures of `whole` pixels are darkened, `crops` crops taken of each.

    whole must be a multiple of 16 (JPEG) and of crop; the context is the whole dark picture shrunk to the crop.
    """

    pool: Tensor
    crop: int = 128
    whole: int = 256
    crops: int = 4

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs, a multiple of `crops`."""
        clean = windows(self.pool, batch // self.crops, self.whole, dice)
        stops, fine = exposures(len(clean), dice)
        target = brightened(clean, fine, dice)
        dark = torch.where(fine > 0, quantise(target), darkened(target, stops, dice))
        context = functional.avg_pool2d(dark, self.whole // self.crop)
        rows, columns = dice.integers(0, self.whole - self.crop + 1, 2, batch).tolist()
        both = torch.cat([target, dark], 1).repeat_interleave(self.crops, 0)
        cut = [both[k, :, y : y + self.crop, x : x + self.crop] for k, (y, x) in enumerate(zip(rows, columns, strict=True))]
        target, given = (torch.stack(cut) * 2 - 1).chunk(2, 1)
        return Pairs(target, given, context.repeat_interleave(self.crops, 0) * 2 - 1)
