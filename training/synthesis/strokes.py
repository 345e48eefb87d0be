"""Pictures with parts missing: strokes, scratches, specks, letters and boxes, as masks (1: to be filled)."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from training.synthesis.draws import Dice, Pairs, quantise, varied, windows
from training.synthesis.jpeg import some_compressed
from training.synthesis.scenes import FONTS, LETTERS, Rng

MEANS = (0.2, 0.75)
KINDS = ("strokes", "scratches", "specks", "letters", "boxes")
SHARES = (0.55, 0.15, 0.1, 0.1, 0.1)


def stroke(pen: ImageDraw.ImageDraw, rng: Rng, side: int, width: int, bend: float) -> None:
    """A bent line of round joints, from anywhere."""
    position, angle = rng.uniform(0, side, 2), rng.uniform(0, 2 * np.pi)
    points = [tuple(position)]
    for _ in range(int(rng.integers(2, 9))):
        position = position + rng.uniform(10, 50) * np.array([np.cos(angle), np.sin(angle)])
        angle += rng.normal(0, bend)
        points.append(tuple(position))
    pen.line(points, fill=255, width=width, joint="curve")
    for x, y in points if width > 2 else ():
        pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=255)


def letters(pen: ImageDraw.ImageDraw, rng: Rng, side: int) -> None:
    """Lines of writing: dates, captions, watermarks."""
    size = int(rng.integers(10, 36))
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{FONTS[rng.integers(len(FONTS))]}", size)
    for _ in range(int(rng.integers(1, 4))):
        word = "".join(rng.choice(LETTERS, rng.integers(3, 16)))
        pen.text((rng.uniform(-side / 4, side * 0.8), rng.uniform(0, side)), word, fill=255, font=font)


def mask(rng: Rng, side: int) -> np.ndarray:
    """What is missing of a picture, (side, side) uint8, 0 or 255: about 1 to 20 % of it."""
    sheet = Image.new("L", (side, side))
    pen, kind = ImageDraw.Draw(sheet), rng.choice(KINDS, p=SHARES)
    if kind == "strokes":
        for _ in range(max(1, int(rng.integers(1, 6) * (side / 128) ** 2 / 2))):
            stroke(pen, rng, side, int(rng.integers(2, 15)), rng.uniform(0.1, 0.8))
    elif kind == "scratches":
        for _ in range(int(rng.integers(3, 20))):
            stroke(pen, rng, side, int(rng.integers(1, 3)), 0.1)
    elif kind == "specks":
        for x, y, radius in zip(*rng.uniform(0, side, (2, 40)), rng.uniform(0.7, 5, 40), strict=True):
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    elif kind == "letters":
        letters(pen, rng, side)
    else:
        for _ in range(int(rng.integers(1, 4))):
            x, y, width, height = *rng.uniform(0, side, 2), *rng.uniform(4, side / 5, 2)
            pen.rectangle([x, y, x + width, y + height], fill=255)
    return np.asarray(sheet, dtype=np.uint8) // 128 * 255


@dataclass(frozen=True, eq=False)
class Strokes:
    """Pairs with a mask from a uint8 pool (n, 3, side, side); what the given picture holds under the mask says nothing of it."""

    pool: Tensor
    crop: int = 128

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs with mask (b 3 h w, 0 or 1), no context. Under the mask lies white, black, or a colour."""
        half = batch // 2
        clean = torch.cat([windows(self.pool, batch - half, self.crop, dice), varied(self.pool, half, self.crop, MEANS, dice)])
        clean = quantise(some_compressed(clean, 0.3, (80, 99), dice)) if self.crop % 16 == 0 else quantise(clean)
        seeds = dice.integers(0, 2**62, batch).tolist()
        drawn = [mask(np.random.Generator(np.random.Philox(key=[seed, 6])), self.crop) for seed in seeds]
        hidden = torch.from_numpy(np.stack(drawn)).to(dice.device)[:, None].expand(-1, 3, -1, -1).float() / 255
        colour = dice.uniform(-0.5, 1.5, batch, 3, 1, 1).clamp(0, 1)
        given = torch.where(hidden > 0, quantise(colour), clean)
        return Pairs(clean * 2 - 1, given * 2 - 1, mask=hidden)
