"""What a generator makes, how near its training pictures, how far from unseen ones.

    python -m training.evaluation.generator_report CHECKPOINT -o DIR [--target FOLDER]

Feature space: each picture as the mean colour (3 x 8 x 8) and the mean gradient magnitude (8 x 8) of an 8 x 8 grid of cells,
256 numbers in 0..1. Distances between sets, both 0 for equal distributions: the energy distance 2 E|a-b| - E|a-a'| - E|b-b'|
(Szekely & Rizzo 2013), and the Frechet distance of two normal distributions (Dowson & Landau 1982). The latter grows as sets
shrink, so it stands beside that of as many training pictures, which no generator can be expected to beat.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from rddm.spec import Method, ModelSpec
from training.checkpoint import build, load_checkpoint, write_text
from training.data.pairs import Fit, folder_sources, read, to_tensor
from training.evaluation.metrics import frechet_distance
from training.pictures import Picture, in_rows, sheet, to_images, to_pictures
from training.recipe import FolderData
from training.sampling import sample_with
from training.synthesis.emoji import SETS, render_all, split

GRID = 8
STEPS = (1, 2, 5, 10, 25)
BATCH = 20


def features(pictures: Tensor) -> Tensor:
    """Pictures b 3 h w in [-1, 1] -> b 256 (see the module's docstring)."""
    unit = (pictures.float() + 1) / 2
    grey = unit.mean(1, keepdim=True)
    across, down = grey.diff(dim=3)[..., :-1, :], grey.diff(dim=2)[..., :-1]
    edges = functional.adaptive_avg_pool2d((across**2 + down**2).sqrt(), GRID)
    return torch.cat([functional.adaptive_avg_pool2d(unit, GRID).flatten(1), edges.flatten(1)], 1)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Between two sets of feature vectors, unbiased: pairs of a vector with itself are left out."""
    within = [torch.cdist(x, x).sum() / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(2 * torch.cdist(a, b).mean() - within[0] - within[1])


@dataclass(frozen=True)
class Neighbours:
    """For each picture the nearest training picture (as drawn or mirrored), and the distance in feature space."""

    which: Tensor
    distance: Tensor

    @classmethod
    def of(cls, pictures: Tensor, training: Tensor) -> "Neighbours":
        """training: n 3 h w in [-1, 1]; `which` counts through it and then through its mirror images."""
        distance, which = torch.cdist(features(pictures), features(torch.cat([training, training.flip(-1)]))).min(1)
        return cls(which, distance)


def generate(network: nn.Module, spec: ModelSpec, count: int, steps: int, method: Method | None = None) -> Tensor:
    """Pictures of seeds 0..count-1, count 3 h w in [-1, 1]."""
    height, width = spec.image_size or (0, 0)
    chunks = [list(range(k, min(k + BATCH, count))) for k in range(0, count, BATCH)]
    batches = [
        sample_with(network, spec, torch.zeros(len(seeds), 3, height, width), None, steps, seeds, method) for seeds in chunks
    ]
    return torch.cat(batches)


def save(pictures: Sequence[Picture], path: Path) -> None:
    """A sheet of ten pictures a row."""
    Image.fromarray(sheet(in_rows(pictures, 10))).save(path, quality=80, method=6)


def glyph_pictures(glyphs: str, side: int) -> tuple[Tensor, Tensor]:
    """(for training, held out) of the emoji font, each n 3 side side in [-1, 1]."""
    training, held_out = split(render_all(side, glyphs))
    return to_images(training), to_images(held_out)


def folder_pictures(target: str, side: int) -> tuple[Tensor, Tensor]:
    """(for training, held out) of a folder, parted as `rddm train --target` parts it; middles, n 3 side side in [-1, 1]."""
    fit = Fit("crop", side)
    sources = folder_sources(FolderData(kind="folder", target=target, side=side))
    middles = ([fit([read(path)], (0.5, 0.5))[0] for (path,) in source.groups] for source in sources)
    training, held_out = (to_tensor(pictures) for pictures in middles)
    return training, held_out


def frechet(pictures: Tensor, others: Tensor) -> float:
    """The Frechet distance of two sets of pictures, in the feature space."""
    return round(frechet_distance(features(pictures).double().numpy(), features(others).double().numpy()), 4)


def report(
    network: nn.Module, spec: ModelSpec, count: int, folder: Path, method: Method | None, pictures: tuple[Tensor, Tensor]
) -> dict[str, object]:
    """Write the sheets; return the figures. pictures: (for training, held out), each n 3 h w in [-1, 1]."""
    folder.mkdir(parents=True, exist_ok=True)
    training, held_out = pictures
    by_steps: dict[str, float] = {}
    frechet_by_steps: dict[str, float] = {}
    sampled = {steps: generate(network, spec, count, steps, method) for steps in track({*STEPS, spec.default_steps}, "sampling")}
    for steps in STEPS:
        save(to_pictures(sampled[steps][:30]), folder / f"samples-{steps}.webp")
        by_steps[str(steps)] = round(energy_distance(features(sampled[steps]), features(held_out)), 4)
        frechet_by_steps[str(steps)] = frechet(sampled[steps], held_out)
    generated = sampled[spec.default_steps]
    near, usual = Neighbours.of(generated, training), Neighbours.of(held_out, training)
    both = torch.cat([training, training.flip(-1)])[near.which[:30]]
    rows = [picture for k in range(0, 30, 10) for picture in to_pictures(torch.cat([generated[k : k + 10], both[k : k + 10]]))]
    save(rows, folder / "neighbours.webp")
    return {
        "energy_distance_to_held_out": by_steps,
        "frechet_to_held_out": frechet_by_steps,
        "frechet_training_to_held_out": frechet(training[:: max(1, len(training) // count)][:count], held_out),
        "training_to_held_out": round(energy_distance(features(training), features(held_out)), 4),
        "grey_noise_to_held_out": round(energy_distance(features(torch.rand_like(held_out) * 2 - 1), features(held_out)), 4),
        "nearest_training_distance_median": round(float(near.distance.median()), 4),
        "nearest_training_distance_smallest": round(float(near.distance.min()), 4),
        "held_out_nearest_training_distance_median": round(float(usual.distance.median()), 4),
        "pictures": count,
    }


def main(argv: list[str]) -> int:
    """Write samples-S.webp, neighbours.webp and generation.json."""
    p = argparse.ArgumentParser(prog="python -m training.evaluation.generator_report", description=(__doc__ or "").splitlines()[0])
    p.add_argument("checkpoint", type=Path)
    p.add_argument("-o", "--output", type=Path, required=True)
    p.add_argument("--count", type=int, default=200, help="pictures for the figures at the default steps (default: %(default)s)")
    p.add_argument("--method", choices=("SM-Res", "SM-N", "SM-Res-N"), help="sampling method (default: the spec's)")
    trained_on = p.add_mutually_exclusive_group()
    trained_on.add_argument("--glyphs", choices=SETS, default="faces", help="what it was trained on (default: %(default)s)")
    trained_on.add_argument("--target", metavar="FOLDER", help="the folder of pictures that it was trained on")
    args = p.parse_args(argv)
    checkpoint = load_checkpoint(args.checkpoint)
    side = (checkpoint.spec.image_size or (64, 64))[0]
    pictures = folder_pictures(args.target, side) if args.target else glyph_pictures(args.glyphs, side)
    figures = report(build(checkpoint), checkpoint.spec, args.count, args.output, args.method, pictures)
    write_text(args.output / "generation.json", json.dumps(figures, indent=2))
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
