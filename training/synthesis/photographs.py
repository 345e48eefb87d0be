"""The public-domain photographs that scikit-image carries: the only photographs that the models that ship have seen.

Picked by the licence note in skimage.data of each: CC0, or released into the public domain. Those without a clear statement
(and the Middlebury motorcycle) are left out.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from training.synthesis.scenes import Floats, Rng, to_linear, to_srgb

LICENCES = {
    "astronaut": "public domain (NASA)",
    "brick": "CC0",
    "camera": "CC0 (Lav Varshney)",
    "chelsea": "CC0 (Stefan van der Walt)",
    "coffee": "CC0 (Rachel Michetti)",
    "grass": "CC0",
    "gravel": "CC0",
    "hubble_deep_field": "public domain (NASA)",
    "rocket": "public domain (SpaceX)",
}
SHARES = {
    "astronaut": 0.24,
    "chelsea": 0.2,
    "coffee": 0.22,
    "rocket": 0.16,
    "camera": 0.06,
    "brick": 0.03,
    "grass": 0.03,
    "gravel": 0.04,
    "hubble_deep_field": 0.02,
}


@cache
def photograph(name: str) -> NDArray[np.uint8]:
    """One photograph, (height, width, 3) uint8 sRGB. Raises KeyError for a name not in LICENCES."""
    if name not in LICENCES:
        raise KeyError(f"unknown photograph {name!r}; expected one of {sorted(LICENCES)}")
    picture = getattr(data, name)()
    return np.asarray(Image.fromarray(picture).convert("RGB"))


def recolour(rng: Rng, picture: Floats) -> Floats:
    """The same scene under another light, exposure and contrast; sRGB 0..1 in and out."""
    linear = to_linear(picture) * np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
    mean = float(np.clip(rng.normal(0.44, 0.07), 0.28, 0.65))
    grey = linear.mean(2, keepdims=True)
    linear = np.clip(grey + rng.uniform(0.7, 1.2) * (linear - grey), 0, 1) ** rng.uniform(0.85, 1.15)
    gain = 1.0
    for _ in range(6):
        gain *= (mean / max(float(to_srgb(gain * linear[::4, ::4]).mean()), 1e-3)) ** 1.8
    return to_srgb(min(gain, 2.5) * linear)


def render(seed: int, side: int) -> NDArray[np.uint8]:
    """Crop number `seed`, (side, side, 3) uint8 sRGB, reduced, turned and recoloured; never the whole photograph."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
    picture = photograph(str(rng.choice(list(SHARES), p=list(SHARES.values()))))
    shortest = min(picture.shape[:2])
    size = int(rng.uniform(0.55, 1) * shortest)
    top, left = rng.integers(0, picture.shape[0] - size + 1), rng.integers(0, picture.shape[1] - size + 1)
    crop = Image.fromarray(picture[top : top + size, left : left + size])
    if size < side:  # enlarging would teach softness: mirror at the border instead
        crop = Image.fromarray(np.pad(np.asarray(crop), ((0, side - size),) * 2 + ((0, 0),), mode="symmetric"))
    resized = np.asarray(crop.resize((side, side), Image.Resampling.LANCZOS), dtype=np.float32) / 255
    if rng.random() < 0.5:
        resized = resized[:, ::-1]
    return np.round(recolour(rng, resized) * 255).astype(np.uint8)
