"""Clean procedural scenes with natural colour, contrast and occlusion statistics, in linear light until the last line.

A scene is painted from back to front: a ground (sky and land, a facade, a texture), dead leaves (occluding objects whose sizes
follow a power law, as natural images do: Lee, Mumford & Huang 2001), then things with structure (text, twigs, balls, faces),
then light falls on it, and a lens blurs it.
"""

from collections.abc import Callable

import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, zoom

from training.colour import to_srgb

Rng = np.random.Generator
Floats = NDArray[np.float32]

FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Italic.ttf", "DejaVuSansMono.ttf")
LETTERS = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:!?&-+")
# Reflectances (linear RGB) of what the world is mostly made of; scenes jitter around three to six of them.
MATTER = np.array(
    [
        [0.05, 0.09, 0.02], [0.10, 0.18, 0.05], [0.22, 0.28, 0.08], [0.03, 0.05, 0.03],  # foliage, grass
        [0.30, 0.22, 0.14], [0.18, 0.11, 0.06], [0.09, 0.06, 0.04], [0.45, 0.36, 0.25],  # wood, soil, sand
        [0.38, 0.38, 0.37], [0.20, 0.20, 0.21], [0.62, 0.60, 0.56], [0.07, 0.07, 0.08],  # stone, concrete, asphalt
        [0.42, 0.13, 0.09], [0.55, 0.30, 0.22], [0.60, 0.40, 0.30], [0.25, 0.13, 0.09],  # brick, skin
        [0.25, 0.42, 0.70], [0.10, 0.18, 0.38], [0.05, 0.08, 0.20], [0.50, 0.62, 0.75],  # sky, water, cloth
        [0.55, 0.04, 0.04], [0.75, 0.50, 0.05], [0.10, 0.35, 0.15], [0.85, 0.84, 0.80],  # paint, paper
        [0.02, 0.02, 0.02], [0.30, 0.08, 0.30], [0.80, 0.25, 0.06], [0.15, 0.30, 0.32],
    ],
    dtype=np.float32,
)  # fmt: skip


def fractal(rng: Rng, side: int, slope: float) -> Floats:
    """Noise whose amplitude falls as 1 / frequency^slope, (side, side), zero mean, unit deviation; natural images have about 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]).astype(np.float32)
    frequency[0, 0] = np.inf
    stretch = np.exp(rng.normal(0, 0.3))
    spectrum = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32)) * frequency**-slope * stretch
    texture = np.fft.irfft2(spectrum, s=(side, side)).astype(np.float32)
    texture -= texture.mean()
    return texture / (texture.std() + 1e-6)


def smooth_field(rng: Rng, side: int, cells: int) -> Floats:
    """A slowly varying field from `cells` x `cells` random values, (side, side), about N(0, 1)."""
    grid = zoom(rng.standard_normal((cells + 3, cells + 3)), side / cells, order=3)
    y, x = rng.integers(0, grid.shape[0] - side + 1), rng.integers(0, grid.shape[1] - side + 1)
    return grid[y : y + side, x : x + side].astype(np.float32)


def palette(rng: Rng, count: int) -> Floats:
    """`count` reflectances of one scene, (count, 3): a few kinds of matter with jittered lightness and colour."""
    kinds = MATTER[rng.choice(len(MATTER), rng.integers(3, 8), replace=False)]
    colours = kinds[rng.integers(0, len(kinds), count)]
    lightness = np.exp(rng.normal(0, rng.uniform(0.3, 0.9), (count, 1)))
    colour = np.exp(rng.normal(0, rng.uniform(0.02, 0.18), (count, 3)))
    return np.clip(colours * lightness * colour, 0.004, 0.95).astype(np.float32)


class Painter:
    """A canvas (side, side, 3) in linear reflectance, with the textures and palette of one scene."""

    def __init__(self, rng: Rng, side: int) -> None:
        self.rng, self.side = rng, side
        self.canvas: Floats = np.empty((side, side, 3), np.float32)
        self.textures = [fractal(rng, side, slope) for slope in rng.uniform(0.5, 1.7, 3)]
        self.palette = palette(rng, 64)

    def colour(self) -> Floats:
        """One reflectance of the scene, (3,)."""
        return self.palette[self.rng.integers(len(self.palette))]

    def texture(self, height: int, width: int) -> Floats:
        """A window of one of the scene's textures as a factor around 1, (height, width, 1)."""
        texture = self.textures[self.rng.integers(len(self.textures))]
        y, x = self.rng.integers(0, self.side - height + 1), self.rng.integers(0, self.side - width + 1)
        amplitude = self.rng.choice([0.0, 0.06, 0.15, 0.4], p=[0.15, 0.3, 0.35, 0.2])
        return np.exp(amplitude * texture[y : y + height, x : x + width, None])

    def shade(self, height: int, width: int) -> Floats:
        """A plane of light across an object, a factor around 1, (height, width, 1)."""
        slope_y, slope_x = self.rng.normal(0, 0.35, 2)
        y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
        return np.exp(slope_y * y + slope_x * x).astype(np.float32)

    def paint(self, mask: Floats, colour: Floats | None = None) -> None:
        """Cover the canvas where mask (side, side) is 1 with one shaded, textured reflectance."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            self.paint_box(box, mask[box], colour)

    def paint_box(self, box: tuple[slice, slice], mask: Floats, colour: Floats | None = None) -> None:
        """Like paint, for a window of the canvas and the mask of that window."""
        size = mask.shape
        paint = (self.colour() if colour is None else colour) * self.shade(*size) * self.texture(*size)
        self.canvas[box] += mask[..., None] * (paint - self.canvas[box])

    def drawn(self, draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Floats:
        """A mask (side, side) drawn at twice the resolution and averaged, so that edges are antialiased."""
        sheet = Image.new("L", (2 * self.side, 2 * self.side))
        draw(ImageDraw.Draw(sheet), 2)
        return np.asarray(sheet.reduce(2), dtype=np.float32) / 255


def leaf_distance(rng: Rng, y: Floats, x: Floats, radius: float) -> Floats:
    """Signed distance-like function of a random shape around 0 (negative inside), in pixels."""
    angle, aspect = rng.uniform(0, np.pi), rng.uniform(0.25, 1)
    u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / aspect
    kind = rng.integers(4)
    if kind == 0:
        return (np.hypot(u, v) - radius) * aspect
    if kind == 1:
        return np.maximum(np.abs(u), np.abs(v)) * aspect - radius * aspect
    if kind == 2:
        corners = rng.integers(3, 8)
        theta = np.arctan2(v, u)
        apothem = np.cos(np.pi / corners) / np.cos((theta % (2 * np.pi / corners)) - np.pi / corners)
        return (np.hypot(u, v) - radius * apothem) * aspect
    theta, phase = np.arctan2(v, u), rng.uniform(0, 6, 2)
    wobble = 1 + 0.2 * np.sin(2 * theta + phase[0]) + 0.15 * np.sin(5 * theta + phase[1])
    return (np.hypot(u, v) - radius * wobble) * aspect


def dead_leaves(painter: Painter, count: int, smallest: float, largest: float) -> None:
    """`count` occluding objects with radii between the two (pixels), density falling as radius^-3."""
    rng, side = painter.rng, painter.side
    low, high = largest**-2, smallest**-2
    radii = (low + (high - low) * rng.random(count)) ** -0.5
    # Far and large first is no rule of nature, but keeps large leaves from hiding all small ones of a sparse scene.
    order = np.argsort(-radii * np.exp(rng.normal(0, 0.7, count)))
    for radius in radii[order]:
        centre_y, centre_x = rng.uniform(0, side, 2)
        reach = radius * 1.5 + 2
        top, left = int(max(centre_y - reach, 0)), int(max(centre_x - reach, 0))
        bottom, right = int(min(centre_y + reach, side - 1)) + 1, int(min(centre_x + reach, side - 1)) + 1
        y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre_y)
        x = np.arange(left, right, dtype=np.float32)[None] - np.float32(centre_x)
        mask = np.clip(0.5 - leaf_distance(rng, y, x, float(radius)), 0, 1).astype(np.float32)
        painter.paint_box((slice(top, bottom), slice(left, right)), mask)


def sky_and_land(painter: Painter) -> None:
    """A sky with a gradient and clouds above a textured land, meeting at a horizon."""
    rng, side = painter.rng, painter.side
    horizon = int(side * rng.uniform(0.15, 0.85))
    zenith, haze = palette_sky(rng)
    t = np.linspace(0, 1, side, dtype=np.float32)[:, None, None] ** rng.uniform(0.5, 2)
    painter.canvas[:] = zenith + t * (haze - zenith)
    if rng.random() < 0.6:
        cloud = 1 / (1 + np.exp(-(fractal(rng, side, 1.6) - rng.uniform(-1, 1)) * rng.uniform(1, 4)))
        painter.canvas += (rng.uniform(0.4, 1) * cloud[..., None]) * (np.float32(rng.uniform(0.6, 0.95)) - painter.canvas)
    ridge = horizon + (side * rng.uniform(0, 0.08)) * smooth_field(rng, side, int(rng.integers(1, 9)))[0]
    land = np.clip(np.arange(side)[:, None] - ridge[None] + 0.5, 0, 1).astype(np.float32)
    painter.paint(land)
    painter.canvas *= np.exp(land * rng.uniform(0, 0.5) * painter.textures[0])[..., None]


def palette_sky(rng: Rng) -> tuple[Floats, Floats]:
    """(zenith, horizon) radiance: blue, grey or evening."""
    skies = [
        ([0.12, 0.25, 0.55], [0.55, 0.68, 0.80]),
        ([0.55, 0.57, 0.60], [0.75, 0.76, 0.76]),
        ([0.15, 0.18, 0.35], [0.80, 0.45, 0.22]),
    ]
    zenith, haze = skies[rng.integers(len(skies))]
    jitter = np.exp(rng.normal(0, 0.15, (2, 3)))
    return (zenith * jitter[0]).astype(np.float32), (haze * jitter[1]).astype(np.float32)


def texture_ground(painter: Painter) -> None:
    """One material, or two mixed by a texture."""
    first, second = painter.colour(), painter.colour()
    mix = 1 / (1 + np.exp(-painter.textures[1] * painter.rng.uniform(0.5, 6)))[..., None]
    painter.canvas[:] = (first + mix * (second - first)) * np.exp(painter.rng.uniform(0, 0.4) * painter.textures[0])[..., None]


def gradient_ground(painter: Painter) -> None:
    """A smooth gradient between reflectances: walls, skies, out-of-focus distance."""
    rng, side = painter.rng, painter.side
    first, second = painter.colour(), painter.colour()
    mix = 1 / (1 + np.exp(-smooth_field(rng, side, int(rng.integers(1, 5)))))[..., None]
    painter.canvas[:] = first + mix * (second - first)


def facade(painter: Painter) -> None:
    """A wall with rows of windows, bricks or planks: the straight, regular lines of what people build."""
    rng, side = painter.rng, painter.side
    texture_ground(painter)
    pitch_y, pitch_x = rng.uniform(6, 60), rng.uniform(5, 50)
    gap_y, gap_x = rng.uniform(0.12, 0.6), rng.uniform(0.12, 0.6)
    angle, lean = rng.normal(0, 0.08), rng.normal(0, 0.1)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    u, v = x + (lean + angle) * y, y - angle * x
    v = v * (1 + rng.uniform(-0.001, 0.001) * x)
    u = u + (np.floor(v / pitch_y) % 2) * pitch_x * rng.choice([0, 0.5])
    inside_y = pitch_y * (0.5 * (1 - gap_y) - np.abs(v / pitch_y % 1 - 0.5))
    inside_x = pitch_x * (0.5 * (1 - gap_x) - np.abs(u / pitch_x % 1 - 0.5))
    mask = np.clip(np.minimum(inside_y, inside_x) + 0.5, 0, 1)
    if rng.random() < 0.3:
        mask = np.clip((inside_x if rng.random() < 0.6 else inside_y) + 0.5, 0, 1)
    cell = (np.floor(v / pitch_y) * 31 + np.floor(u / pitch_x) * 17).astype(np.int64)
    tint = np.exp(rng.uniform(0, 0.5) * np.sin(cell * 12.9898 + rng.uniform(0, 9)))
    painter.canvas += mask[..., None] * (painter.colour() * tint[..., None] - painter.canvas)


def foliage(painter: Painter) -> None:
    """Crowns, shrubs, gravel: fine patches of a few related colours in several depths, each lit on its own."""
    rng, side = painter.rng, painter.side
    texture_ground(painter)
    base = painter.colour()
    for depth in range(int(rng.integers(2, 6))):
        grain = fractal(rng, side, rng.uniform(0.2, 1.1))
        blur = rng.choice([0.5, 0.8, 1.3, 2.2])
        grain = gaussian_filter(grain, (blur * np.exp(rng.normal(0, 0.3)), blur))
        cover = np.clip((grain / grain.std() - rng.uniform(-0.5, 1.2)) * 3, 0, 1)
        light = np.exp(rng.uniform(0.2, 0.7) * gaussian_filter(painter.textures[depth % 3], 1) + rng.normal(0, 0.4))
        colour = base * np.exp(rng.normal(0, 0.15, 3))
        painter.canvas += cover[..., None] * (colour * light[..., None] - painter.canvas)


GROUNDS = (sky_and_land, texture_ground, gradient_ground, facade, foliage)


def text(painter: Painter) -> None:
    """A line of letters in some font, size and direction."""
    rng, side = painter.rng, painter.side
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{FONTS[rng.integers(len(FONTS))]}", int(rng.integers(14, 110)))
    sheet = Image.new("L", (2 * side, 2 * side))
    for line in range(int(rng.integers(1, 5))):
        word = "".join(rng.choice(LETTERS, rng.integers(2, 14)))
        where = rng.uniform(0, side), rng.uniform(0, side) + line * font.size * 1.2
        ImageDraw.Draw(sheet).text(where, word, fill=255, font=font)
    sheet = sheet.rotate(float(rng.normal(0, 15)), resample=Image.Resampling.BILINEAR)
    painter.paint(np.asarray(sheet.reduce(2), dtype=np.float32) / 255)


def twigs(painter: Painter) -> None:
    """Curved, tapering, forking strokes: branches, wires, cracks, railings."""
    rng, side = painter.rng, painter.side

    def draw(sheet: ImageDraw.ImageDraw, scale: int) -> None:
        for _ in range(int(rng.integers(1, 16))):
            position, angle = rng.uniform(0, side, 2), rng.uniform(0, 2 * np.pi)
            width, bend = rng.uniform(0.5, 7), rng.uniform(0, 0.25)
            for _ in range(int(rng.integers(5, 40))):
                ahead = position + rng.uniform(4, 14) * np.array([np.cos(angle), np.sin(angle)])
                sheet.line([*(position * scale), *(ahead * scale)], fill=255, width=max(1, round(width * scale)))
                position, angle, width = ahead, angle + rng.normal(0, bend), width * 0.97

    painter.paint(painter.drawn(draw))


def strokes(painter: Painter) -> None:
    """Many short thin strokes of nearly one direction: grass, hair, fur, hatching."""
    rng, side = painter.rng, painter.side
    angle, spread = rng.uniform(0, np.pi), rng.uniform(0.05, 0.5)
    for _ in range(int(rng.integers(2, 5))):

        def draw(sheet: ImageDraw.ImageDraw, scale: int) -> None:
            for _ in range(int(rng.integers(40, 300))):
                start, turn, length = rng.uniform(0, side, 2), angle + rng.normal(0, spread), rng.uniform(4, 30)
                end = start + length * np.array([np.cos(turn), np.sin(turn)])
                sheet.line([*(start * scale), *(end * scale)], fill=255, width=int(rng.integers(1, 5)))

        painter.paint(painter.drawn(draw))


def ball(painter: Painter) -> None:
    """A sphere with Lambert shading and a highlight."""
    rng, side = painter.rng, painter.side
    radius, (cy, cx) = side * rng.uniform(0.04, 0.3), rng.uniform(0, side, 2)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    v, u = (y - cy) / radius, (x - cx) / radius
    height = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    light = rng.normal(0, 1, 3) * [1, 1, 0.3] + [0, -0.5, 1]
    light /= np.linalg.norm(light)
    lambert = np.clip(u * light[0] + v * light[1] + height * light[2], 0, 1)
    gloss = rng.uniform(0, 0.8) * lambert ** rng.uniform(10, 60)
    mask = np.clip((1 - np.hypot(u, v)) * radius + 0.5, 0, 1)[..., None]
    surface = painter.colour() * (0.15 + lambert[..., None]) * painter.texture(side, side) + gloss[..., None]
    painter.canvas += mask * (surface - painter.canvas)


def face(painter: Painter) -> None:
    """Something face-like: a shaded oval of skin with hair, eyes, brows and a mouth."""
    rng, side = painter.rng, painter.side
    radius, (cy, cx) = side * rng.uniform(0.06, 0.25), rng.uniform(0.1, 0.9, 2) * side
    y, x = np.mgrid[:side, :side].astype(np.float32)
    v, u = (y - cy) / radius, (x - cx) / radius

    def oval(dy: float, dx: float, height: float, width: float) -> Floats:
        return np.clip((1 - np.hypot((v - dy) / height, (u - dx) / width)) * radius * min(height, width) + 0.5, 0, 1)

    skin = np.array([0.50, 0.28, 0.20]) * np.exp(rng.normal(-0.3, 0.5)) * np.exp(rng.normal(0, 0.08, 3))
    light = np.exp(rng.normal(0, 0.4) * u + rng.normal(0, 0.2) * v - 0.25 * (u**2 + v**2))[..., None]
    dark = painter.palette[painter.palette.mean(1).argmin()]
    parts = [
        (oval(-0.3, 0, 1.25, 1.1), dark * 1.5),
        (oval(0, 0, 1.2, 0.85), skin),
        *((oval(-0.15, s * 0.35, 0.1, 0.18), np.full(3, 0.7)) for s in (-1, 1)),
        *((oval(-0.15, s * 0.35, 0.09, 0.09), dark) for s in (-1, 1)),
        *((oval(-0.36, s * 0.36, 0.05, 0.25), dark) for s in (-1, 1)),
        (oval(0.25, 0, 0.12, 0.1), skin * 0.75),
        (oval(0.6, 0, 0.09, 0.3), skin * [0.9, 0.45, 0.45]),
    ]
    for mask, colour in parts:
        painter.canvas += mask[..., None] * (colour * light - painter.canvas)


THINGS = (text, twigs, strokes, ball, face)


def illuminate(rng: Rng, canvas: Floats) -> Floats:
    """Reflectance -> radiance: a smooth field of light, sometimes a shadow's edge, sometimes a lens's falloff."""
    side = canvas.shape[0]
    light = np.exp(rng.uniform(0, 0.8) * smooth_field(rng, side, int(rng.integers(1, 4))))
    if rng.random() < 0.35:
        edge = fractal(rng, side, 2.2) if rng.random() < 0.5 else leaf_plane(rng, side)
        light *= np.where(gaussian_filter(edge, rng.uniform(0.7, 8)) > 0, 1, rng.uniform(0.2, 0.7))
        light = gaussian_filter(light, rng.uniform(0.5, 3))
    tint = np.exp(rng.normal(0, 0.06, 3))
    return (canvas * light[..., None] * tint).astype(np.float32)


def leaf_plane(rng: Rng, side: int) -> Floats:
    """A field whose sign changes along one random straight line, (side, side)."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
    y, x = np.mgrid[:side, :side] / side - offset
    return (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32)


def expose(rng: Rng, radiance: Floats, mean: float) -> Floats:
    """Radiance -> sRGB whose mean is about `mean`, with a camera's contrast curve and saturation; highlights may clip."""
    saturation = rng.uniform(0.6, 1.25)
    grey = radiance.mean(2, keepdims=True)
    radiance = np.clip(grey + saturation * (radiance - grey), 1e-4, None)
    contrast = rng.uniform(0.9, 1.6)
    gain, probe = 1.0, radiance[::4, ::4] ** contrast
    for _ in range(6):
        gain *= (mean / max(float(to_srgb(gain * probe).mean()), 1e-3)) ** 1.8
    return to_srgb(gain * radiance**contrast)


def lens(rng: Rng, canvas: Floats) -> Floats:
    """Blur of focus: mostly slight."""
    sigma = rng.choice([0, 0.4, 0.7, 1.2], p=[0.3, 0.35, 0.25, 0.1])
    return gaussian_filter(canvas, (sigma, sigma, 0)) if sigma else canvas


def render(seed: int, side: int) -> NDArray[np.uint8]:
    """Scene number `seed`, (side, side, 3) uint8 sRGB, mean near 0.44 (deviation 0.07). The same seed gives the same scene."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
    painter = Painter(rng, side)
    GROUNDS[rng.choice(len(GROUNDS), p=[0.22, 0.13, 0.15, 0.25, 0.25])](painter)
    if rng.random() < 0.65:
        dead_leaves(painter, int(5 * 200 ** rng.random()), rng.uniform(1.5, 8), side * rng.uniform(0.1, 0.5))
    if rng.random() < 0.3:
        blur = rng.uniform(1, 6)
        painter.canvas = gaussian_filter(painter.canvas, (blur, blur, 0))
    for _ in range(int(rng.integers(0, 4))):
        THINGS[rng.choice(len(THINGS), p=[0.2, 0.35, 0.2, 0.15, 0.1])](painter)
    if rng.random() < 0.4:
        dead_leaves(painter, int(rng.integers(5, 60)), 2, side * rng.uniform(0.05, 0.25))
    radiance = lens(rng, illuminate(rng, painter.canvas))
    picture = expose(rng, radiance, float(np.clip(rng.normal(0.44, 0.07), 0.28, 0.65)))
    return np.round(picture * 255).astype(np.uint8)
