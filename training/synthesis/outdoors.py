"""Clean procedural streets and parks: what stands where, outdoors.

Dead leaves (training.synthesis.scenes) know how objects occlude one another, but not that the sky is above, pale and smooth, often
clipped; that crowns are dark, fine and green in front of it; that walls are plumb and have windows; that the ground is below and
finely textured. Telling rain and drops from the scene behind them takes knowing that.
"""

import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from training.synthesis.scenes import (
    FONTS,
    LETTERS,
    Floats,
    Painter,
    Rng,
    expose,
    fractal,
    illuminate,
    lens,
    palette_sky,
    smooth_field,
)

# Reflectances, linear RGB.
GREENS = np.array([[0.05, 0.09, 0.02], [0.10, 0.18, 0.05], [0.22, 0.28, 0.08], [0.03, 0.05, 0.03], [0.16, 0.15, 0.05]], np.float32)
GREYS = np.array([[0.38, 0.38, 0.37], [0.20, 0.20, 0.21], [0.62, 0.60, 0.56], [0.10, 0.10, 0.11], [0.30, 0.26, 0.21]], np.float32)
WALLS = np.array([[0.62, 0.60, 0.56], [0.42, 0.13, 0.09], [0.55, 0.45, 0.33], [0.30, 0.30, 0.31], [0.80, 0.78, 0.72]], np.float32)
PAINTS = np.array([[0.03, 0.08, 0.40], [0.80, 0.25, 0.04], [0.55, 0.04, 0.04], [0.05, 0.25, 0.10], [0.85, 0.85, 0.82]], np.float32)
BLACK = np.full((1, 3), 0.02, np.float32)


def pick(rng: Rng, colours: Floats, spread: float = 0.15) -> Floats:
    """One of the colours, (3,), lighter or darker and tinted a little."""
    return (colours[rng.integers(len(colours))] * np.exp(rng.normal(0, 2 * spread)) * np.exp(rng.normal(0, spread, 3) / 2)).astype(
        np.float32
    )


def sky(painter: Painter) -> None:
    """The whole canvas: a gradient, clouds by chance, half of the time so bright that the picture will clip it."""
    rng, side = painter.rng, painter.side
    zenith, haze = palette_sky(rng)
    t = np.linspace(0, 1, side, dtype=np.float32)[:, None, None] ** rng.uniform(0.5, 2)
    painter.canvas[:] = zenith + t * (haze - zenith)
    if rng.random() < 0.5:
        cloud = 1 / (1 + np.exp(-(fractal(rng, side, 1.7) - rng.uniform(-1, 1)) * rng.uniform(1, 4)))
        painter.canvas += (rng.uniform(0.4, 1) * cloud[..., None]) * (np.float32(rng.uniform(0.6, 0.95)) - painter.canvas)
    if rng.random() < 0.5:
        painter.canvas += rng.uniform(0.5, 1) * (np.float32(1.0) - painter.canvas)
    painter.canvas *= np.float32(rng.uniform(0.8, 2.2))


def ridge(rng: Rng, side: int, height: float, roughness: float) -> Floats:
    """Mask (side, side) of all that lies below an uneven line at about `height` (0 top, 1 bottom)."""
    line = side * (height + roughness * smooth_field(rng, side, int(rng.integers(1, 7)))[0])
    return np.clip(np.arange(side)[:, None] - line[None] + 0.5, 0, 1).astype(np.float32)


def leaves(painter: Painter, cover: Floats, colour: Floats) -> None:
    """Fill the mask with foliage: depths of fine patches, each lit on its own, darker inside."""
    rng, side = painter.rng, painter.side
    grain_size = rng.choice([0.5, 0.8, 1.3, 2.0])
    for depth in range(int(rng.integers(2, 5))):
        grain = gaussian_filter(fractal(rng, side, rng.uniform(0.2, 1.0)), grain_size)
        share = np.clip((grain / grain.std() + (1.0 if depth == 0 else rng.uniform(-0.9, 0.3))) * 3, 0, 1)
        light = np.exp(rng.uniform(0.2, 0.6) * painter.textures[depth % 3] + 0.35 * (depth - 1) + rng.normal(0, 0.2))
        tint = colour * np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
        painter.canvas += (cover * share)[..., None] * (tint * light[..., None] - painter.canvas)


def crown(painter: Painter, base: float) -> None:
    """A tree: a leafy crown with gaps and a ragged outline, on a trunk that reaches down to `base` (0..1)."""
    rng, side = painter.rng, painter.side
    (cy, cx), radius = (rng.uniform(0.0, 0.6) * base * side, rng.uniform(0, side)), side * rng.uniform(0.1, 0.38)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    bulk = 1.1 - np.hypot((y - cy) / rng.uniform(0.6, 1.0), x - cx) / radius
    outline = bulk + 0.35 * fractal(rng, side, 1.5) + 0.3 * gaussian_filter(fractal(rng, side, 0.7), 0.7)
    trunk = pick(rng, GREYS) * 0.5
    half = max(radius * rng.uniform(0.02, 0.1), 0.8)
    lean = rng.normal(0, 0.15)
    stem = np.clip(half * (1 + 0.4 * (y - cy) / side) - np.abs(x - cx - lean * (y - cy)) + 0.5, 0, 1) * (y > cy) * (y < base * side)
    painter.paint(stem.astype(np.float32), trunk)
    leaves(painter, np.clip(outline * rng.uniform(4, 12), 0, 1).astype(np.float32), pick(rng, GREENS))


def building(painter: Painter, base: float) -> None:
    """A block with rows of windows, ledges and a roof line, standing on `base` (0..1)."""
    rng, side = painter.rng, painter.side
    left, width, top = rng.uniform(-0.3, 0.9) * side, rng.uniform(0.2, 1.1) * side, rng.uniform(-0.2, base - 0.1) * side
    y, x = np.mgrid[:side, :side].astype(np.float32)
    slant = rng.normal(0, 0.12)
    v, u = y - top - slant * (x - left), x - left
    block = np.clip(np.minimum(np.minimum(v, base * side - y), np.minimum(u, width - u)) + 0.5, 0, 1)
    painter.paint(block, pick(rng, WALLS))
    pitch_y, pitch_x = side * rng.uniform(0.04, 0.2), side * rng.uniform(0.03, 0.25)
    gap_y, gap_x = rng.uniform(0.2, 0.7), rng.choice([0.05, 0.3, 0.5])
    inside_y = pitch_y * (0.5 * (1 - gap_y) - np.abs(v / pitch_y % 1 - 0.5))
    inside_x = pitch_x * (0.5 * (1 - gap_x) - np.abs(u / pitch_x % 1 - 0.5))
    panes = np.clip(np.minimum(inside_y, inside_x) + 0.5, 0, 1) * block
    cell = np.floor(v / pitch_y) * 31 + np.floor(u / pitch_x) * 17
    tint = np.exp(rng.uniform(0, 0.8) * np.sin(cell * 12.9898 + rng.uniform(0, 9)))
    glass = pick(rng, GREYS) * 0.4
    painter.canvas += panes[..., None] * (glass * tint[..., None] - painter.canvas)


def ground(painter: Painter, base: float) -> None:
    """Grass, asphalt with markings, or paving, from `base` (0..1) down; the texture coarsens towards the viewer."""
    rng, side = painter.rng, painter.side
    land = ridge(rng, side, base, rng.uniform(0, 0.05))
    y = np.clip((np.arange(side, dtype=np.float32) / side - base) / (1 - base), 0.02, 1)[:, None]
    fine, coarse = gaussian_filter(fractal(rng, side, 0.3), (0.3, 0.7)), fractal(rng, side, 0.9)
    grain = (1 - y) * fine / fine.std() + y * coarse
    if rng.random() < 0.55:
        colour, amplitude = pick(rng, GREENS) * 1.5, rng.uniform(0.15, 0.5)
    else:
        colour, amplitude = pick(rng, GREYS), rng.uniform(0.04, 0.15)
    plane = colour * np.exp(amplitude * grain + rng.uniform(0, 0.5) * smooth_field(rng, side, 3))[..., None]
    painter.canvas += land[..., None] * (plane - painter.canvas)
    for _ in range(int(rng.integers(0, 4))):  # kerbs, lanes, paths, all running towards the horizon
        x = np.arange(side, dtype=np.float32)[None] / side
        line = np.clip((rng.uniform(0.01, 0.12) * y - np.abs(x - rng.uniform(0.2, 0.8) - rng.normal(0, 1) * y)) * side + 0.5, 0, 1)
        painter.paint((line * land).astype(np.float32), pick(rng, GREYS) * 1.6)


def pole(painter: Painter, base: float) -> None:
    """A lamp post, a railing's bar, a mast: plumb, thin, round."""
    rng, side = painter.rng, painter.side
    half, centre, top = rng.uniform(0.6, 5), rng.uniform(0, side), rng.uniform(-0.2, base) * side
    y, x = np.mgrid[:side, :side].astype(np.float32)
    mask = np.clip(half - np.abs(x - centre) + 0.5, 0, 1) * (y > top) * (y < side * rng.uniform(base, 1.2))
    painter.canvas += mask[..., None] * (
        pick(rng, GREYS) * np.exp((0.8 * (x - centre) / half).clip(-1, 0.7))[..., None] - painter.canvas
    )


def sign(painter: Painter, base: float) -> None:
    """A board with lines of words, or a plain panel."""
    rng, side = painter.rng, painter.side
    height, width = side * rng.uniform(0.04, 0.25), side * rng.uniform(0.08, 0.6)
    top, left = rng.uniform(0, base) * side, rng.uniform(-0.1, 0.8) * side
    sheet = Image.new("L", (2 * side, 2 * side))
    pen = ImageDraw.Draw(sheet)
    box = [2 * left, 2 * top, 2 * (left + width), 2 * (top + height)]
    pen.rectangle(box, fill=255)
    painter.paint(np.asarray(sheet.reduce(2), dtype=np.float32) / 255, pick(rng, np.concatenate([PAINTS, BLACK]), 0.1))
    if rng.random() < 0.7:
        size = int(max(2 * height * rng.uniform(0.3, 0.8), 6))
        font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{FONTS[rng.integers(len(FONTS))]}", size)
        words = Image.new("L", (2 * side, 2 * side))
        ImageDraw.Draw(words).text((box[0] + 4, box[1]), "".join(rng.choice(LETTERS, rng.integers(3, 16))), fill=255, font=font)
        inside = np.minimum(np.asarray(words.reduce(2)), np.asarray(sheet.reduce(2))).astype(np.float32) / 255
        painter.paint(inside, pick(rng, np.concatenate([PAINTS, BLACK]), 0.1))


def vehicle(painter: Painter, base: float) -> None:
    """Something low and glossy with dark glass and wheels, near the ground's edge."""
    rng, side = painter.rng, painter.side
    radius, cx, cy = side * rng.uniform(0.04, 0.16), rng.uniform(0, side), side * (base + rng.uniform(0, 0.2))
    y, x = np.mgrid[:side, :side].astype(np.float32)
    v, u = (y - cy) / radius, (x - cx) / radius

    def rounded(dy: float, dx: float, height: float, width: float) -> Floats:
        return np.clip((1 - (((v - dy) / height) ** 4 + ((u - dx) / width) ** 4) ** 0.25) * radius * min(height, width) + 0.5, 0, 1)

    paint, gloss = pick(rng, np.concatenate([PAINTS, BLACK, GREYS])), np.exp(-1.2 * v)[..., None]
    for mask, colour in (
        (rounded(0.55, 0, 0.1, 1.3), np.full(3, 0.01) + 0 * gloss),
        (rounded(-0.35, 0, 0.4, 0.8), paint * gloss),
        (rounded(-0.35, 0, 0.3, 0.7), np.array([0.02, 0.03, 0.035]) + 0.05 * gloss),
        (rounded(0.15, 0, 0.35, 1.4), paint * gloss),
        *((rounded(0.45, s * 0.85, 0.25, 0.25), np.full(3, 0.012) + 0 * gloss) for s in (-1, 1)),
    ):
        painter.canvas += mask[..., None] * (colour.astype(np.float32) - painter.canvas)


def render(seed: int, side: int) -> NDArray[np.uint8]:
    """Street number `seed`, (side, side, 3) uint8 sRGB. The same seed gives the same street."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 4]))
    painter = Painter(rng, side)
    base = float(rng.uniform(0.45, 1.05)) if rng.random() < 0.8 else float(rng.uniform(0.1, 0.45))
    sky(painter)
    if rng.random() < 0.3:
        painter.paint(ridge(rng, side, base - rng.uniform(0.02, 0.3), 0.06), pick(rng, GREENS) + 0.2)
    makers = (building, crown, sign, pole, vehicle)
    for maker, most in ((building, 2), (crown, 4)):
        for _ in range(int(rng.integers(0, most + 1))):
            maker(painter, min(base, 1.0))
    if base < 1:
        ground(painter, base)
    for _ in range(int(rng.integers(1, 7))):
        makers[rng.choice(len(makers), p=[0.03, 0.22, 0.25, 0.3, 0.2])](painter, min(base, 1.0))
    radiance = lens(rng, illuminate(rng, painter.canvas))
    picture = expose(rng, radiance, float(np.clip(rng.normal(0.46, 0.07), 0.3, 0.65)))
    return np.round(picture * 255).astype(np.uint8)
