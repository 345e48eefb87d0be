"""Render the still life that the web page offers to try, as an under-exposed camera sees it.

    python examples/still_life.py OUT.jpg [--stops 4] [--seed 0]
    python examples/still_life.py OUT.jpg --stops 0 --noise 0           the clean scene

Darkness and noise follow the physics of a sensor: linear light divided by 2^stops, shot noise that grows with the square root
of the light, read noise that does not, then the sRGB curve. Needs numpy and pillow.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from raymarch import (
    Colour,
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
    turned,
    value_noise,
)

WIDTH, HEIGHT = 600, 400
VIEW = View(
    eye=at(0.15, 1.45, -4.3),
    target=at(0.02, 0.90, 0.0),
    focal=2.75,
    lamp=at(-3.2, 4.6, -2.6),
    lamp_power=34,
    lamp_colour=at(1.0, 0.93, 0.82),
    sky_colour=at(0.42, 0.50, 0.62),
)


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


def expose(light: Floats, stops: float, noise: float, seed: int) -> Floats:
    """What a sensor records `stops` under: linear light 0..1 in and out.

    noise: times that of a sensor with a full well of 4000 electrons and 5 electrons of read noise.
    """
    rng = np.random.default_rng(seed)
    dark = light / 2**stops
    deviation = noise * np.sqrt(dark / 4000 + (5 / 4000) ** 2)
    return (dark + deviation * rng.standard_normal(dark.shape, dtype=np.float32)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the still life that the web page offers to try.")
    parser.add_argument("out", type=Path, help="a .jpg, .png or .webp file")
    parser.add_argument("--stops", type=float, default=4.0, help="how many stops too dark; 0 is well exposed (default 4)")
    parser.add_argument("--noise", type=float, default=1.0, help="times the sensor's own noise (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--quality", type=int, default=92, help="of a JPEG or WebP")
    arguments = parser.parse_args()
    exposed = expose(render(VIEW, scene(), WIDTH, HEIGHT), arguments.stops, arguments.noise, arguments.seed)
    Image.fromarray(to_srgb(exposed)).save(arguments.out, quality=arguments.quality)


if __name__ == "__main__":
    main()
