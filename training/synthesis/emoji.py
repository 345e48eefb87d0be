"""The generator's pictures: colour glyphs of Noto Emoji (SIL Open Font License), all or the faces among them, on white.

Debian's package fonts-noto-color-emoji holds the font. Every tenth glyph is held out: never trained on, kept for measuring.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from training.pictures import to_images
from training.synthesis.draws import Dice, Pairs

FONT_FILES = (
    Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/fonts/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf"),
)
BITMAP_SIZE = 109  # the only size at which the font carries bitmaps, 136 x 128 pixels
FIRST_PICTOGRAM = 0x2190  # below lie digits and signs, which the font draws as keycap parts
REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)
SKIN_TONES = range(0x1F3FB, 0x1F400)
HOLD_OUT_EVERY = 10
MARGIN, SHIFT = 4, 1
# Faces, by Unicode's blocks: moons and suns, animals' heads, emoticons, and the later additions to them.
FACES = (
    *range(0x1F31A, 0x1F31F), *range(0x1F42D, 0x1F43D), 0x1F47D, 0x1F47F, 0x1F480, 0x1F383, *range(0x1F600, 0x1F645),
    *range(0x1F910, 0x1F918), *range(0x1F920, 0x1F930), *range(0x1F970, 0x1F97B), 0x1F981, 0x1F984, 0x1F98A, 0x1F9D0,
    *range(0x1FAE0, 0x1FAE6), 0x1FAE8,
)  # fmt: skip
SETS = ("all", "faces")


def find_font() -> Path:
    """The font's file. Raises FileNotFoundError with the places looked at and the package that brings it."""
    for path in FONT_FILES:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no NotoColorEmoji.ttf at {[str(p) for p in FONT_FILES]}; install fonts-noto-color-emoji")


def pictograms(font: Path, which: str = "all") -> list[str]:
    """The font's single-character pictures of a set, by code point. Raises ValueError, with the list, for an unknown set."""
    if which not in SETS:
        raise ValueError(f"unknown set of glyphs {which!r}; expected one of {list(SETS)}")
    codes = sorted(TTFont(font).getBestCmap())
    left_out = {*REGIONAL_INDICATORS, *SKIN_TONES, *range(0xFE00, 0xFE10)}
    wanted = set(codes) if which == "all" else set(FACES)
    return [chr(code) for code in codes if code >= FIRST_PICTOGRAM and code in wanted - left_out]


def glyph(font: ImageFont.FreeTypeFont, character: str, size: int) -> NDArray[np.uint8] | None:
    """One glyph centred on white with a margin, (size, size, 3) uint8; None if the font draws nothing for it."""
    sheet = Image.new("RGBA", (160, 160), (255, 255, 255, 0))
    ImageDraw.Draw(sheet).text((80, 80), character, font=font, embedded_color=True, anchor="mm")
    box = sheet.getchannel("A").getbbox()
    if box is None:
        return None
    picture = Image.new("RGBA", sheet.size, (255, 255, 255, 255))
    picture.alpha_composite(sheet)
    inner = size - 2 * MARGIN
    scale = inner / max(box[2] - box[0], box[3] - box[1])
    width, height = (max(1, round((box[i + 2] - box[i]) * scale)) for i in (0, 1))
    small = picture.crop(box).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    framed = Image.new("RGB", (size, size), (255, 255, 255))
    framed.paste(small, ((size - width) // 2, (size - height) // 2))
    return np.asarray(framed)


def render_all(size: int, which: str = "all") -> Tensor:
    """Every glyph of a set, (n, 3, size, size) uint8, in the order of code points."""
    path = find_font()
    font = ImageFont.truetype(str(path), BITMAP_SIZE)
    drawn = [picture for character in pictograms(path, which) if (picture := glyph(font, character, size)) is not None]
    return torch.from_numpy(np.stack(drawn).transpose(0, 3, 1, 2).copy())


@dataclass(frozen=True, eq=False)
class Emoji:
    """Glyphs (n, 3, size, size) uint8, mirrored and shifted by up to SHIFT pixels by chance."""

    glyphs: Tensor

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pictures as targets; what is given is nothing (zeros)."""
        which = dice.integers(0, len(self.glyphs), batch).cpu()
        pictures = to_images(self.glyphs[which].to(dice.device))
        mirrored = dice.chance(0.5, batch) > 0
        pictures = torch.where(mirrored, pictures.flip(-1), pictures)
        shifts = dice.integers(-SHIFT, SHIFT + 1, batch, 2).tolist()
        pictures = torch.stack([picture.roll((dy, dx), (1, 2)) for picture, (dy, dx) in zip(pictures, shifts, strict=True)])
        return Pairs(pictures, torch.zeros_like(pictures))


def split(glyphs: Tensor) -> tuple[Tensor, Tensor]:
    """(for training, held out)."""
    held_out = torch.arange(len(glyphs)) % HOLD_OUT_EVERY == 0
    return glyphs[~held_out], glyphs[held_out]


def emoji_sources(size: int, which: str = "all") -> tuple[Emoji, Emoji]:
    """(source for training, source for validation)."""
    training, held_out = split(render_all(size, which))
    return Emoji(training), Emoji(held_out)
