"""Free photographs: the only ones that the models that ship have seen.

`photograph` gives those that scikit-image carries, picked by the licence note in skimage.data of each: CC0, or released into the
public domain. Those without a clear statement (and the Middlebury motorcycle) are left out.

`Collection` gives those of a folder, whose ATTRIBUTION.tsv names source, licence and author of every file: a photograph that it
does not list is not used.
"""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from rddm.image import decode
from training.colour import to_linear, to_srgb
from training.synthesis.scenes import Floats, Rng

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

ATTRIBUTION = "ATTRIBUTION.tsv"
COLUMNS = ("file", "source", "licence", "author or address", "size")
LARGE = 700  # shorter side, pixels; smaller files are as the camera or a web site compressed them
SHRUNK, MOST_SHRUNK = 1.5, 3.0


@cache
def photograph(name: str) -> NDArray[np.uint8]:
    """One photograph, (height, width, 3) uint8 sRGB. Raises KeyError for a name not in LICENCES."""
    if name not in LICENCES:
        raise KeyError(f"unknown photograph {name!r}; expected one of {sorted(LICENCES)}")
    picture = getattr(data, name)()
    return np.asarray(Image.fromarray(picture).convert("RGB"))


def recolour(rng: Rng, picture: Floats) -> Floats:
    """A scene under another light, exposure and contrast; sRGB 0..1 in and out."""
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


@dataclass(frozen=True)
class Collection:
    """A folder of photographs and its attribution: rows of ATTRIBUTION.tsv by relative file name."""

    folder: Path
    attribution: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, folder: Path) -> "Collection":
        """Reads folder/ATTRIBUTION.tsv: tab-separated, first line COLUMNS.

        Raises FileNotFoundError where it, or a photograph that it lists, is missing, ValueError for a row without a licence.
        """
        path = folder / ATTRIBUTION
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; photographs are used only with source, licence and author of each")
        with path.open(encoding="utf-8", newline="") as file:
            rows = {row["file"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
        for name, row in rows.items():
            if not (row.get("licence") or "").strip():
                raise ValueError(f"{path} gives no licence for {name!r}")
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{path} lists {name!r}, which is not in {folder}")
        if not rows:
            raise ValueError(f"{path} lists no photograph; expected rows of {', '.join(COLUMNS)}")
        return cls(folder, rows)

    @cached_property
    def names(self) -> list[str]:
        """The photographs' relative file names, sorted."""
        return sorted(self.attribution)

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits that change with the list of files."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:8]

    def render(self, seed: int, side: int) -> NDArray[np.uint8]:
        """Window number `seed`, (side, side, 3) uint8 sRGB: of each photograph in turn, shrunk at random, mirrored by chance.

        Photographs under LARGE pixels are shrunk by SHRUNK at least where their size allows it, so that their noise and JPEG blocks
        go: what comes out is sharp and clean. Windows larger than a photograph are mirrored at its border.
        """
        rng = np.random.Generator(np.random.Philox(key=[seed, 5]))
        picture = Image.fromarray(decode((self.folder / self.names[seed % len(self.names)]).read_bytes()))
        most = min(picture.size) / side
        least = min(SHRUNK if min(picture.size) < LARGE else 1.0, max(most, 1.0))
        size = round(side * rng.uniform(least, np.clip(most, least, MOST_SHRUNK)))
        if size > min(picture.size):
            missing = [(0, max(size - length, 0)) for length in (picture.height, picture.width)]
            picture = Image.fromarray(np.pad(np.asarray(picture), (*missing, (0, 0)), mode="symmetric"))
        left, top = (int(rng.integers(0, length - size + 1)) for length in picture.size)
        box = (left, top, left + size, top + size)
        window = picture.crop(box) if size == side else picture.resize((side, side), Image.Resampling.LANCZOS, box)
        pixels = np.asarray(window)
        return np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)
