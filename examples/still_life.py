"""Render the still life that the web page offers to try: a picture that is nobody's photograph, drawn by a ray marcher.

    python examples/still_life.py OUT.jpg [--stops 4] [--seed 0]     the scene as an under-exposed camera sees it
    python examples/still_life.py OUT.jpg --stops 0 --noise 0           the clean scene

Darkness and noise follow the physics of a sensor: linear light divided by 2^stops, shot noise that grows with the square root
of the light, read noise that does not, then the sRGB curve. Needs numpy and pillow.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Distance = Callable[[Floats], Floats]
Colour = Callable[[Floats], Floats]

WIDTH, HEIGHT = 600, 400
SAMPLES = 2  # rays per pixel and side
EYE = np.array([0.15, 1.45, -4.3], np.float32)
TARGET = np.array([0.02, 0.90, 0.0], np.float32)
FOCAL = 2.75
LAMP = np.array([-3.2, 4.6, -2.6], np.float32)
LAMP_COLOUR = np.array([1.0, 0.93, 0.82], np.float32)
SKY_COLOUR = np.array([0.42, 0.50, 0.62], np.float32)
FAR = 12.0


@dataclass(frozen=True)
class Thing:
    """A surface: its signed distance from points (n 3), and its reflectance there, linear RGB (n 3)."""

    distance: Distance
    colour: Colour
    gloss: float = 0.0


def length(v: Floats) -> Floats:
    return np.sqrt((v * v).sum(-1))


def unit(v: Floats) -> Floats:
    return v / np.maximum(length(v), 1e-6)[..., None]


def plain(red: float, green: float, blue: float) -> Colour:
    return lambda p: np.broadcast_to(np.array([red, green, blue], np.float32), p.shape)


def mix(a: tuple[float, float, float], b: tuple[float, float, float], amount: Floats) -> Floats:
    """Reflectance a where amount is 0, b where it is 1."""
    share = np.clip(amount, 0, 1)[..., None].astype(np.float32)
    return np.array(a, np.float32) * (1 - share) + np.array(b, np.float32) * share


def hashed(cells: Floats) -> Floats:
    """A number in 0..1 for every integer cell (n 2)."""
    value = np.sin(cells[..., 0] * 127.1 + cells[..., 1] * 311.7).astype(np.float64) * 43758.5453
    return (value - np.floor(value)).astype(np.float32)


def value_noise(uv: Floats) -> Floats:
    """Smooth noise in 0..1 with one cell per unit."""
    cell, inside = np.floor(uv), uv - np.floor(uv)
    s = inside * inside * (3 - 2 * inside)
    corner = [hashed(cell + np.array(offset, np.float32)) for offset in ((0, 0), (1, 0), (0, 1), (1, 1))]
    low = corner[0] * (1 - s[..., 0]) + corner[1] * s[..., 0]
    high = corner[2] * (1 - s[..., 0]) + corner[3] * s[..., 0]
    return low * (1 - s[..., 1]) + high * s[..., 1]


def wood(p: Floats) -> Floats:
    """Planks along x: each with its own tone, grain lines and a dark joint."""
    plank = np.floor(p[..., 2] / 0.62 + 0.35)
    tone = hashed(np.stack([plank, plank * 0 + 3], -1))
    grain = value_noise(np.stack([p[..., 0] * 1.6 + plank * 7, p[..., 2] * 34], -1))
    fine = value_noise(np.stack([p[..., 0] * 7 + plank * 3, p[..., 2] * 110], -1))
    joint = np.abs((p[..., 2] / 0.62 + 0.35) % 1 - 0.5) > 0.487
    base = mix((0.42, 0.25, 0.13), (0.24, 0.125, 0.06), 0.25 + 0.5 * tone + 0.55 * (grain - 0.5) + 0.25 * (fine - 0.5))
    return np.where(joint[..., None], base * 0.25, base)


def wallpaper(p: Floats) -> Floats:
    """Quiet blue-grey stripes with a woven texture."""
    stripe = (np.floor(p[..., 0] / 0.22) % 2).astype(np.float32)
    weave = value_noise(p[..., :2] * 60)
    return mix((0.26, 0.33, 0.38), (0.32, 0.40, 0.45), 0.85 * stripe + 0.5 * (weave - 0.5))


def painting(p: Floats) -> Floats:
    """A sun over three hills, and a white mount around them."""
    u, v = (p[..., 0] - 0.88) / 0.58, (p[..., 1] - 1.62) / 0.44
    ink = mix((0.80, 0.50, 0.26), (0.85, 0.74, 0.55), v * 0.5 + 0.5)
    sun = np.hypot(u + 0.25, (v - 0.25) * 0.76) < 0.27
    ink = np.where(sun[..., None], np.array([0.78, 0.16, 0.07], np.float32), ink)
    hills = (
        ((0.12, 2.2, 0.4), (0.20, 0.32, 0.30)),
        ((-0.18, 3.1, 2.1), (0.10, 0.20, 0.21)),
        ((-0.5, 2.4, 4.0), (0.04, 0.09, 0.11)),
    )
    for (level, waves, phase), tone in hills:
        ink = np.where((v < level + 0.16 * np.sin(u * waves + phase))[..., None], np.array(tone, np.float32), ink)
    mount = (np.abs(u) > 0.86) | (np.abs(v) > 0.82)
    return np.where(mount[..., None], np.array([0.72, 0.70, 0.65], np.float32), ink)


def glaze(p: Floats) -> Floats:
    """White pottery with blue bands and a row of dots."""
    height, angle = p[..., 1], np.arctan2(p[..., 2], p[..., 0] + 1.02)
    bands = (np.abs(height - 0.30) < 0.028) | (np.abs(height - 0.74) < 0.028) | (np.abs(height - 0.68) < 0.010)
    dots = np.hypot((angle * 14 / np.pi) % 1 - 0.5, (height - 0.52) * 7.5) < 0.30
    return np.where((bands | dots)[..., None], np.array([0.05, 0.11, 0.36], np.float32), np.array([0.74, 0.73, 0.70], np.float32))


def book(cover: tuple[float, float, float], gold: float, middle: float) -> Colour:
    """Cloth with two gold lines on the spine that faces us, paper at the right end."""

    def colour(p: Floats) -> Floats:
        line = (np.abs(np.abs(p[..., 0] - middle) - gold) < 0.014) | (np.abs(np.abs(p[..., 0] - middle) - gold + 0.05) < 0.006)
        cloth = np.array(cover, np.float32) * (0.86 + 0.28 * value_noise(p[..., :2] * 90))[..., None]
        return np.where(line[..., None], np.array([0.62, 0.45, 0.16], np.float32), cloth)

    return colour


def peel(a: tuple[float, float, float], b: tuple[float, float, float]) -> Colour:
    return lambda p: mix(a, b, 0.5 + 1.6 * (value_noise(p[..., :2] * 9) - 0.5) + 0.5 * (value_noise(p[..., 1:] * 70) - 0.5))


def checks(p: Floats) -> Floats:
    """A linen cloth: white with crossing red bands."""
    across = ((p[..., 0] * 6.2) % 1 < 0.42).astype(np.float32)
    along = ((p[..., 2] * 6.2) % 1 < 0.42).astype(np.float32)
    thread = value_noise(p[..., [0, 2]] * 140)
    return mix((0.70, 0.68, 0.62), (0.50, 0.07, 0.06), 0.5 * (across + along)) * (0.85 + 0.3 * thread)[..., None]


def at(x: float, y: float, z: float) -> Floats:
    return np.array([x, y, z], np.float32)


def sphere(centre: Floats, radius: float, squash: Floats | None = None) -> Distance:
    scale = at(1, 1, 1) if squash is None else squash
    return lambda p: (length((p - centre) / scale) - radius) * float(scale.min())


def box(centre: Floats, half: Floats, turn: float = 0.0, round_: float = 0.02) -> Distance:
    """A rounded box turned about the vertical by `turn` radians."""
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))

    def distance(p: Floats) -> Floats:
        q = p - centre
        q = np.abs(np.stack([c * q[..., 0] - s * q[..., 2], q[..., 1], s * q[..., 0] + c * q[..., 2]], -1)) - (half - round_)
        return length(np.maximum(q, 0)) + np.minimum(q.max(-1), 0) - round_

    return distance


def capsule(a: Floats, b: Floats, radius: float) -> Distance:
    def distance(p: Floats) -> Floats:
        share = np.clip(((p - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)[..., None]
        return length(p - a - share * (b - a)) - radius

    return distance


def turned(axis: tuple[float, float], profile: Callable[[Floats], Floats], low: float, high: float) -> Distance:
    """A body of revolution about the vertical through `axis` (x, z); profile: height -> radius."""

    def distance(p: Floats) -> Floats:
        radius = np.hypot(p[..., 0] - axis[0], p[..., 2] - axis[1])
        side = (radius - profile(np.clip(p[..., 1], low, high))) * 0.62
        return np.maximum(side, np.maximum(low - p[..., 1], p[..., 1] - high))

    return distance


def nearest(parts: list[Distance]) -> Distance:
    return lambda p: np.minimum.reduce([part(p) for part in parts])


def twigs() -> tuple[Thing, Thing]:
    """Stems that rise from the vase, and leaves along them."""
    rng = np.random.default_rng(11)
    foot, stems, leaves = at(-1.02, 0.80, 0.0), [], []
    for bend in (-0.62, -0.25, 0.10, 0.46):
        tip = foot + at(bend, 0.98 - 0.5 * abs(bend), rng.uniform(-0.2, 0.2))
        stems.append(capsule(foot, tip, 0.012))
        for share in np.linspace(0.38, 1.0, 6):
            away = at(rng.uniform(-0.13, 0.13), rng.uniform(-0.01, 0.08), rng.uniform(-0.1, 0.05))
            leaves.append(sphere(foot + share * (tip - foot) + away, 0.105, at(rng.uniform(0.6, 1.1), rng.uniform(0.35, 0.6), 0.4)))
    return (
        Thing(nearest(stems), plain(0.10, 0.08, 0.04)),
        Thing(nearest(leaves), peel((0.07, 0.17, 0.05), (0.20, 0.33, 0.10)), gloss=0.08),
    )


def vase(height: Floats) -> Floats:
    return 0.16 + 0.17 * np.sin(np.clip(height / 0.9, 0, 1) * np.pi * 0.92 + 0.22) ** 1.5 + 0.03 * (height > 0.84)


def scene() -> list[Thing]:
    return [
        Thing(lambda p: p[..., 1], wood, gloss=0.10),
        Thing(lambda p: 1.5 - p[..., 2], wallpaper),
        Thing(box(at(0.88, 1.62, 1.5), at(0.66, 0.52, 0.05), round_=0.015), plain(0.05, 0.035, 0.025), gloss=0.2),
        Thing(box(at(0.88, 1.62, 1.47), at(0.58, 0.44, 0.05), round_=0.002), painting),
        Thing(box(at(0.55, 0.012, -0.75), at(0.95, 0.014, 0.42), turn=-0.22, round_=0.008), checks),
        Thing(turned((-1.02, 0.0), vase, 0.0, 0.88), glaze, gloss=0.5),
        *twigs(),
        Thing(box(at(0.78, 0.12, 0.35), at(0.62, 0.12, 0.40), turn=0.10), book((0.09, 0.16, 0.28), 0.42, 0.78)),
        Thing(box(at(0.72, 0.33, 0.36), at(0.55, 0.09, 0.36), turn=-0.06), book((0.36, 0.06, 0.06), 0.36, 0.72)),
        Thing(box(at(0.82, 0.49, 0.35), at(0.48, 0.07, 0.33), turn=0.16), book((0.08, 0.22, 0.14), 0.32, 0.82)),
        Thing(sphere(at(0.70, 0.75, 0.30), 0.19, at(1, 0.94, 1)), peel((0.36, 0.04, 0.03), (0.52, 0.30, 0.06)), gloss=0.35),
        Thing(capsule(at(0.70, 0.90, 0.30), at(0.73, 1.0, 0.28), 0.013), plain(0.10, 0.06, 0.03)),
        Thing(sphere(at(0.22, 0.215, -0.72), 0.20), peel((0.72, 0.27, 0.02), (0.80, 0.36, 0.03)), gloss=0.22),
        Thing(sphere(at(0.64, 0.205, -0.92), 0.185), peel((0.70, 0.24, 0.02), (0.82, 0.38, 0.04)), gloss=0.22),
        Thing(sphere(at(1.06, 0.155, -0.70), 0.15, at(1.35, 0.95, 0.95)), peel((0.78, 0.60, 0.06), (0.84, 0.70, 0.12)), gloss=0.22),
        Thing(sphere(at(-0.36, 0.17, -0.30), 0.17, at(1, 0.95, 1)), peel((0.20, 0.34, 0.05), (0.38, 0.45, 0.09)), gloss=0.35),
        Thing(capsule(at(-0.36, 0.31, -0.30), at(-0.33, 0.40, -0.31), 0.012), plain(0.10, 0.06, 0.03)),
    ]


def march(things: list[Thing], origin: Floats, ray: Floats) -> Floats:
    """How far along each ray the first surface lies, (n,); FAR where there is none."""
    depth = np.zeros(len(ray), np.float32)
    active = np.arange(len(ray))
    whole = nearest([thing.distance for thing in things])
    for _ in range(110):
        step = whole(origin[active] + depth[active, None] * ray[active])
        depth[active] += step * 0.9
        active = active[(step > 4e-4) & (depth[active] < FAR)]
        if not len(active):
            break
    return np.minimum(depth, FAR)


def normals(whole: Distance, p: Floats) -> Floats:
    nudge = np.float32(1.5e-3)
    axes = np.eye(3, dtype=np.float32) * nudge
    return unit(np.stack([whole(p + axis) - whole(p - axis) for axis in axes], -1))


def lamplight(whole: Distance, p: Floats, to_lamp: Floats, reach: Floats) -> Floats:
    """How much of the lamp each point sees, 0..1: a soft shadow from how close the ray passes by other things."""
    seen, along = np.ones(len(p), np.float32), np.full(len(p), 0.02, np.float32)
    for _ in range(48):
        gap = whole(p + along[:, None] * to_lamp)
        seen = np.minimum(seen, np.where(along < reach, np.clip(0.5 + 0.5 * gap * 9 / along, 0, 1), 1))
        along += np.clip(gap, 0.015, 0.2)
    return seen * seen * (3 - 2 * seen)


def openness(whole: Distance, p: Floats, n: Floats) -> Floats:
    """How open the sky is above each point, 0..1."""
    closed = sum((height - whole(p + n * height)) * weight for height, weight in ((0.04, 3.0), (0.12, 1.4), (0.3, 0.6)))
    return np.clip(1 - np.asarray(closed, np.float32), 0.05, 1)


def shade(things: list[Thing], p: Floats, ray: Floats) -> Floats:
    """Linear light that leaves the points p (n 3) towards the eye."""
    whole = nearest([thing.distance for thing in things])
    owner = np.argmin(np.stack([thing.distance(p) for thing in things]), 0)
    reflectance = np.select([(owner == i)[:, None] for i in range(len(things))], [thing.colour(p) for thing in things])
    gloss = np.array([thing.gloss for thing in things], np.float32)[owner]
    n, away = normals(whole, p), LAMP - p
    to_lamp = unit(away)
    seen = lamplight(whole, p + n * 2e-3, to_lamp, length(away))
    lamp = np.maximum((n * to_lamp).sum(-1), 0) * seen * 34 / (length(away) ** 2)
    sky = openness(whole, p, n) * (0.55 + 0.45 * n[:, 1])
    shine = np.maximum((n * unit(to_lamp - ray)).sum(-1), 0) ** 70 * seen * gloss
    light = lamp[:, None] * LAMP_COLOUR + 0.30 * sky[:, None] * SKY_COLOUR
    return reflectance * light + (1.4 * shine)[:, None] * LAMP_COLOUR


def rays(width: int, height: int) -> Floats:
    """One unit vector per sample, (height * width, 3), rows from the top."""
    forward = unit(TARGET - EYE)
    right = unit(np.cross(at(0, 1, 0), forward))
    up = np.cross(forward, right)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / (height / 2)
    y = (height / 2 - np.arange(height, dtype=np.float32) - 0.5) / (height / 2)
    plane = x[None, :, None] * right + y[:, None, None] * up + FOCAL * forward
    return unit(plane.reshape(-1, 3).astype(np.float32))


def render(width: int = WIDTH, height: int = HEIGHT, samples: int = SAMPLES) -> Floats:
    """The scene in linear light, (height, width, 3), 0..1."""
    things, ray = scene(), rays(width * samples, height * samples)
    light = np.empty_like(ray)
    for rows in np.array_split(np.arange(len(ray)), max(1, len(ray) // 120_000)):
        origin = np.broadcast_to(EYE, (len(rows), 3))
        light[rows] = shade(things, origin + march(things, origin, ray[rows])[:, None] * ray[rows], ray[rows])
    light = light / (1 + 0.18 * light)  # the shoulder of a film: highlights roll off
    return np.clip(light, 0, 1).reshape(height, samples, width, samples, 3).mean((1, 3))


def expose(light: Floats, stops: float, noise: float, seed: int) -> Floats:
    """What a sensor records `stops` under: linear light 0..1 in and out.

    noise: times that of a sensor with a full well of 4000 electrons and 5 electrons of read noise.
    """
    rng = np.random.default_rng(seed)
    dark = light / 2**stops
    deviation = noise * np.sqrt(dark / 4000 + (5 / 4000) ** 2)
    return (dark + deviation * rng.standard_normal(dark.shape, dtype=np.float32)).astype(np.float32)


def to_srgb(light: Floats) -> NDArray[np.uint8]:
    """Linear light -> 8-bit sRGB (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (curve * 255 + 0.5).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the still life that the web page offers to try.")
    parser.add_argument("out", type=Path, help="a .jpg, .png or .webp file")
    parser.add_argument("--stops", type=float, default=4.0, help="how many stops too dark; 0 is well exposed (default 4)")
    parser.add_argument("--noise", type=float, default=1.0, help="times the sensor's own noise (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--quality", type=int, default=92, help="of a JPEG or WebP")
    arguments = parser.parse_args()
    exposed = expose(render(), arguments.stops, arguments.noise, arguments.seed)
    Image.fromarray(to_srgb(exposed)).save(arguments.out, quality=arguments.quality)


if __name__ == "__main__":
    main()
