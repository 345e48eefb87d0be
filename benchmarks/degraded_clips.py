"""Clips degraded by the synthesisers of training: what is wrong with a clip stays itself from frame to frame, as it does in nature.

Rain falls anew in every frame, as strong as in the others. Drops cling to the pane. A dark clip keeps its light and its camera, and
the sensor's noise is new in every frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.colour import to_linear
from training.synthesis import drops, rain, raindrop, streaks
from training.synthesis.draws import Dice
from training.synthesis.lowlight import darkened

Pixels = NDArray[np.uint8]
STOPS = 4.0  # of darkening
FIRST_STREAKS = 9000  # beyond every training pool
NOISE_SIDE = 64  # fields of normal numbers from this side on are noise, smaller ones are parameters


@dataclass(frozen=True)
class FrameDice(Dice):
    """Draws the clip's parameters alike in every frame, and noise from a generator of the frame's own."""

    noise: torch.Generator

    def normal(self, *shape: int) -> Tensor:
        """N(0, 1)."""
        own = self.noise if shape[-1] >= NOISE_SIDE else self.generator
        return torch.randn(shape, generator=own)


def dice_of(seed: int, frame: int) -> FrameDice:
    """The dice of a clip's frame."""
    return FrameDice(torch.Generator().manual_seed(seed), torch.Generator().manual_seed(1_000_003 * (seed + 1) + frame))


def rainy(clean: Tensor, seed: int, frame: int) -> Tensor:
    """Streaks that no other frame has, of one rain: each frame sees another part of a larger map."""
    height, width = clean.shape[2:]
    drawn = _rain(seed, 2 * max(height, width))
    draw = np.random.default_rng([seed, frame])
    top, left = (int(draw.integers(0, most - own, endpoint=True)) for most, own in zip(drawn.shape, (height, width), strict=False))
    return rain.rained(clean, _map(drawn[top:, left:], clean), dice_of(seed, frame))


@lru_cache(maxsize=1)
def _rain(seed: int, side: int) -> Pixels:
    return streaks.render(FIRST_STREAKS + seed, side)


def wet(clean: Tensor, seed: int, frame: int) -> Tensor:
    """The clip's drops."""
    height, width = clean.shape[2:]
    padded = _padded(clean)
    drawn = drops.render(FIRST_STREAKS + seed, max(padded.shape[2:]))
    return raindrop.wet(padded, _map(drawn, padded), dice_of(seed, frame))[:, :, :height, :width]


def dark(clean: Tensor, seed: int, frame: int) -> Tensor:
    """Four stops less light."""
    height, width = clean.shape[2:]
    return darkened(to_linear(_padded(clean)), torch.full((1, 1, 1, 1), STOPS), dice_of(seed, frame))[:, :, :height, :width]


def _padded(clean: Tensor) -> Tensor:
    """Grown at the bottom and right to multiples of 16, which blurs and JPEG take."""
    height, width = clean.shape[2:]
    return torch.nn.functional.pad(clean, (0, -width % 16, 0, -height % 16), mode="replicate")


DEGRADATIONS: dict[str, Callable[[Tensor, int, int], Tensor]] = {"rain": rainy, "drops": wet, "dark": dark}


def degraded(frames: Sequence[Pixels], kind: str, seed: int) -> list[Pixels]:
    """The frames, h w 3, degraded; kind: of DEGRADATIONS."""
    degrade = DEGRADATIONS[kind]
    return [_pixels(degrade(_picture(frame), seed, number)) for number, frame in enumerate(frames)]


def _map(drawn: NDArray[np.uint8], like: Tensor) -> Tensor:
    """A drawn map (side side c) as 0..1, cut to a picture's size."""
    height, width = like.shape[2:]
    return torch.from_numpy(drawn[:height, :width]).permute(2, 0, 1)[None].float() / 255


def _picture(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]


def _pixels(picture: Tensor) -> Pixels:
    scaled = (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).round()
    pixels: Pixels = scaled.numpy().astype(np.uint8)
    return pixels
