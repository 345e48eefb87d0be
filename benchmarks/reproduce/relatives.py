"""`python -m benchmarks.reproduce relatives`: RDDM and its relatives side by side, with one network, pictures and training.

    python -m benchmarks.reproduce relatives --photos FOLDER --out runs/relatives                       # three seeds, 4,000 steps
    python -m benchmarks.reproduce relatives --photos FOLDER --out runs/relatives --seeds 1 --steps 150   # a first look

Photographs are cut into windows and degraded by rain, and by darkness. Every method is sampled with 1, 2, 5, 10 and 50 network
calls, where its schedule has so many. An interrupted run goes on when it is started again.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from scipy.stats import t as student
from torch import Tensor, nn

from benchmarks.reproduce.arms import Course, recipe_of, trained
from benchmarks.reproduce.features import Autoencoder, trained_autoencoder
from benchmarks.reproduce.tables import markdown
from rddm.image import to_pixels
from rddm.objective import HEADS
from rddm.relatives import RELATIVES, relative_spec
from rddm.sampler import PASSES, calls
from rddm.spec import ModelSpec
from training.evaluation.metrics import psnr, ssim_rgb
from training.networks import SmallConfig
from training.recipe import SynthesisData
from training.sampling import sample_with
from training.synthesis.draws import Dice, Pairs, PairSource
from training.synthesis.lowlight import LowLight
from training.synthesis.rain import Rain
from training.synthesis.streaks import render

Damage = Literal["rain", "darkness"]
DAMAGES: tuple[Damage, ...] = ("rain", "darkness")
CALLS = (1, 2, 5, 10, 50)
SIDE, CROP, WINDOWS, MAPS, HELD_OUT = 96, 32, 6, 48, 16
FIRST_SEED, DRAW_SEED = 10, 4
# What each method is trained as: methods of one network, that differ in the step alone, share it.
NETWORK_OF = {"cold-naive": "cold", "ddim": "generator", "ddpm": "generator", "sdedit": "generator", "weatherdiffusion": "sr3"}
FIGURES = (("psnr", "PSNR dB", 2), ("ssim", "SSIM", 3), ("code", "code distance", 2), ("seconds", "seconds", 3))
CLAIMS = {
    "rddm": "RDDM (section 5): few steps suffice in restoration; the report: SM-Res resembles InDI and I2SB.",
    "indi": "InDI: small steps trade distortion for perception; one step has the best PSNR.",
    "i2sb": "I2SB: better than conditional diffusion with few calls, since it starts at the picture.",
    "resshift": "ResShift: 15 steps or 4 suffice where conditional diffusion needs hundreds.",
    "cold": "Cold Diffusion: algorithm 2 is robust to a wrong R where algorithm 1 adds up its errors.",
    "diffuir": "DiffUIR: three steps; a shared start helps several tasks at once (not tested here: one task a network).",
    "resfusion": "Resfusion: five steps, competitive with RDDM on rain drops, shadows and low light.",
    "drdd": "DRDD: removing the residual under fixed noise is easier, above all with few pairs.",
    "sr3": "SR3: conditional diffusion needs many calls.",
    "sdedit": "SDEdit: needs no pairs at all; realism against faithfulness by where it starts.",
}


@dataclass(frozen=True)
class Row:
    """One method on one damage and seed: means over the held-out pictures, and seconds for all of them."""

    damage: str
    method: str
    calls: int
    seed: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Setup:
    """What a run costs: seeds, steps of training, pictures of a step, widths of the network."""

    seeds: int
    steps: int
    batch: int
    widths: tuple[int, ...]
    feature_steps: int | None = None


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.reproduce relatives", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--photos", type=Path, required=True, help="folder of photographs, searched to any depth")
    p.add_argument("--out", type=Path, default=Path("runs/relatives"), help="default: %(default)s")
    p.add_argument("--seeds", type=int, default=3, help="how often everything is trained anew (default: %(default)s)")
    p.add_argument("--steps", type=int, default=4000, help="of training, for every network (default: %(default)s)")
    p.add_argument("--batch", type=int, default=8, help="pictures of a step (default: %(default)s)")
    p.add_argument("--widths", type=int, nargs="+", default=[32, 48, 64], help="of the network (default: %(default)s)")
    p.add_argument("--methods", nargs="+", choices=sorted(RELATIVES), default=methods(), help="default: all that restore")
    p.add_argument("--damages", nargs="+", choices=DAMAGES, default=list(DAMAGES), help="default: %(default)s")
    p.add_argument("--feature-steps", type=int, help="of training autoencoder-32, whose codes are compared (default: 600)")
    p.add_argument("--minutes", type=float, help="start no further network after so many; what is there is reported")
    return p


def methods() -> list[str]:
    """The relatives that restore."""
    return [name for name in RELATIVES if name not in {"ddpm", "ddim", "weatherdiffusion"}]


def main(argv: list[str]) -> int:
    """Trains what is missing, measures, and writes relatives.json, relatives.md and relatives.png."""
    args, console, started = parser().parse_args(argv), Console(), time.monotonic()
    setup = Setup(args.seeds, args.steps, args.batch, tuple(args.widths), args.feature_steps)
    args.out.mkdir(parents=True, exist_ok=True)
    windows = cut(args.photos)
    rows: list[Row] = []
    for seed in range(FIRST_SEED, FIRST_SEED + setup.seeds):
        for damage in args.damages:
            bench = Bench(damage, setup, windows, args.out, console)
            for method in args.methods:
                if args.minutes is not None and time.monotonic() - started > 60 * args.minutes:
                    break
                rows += bench.measure(method, seed)
                write(args.out, rows, setup, (time.monotonic() - started) / 60)
    console.print((args.out / "relatives.md").read_text(), markup=False)
    return 0


def cut(folder: Path) -> Tensor:
    """Windows (n, 3, 96, 96) uint8 of the photographs, shrunk first so that one holds much of a scene. Raises FileNotFoundError."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not files:
        raise FileNotFoundError(f"{folder} holds no photographs; expected files ending in .jpg, .jpeg or .png")
    pieces = []
    for path in files:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        factor = 2 * SIDE / min(picture.size)
        small = np.asarray(picture.resize([max(SIDE, round(side * factor)) for side in picture.size], Image.Resampling.LANCZOS))
        rows, columns = (
            np.linspace(0, length - SIDE, count).astype(int) for length, count in ((small.shape[0], 2), (small.shape[1], 3))
        )
        pieces += [small[top : top + SIDE, left : left + SIDE] for top in rows for left in columns]
    return torch.from_numpy(np.stack(pieces)).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Bench:
    """One damage: its pairs, and the networks that are trained on them."""

    damage: Damage
    setup: Setup
    windows: Tensor
    out: Path
    console: Console

    def sources(self) -> tuple[PairSource, PairSource]:
        """Pairs to train on and pairs to measure; every eighth photograph's windows are kept for measuring."""
        photograph = torch.arange(len(self.windows)) // WINDOWS
        kept = photograph % 8 == 0
        if self.damage == "darkness":
            return LowLight(self.windows[~kept], CROP, 64), LowLight(self.windows[kept], CROP, 64)
        maps = torch.from_numpy(np.stack([render(seed, SIDE) for seed in range(MAPS)])).reshape(MAPS, 1, SIDE, SIDE)
        return Rain(self.windows[~kept], maps[8:], CROP), Rain(self.windows[kept], maps[:8], CROP)

    def measure(self, method: str, seed: int) -> list[Row]:
        """The method at every number of calls, from the network that it shares with its like."""
        training, held_out = self.sources()
        pairs = damaged(held_out)
        name = NETWORK_OF.get(method, method)
        spec, network = self.spec(method), self.network(name, training, seed)
        features = self.out / "runs" / f"autoencoder-32-{self.damage}.safetensors"
        space = trained_autoencoder(training, CROP, features, self.setup.feature_steps)
        rows = [
            Row(self.damage, method, count, seed, measured(network, of_calls, pairs, space))
            for count in CALLS
            if (of_calls := with_calls(spec, count)) is not None
        ]
        given = {"psnr": mean_psnr(pairs.given, pairs.target), "ssim": mean_ssim(pairs.given, pairs.target)}
        given |= {"code": code_distance(space, pairs.given, pairs.target), "seconds": 0.0}
        return [Row(self.damage, "input", 0, seed, given), *rows] if method == "rddm" else rows

    def spec(self, method: str) -> ModelSpec:
        """The relative, for the small network."""
        return relative_spec(method, name=method, task=self.damage, licence="experiment", image_size=(CROP, CROP))

    def network(self, name: str, source: PairSource, seed: int) -> nn.Module:
        """The network of a method, trained now unless it was before; a generator sees targets alone."""
        generates = name == "generator"
        spec = self.spec("ddpm") if generates else self.spec(name)
        config = SmallConfig(
            condition=spec.condition,
            outputs=len(HEADS[spec.objective]),
            widths=self.setup.widths,
            depths=(1,) * len(self.setup.widths),
        )
        course = Course(self.setup.steps, self.setup.batch)
        recipe = recipe_of(spec, config, SynthesisData(kind="rain"), course, seed)
        return trained(
            recipe, Targets(source) if generates else source, self.out / "runs" / f"{self.damage}-{name}-{seed}", self.console
        )


def damaged(source: PairSource) -> Pairs:
    """Held-out pairs without those whose given picture is the target: a few stay dry in training, and have no PSNR."""
    drawn = source.draw(2 * HELD_OUT, Dice(torch.Generator().manual_seed(DRAW_SEED)))
    worse = (drawn.given - drawn.target).abs().amax((1, 2, 3)).nonzero()[:HELD_OUT, 0]
    return Pairs(drawn.target[worse], drawn.given[worse])


@dataclass(frozen=True)
class Targets:
    """Pairs whose given picture is black: what a generator is trained on."""

    source: PairSource

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` targets."""
        drawn = self.source.draw(batch, dice)
        return replace(drawn, given=torch.zeros_like(drawn.target), context=None)


def with_calls(spec: ModelSpec, count: int) -> ModelSpec | None:
    """The spec at so many network calls in all, shared between its passes; None where it has not so many indices or passes."""
    passes = len(PASSES[spec.order])
    if count < passes or count > spec.first_index + 1:
        return None
    changes: dict[str, object] = {"default_steps": count - count // passes if passes > 1 else count, "min_steps": 1}
    if passes > 1:
        changes["residual_steps"] = count // passes
    changed = ModelSpec.model_validate({**spec.model_dump(), **changes, "max_steps": spec.first_index + 1})
    assert calls(changed, changed.default_steps) == count
    return changed


def measured(network: nn.Module, spec: ModelSpec, pairs: Pairs, space: Autoencoder) -> dict[str, float]:
    """Figures of the restored held-out pictures."""
    started = time.perf_counter()
    restored = sample_with(network, spec, pairs.given, seeds=list(range(len(pairs.given))))
    seconds = time.perf_counter() - started
    return {
        "psnr": mean_psnr(restored, pairs.target),
        "ssim": mean_ssim(restored, pairs.target),
        "code": code_distance(space, restored, pairs.target),
        "seconds": seconds,
    }


def _pixels(pictures: Tensor) -> list[np.ndarray]:
    return [to_pixels(picture[None].numpy()).astype(np.uint8) for picture in pictures]


def mean_psnr(found: Tensor, target: Tensor) -> float:
    """dB, the mean over pictures."""
    return float(np.mean([psnr(a, b) for a, b in zip(_pixels(found), _pixels(target), strict=True)]))


def mean_ssim(found: Tensor, target: Tensor) -> float:
    """The mean over pictures."""
    return float(np.mean([ssim_rgb(a, b) for a, b in zip(_pixels(found), _pixels(target), strict=True)]))


@torch.inference_mode()
def code_distance(space: Autoencoder, found: Tensor, target: Tensor) -> float:
    """The mean distance between the 32-number codes of a picture and its target (benchmarks.reproduce.features)."""
    return float((space.encode(found) - space.encode(target)).norm(dim=1).mean())


def interval(values: Sequence[float], places: int) -> str:
    """The mean over seeds, and half the width of its 95 % interval (Student's t) where there are several."""
    if len(values) < 2:
        return f"{values[0]:.{places}f}"
    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return f"{np.mean(values):.{places}f} ± {half:.{places}f}"


def values_of(rows: Sequence[Row], damage: str, method: str, count: int, figure: str) -> list[float]:
    """One value a seed."""
    return [row.figures[figure] for row in rows if (row.damage, row.method, row.calls) == (damage, method, count)]


def table(rows: Sequence[Row], damage: str, figure: str, places: int) -> str:
    """Methods down, calls across."""
    known = dict.fromkeys(row.method for row in rows if row.damage == damage)
    lines = []
    for method in known:
        counts = (0, *CALLS) if method == "input" else CALLS
        found = {count: values_of(rows, damage, method, count, figure) for count in counts}
        first = found.get(0) or found[CALLS[0]]
        cells = [interval(first, places) if first else "", *(interval(found[c], places) if found.get(c) else "" for c in CALLS[1:])]
        lines.append([method, *cells])
    return markdown(["method", *(f"{count} call{'s' * (count > 1)}" for count in CALLS)], lines)


def best_sentence(rows: Sequence[Row], damage: str, method: str) -> str:
    """What was found of a method: its best PSNR and where, and RDDM's."""

    def best(name: str) -> tuple[float, int]:
        means = {c: float(np.mean(v)) for c in CALLS if (v := values_of(rows, damage, name, c, "psnr"))}
        count = max(means, key=lambda c: means[c])
        return means[count], count

    (found, count), (reference, at) = best(method), best("rddm")
    return f"{damage}: best PSNR {found:.2f} dB at {count} calls (rddm {reference:.2f} at {at})"


def text_of(rows: Sequence[Row], setup: Setup, minutes: float) -> str:
    """The report."""
    head = (
        f"One small network (widths {list(setup.widths)}) a method, {setup.steps} steps of {setup.batch} windows of {CROP}x{CROP}, "
        f"{setup.seeds} seed(s), {HELD_OUT} held-out windows, {minutes:.0f} minutes. Figures are of this size alone."
    )
    parts = [head]
    damages = list(dict.fromkeys(row.damage for row in rows))
    for damage in damages:
        parts += [f"## {damage}: {title}\n\n{table(rows, damage, figure, places)}" for figure, title, places in FIGURES]
    measured_methods = {row.method for row in rows}
    claims = [
        f"* **{method}.** {claim} Found here: {'; '.join(best_sentence(rows, d, method) for d in damages if has(rows, d, method))}."
        for method, claim in CLAIMS.items()
        if method in measured_methods
    ]
    return "\n\n".join([*parts, "\n".join(claims)]) + "\n"


def has(rows: Sequence[Row], damage: str, method: str) -> bool:
    """Whether the method and RDDM were measured on the damage."""
    return {method, "rddm"} <= {row.method for row in rows if row.damage == damage}


def write(out: Path, rows: Sequence[Row], setup: Setup, minutes: float) -> None:
    """relatives.json, relatives.md, relatives.png."""
    content = {"setup": asdict(setup), "minutes": minutes, "rows": [asdict(row) for row in rows]}
    (out / "relatives.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / "relatives.md").write_text(text_of(rows, setup, minutes))
    plot(rows, out / "relatives.png")


def plot(rows: Sequence[Row], path: Path) -> None:
    """PSNR over calls, a panel for each damage, a bar of the 95 % interval where there are several seeds."""
    damages = list(dict.fromkeys(row.damage for row in rows))
    sheet = Figure(figsize=(5 * len(damages), 4), layout="constrained")
    for axes, damage in zip(np.atleast_1d(sheet.subplots(1, len(damages))), damages, strict=True):
        for place, method in enumerate(dict.fromkeys(row.method for row in rows if row.damage == damage and row.calls)):
            found = {c: v for c in CALLS if (v := values_of(rows, damage, method, c, "psnr"))}
            style = ("-", "--", ":")[place // 10]
            axes.plot(
                list(found), [np.mean(v) for v in found.values()], "o" + style, color=f"C{place % 10}", label=method, markersize=3
            )
        axes.set(xscale="log", xlabel="network calls", ylabel="PSNR, dB", title=damage)
    axes.legend(fontsize="x-small", ncols=2)
    sheet.savefig(path, dpi=100)
