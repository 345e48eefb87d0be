"""Table 1: SM-Res, SM-N and SM-Res-N on low light (2 steps), rain (5 steps) and generation (10 steps)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from benchmarks.reproduce.arms import OBJECTIVES, Size, folder_data, generating_spec, recipe_of, restoring_spec, trained
from benchmarks.reproduce.features import distance, trained_autoencoder
from rddm.spec import Method, ModelSpec
from training.metrics import mean_matched, psnr, ssim_rgb
from training.pairs import folder_sources
from training.presets import CELEBA_WINDOW
from training.recipe import EmojiData, FolderData
from training.restoring import sample_with
from training.synthesis.draws import Dice, PairSource
from training.synthesis.emoji import emoji_sources

RESTORATIONS = {"lowlight": 2, "rain": 5}
GENERATION_STEPS, GLYPH_SIDE = 10, 32
SEED = 7


@dataclass(frozen=True)
class Row:
    """One method on one task, and what was measured."""

    task: str
    method: str
    steps: int
    figures: Mapping[str, float]


def to_bytes(pictures: Tensor) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """b 3 h w in [-1, 1] -> uint8 pictures h w 3."""
    levels = ((pictures + 1) * 127.5).round().clamp(0, 255).byte()
    return list(levels.permute(0, 2, 3, 1).cpu().numpy())


def figures_of(found: Tensor, target: Tensor) -> dict[str, float]:
    """Means over pictures."""
    pairs = list(zip(to_bytes(found), to_bytes(target), strict=True))
    return {
        "psnr": float(np.mean([psnr(a, b) for a, b in pairs])),
        "ssim": float(np.mean([ssim_rgb(a, b) for a, b in pairs])),
        "psnr_mean_matched": float(np.mean([psnr(mean_matched(a, b), b) for a, b in pairs])),
    }


def restored(network: nn.Module, spec: ModelSpec, given: Tensor, steps: int) -> Tensor:
    """x_0 of all pictures, a batch at a time."""
    parts = given.split(32)
    return torch.cat([sample_with(network, spec, part, part, steps) for part in parts])


def restoration(task: str, data: FolderData, size: Size, out: Path, console: Console) -> list[Row]:
    """The three methods on one task; SM-N once more with the damped inversion, on the same weights."""
    steps, (source, held_out) = RESTORATIONS[task], folder_sources(data)
    pairs = held_out.draw(size.pictures, Dice(torch.Generator().manual_seed(SEED)))
    rows, shown = [Row(task, "input", 0, figures_of(pairs.given, pairs.target))], [pairs.given]
    for method, objective in OBJECTIVES.items():
        network, spec = _arm(task, method, data, source, size, out, console)
        variants = {method: spec}
        if objective == "pred_noise":
            variants["SM-N damped"] = spec.model_copy(update={"sm_n_inversion": "damped"})
        for name, variant in variants.items():
            found = restored(network, variant, pairs.given, steps)
            rows.append(Row(task, name, steps, figures_of(found, pairs.target)))
            shown.append(found)
            console.print(rows[-1], markup=False)
    _sheet([*shown, pairs.target], out / f"{task}.png")
    return rows


def _arm(
    task: str, method: Method, data: FolderData, source: PairSource, size: Size, out: Path, console: Console
) -> tuple[nn.Module, ModelSpec]:
    objective = OBJECTIVES[method]
    name = f"{task}-{method.lower()}"
    spec = restoring_spec(name, objective, RESTORATIONS[task])
    recipe = recipe_of(spec, size.network(objective, restores=True), data, size)
    return trained(recipe, source, out / "runs" / name, console)


def generation_data(data: Path | None) -> tuple[FolderData | EmojiData, PairSource, PairSource, str]:
    """DATA/celeba/{train,val} at 64 x 64, cut as the authors do, or else glyphs at 32 x 32: (data, training, held out, name)."""
    if data is not None and (data / "celeba").is_dir():
        faces = FolderData(
            kind="folder",
            target=str(data / "celeba" / "train"),
            val_target=str(data / "celeba" / "val"),
            side=64,
            fit="resize",
            window=CELEBA_WINDOW,
        )
        return faces, *folder_sources(faces), "faces"
    return EmojiData(kind="emoji", size=GLYPH_SIDE), *emoji_sources(GLYPH_SIDE), "glyphs"


def generation(data: Path | None, size: Size, out: Path, console: Console) -> list[Row]:
    """The three methods: Frechet distance to pictures held out, and of training pictures to them (the floor of the measure)."""
    chosen, source, held_out, name_of_data = generation_data(data)
    dice = Dice(torch.Generator().manual_seed(SEED))
    count = 8 * size.pictures if size.widths else size.pictures
    reference, again = held_out.draw(count, dice).target, source.draw(count, dice).target
    side = reference.shape[-1]
    space = trained_autoencoder(source, side, out / "runs" / f"autoencoder-32-{side}.safetensors")
    rows = [Row("generation", f"training {name_of_data}", 0, {"frechet": distance(space, again, reference)})]
    for method, objective in OBJECTIVES.items():
        name = f"generation-{method.lower()}"
        spec = generating_spec(name, objective, GENERATION_STEPS, side)
        recipe = recipe_of(spec, size.network(objective, restores=False), chosen, size)
        network, spec = trained(recipe, source, out / "runs" / name, console)
        found = restored(network, spec, torch.zeros_like(reference), GENERATION_STEPS)
        rows.append(Row("generation", method, GENERATION_STEPS, {"frechet": distance(space, found, reference)}))
        console.print(rows[-1], markup=False)
        _sheet([found[i : i + 8] for i in range(0, 64, 8)], out / f"{name}.png")
    return rows


def _sheet(rows: Sequence[Tensor], path: Path, across: int = 8) -> None:
    """One row of pictures per tensor."""
    lines = [np.concatenate(to_bytes(row[:across]), axis=1) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines, axis=0)).save(path)


def run(data: Path | None, files: Mapping[str, str], size: Size, out: Path, console: Console) -> list[Row]:
    """All of Table 1. Without data, restoration is left out and generation is of glyphs."""
    rows = generation(data, size, out, console)
    for task in RESTORATIONS if data is not None else ():
        fit = "crop" if size.widths else "resize"
        rows += restoration(task, folder_data(data, task, files.get(task, "*"), size.side, fit), size, out, console)
    return rows
