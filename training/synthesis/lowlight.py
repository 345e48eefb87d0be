"""Dark photographs: a well-exposed scene under less light, as a sensor and an 8-bit file would have kept it.

In linear light: light falls by up to 8 stops (evenly, or unevenly as with one lamp), the white balance is off, photons arrive at
random (shot noise), reading adds noise, the black level is cut off; then a tone curve, 8 bits, sometimes JPEG.

Brightness of the targets: two thirds are as bright as the picture in the pool, which for photographs is as their maker wanted it;
of the others the mean is drawn. It is an input of the network (Pairs.brightness), which so need not guess; the input where none
is given is fitted on the former (training.brightness). Pictures that are bright enough already, and some mildly dark ones, are in
the mix: what was fine stays so.
At night most of a scene has no light at all: what is lit has the targets' brightness there, the rest stays black.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.colour import to_linear, to_srgb
from training.synthesis.draws import Dice, Pairs, quantise, smoothed, windows, with_mean
from training.synthesis.jpeg import some_compressed

DARK, MILD, FINE = 0.72, 0.1, 0.18  # shares of the mix; they sum to 1
STOPS = (2.0, 7.5)
NIGHT_STOPS = (0.0, 5.0)
DEEPEST = 8.0
TYPICAL, MEANS = 0.65, (0.15, 0.65)
DARKEST, FINE_MEANS = 0.12, (0.3, 0.75)


def exposures(batch: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """(stops of darkening >= 0, 1 where the picture is fine as it is), each (batch, 1, 1, 1)."""
    kind, stops = dice.uniform(0, 1, batch, 1, 1, 1), dice.uniform(*STOPS, batch, 1, 1, 1)
    extreme = dice.uniform(0.5, DEEPEST, batch, 1, 1, 1)
    stops = torch.where(dice.chance(0.2, batch) > 0, extreme, stops)
    stops = torch.where(kind > DARK, dice.uniform(0.3, 2, batch, 1, 1, 1), stops)
    fine = (kind > DARK + MILD).float()
    return stops * (1 - fine), fine


def exposed(picture: Tensor, fine: Tensor, typical: Tensor, dice: Dice) -> Tensor:
    """The picture with the mean that targets have, by a gamma: its own where typical; what is fine is no darker than FINE_MEANS."""
    batch = len(picture)
    own = picture.mean((1, 2, 3), keepdim=True)
    drawn, bright = dice.uniform(*MEANS, batch, 1, 1, 1), dice.uniform(*FINE_MEANS, batch, 1, 1, 1)
    good = torch.where((typical > 0) & (own > FINE_MEANS[0]), own, bright)
    return with_mean(picture, torch.where(fine > 0, good, torch.where(typical > 0, own, drawn)).clamp(DARKEST, FINE_MEANS[1]))


def photographed(scene: Tensor, dice: Dice) -> Tensor:
    """The scene as cameras take it: a little soft, in flatter light than streets at noon, its colours balanced towards grey."""
    batch = len(scene)
    softness = dice.uniform(-0.6, 0.9, batch, 1, 1, 1).clamp(min=0)
    picture = scene + softness * (smoothed(scene, 3) - scene)
    mean = picture.mean((1, 2, 3), keepdim=True).clamp(min=0.01)
    picture = mean + dice.uniform(0.8, 1.1, batch, 1, 1, 1) * (picture - mean)
    tint = (picture.mean((2, 3), keepdim=True) / mean).clamp(0.25, 4)  # a channel may be empty
    return (picture * tint ** -dice.uniform(0, 0.9, batch, 1, 1, 1)).clamp(0, 1)


def falloff(picture: Tensor, dice: Dice) -> Tensor:
    """A factor on the light, (b, 1, h, w) in 0..1: even for most, else a smooth field of up to 4 stops."""
    batch = len(picture)
    field = torch.sigmoid(2.5 * dice.field(batch, (picture.shape[2], picture.shape[3]), 2))
    depth = dice.chance(0.1, batch) * dice.uniform(0.5, 4, batch, 1, 1, 1)
    return torch.exp2(-depth * field)


def night(scene: Tensor, dice: Dice) -> Tensor:
    """The scene (linear light) with a fourth to nearly all of it unlit, behind hard or soft outlines, often above, as skies are."""
    batch, _, height, width = scene.shape
    relief = dice.field(batch, (height, width), 2) + dice.uniform(0, 1, batch, 1, 1, 1) * dice.field(batch, (height, width), 9)
    above = torch.linspace(1, -1, height, device=scene.device)[:, None]
    relief = relief + dice.chance(0.6, batch) * dice.uniform(0.5, 4, batch, 1, 1, 1) * above
    lit = torch.exp(dice.uniform(-5.3, -0.3, batch))
    edge = torch.stack([torch.quantile(one, share) for one, share in zip(relief.flatten(1), lit, strict=True)])
    unlit = torch.sigmoid((relief - edge[:, None, None, None]) * torch.exp(dice.uniform(1, 4.5, batch, 1, 1, 1)))
    rest = torch.exp(dice.uniform(-8.5, -4.8, batch, 1, 1, 1)) * (0.4 + 2 * scene)  # about 0.003 to 0.1 in sRGB
    return scene + unlit * (rest - scene)


def lamps(scene: Tensor, stops: Tensor, dice: Dice) -> Tensor:
    """The scene (linear light) with a few lamps in it, that stay white for all or most of the stops, and their glow."""
    batch, _, height, width = scene.shape
    points = (dice.uniform(0, 1, batch, 1, height, width) < dice.uniform(0, 6e-4, batch, 1, 1, 1)).float()
    sizes = (1 + 2 * dice.integers(0, 4, batch)).tolist()
    discs = torch.stack([functional.max_pool2d(one, size, 1, size // 2) for one, size in zip(points, sizes, strict=True)])
    colour = torch.tensor([1.0, 0.75, 0.45], device=scene.device)[:, None, None] ** dice.uniform(-0.3, 1.3, batch, 1, 1, 1)
    bright = torch.exp2(dice.uniform(0, 1, batch, 1, 1, 1) * (stops + 2))
    glow = smoothed(smoothed(smoothed(discs, 15), 15), 15) * dice.uniform(0, 0.8, batch, 1, 1, 1)
    return scene + colour * bright * (smoothed(smoothed(discs, 3), 3) + glow)


def sensor(light: Tensor, dice: Dice) -> Tensor:
    """Shot and read noise on linear light 0..1, clipped at black.

    White balance and demosaicing leave red up to 2.2 and blue up to 1.6 times as noisy as green, and the three a
    little correlated; denoisers smear the noise of some pictures.
    """
    batch = len(light)
    full_well = torch.exp(dice.uniform(7.2, 11.5, batch, 1, 1, 1))  # electrons at white: 1,300 .. 99,000
    read = dice.uniform(0.3, 2.5, batch, 1, 1, 1) * full_well**0.25 / 6
    uneven = dice.uniform(0, 1, batch, 1, 1, 1) * torch.tensor([1.6, 0.0, 1.0], device=light.device)[:, None, None]
    deviation = ((light / full_well + (read / full_well) ** 2) * torch.exp(uneven)).sqrt()
    noise = dice.normal(*light.shape)
    noise = noise + dice.uniform(0, 0.6, batch, 1, 1, 1) * noise.mean(1, keepdim=True)
    blotches = torch.where(dice.chance(0.3, batch) > 0, smeared(noise, 5), smeared(noise, 3))
    share = dice.uniform(0, 1, batch, 1, 1, 1) * dice.chance(0.35, batch)
    return (light + deviation * (noise + share * (blotches - noise))).clamp(min=0)


def smeared(noise: Tensor, size: int) -> Tensor:
    """White noise averaged over squares of an odd size, of the same deviation."""
    return smoothed(noise, size) * size


def darkened(scene: Tensor, stops: Tensor, dice: Dice) -> Tensor:
    """The scene (linear light) as a dark 8-bit file; stops (b, 1, 1, 1)."""
    batch = len(scene)
    cast = torch.exp(0.3 * dice.normal(batch, 3, 1, 1) * dice.uniform(0, 1, batch, 1, 1, 1))
    light = scene * torch.exp2(-stops) * falloff(scene, dice) * cast
    gamma = dice.uniform(0.92, 1.12, batch, 1, 1, 1)
    dark = to_srgb(sensor(light.clamp(max=1), dice)).clamp(min=1e-5) ** gamma
    black = dice.chance(0.4, batch) * dice.uniform(0, 0.014, batch, 3, 1, 1)
    return quantise(some_compressed(quantise(dark - black), 0.3, (50, 97), dice))


@dataclass(frozen=True, eq=False)
class LowLight:
    """Pairs from a uint8 pool (n, 3, side, side): whole pictures of `whole` pixels are darkened, a crop is taken of each.

    whole must be a multiple of 16 (JPEG); the context is the whole dark picture shrunk to the crop. nights: share of the dark ones.
    """

    pool: Tensor
    crop: int = 112
    whole: int = 160
    nights: float = 0.2

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs with context, each of a picture of its own."""
        clean = photographed(windows(self.pool, batch, self.whole, dice), dice)
        stops, fine = exposures(batch, dice)
        typical = dice.chance(TYPICAL, batch)
        scene = to_linear(exposed(clean, fine, typical, dice))
        nights = dice.chance(self.nights, batch) * (stops > 0)
        stops = torch.where(nights > 0, dice.uniform(*NIGHT_STOPS, batch, 1, 1, 1), stops)
        for k in nights.flatten().nonzero():
            scene[k] = night(scene[k], dice)
        lamplit = torch.maximum(nights * dice.chance(0.6, batch), dice.chance(0.1, batch) * (1 - fine))
        for k in lamplit.flatten().nonzero():
            scene[k] = lamps(scene[k], stops[k], dice)
        target = to_srgb(scene)
        dark = torch.where(fine > 0, quantise(target), darkened(scene, stops, dice))
        context = functional.interpolate(dark, size=(self.crop, self.crop), mode="area")
        rows, columns = dice.integers(0, self.whole - self.crop + 1, 2, batch).tolist()
        places = enumerate(zip(rows, columns, strict=True))
        cut = [torch.cat([target[k], dark[k]])[:, y : y + self.crop, x : x + self.crop] for k, (y, x) in places]
        brightness = target.mean((1, 2, 3))[:, None].clamp(min=1e-3)
        wanted, given = (torch.stack(cut) * 2 - 1).chunk(2, 1)
        return Pairs(wanted, given, context * 2 - 1, brightness=brightness, typical=typical.flatten(1))
