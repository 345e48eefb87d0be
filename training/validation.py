"""Figures measured during a run, always with the averaged weights and the sampler that will serve them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from rddm.spec import ModelSpec
from training.recipe import Recipe
from training.restoring import restore_picture, sample_with
from training.synthesis.draws import Dice, Pairs, PairSource

Picture = NDArray[np.uint8]
SEED = 20_240_229
PICTURES = 32


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Mean over pictures of the PSNR in dB; b 3 h w in [-1, 1], peak 2."""
    error = (found - wanted).square().mean((1, 2, 3)).clamp(min=1e-10)
    return float((10 * torch.log10(4 / error)).mean())


def read_pairs(folder: Path, glob: str = "*") -> list[tuple[Picture, Picture]]:
    """(given, target) uint8 pictures of folder/input and folder/target, by name. Raises ValueError where a target is missing."""
    names = sorted(path.name for path in (folder / "input").glob(glob))
    if not names:
        raise ValueError(f"no file in {folder / 'input'} matches {glob!r}")
    missing = [name for name in names if not (folder / "target" / name).is_file()]
    if missing:
        raise ValueError(f"{folder / 'target'} has no {missing}")
    read = [tuple(np.asarray(Image.open(folder / part / name).convert("RGB")) for part in ("input", "target")) for name in names]
    return [(given, target) for given, target in read]


@dataclass(frozen=True)
class Validation:
    """Held-out synthetic pairs, always the same, and full-size pairs from a folder if one was named."""

    spec: ModelSpec
    synthetic: Pairs
    folder: list[tuple[Picture, Picture]]

    @classmethod
    def of(cls, recipe: Recipe, held_out: PairSource, device: torch.device, folder: Path | None, glob: str) -> "Validation":
        """Drawn once, from a seed of its own."""
        dice = Dice(torch.Generator(device).manual_seed(SEED))
        return cls(recipe.spec, held_out.draw(PICTURES, dice), read_pairs(folder, glob) if folder else [])

    def measure(self, network: nn.Module) -> dict[str, float]:
        """PSNR in dB, by name. For generation: of x_0 found from a half noised picture's level instead of a restoration."""
        given, target = self.synthetic.given, self.synthetic.target
        figures: dict[str, float] = {}
        if self.spec.start == "image":
            found = sample_with(network, self.spec, given, self.synthetic.context)
            figures["synthetic_psnr"] = psnr(found, target)
        if self.folder:
            figures |= self.measure_folder(network)
        return figures

    def measure_folder(self, network: nn.Module) -> dict[str, float]:
        """PSNR of whole pictures, as they are and with each result's mean brought to its target's."""
        plain, matched = [], []
        for given, target in self.folder:
            found = restore_picture(network, self.spec, given).astype(np.float64)
            plain.append(decibels(found, target))
            matched.append(decibels(np.clip(found * (target.mean() / max(found.mean(), 1e-6)), 0, 255), target))
        return {"pairs_psnr": float(np.mean(plain)), "pairs_psnr_mean_matched": float(np.mean(matched))}


def decibels(found: NDArray[np.float64], target: Picture) -> float:
    """PSNR in dB, peak 255."""
    return float(10 * np.log10(255**2 / max(np.square(found - target).mean(), 1e-10)))
