"""Rain in front of a scene: maps of streak brightness, drawn from several layers of depth.

A raindrop falls some centimetres while the shutter is open, so it leaves a streak: bright (it refracts the sky), straight,
thin where far, long and blurred where near (Garg & Nayar 2007). One wind gives all streaks of a picture nearly one direction;
turbulence spreads it.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import convolve1d, gaussian_filter, rotate

from training.synthesis.scenes import Floats, Rng


def drawn_layer(rng: Rng, side: int, angle: float, depth: float, crowd: float = 1.0) -> Floats:
    """Separate streaks, (side, side) in 0..1; angle from the vertical in degrees, depth 0 (far: short, thin, many) to 1 (near).

    crowd: how many times more of them, which then are longer too.
    """
    layer = np.zeros((side, side), np.float32)
    length, width = 8 + 60 * depth**1.5 * rng.uniform(0.5, 1.6) + rng.uniform(0, 10), rng.uniform(0.6, 1.3) + 3 * depth**2
    length *= crowd**0.5
    count = int(side * side / 1000 * np.exp(rng.uniform(-1.5, 1.8)) * (1.2 - depth) * crowd)
    spread = rng.choice([1.0, 3.0, 8.0], p=[0.5, 0.35, 0.15])
    for level in rng.uniform(0.25, 1, 4):
        sheet = Image.new("L", (2 * side, 2 * side))
        pen = ImageDraw.Draw(sheet)
        for _ in range(count // 4 + 1):
            x, y = rng.uniform(-20, side + 20, 2)
            turn, reach = np.radians(angle + rng.normal(0, spread)), length * np.exp(rng.normal(0, 0.35))
            across, down = reach * np.sin(turn), reach * np.cos(turn)
            pen.line(
                [2 * x - across, 2 * y - down, 2 * x + across, 2 * y + down],
                fill=int(255 * level),
                width=max(1, round(2 * width * rng.uniform(0.6, 1.3))),
            )
        layer = np.maximum(layer, np.asarray(sheet.reduce(2), dtype=np.float32) / 255)
    return gaussian_filter(layer, rng.uniform(0.2, 0.5) + depth)


def blurred_layer(rng: Rng, side: int, angle: float, rarest: tuple[float, float] = (0.3, 2.2)) -> Floats:
    """A curtain: thresholded noise smeared along the direction of fall, (side, side), about 0..1.

    rarest: the threshold's range in standard deviations; from 2 up the streaks stand apart, each with soft ends.
    """
    wide = int(side * 1.5)
    grain = rng.standard_normal((wide, wide), dtype=np.float32)
    grain = gaussian_filter(grain, (0, rng.uniform(0.3, 1.2)))
    grain = np.clip(grain / grain.std() - rng.uniform(*rarest), 0, None)
    length = int(rng.uniform(9, 60))
    fall = np.hanning(length + 2)[1:-1] if rng.random() < 0.5 else np.ones(length)
    curtain = convolve1d(grain, fall / fall.sum(), axis=0, mode="wrap")
    if rng.random() < 0.5:  # a second pass of short smear: streaks with soft sides
        curtain = np.clip(curtain - rng.uniform(0, 1) * curtain.mean(), 0, None)
    curtain = rotate(curtain, angle, reshape=False, order=1, mode="wrap")
    margin = (wide - side) // 2
    curtain = curtain[margin : margin + side, margin : margin + side]
    # Between streaks the scene is seen undimmed: a curtain that only lifts everything would look like a bright texture.
    dry, brightest = np.percentile(curtain, (rng.uniform(5, 45), 99.5))
    return np.clip((curtain - dry) / (brightest - dry + 1e-6), 0, None).astype(np.float32)


def layers_of(kind: str, rng: Rng, side: int) -> list[Floats]:
    """What falls in rain of a kind: light (separate streaks), soft (faint, with soft ends), curtain, or bars (crowded streaks)."""
    angle = rng.normal(0, 22)
    if kind == "soft":
        layers = [blurred_layer(rng, side, angle + rng.normal(0, 3), (1.8, 3.3)) for _ in range(rng.integers(1, 4))]
        return layers + [drawn_layer(rng, side, angle, rng.uniform(0, 1)) for _ in range(rng.integers(0, 2))]
    if kind == "bars":
        gusts = rng.choice([1, 8], p=[0.4, 0.6])
        depths = rng.uniform(0.1, 0.7, rng.integers(1, 4))
        return [drawn_layer(rng, side, angle + rng.normal(0, gusts), depth, rng.uniform(1, 4.5)) for depth in depths]
    layers = [drawn_layer(rng, side, angle, depth) for depth in rng.uniform(0, 1, 1 if kind == "light" else rng.integers(1, 4))]
    if kind == "curtain":
        layers += [blurred_layer(rng, side, angle + rng.normal(0, 4)) for _ in range(rng.integers(1, 4))]
        if rng.random() < 0.5:  # gusts: a second direction
            layers.append(blurred_layer(rng, side, angle + rng.normal(0, 15)) * rng.uniform(0.3, 1))
    return layers


def render(seed: int, side: int) -> NDArray[np.uint8]:
    """Map number `seed`, (side, side, 1) uint8: 0 no rain, 255 the brightest. A quarter each is light, soft, curtain and bars."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    rain = np.zeros((side, side), np.float32)
    for layer in layers_of(("light", "soft", "curtain", "bars")[seed % 4], rng, side):
        rain += layer.clip(0, 1) * rng.uniform(0.3, 1) * (1 - rain)
    return np.round(np.clip(rain, 0, 1) * 255).astype(np.uint8)[..., None]
