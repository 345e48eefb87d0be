"""Render the garden in the rain that the web page offers to try.

    python examples/garden.py OUT.jpg [--rain 1] [--seed 0]       --rain 0 is the dry garden

Rain is drawn as a camera with an open shutter sees it: every drop is a streak of light, all about as slanted as the wind, the
near ones long, wide and faint, the far ones short and thin. Needs numpy and pillow.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from raymarch import (
    Colour,
    Distance,
    Floats,
    Thing,
    View,
    at,
    box,
    capsule,
    hashed,
    mix,
    nearest,
    plain,
    render,
    sphere,
    to_srgb,
    value_noise,
)

WIDTH, HEIGHT = 600, 400
FINE = 3  # streaks are drawn this many times as large


def sky(ray: Floats) -> Floats:
    """An overcast sky, brighter towards the horizon."""
    cloud = value_noise(ray[..., :2] / np.maximum(ray[..., 1:2] + 0.25, 0.05) * 3) + 0.5 * value_noise(ray[..., :2] * 19)
    light = mix((0.74, 0.78, 0.82), (0.52, 0.60, 0.70), ray[..., 1] * 2.2)
    return light * (0.82 + 0.24 * cloud)[..., None]


VIEW = View(
    eye=at(0.4, 1.55, -6.2),
    target=at(-0.35, 1.52, 2.0),
    focal=2.75,
    lamp=at(-9.0, 14.0, -9.0),
    lamp_power=330,
    lamp_colour=at(1.0, 0.96, 0.88),
    sky_colour=at(0.80, 0.88, 0.98),
    sky_power=0.52,
    backdrop=sky,
    far=30.0,
)


def ground(p: Floats) -> Floats:
    """Grass, and a path of stone slabs that winds to the door."""
    x, z = p[..., 0], p[..., 2]
    blades = value_noise(np.stack([x * 31, z * 17], -1)) + 0.6 * value_noise(np.stack([x * 6, z * 6], -1))
    grass = mix((0.055, 0.12, 0.03), (0.20, 0.30, 0.085), blades * 0.62)
    across = x + 0.75 - 0.85 * np.sin(z * 0.42 + 0.7)
    slab = np.floor(z / 0.62)
    joint = (np.abs(z / 0.62 - slab - 0.5) > 0.46) | (np.abs(across + 0.3 * (hashed(np.stack([slab, slab], -1)) - 0.5)) < 0.025)
    tone = hashed(np.stack([slab, np.sign(across)], -1)) + 0.7 * value_noise(p[..., [0, 2]] * 23)
    stone = np.where(joint[..., None], at(0.10, 0.10, 0.08), mix((0.27, 0.25, 0.22), (0.44, 0.42, 0.38), tone * 0.6))
    return np.where((np.abs(across) < 0.62)[..., None], stone, grass)


def facade(p: Floats) -> Floats:
    """Brick with two windows and a green door, seen from the front."""
    x, y = p[..., 0] + 1.75, p[..., 1]
    course = np.floor(y / 0.115)
    brick = np.floor(x / 0.26 + 0.5 * (course % 2))
    mortar = (y / 0.115 - course < 0.13) | (x / 0.26 + 0.5 * (course % 2) - brick < 0.06)
    wall = mix((0.40, 0.155, 0.10), (0.52, 0.25, 0.16), hashed(np.stack([brick, course], -1)))
    colour = np.where(mortar[..., None], at(0.50, 0.47, 0.42), wall)
    for middle, width, low, high in ((-1.05, 0.42, 0.95, 1.95), (1.18, 0.42, 0.95, 1.95)):
        across, up = np.abs(x - middle), (y - low) / (high - low)
        pane = (across < width) & (up > 0) & (up < 1)
        bar = (across > width - 0.07) | (across < 0.025) | (np.abs(up - 0.5) < 0.03) | (up < 0.06) | (up > 0.93)
        glass = mix((0.05, 0.07, 0.10), (0.30, 0.36, 0.42), up + 0.6 * (across - 0.2))
        colour = np.where(pane[..., None], np.where(bar[..., None], at(0.74, 0.73, 0.69), glass), colour)
    door = (np.abs(x - 0.05) < 0.36) & (y < 1.72)
    panel = (np.abs(np.abs(x - 0.05) - 0.16) < 0.10) & (np.abs((y % 0.8) - 0.42) < 0.28)
    colour = np.where(door[..., None], np.where(panel[..., None], at(0.05, 0.20, 0.15), at(0.08, 0.29, 0.21)), colour)
    knob = np.hypot(x - 0.33, y - 0.86) < 0.035
    return np.where(knob[..., None], at(0.75, 0.58, 0.20), colour)


def tiles(p: Floats) -> Floats:
    """Roof tiles, row over row."""
    row = np.floor(p[..., 1] / 0.13)
    column = np.floor(p[..., 0] / 0.24 + 0.5 * (row % 2))
    edge = (p[..., 1] / 0.13 - row < 0.16) | (p[..., 0] / 0.24 + 0.5 * (row % 2) - column < 0.05)
    tone = hashed(np.stack([column, row], -1))
    return mix((0.17, 0.085, 0.07), (0.30, 0.15, 0.115), tone) * np.where(edge, 0.45, 1.0).astype(np.float32)[..., None]


def roof(p: Floats) -> Floats:
    """A prism along x over the house."""
    slope = (np.abs(p[..., 2] - 3.9) * 1.25 + (p[..., 1] - 2.42) * 1.75 - 1.25 * 1.75) / np.hypot(1.25, 1.75)
    return np.maximum(np.maximum(slope, 2.40 - p[..., 1]), np.abs(p[..., 0] + 1.75) - 2.25).astype(np.float32)


def pickets(low: float, high: float, z: float) -> Distance:
    """A picket fence along x between two places."""

    def distance(p: Floats) -> Floats:
        inside = np.clip(np.round((p[..., 0] - low) / 0.23), 0, round((high - low) / 0.23)) * 0.23 + low
        q = np.abs(np.stack([p[..., 0] - inside, p[..., 1] - 0.34, p[..., 2] - z], -1)) - at(0.065, 0.34, 0.018)
        post = np.maximum(q, 0)
        rail = np.abs(np.stack([p[..., 0] - (low + high) / 2, np.abs(p[..., 1] - 0.34) - 0.19, p[..., 2] - z - 0.03], -1))
        beam = np.maximum(rail - at((high - low) / 2, 0.035, 0.014), 0)
        return np.minimum(np.sqrt((post * post).sum(-1)), np.sqrt((beam * beam).sum(-1))) - 0.006

    return distance


def leaves(dark: tuple[float, float, float], light: tuple[float, float, float]) -> Colour:
    def colour(p: Floats) -> Floats:
        fine = value_noise(np.stack([p[..., 0] * 19 + p[..., 2] * 7, p[..., 1] * 19], -1))
        coarse = value_noise(np.stack([p[..., 0] * 5 + p[..., 2] * 3, p[..., 1] * 5], -1))
        return mix(dark, light, 0.75 * fine + 0.5 * coarse - 0.15)

    return colour


def crown(middle: Floats, reach: float, number: int, seed: int) -> Distance:
    """The crown of a tree: balls about its middle."""
    rng = np.random.default_rng(seed)
    balls = []
    for _ in range(number):
        away = np.clip(rng.normal(0, 1, 3), -1.1, 1.1) * reach * at(0.62, 0.55, 0.5)
        balls.append(sphere((middle + away).astype(np.float32), float(reach * rng.uniform(0.36, 0.6))))
    return nearest(balls)


def flowers() -> list[Thing]:
    """Red, yellow and blue heads along the path."""
    rng = np.random.default_rng(5)
    heads: dict[tuple[float, float, float], list[Distance]] = {
        (0.66, 0.06, 0.05): [],
        (0.82, 0.62, 0.06): [],
        (0.16, 0.14, 0.55): [],
    }
    for number in range(21):
        z = rng.uniform(-2.4, 1.1)
        x = -0.75 + 0.85 * np.sin(z * 0.42 + 0.7) + rng.choice([-1, 1]) * rng.uniform(0.72, 1.15)
        list(heads.values())[number % 3].append(sphere(at(x, rng.uniform(0.10, 0.22), z), 0.05))
    return [Thing(nearest(parts), plain(*colour), gloss=0.1) for colour, parts in heads.items()]


def scene() -> list[Thing]:
    green, deep = ((0.05, 0.13, 0.03), (0.24, 0.36, 0.09)), ((0.03, 0.08, 0.035), (0.12, 0.21, 0.08))
    return [
        Thing(lambda p: p[..., 1], ground),
        Thing(box(at(-1.75, 1.2, 3.9), at(2.0, 1.25, 1.1), round_=0.01), facade),
        Thing(roof, tiles),
        Thing(box(at(-2.9, 3.5, 4.1), at(0.2, 0.6, 0.2), round_=0.01), facade),
        Thing(nearest([pickets(-4.4, -1.35, 1.9), pickets(0.55, 4.6, 1.9)]), plain(0.70, 0.69, 0.65)),
        Thing(capsule(at(2.35, -0.1, 3.2), at(2.5, 1.7, 3.3), 0.15), plain(0.13, 0.09, 0.06)),
        Thing(crown(at(2.45, 2.45, 3.3), 0.95, 13, 3), leaves(*green)),
        Thing(nearest([crown(at(x, 1.2, 10.5), 1.6, 4, 20 + k) for k, x in enumerate((-7.0, -4.0, 1.2, 4.2, 7.4))]), leaves(*deep)),
        Thing(crown(at(1.75, 0.32, 0.4), 0.36, 5, 8), leaves(*deep)),
        Thing(sphere(at(0.95, 0.2, -1.5), 0.2), plain(0.62, 0.07, 0.05), gloss=0.35),
        *flowers(),
    ]


def streaks(rain: float, seed: int) -> Floats:
    """How much of each pixel is covered by falling drops, (HEIGHT, WIDTH), 0..1."""
    rng = np.random.default_rng(seed)
    covered = np.zeros((HEIGHT, WIDTH), np.float32)
    slant = np.deg2rad(rng.uniform(72, 80))
    for number, reach, width, opacity in ((900, 13, 1.0, 0.30), (380, 26, 1.5, 0.34), (90, 52, 2.6, 0.22)):
        layer = Image.new("L", (WIDTH * FINE, HEIGHT * FINE))
        draw = ImageDraw.Draw(layer)
        for _ in range(int(number * rain)):
            angle, far = slant + rng.normal(0, 0.035), reach * FINE * rng.uniform(0.6, 1.3)
            x, y = rng.uniform(-0.1, 1.1) * WIDTH * FINE, rng.uniform(-0.1, 1.05) * HEIGHT * FINE
            end = (x - far * np.cos(angle), y + far * np.sin(angle))
            draw.line(((x, y), end), fill=int(255 * rng.uniform(0.4, 1)), width=round(width * FINE))
        smooth = layer.filter(ImageFilter.GaussianBlur(0.45 * FINE * width)).resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        covered = 1 - (1 - covered) * (1 - opacity * np.asarray(smooth, np.float32) / 255)
    return covered


def wet(light: Floats, rain: float, seed: int) -> Floats:
    """The garden behind the rain: drops scatter the sky's light, and a thin veil hangs over all. Linear light in and out."""
    drops = streaks(rain, seed)[..., None]
    veil = 0.03 * rain
    return light * (1 - drops) * (1 - veil) + 0.85 * drops + 0.6 * veil


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the garden in the rain that the web page offers to try.")
    parser.add_argument("out", type=Path, help="a .jpg, .png or .webp file")
    parser.add_argument("--rain", type=float, default=1.0, help="how much of it; 0 is a dry garden (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the drops")
    parser.add_argument("--quality", type=int, default=84, help="of a JPEG or WebP")
    arguments = parser.parse_args()
    light = wet(render(VIEW, scene(), WIDTH, HEIGHT), arguments.rain, arguments.seed)
    Image.fromarray(to_srgb(light)).save(arguments.out, quality=arguments.quality)


if __name__ == "__main__":
    main()
