"""Noisy and compressed photographs: sensor noise as cameras leave it, white Gaussian noise, JPEG of any quality, and both in turn.

A sensor measures one colour a pixel; the two others are interpolated (demosaicing), so that noise in a file is coarser than a
pixel, stronger in red and blue, and grows with the light (shot noise). Networks trained on white noise take such grain for
texture and leave it. Files are then compressed, and compressed files are cut and compressed again, so that blocks begin anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.colour import to_linear, to_srgb
from training.synthesis.draws import Dice, Pairs, quantise, smoothed, varied, windows
from training.synthesis.jpeg import compress

MEANS = (0.15, 0.75)  # of the clean pictures that are exposed anew
SIGMA = 55 / 255  # the strongest white noise
DEVIATION = (1.5 / 255, 24 / 255)  # of camera noise, before it is compressed
FILE_QUALITIES, POOR_QUALITIES, GRAINY_QUALITIES = (70.0, 99.0), (5.0, 92.0), (20.0, 95.0)
BLOCK = 16
# Bilinear demosaicing of red and blue (a fourth of the pixels each) and of green (half of them).
SPARSE = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))
QUINCUNX = ((0.0, 0.25, 0.0), (0.25, 1.0, 0.25), (0.0, 0.25, 0.0))


def demosaiced(noise: Tensor) -> Tensor:
    """White noise b 3 h w (h, w even) as an RGGB sensor's pixels would carry it after bilinear demosaicing."""
    rows = torch.arange(noise.shape[2], device=noise.device)[:, None] % 2
    columns = torch.arange(noise.shape[3], device=noise.device)[None] % 2
    sites = torch.stack([(1 - rows) * (1 - columns), (rows + columns) % 2, rows * columns]).float()
    kernels = torch.tensor([SPARSE, QUINCUNX, SPARSE], device=noise.device)[:, None]
    padded = functional.pad(noise * sites, (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(padded, kernels, groups=3)


def camera_noise(light: Tensor, dice: Dice) -> Tensor:
    """Noise for linear light b 3 h w in 0..1: shot and read noise, demosaiced, mixed between colours, of deviation 1.

    Its strength in a pixel follows the light there. Measured in flat parts of real files, neighbours correlate by 0.6 in green and
    0.8 in red and blue, pixels four apart by 0.05 and 0.2: most pictures are smoothed, and most have coarse coloured grain.
    """
    batch, (height, width) = len(light), light.shape[2:]
    white = dice.normal(*light.shape)
    noise = white + dice.uniform(0.3, 1, batch, 1, 1, 1) * (demosaiced(white) - white)
    noise = noise + dice.chance(0.85, batch) * dice.uniform(0.3, 1, batch, 1, 1, 1) * (smoothed(noise, 3) - noise)
    coarse = functional.interpolate(dice.normal(batch, 3, height // 8, width // 8), size=(height, width), mode="bicubic")
    coarse = coarse * torch.tensor([1.0, 0.3, 1.0], device=light.device)[:, None, None]
    noise = noise / noise.std((1, 2, 3), keepdim=True)
    noise = noise + dice.chance(0.7, batch) * dice.uniform(0.2, 0.9, batch, 1, 1, 1) * coarse
    noise = noise + dice.uniform(0, 1.2, batch, 1, 1, 1) * noise.mean(1, keepdim=True)
    read = torch.exp(dice.uniform(-6, -1, batch, 1, 1, 1))
    uneven = torch.exp(dice.uniform(0, 0.35, batch, 1, 1, 1) * torch.tensor([1.6, 0.0, 1.0], device=light.device)[:, None, None])
    noise = noise * (light + read).sqrt() * uneven
    return noise / noise.std((1, 2, 3), keepdim=True).clamp(min=1e-6)


def photographed(picture: Tensor, dice: Dice) -> Tensor:
    """sRGB b 3 h w as a camera at a high sensitivity gives it: the noise's deviation in sRGB lies within DEVIATION."""
    batch, light = len(picture), to_linear(picture)
    low, high = (torch.tensor(value).log() for value in DEVIATION)
    wanted = torch.exp(dice.uniform(float(low), float(high), batch, 1, 1, 1))
    noise = camera_noise(light, dice)
    slope = (to_srgb(light + 0.01 * noise) - to_srgb(light - 0.01 * noise)) / 0.02  # how the tone curve stretches it
    strength = wanted / slope.std((1, 2, 3), keepdim=True).clamp(min=0.05)
    return to_srgb((light + strength * noise).clamp(0, 1))


def grainy(picture: Tensor, dice: Dice) -> Tensor:
    """With white Gaussian noise of a deviation up to SIGMA, the same in all colours, or in brightness alone."""
    batch = len(picture)
    noise = dice.normal(*picture.shape)
    grey = noise.mean(1, keepdim=True) * 3**0.5
    noise = torch.where(dice.chance(0.12, batch) > 0, grey, noise)
    return (picture + SIGMA * dice.uniform(0, 1, batch, 1, 1, 1) ** 1.5 * noise).clamp(0, 1)


def compressed(picture: Tensor, qualities: tuple[float, float], dice: Dice) -> Tensor:
    """Through JPEG at qualities between the two (poor ones more often); a fifth of the calls keep colour at full resolution."""
    low, high = qualities
    quality = low + (high - low) * dice.uniform(0, 1, len(picture)) ** 1.4
    return compress(picture, quality, subsampled=float(dice.uniform(0, 1, 1)) < 0.8)


def photographed_file(picture: Tensor, dice: Dice) -> Tensor:
    """Camera noise, then JPEG of the qualities that cameras write."""
    return compressed(quantise(photographed(picture, dice)), FILE_QUALITIES, dice)


def poor_file(picture: Tensor, dice: Dice) -> Tensor:
    """JPEG alone, of poor quality mostly."""
    return compressed(picture, POOR_QUALITIES, dice)


def grainy_file(picture: Tensor, dice: Dice) -> Tensor:
    """White noise, then JPEG."""
    return compressed(quantise(grainy(picture, dice)), GRAINY_QUALITIES, dice)


# Shares of the mix; the rest is clean, and its own target.
WAYS: tuple[tuple[float, Callable[[Tensor, Dice], Tensor]], ...] = (
    (0.15, photographed),
    (0.15, photographed_file),
    (0.16, grainy),
    (0.34, poor_file),
    (0.10, grainy_file),
)


@dataclass(frozen=True, eq=False)
class Clean:
    """Pairs from a uint8 pool (n, 3, side, side), side at least crop + 16, for denoising and the removal of JPEG's traces."""

    pool: Tensor
    crop: int = 128

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs without context."""
        side = self.crop + BLOCK
        half = batch // 2  # half are exposed and coloured anew
        clean = torch.cat([windows(self.pool, batch - half, side, dice), varied(self.pool, half, side, MEANS, dice)])
        clean = quantise(clean)
        given = self.degraded(clean, dice)
        top, left = self._corner(dice)
        window = (..., slice(top, top + self.crop), slice(left, left + self.crop))
        return Pairs(clean[window] * 2 - 1, given[window] * 2 - 1)

    def degraded(self, clean: Tensor, dice: Dice) -> Tensor:
        """Each picture of b 3 h w (0..1; h, w multiples of 16) in one of the ways of the mix, as 8-bit files."""
        kind = dice.uniform(0, 1, len(clean)).tolist()
        given, begin = clean.clone(), 0.0
        for share, worsen in WAYS:
            chosen = [k for k, value in enumerate(kind) if begin <= value < begin + share]
            if chosen:
                given[chosen] = quantise(worsen(clean[chosen], dice))
            begin += share
        return given

    @staticmethod
    def _corner(dice: Dice) -> tuple[int, int]:
        """Where the crop begins in its blocks: at a corner of one for two batches of three, else anywhere."""
        top, left = dice.integers(0, BLOCK + 1, 2).tolist()
        return (0, 0) if float(dice.uniform(0, 1, 1)) < 2 / 3 else (top, left)
