"""Mildly blurred photographs: while the shutter was open the camera moved and turned, or a thing in the picture did.

The moments of an exposure add up as light: frames along a smooth path are averaged in linear light, then encoded.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.colour import to_linear, to_srgb
from training.synthesis.draws import Dice, Pairs, quantise, varied, windows
from training.synthesis.jpeg import some_compressed

SHARP = 0.1  # share of pictures that were held still, whose target is themselves
MEANS = (0.2, 0.75)
MOMENTS = 9
LONGEST = 26.0  # pixels from the first moment to the last
TURN = 0.03  # radians
MARGIN = 16


def path(batch: int, dice: Dice) -> Tensor:
    """Where the camera looks at each moment, (MOMENTS, b, 3): y and x in pixels, turn in radians; 0 in the middle one."""
    moment = torch.linspace(-0.5, 0.5, MOMENTS, device=dice.device)[:, None]
    length = LONGEST * dice.uniform(0, 1, batch)
    angle = dice.uniform(0, 6.3, batch)
    bend, phase = 0.25 * dice.normal(batch), 1.0
    along, aside = moment * length, bend * length * (torch.cos(2 * torch.pi * moment * phase) - 1) / 2
    y, x = along * angle.sin() + aside * angle.cos(), along * angle.cos() - aside * angle.sin()
    turn = moment * TURN * dice.normal(batch) * (length / LONGEST)
    return torch.stack([y, x, turn], -1)


def seen(light: Tensor, pose: Tensor) -> Tensor:
    """The scene b 3 h w as the camera sees it from a pose (b, 3), mirrored at its borders."""
    height, width = light.shape[2:]
    y, x, turn = pose.unbind(-1)
    cos, sin = turn.cos(), turn.sin()
    rows = torch.stack([cos, -sin, 2 * x / width, sin, cos, 2 * y / height], -1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, list(light.shape), align_corners=False)
    return functional.grid_sample(light, grid, padding_mode="reflection", align_corners=False)


def shaken(light: Tensor, dice: Dice) -> Tensor:
    """Linear light b 3 h w, averaged over the exposure; in a third of the pictures a part moves on its own."""
    batch, (height, width) = len(light), light.shape[2:]
    poses, others = path(batch, dice), path(batch, dice)
    part = torch.sigmoid(12 * (dice.field(batch, (height, width), 2) - 0.4)) * dice.chance(0.35, batch)
    alone = bool(part.amax() > 0)
    total = torch.zeros_like(light)
    for pose, other in zip(poses, others, strict=True):
        frame = seen(light, pose)
        if alone:
            moved = seen(torch.cat([light, part], 1), pose + other)
            frame = frame + moved[:, 3:] * (moved[:, :3] - frame)
        total += frame
    return total / MOMENTS


@dataclass(frozen=True, eq=False)
class Shake:
    """Pairs from a uint8 pool (n, 3, side, side), side at least crop + 32; crop a multiple of 16."""

    pool: Tensor
    crop: int = 128

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs without context; the target is the middle moment."""
        half, side = batch // 2, self.crop + 2 * MARGIN
        clean = torch.cat([windows(self.pool, batch - half, side, dice), varied(self.pool, half, side, MEANS, dice)])
        clean = quantise(clean)
        blurred = to_srgb(shaken(to_linear(clean), dice))
        window = (..., slice(MARGIN, MARGIN + self.crop), slice(MARGIN, MARGIN + self.crop))
        clean, blurred = clean[window], blurred[window]
        noisy = blurred + 1.5 / 255 * dice.uniform(0, 1, batch, 1, 1, 1) * dice.normal(*blurred.shape)
        noisy = quantise(some_compressed(quantise(noisy), 0.25, (80, 98), dice))
        given = torch.where(dice.chance(SHARP, batch) > 0, clean, noisy)
        return Pairs(clean * 2 - 1, given * 2 - 1)
