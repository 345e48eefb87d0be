"""Drops on a window: maps of where they sit, how they bend light, and their shade.

The camera focuses behind the glass, so a drop is a soft disc. Inside it the wide-angle, upside-down image of the scene is seen,
mostly its bright sky; its rim is dark (total reflection) or bright (the sun).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

CHANNELS = ("cover", "shift_y", "shift_x", "shade")
REACH = 96.0  # pixels of displacement that the bytes 0..255 span, -48..48


def render(seed: int, side: int) -> NDArray[np.uint8]:
    """Map number `seed`, (side, side, 4) uint8: cover 0..1, displacement in y and x (128 is none), shade (128 is none)."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 3]))
    cover = np.zeros((side, side), np.float32)
    shift = np.zeros((2, side, side), np.float32)
    shade = np.zeros((side, side), np.float32)
    sharp = rng.random() < 0.3  # the camera focuses near the glass: small drops, seen with their rims
    focus = rng.uniform(0.5, 2) if sharp else 0.6 * 26 ** rng.beta(1.8, 1)
    largest = rng.choice([8, 14, 24] if sharp else [12, 24, 48], p=[0.2, 0.3, 0.5])
    count = int(np.exp(rng.uniform(np.log(50), np.log(900))) * (side / 384) ** 2 * (20 / largest) ** 1.2)
    tall = rng.uniform(0.8, 1.5)
    for _ in range(count):
        radius = max(1.5, largest * rng.beta(1.2, 2.5))
        (cy, cx), phase = rng.uniform(0, side, 2), rng.uniform(0, 6, 2)
        reach = int(radius * 1.8) + 2
        rows = slice(max(int(cy) - reach, 0), min(int(cy) + reach + 1, side))
        columns = slice(max(int(cx) - reach, 0), min(int(cx) + reach + 1, side))
        v = (np.arange(rows.start, rows.stop)[:, None] - cy) / (radius * tall)
        u = (np.arange(columns.start, columns.stop)[None] - cx) / radius
        theta = np.arctan2(v, u)
        distance = np.hypot(u, v) * (1 + 0.12 * np.sin(2 * theta + phase[0]) + 0.08 * np.sin(3 * theta + phase[1]))
        inside = np.clip((1 - distance) * radius + 0.5, 0, 1).astype(np.float32)
        box = rows, columns
        cover[box] += rng.uniform(0.5, 1) * inside * (1 - cover[box])
        lens = inside * rng.uniform(0.6, 1.8) * radius
        shift[0][box] += (-2 * v * lens - shift[0][box]) * inside
        shift[1][box] += (-2 * u * lens - shift[1][box]) * inside
        rim, glow = rng.normal(-0.1, 0.4), rng.normal(0.1, 0.25)
        light = glow + rim * distance**4 + rng.normal(0, 0.25) * v
        shade[box] += (light - shade[box]) * inside
    cover = gaussian_filter(cover, focus) ** rng.uniform(0.6, 1.1)
    shift, shade = gaussian_filter(shift, (0, 0.6, 0.6)), gaussian_filter(shade, focus * 0.7)
    planes = [cover, shift[0] / REACH + 0.5, shift[1] / REACH + 0.5, shade / 2 + 0.5]
    return np.round(np.clip(np.stack(planes, -1), 0, 1) * 255).astype(np.uint8)
