"""Figures measured during a run, always with the averaged weights and the sampler that will serve them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rddm.spec import ModelSpec
from training.evaluation.evaluate import Example, Model, examples, means, measured, read_example, restored
from training.evaluation.metrics import MEASURES
from training.evaluation.splits import chosen_set
from training.recipe import Recipe
from training.sampling import as_graph, sample_with
from training.synthesis.draws import Dice, Pairs, PairSource

SEED = 20_240_229
PICTURES = 32
FIGURES = {"psnr": MEASURES["psnr_rgb"], "psnr_mean_matched": MEASURES["psnr_mean_matched"]}


def psnr(answer: Tensor, wanted: Tensor) -> float:
    """Mean over pictures of the PSNR in dB; b 3 h w in [-1, 1], peak 2."""
    error = (answer - wanted).square().mean((1, 2, 3)).clamp(min=1e-10)
    return float((10 * torch.log10(4 / error)).mean())


def read_pairs(folder: Path, glob: str = "*", scale: int = 1) -> list[Example]:
    """The pictures of folder/input, folder/target and perhaps folder/mask, matched by name; what is given is enlarged by a scale.

    Raises ValueError where a partner is missing.
    """
    mask = str(folder / "mask" / glob) if (folder / "mask").is_dir() else None
    groups = examples(str(folder / "target" / glob), str(folder / "input" / glob), mask)
    return [read_example(group, scale) for group in groups]


def read_choices(splits: Path, names: Sequence[str], root: Path, scale: int = 1) -> list[Example]:
    """The pictures that may choose weights, of sets of a split file (training.evaluation.splits) in a folder of data."""
    return [read_example(group, scale) for name in names for group in chosen_set(splits, name).groups("choose", root)]


@dataclass(frozen=True)
class Validation:
    """Held-out synthetic pairs, always the same, and full-size pairs from a folder if one was named."""

    spec: ModelSpec
    synthetic: Pairs
    folder: list[Example]

    @classmethod
    def of(cls, recipe: Recipe, held_out: PairSource, device: torch.device, pairs: list[Example]) -> "Validation":
        """Drawn once, from a seed of its own."""
        dice = Dice(torch.Generator(device).manual_seed(SEED))
        return cls(recipe.spec, held_out.draw(PICTURES, dice), pairs)

    def measure(self, network: nn.Module) -> dict[str, float]:
        """PSNR in dB, by name. For generation: of x_0 predicted from a half noised picture's level instead of a restoration."""
        given, target = self.synthetic.given, self.synthetic.target
        figures: dict[str, float] = {}
        if not self.spec.generates:
            answer = sample_with(network, self.spec, given, self.synthetic.context, mask=self.synthetic.mask)
            figures["synthetic_psnr"] = psnr(answer, target)
        if self.folder:
            figures |= self.measure_folder(network)
        return figures

    def measure_folder(self, network: nn.Module) -> dict[str, float]:
        """PSNR of whole pictures, as they are and with each result's mean brought to its target's."""
        model = Model(self.spec, as_graph(network))
        rows = [measured(restored(model, example, None, 0), example, FIGURES) for example in self.folder]
        return {f"pairs_{name}": value for name, value in means(rows).items()}
