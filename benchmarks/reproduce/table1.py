"""Table 1: the ways of sampling on low light (2 steps), rain (5 steps) and generation (10 steps)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from benchmarks.reproduce.arms import PARTS, Part, Size, Task, Together, Way, recipe_of, spec_of, trained
from benchmarks.reproduce.features import distance, trained_autoencoder
from benchmarks.reproduce.guess import Guess, Moments
from benchmarks.reproduce.sources import RESTORATIONS, Source, source_of
from rddm.spec import ModelSpec
from training.evaluation.evaluate import Example, examples, read_example, shrunk
from training.evaluation.metrics import mean_matched, psnr, ssim_rgb
from training.pictures import sheet, to_pictures
from training.recipe import FolderData
from training.sampling import as_graph, restore_picture, sample_with
from training.synthesis.draws import Dice

FIRST_SEED, NOISE_SEED, BATCH, MOMENTS = 10, 7, 64, 512
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Result:
    """What one way of sampling reached: on one picture, or in generation on all (picture is then empty)."""

    task: str
    way: str
    steps: int
    seed: int
    picture: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Bench:
    """What is compared, how its networks are trained, and where they lie."""

    size: Size
    ways: tuple[Way, ...]
    out: Path
    console: Console

    def network(self, task: Task, part: Part, source: Source, seed: int) -> nn.Module:
        """The task's network for a part, trained now unless it was before."""
        restores = task != "generation"
        spec = spec_of(task, PARTS[part], self.size, source.side)
        network = self.size.network(spec.objective, restores=restores)
        recipe = recipe_of(spec, network, source.data, self.size.courses[task], seed)
        folder = self.out / "runs" / f"{task}-{part}-{seed}"
        if not self.size.guess:
            return trained(recipe, source.training, folder, self.console)
        guess = partial(Guess, spec=spec, moments=moments_of(source))
        return guess(trained(recipe, source.training, folder, self.console, guess))

    def networks(self, task: Task, source: Source, seed: int) -> dict[Part, nn.Module]:
        """All that the ways ask, in their order."""
        parts = dict.fromkeys(part for way in self.ways for part in way.parts)
        return {part: self.network(task, part, source, seed) for part in parts}


def moments_of(source: Source) -> Moments:
    """What the guesses know of a task's training pairs."""
    return Moments.of(source.training.draw(MOMENTS, Dice(torch.Generator().manual_seed(NOISE_SEED))))


def asked(way: Way, task: Task, size: Size, side: int) -> ModelSpec:
    """The spec that a way samples with: the objective whose outputs its networks give together."""
    objective = "pred_res_noise" if len(way.parts) == 2 else PARTS[way.parts[0]]
    return spec_of(task, objective, size, side).model_copy(update={"sm_n_inversion": way.inversion})


def figures_of(restored: Picture, target: Picture) -> dict[str, float]:
    """What is measured of one picture."""
    return {
        "psnr": psnr(restored, target),
        "ssim": ssim_rgb(restored, target),
        "psnr_mean_matched": psnr(mean_matched(restored, target), target),
    }


def held_out(data: FolderData, spec: ModelSpec, size: Size) -> list[Example]:
    """The pictures kept for measuring: whole, or by the authors' 256 x 256 protocol."""
    read = [read_example(group) for group in examples(str(data.val_target), str(data.val_given), None)]
    return [shrunk(example, spec.preprocessing) for example in read] if size.authors else read


def restoration(task: Task, source: Source, bench: Bench, seed: int) -> list[Result]:
    """Every way on every held-out picture."""
    size, networks = bench.size, bench.networks(task, source, seed)
    pictures = held_out(source.data, spec_of(task, "pred_res", size, source.side), size)  # type: ignore[arg-type]
    results = [Result(task, "input", 0, seed, example.name, figures_of(example.given, example.target)) for example in pictures]
    strips = [[example.given] for example in pictures]
    for way in bench.ways:
        spec = asked(way, task, size, source.side).model_copy(update={"preprocessing": ()})
        network = Together([networks[part] for part in way.parts])
        for example, strip in zip(pictures, strips, strict=True):
            restored = restore_picture(as_graph(network), spec, example.given, seed=NOISE_SEED)
            strip.append(restored)
            results.append(Result(task, way.name, spec.default_steps, seed, example.name, figures_of(restored, example.target)))
    for example, strip in zip(pictures, strips, strict=True):
        _sheet([[*strip, example.target]], bench.out / "pictures" / f"{task}-{seed}-{example.name}.png")
    return results


def generation(source: Source, bench: Bench, seed: int) -> list[Result]:
    """Frechet distance to pictures held out; and of training pictures to them, the floor of the measure."""
    size, dice = bench.size, Dice(torch.Generator().manual_seed(NOISE_SEED))
    reference, again = (pairs.draw(size.samples, dice).target for pairs in (source.held_out, source.training))
    features = bench.out / "runs" / f"autoencoder-32-{source.side}.safetensors"
    space = trained_autoencoder(source.training, source.side, features, size.feature_steps)
    results = [Result("generation", f"training {source.kind}", 0, seed, "", {"frechet": distance(space, again, reference)})]
    networks = bench.networks("generation", source, seed)
    for way in bench.ways:
        spec = asked(way, "generation", size, source.side)
        drawn = generated(Together([networks[part] for part in way.parts]), spec, size.samples, seed)
        results.append(Result("generation", way.name, spec.default_steps, seed, "", {"frechet": distance(space, drawn, reference)}))
        rows = [drawn[i : i + 8] for i in range(0, min(64, size.samples), 8)]
        _sheet([to_pictures(row) for row in rows], bench.out / "pictures" / f"generation-{seed}-{way.name}.png")
    return results


def generated(network: nn.Module, spec: ModelSpec, count: int, seed: int) -> Tensor:
    """`count` pictures on the CPU; every way of a run begins with the same noise."""
    device = next(network.parameters()).device
    height, width = spec.image_size or (0, 0)
    seeds = [1000 * seed + k for k in range(count)]
    parts = [seeds[i : i + BATCH] for i in range(0, count, BATCH)]
    black = [torch.zeros(len(part), 3, height, width, device=device) for part in parts]
    return torch.cat([sample_with(network, spec, x, seeds=part).cpu() for x, part in zip(black, parts, strict=True)])


def _sheet(rows: Sequence[Sequence[Picture]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet(rows)).save(path)


def run(data: Path | None, files: Mapping[str, str], tasks: Sequence[Task], bench: Bench, seeds: int) -> Iterator[list[Result]]:
    """Table 1 seed by seed: all results so far, each time a seed is whole."""
    results: list[Result] = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for task in tasks:
            source = source_of(data, task, bench.size, files.get(task, ""))
            restores = task in RESTORATIONS
            of_task = restoration(task, source, bench, seed) if restores else generation(source, bench, seed)
            for line in {result.way: result for result in of_task}.values():
                bench.console.print(line, markup=False)
            results += of_task
        yield results
