"""`python -m benchmarks.reproduce relatives`: RDDM and its relatives side by side, with one network, pictures and training.

    python -m benchmarks.reproduce relatives --photos FOLDER --out runs/relatives                         # three seeds
    python -m benchmarks.reproduce relatives --photos FOLDER --out runs/relatives --seeds 1 --steps 100   # a first look

Photographs are cut into windows and degraded by rain, and by darkness. Every method is sampled with 1, 2, 5, 10 and 50 network
calls, where its schedule has so many. An interrupted run continues when it is started again.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from benchmarks.reproduce.claims import CLAIMS, Row, sentence, values_of
from benchmarks.reproduce.features import Autoencoder, trained_autoencoder
from benchmarks.reproduce.guess import Guess, Moments
from benchmarks.reproduce.tables import half_width, interval, markdown
from benchmarks.reproduce.trunk import Schooling, schooled
from rddm.image import to_pixels
from rddm.relatives import RELATIVES, relative_spec
from rddm.sampler import PASSES, calls
from rddm.spec import ModelSpec
from training.checkpoint import write_text
from training.evaluation.metrics import psnr, ssim_rgb
from training.sampling import sample_with
from training.synthesis.draws import Dice, Pairs, PairSource, quantise, windows
from training.synthesis.lowlight import LowLight
from training.synthesis.streaks import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Damage = Literal["rain", "darkness"]
DAMAGES: tuple[Damage, ...] = ("rain", "darkness")
CALLS = (1, 2, 5, 10, 50)
SIDE, CROP, WINDOWS, MAPS, POOL, PIECE, HELD_OUT = 96, 32, 6, 48, 4096, 256, 24
HEAVY = [seed for seed in range(2 * MAPS) if seed % 4 >= 2]  # curtains and bars (training.synthesis.streaks)
FIRST_SEED, POOL_SEED, DRAW_SEED = 10, 3, 4
# What each method is trained as: methods whose training is the same are one. I2SB without noise and Cold Diffusion have one x_t for
# each alpha_bar, which is their network's time input.
TRAINED_AS = {"cold-naive": "cold", "i2sb-ode": "cold", "weatherdiffusion": "sr3"}
GIVEN_ALPHA_BAR = {"cold", "cold-naive", "i2sb-ode"}
GENERATORS = {"ddpm", "ddim"}
FIGURES = (("psnr", "PSNR dB", 2), ("ssim", "SSIM", 3), ("code", "code distance, autoencoder-32", 2), ("seconds", "seconds", 3))


@dataclass(frozen=True)
class Setup:
    """What a run costs: methods, seeds, steps of training for each method, pictures of a step, widths of the network."""

    methods: tuple[str, ...]
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
    p.add_argument("--steps", type=int, default=400, help="of training, for every method (default: %(default)s)")
    p.add_argument("--batch", type=int, default=16, help="windows of a step (default: %(default)s)")
    p.add_argument("--widths", type=int, nargs="+", default=[32, 48], help="of the network (default: %(default)s)")
    p.add_argument("--methods", nargs="+", choices=sorted(RELATIVES), default=methods(), help="default: all that restore")
    p.add_argument("--damages", nargs="+", choices=DAMAGES, default=list(DAMAGES), help="default: %(default)s")
    p.add_argument("--feature-steps", type=int, help="of training autoencoder-32, whose codes are compared (default: 600)")
    p.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return p


def methods() -> list[str]:
    """The relatives that restore; DDPM and DDIM generate, and take part as SDEdit's sampler."""
    return [name for name in RELATIVES if name not in GENERATORS]


def main(argv: list[str]) -> int:
    """Trains what is missing, measures, and writes relatives.json, relatives.md and relatives.png."""
    args, console = parser().parse_args(argv), Console()
    setup = Setup(tuple(args.methods), args.seeds, args.steps, args.batch, tuple(args.widths), args.feature_steps)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    pool = cut(args.photos)
    benches = [Bench.of(damage, setup, pool, args.out, console) for damage in args.damages]
    rows: list[Row] = []
    for seed in range(FIRST_SEED, FIRST_SEED + setup.seeds):
        for bench in benches:
            rows += bench.measured(seed)
            write(args.out, rows, setup)
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


def sources(damage: Damage, windows: Tensor) -> tuple[PairSource, PairSource]:
    """Pairs to train on and pairs to measure; every eighth photograph's windows are kept for measuring."""
    photograph = torch.arange(len(windows)) // WINDOWS
    kept = photograph % 8 == 0
    if damage == "darkness":
        return LowLight(windows[~kept], CROP, 64), LowLight(windows[kept], CROP, 64)
    maps = torch.from_numpy(np.stack([render(seed, SIDE) for seed in HEAVY])).reshape(-1, 1, SIDE, SIDE)
    return HeavyRain(windows[~kept], maps[8:], CROP), HeavyRain(windows[kept], maps[:8], CROP)


@dataclass(frozen=True, eq=False)
class HeavyRain:
    """Pairs from uint8 pools of scenes (n, 3, side, side) and of streak maps (n, 1, side, side): two maps' streaks added as light.

    As in Rain100H, no picture is nearly dry: how well light rain is left alone is not what is compared.
    """

    pool: Tensor
    maps: Tensor
    crop: int

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` pairs."""
        clean = windows(self.pool, batch, self.crop, dice)
        near, far = (windows(self.maps, batch, self.crop, dice) for _ in range(2))
        rainy = quantise(clean + dice.uniform(0.6, 1, batch, 1, 1, 1) * torch.maximum(near, far))
        return Pairs(clean * 2 - 1, rainy * 2 - 1)


def damaged(source: PairSource) -> Pairs:
    """Held-out pairs without those whose given picture is the target: a few stay dry or bright, and have no PSNR."""
    drawn = source.draw(2 * HELD_OUT, Dice(torch.Generator().manual_seed(DRAW_SEED)))
    changed = (drawn.given - drawn.target).abs().amax((1, 2, 3)) > 4 / 255
    worse = changed.nonzero()[:HELD_OUT, 0]
    return Pairs(drawn.target[worse], drawn.given[worse])


@dataclass(frozen=True)
class Pool:
    """Pairs that were drawn once, so that every method and seed is trained on the same ones and none waits for them."""

    pairs: Pairs

    def draw(self, batch: int, dice: Dice) -> Pairs:
        """`batch` of them, with repetition."""
        chosen = dice.integers(0, len(self.pairs.target), batch)
        return Pairs(self.pairs.target[chosen], self.pairs.given[chosen])


@dataclass(frozen=True)
class Bench:
    """One damage: its pairs, and the networks that are trained on them."""

    damage: Damage
    setup: Setup
    training: Pool
    moments: Moments
    held_out: Pairs
    out: Path
    console: Console

    @classmethod
    def of(cls, damage: Damage, setup: Setup, windows: Tensor, out: Path, console: Console) -> "Bench":
        """Draws the pairs."""
        training, held_out = sources(damage, windows)
        dice = Dice(torch.Generator().manual_seed(POOL_SEED))
        drawn = [training.draw(PIECE, dice) for _ in range(POOL // PIECE)]
        pool = Pairs(torch.cat([piece.target for piece in drawn]), torch.cat([piece.given for piece in drawn]))
        return cls(damage, setup, Pool(pool), Moments.of(pool), damaged(held_out), out, console)

    def measured(self, seed: int) -> list[Row]:
        """The rows of `measure`, from the file where an earlier run left them."""
        path = self.out / "runs" / f"{self.damage}-{seed}.rows.json"
        if path.is_file():
            return [Row(**row) for row in json.loads(path.read_text())]
        rows = self.measure(seed)
        write_text(path, json.dumps([asdict(row) for row in rows]))
        return rows

    def measure(self, seed: int) -> list[Row]:
        """Every method at every number of calls, and the given pictures."""
        features = self.out / "runs" / f"autoencoder-32-{self.damage}.safetensors"
        space = trained_autoencoder(self.training, CROP, features, self.setup.feature_steps)
        networks = self.networks(seed)
        rows = [
            Row(self.damage, "input", 0, seed, {**figures_of(self.held_out.given, self.held_out.target, space), "seconds": 0.0})
        ]
        for method in self.setup.methods:
            spec = self.spec(method)
            network = Guess(networks[TRAINED_AS.get(method, method)], spec, self.moments)
            for count in CALLS:
                if (of_calls := with_calls(spec, count)) is not None:
                    rows.append(Row(self.damage, method, count, seed, sampled(network, of_calls, self.held_out, space)))
        return rows

    def spec(self, method: str) -> ModelSpec:
        """The relative, for the small network."""
        facts: dict[str, object] = {"name": method, "task": self.damage, "licence": "experiment", "image_size": (CROP, CROP)}
        if method in GIVEN_ALPHA_BAR:
            facts["time_input"] = "abar_bbar"
        return relative_spec(method, **facts)

    def networks(self, seed: int) -> dict[str, nn.Module]:
        """The networks of all methods, trained together unless they were before."""
        specs = {name: self.spec(name) for name in self.setup.methods if name not in TRAINED_AS}
        schooling = Schooling(self.setup.steps, self.setup.batch, self.setup.widths, seed)
        folder = self.out / "runs" / f"{self.damage}-{seed}"
        return schooled(specs, self.training, self.moments, schooling, folder, self.console)


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


def sampled(network: nn.Module, spec: ModelSpec, pairs: Pairs, space: Autoencoder) -> dict[str, float]:
    """Figures of the restored held-out pictures, and the seconds that all of them took."""
    started = time.perf_counter()
    restored = sample_with(network, spec, pairs.given, seeds=list(range(len(pairs.given))))
    seconds = time.perf_counter() - started
    return {**figures_of(restored, pairs.target, space), "seconds": seconds}


def figures_of(restored: Tensor, target: Tensor, space: Autoencoder) -> dict[str, float]:
    """PSNR in dB, SSIM and code distance, means over the pictures (b 3 h w in [-1, 1])."""
    couples = list(zip(_pixels(restored), _pixels(target), strict=True))
    return {
        "psnr": float(np.mean([psnr(a, b) for a, b in couples])),
        "ssim": float(np.mean([ssim_rgb(a, b) for a, b in couples])),
        "code": code_distance(space, restored, target),
    }


def _pixels(pictures: Tensor) -> list[np.ndarray]:
    return [to_pixels(picture[None].numpy()).astype(np.uint8) for picture in pictures]


@torch.inference_mode()
def code_distance(space: Autoencoder, restored: Tensor, target: Tensor) -> float:
    """The mean distance between the 32-number codes of a picture and its target (benchmarks.reproduce.features)."""
    return float((space.encode(restored) - space.encode(target)).norm(dim=1).mean())


def table(rows: Sequence[Row], damage: str, figure: str, places: int) -> str:
    """Methods down, calls across."""
    known = dict.fromkeys(row.method for row in rows if row.damage == damage)
    lines = []
    for method in known:
        counts = (0, *CALLS) if method == "input" else CALLS
        values = {count: values_of(rows, damage, method, count, figure) for count in counts}
        first = values.get(0) or values[CALLS[0]]
        cells = [
            interval(first, places) if first else "",
            *(interval(values[c], places) if values.get(c) else "" for c in CALLS[1:]),
        ]
        lines.append([method, *cells])
    return markdown(["method", *(f"{count} call{'s' * (count > 1)}" for count in CALLS)], lines)


def text_of(rows: Sequence[Row], setup: Setup) -> str:
    """The report."""
    head = (
        f"One trunk (widths {list(setup.widths)}) for all methods, for each {setup.steps} steps of {setup.batch} windows of "
        f"{CROP}x{CROP}, {setup.seeds} seed(s), {HELD_OUT} held-out windows. "
        "± is half the width of the 95 % interval over seeds (Student's t). "
        "The networks are far smaller and the training far shorter than any paper's: what is compared is how the methods begin."
    )
    damages = list(dict.fromkeys(row.damage for row in rows))
    parts = [
        f"## {damage}: {title}\n\n{table(rows, damage, figure, places)}" for damage in damages for figure, title, places in FIGURES
    ]
    claims = "\n".join(filter(None, (sentence(claim, rows, damages) for claim in CLAIMS)))
    return "\n\n".join([head, *parts, f"## Claims\n\n{claims}"]) + "\n"


def write(out: Path, rows: Sequence[Row], setup: Setup) -> None:
    """relatives.json, relatives.md, relatives.png."""
    content = {"setup": asdict(setup), "rows": [asdict(row) for row in rows]}
    (out / "relatives.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / "relatives.md").write_text(text_of(rows, setup))
    plot(rows, out / "relatives.png")


def plot(rows: Sequence[Row], path: Path) -> None:
    """PSNR and code distance over calls for each damage, with bars of the 95 % interval where there are several seeds."""
    from matplotlib.figure import Figure  # noqa: PLC0415  takes a second to import

    damages, shown = list(dict.fromkeys(row.damage for row in rows)), FIGURES[:1] + FIGURES[2:3]
    sheet = Figure(figsize=(5.5 * len(damages), 8), layout="constrained")
    panels = sheet.subplots(len(shown), len(damages), squeeze=False)
    for axes_row, (figure, title, _) in zip(panels, shown, strict=True):
        for axes, damage in zip(axes_row, damages, strict=True):
            _curves(axes, rows, damage, figure)
            axes.set(xscale="log", xlabel="network calls", ylabel=title, title=damage)
    sheet.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", fontsize="small", ncols=7)
    sheet.savefig(path, dpi=80)


def _curves(axes: "Axes", rows: Sequence[Row], damage: str, figure: str) -> None:
    for place, method in enumerate(dict.fromkeys(row.method for row in rows if row.damage == damage and row.calls)):
        values = {c: v for c in CALLS if (v := values_of(rows, damage, method, c, figure))}
        means, halves = [np.mean(v) for v in values.values()], [half_width(v) for v in values.values()]
        style = ("-", "--", ":")[place // 10]
        axes.errorbar(list(values), means, halves, fmt="o" + style, color=f"C{place % 10}", label=method, markersize=3, capsize=2)
