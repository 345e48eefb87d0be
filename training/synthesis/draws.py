"""Random numbers and colour arithmetic on whatever device the pictures are: pictures are float32, b 3 h w, sRGB in 0..1."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Dice:
    """Random draws per picture, on one device, from one seedable generator."""

    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        """Where drawn tensors live."""
        return self.generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """U(low, high), float32."""
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        """N(0, 1), float32."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers low..high-1, int64."""
        return torch.randint(low, high, shape, generator=self.generator, device=self.device)

    def chance(self, probability: float, batch: int) -> Tensor:
        """1 with the probability, else 0, per picture: (batch, 1, 1, 1) float32."""
        return (self.uniform(0, 1, batch, 1, 1, 1) < probability).float()

    def field(self, batch: int, size: tuple[int, int], cells: int) -> Tensor:
        """A smooth field about N(0, 1), (batch, 1, h, w), with `cells` cells a side."""
        grid = self.normal(batch, 1, cells + 1, cells + 1)
        return functional.interpolate(grid, size=size, mode="bicubic", align_corners=True)


@dataclass(frozen=True)
class Pairs:
    """A drawn batch, float32 b 3 h w in [-1, 1]: what is wanted, what is given, the whole given picture shrunk to h w.

    The mask lies in [0, 1]. brightness: the mean of the sRGB values of the whole target, in 0..1, (b 1); typical: 1 where that is
    how bright such a scene is, 0 where it was drawn.
    """

    target: Tensor
    given: Tensor
    context: Tensor | None = None
    mask: Tensor | None = None
    brightness: Tensor | None = None
    typical: Tensor | None = None


class PairSource(Protocol):
    """Anything that draws training pairs."""

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` fresh pairs; the same generator state gives the same pairs."""
        ...


def quantise(picture: Tensor) -> Tensor:
    """To the 256 levels of an 8-bit file."""
    return (picture.clamp(0, 1) * 255).round() / 255


def with_mean(picture: Tensor, mean: Tensor) -> Tensor:
    """The picture with about another mean, by a gamma: b 3 h w and b 1 1 1, 0..1."""
    own = picture.mean((1, 2, 3), keepdim=True).clamp(0.05, 0.95)
    return picture.clamp(min=1e-4) ** (torch.log(mean) / torch.log(own))


def smoothed(picture: Tensor, size: int) -> Tensor:
    """Each pixel the mean of a square of an odd size around it, less at the borders: b c h w."""
    return functional.avg_pool2d(picture, size, stride=1, padding=size // 2, count_include_pad=False)


def recoloured(picture: Tensor, dice: Dice, spread: float = 0.4) -> Tensor:
    """The picture with more or less saturated colours, by a factor of about exp(+-spread), and a light tint: b 3 h w, 0..1."""
    batch, grey = len(picture), picture.mean(1, keepdim=True)
    saturation = torch.exp(spread * dice.normal(batch, 1, 1, 1))
    tint = torch.exp(0.06 * dice.normal(batch, 3, 1, 1))
    return ((grey + (picture - grey) * saturation) * tint).clamp(0, 1)


def varied(pool: Tensor, batch: int, size: int, means: tuple[float, float], dice: Dice) -> Tensor:
    """`batch` windows of a pool in other colours, each of a mean within `means`: b 3 size size, 0..1."""
    picture = recoloured(windows(pool, batch, size, dice), dice)
    return with_mean(picture, dice.uniform(*means, batch, 1, 1, 1))


def windows(pool: Tensor, batch: int, size: int, dice: Dice) -> Tensor:
    """`batch` random windows of a uint8 pool (n, c, side, side), mirrored by chance, float32 0..1, on the dice's device."""
    count, _, side, _ = pool.shape
    which = dice.integers(0, count, batch).tolist()
    rows, columns = dice.integers(0, side - size + 1, 2, batch).tolist()
    mirrored = dice.integers(0, 2, batch).tolist()
    cut = [pool[n, :, y : y + size, x : x + size] for n, y, x in zip(which, rows, columns, strict=True)]
    cut = [window.flip(-1) if mirror else window for window, mirror in zip(cut, mirrored, strict=True)]
    return torch.stack(cut).to(dice.device, torch.float32) / 255
